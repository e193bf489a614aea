import { expect, test } from 'vitest'
import { toReasonText } from '../../src/explanation/reason-text.ts'
import { type House, openHouse, toLocalService } from '../gateway/house.ts'
import { takeFreePort } from '../transport/raw-server.ts'

test('a start by hand tells of no request, for none was made', async () => {
  await using house = await openChildHouse({})
  await house.supervisor.start('local')
  expect(toReasons(house)[0]).toBe('its start was asked for')
  expectNoRequest(house)
})

test('a start by hand of a service that is up tells of no request either', async () => {
  await using house = await openChildHouse({})
  await house.supervisor.start('local')
  await house.supervisor.start('local')
  expectNoRequest(house)
})

test('a preloaded service tells of no request, and its queue stays empty', async () => {
  await using house = await openChildHouse({ preload: ['local'] })
  expect(house.service().queue).toEqual([])
  await expect.poll(() => house.service().state).toBe('ready')
  expect(toReasons(house)[0]).toBe('it is preloaded')
  expectNoRequest(house)
})

test('a request that comes while a start by hand is under way is counted alone', async () => {
  await using house = await openChildHouse({})
  const started = house.supervisor.start('local')
  const lease = house.supervisor.acquire('local/demo')
  expect(house.service().queue).toHaveLength(1)
  await Promise.all([started, lease.then(({ release }) => release())])
  expect(toReasons(house)).toContainEqual(expect.stringMatching(/started for 1 request$/))
})

async function openChildHouse(leasehold: object): Promise<House> {
  const port = await takeFreePort()
  return openHouse({
    serverUrl: `http://127.0.0.1:${port}`,
    provider: { localService: toLocalService(port) },
    leasehold,
  })
}

function toReasons({ supervisor }: House): readonly string[] {
  return supervisor
    .pastEvents()
    .flatMap((event) => (event.type === 'service.state' ? [toReasonText(event.why)] : []))
}

function expectNoRequest(house: House): void {
  expect(toReasons(house).filter((text) => text.includes('request'))).toEqual([])
  expect(house.service().explanation.sentence).not.toContain('request')
}

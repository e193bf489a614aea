import { expect, test } from 'vitest'
import type { EndedRequest } from '../../src/request/request-log.ts'
import { takeFreePort } from '../transport/raw-server.ts'
import { type House, openHouse, openHouseWithServer, toLocalService } from './house.ts'

const SECRET_PROMPT = 'What is 6 * 7? The password is hunter2.'
const chat = { model: 'demo', stream: true, messages: [{ role: 'user', content: SECRET_PROMPT }] }

const readEnded = async (house: House, count: string | number): Promise<readonly EndedRequest[]> =>
  (await (await fetch(`${house.url}/api/requests?ended=${count}`)).json()).ended
const sum = ({ waitMs, loadMs, firstByteMs, streamMs }: EndedRequest['timings']) =>
  waitMs + loadMs + firstByteMs + streamMs

test('the requests that ended are listed, the newest first, without prompts and answers', async () => {
  await using house = await openHouseWithServer()
  const headers = { 'user-agent': 'aider/0.86.0 (test)' }
  await (await house.post('/v1/chat/completions?key=k', chat, { headers })).text()
  await (await house.post('/v1/embeddings', { model: 'nowhere', input: 'x' })).text()
  const text = await (await fetch(`${house.url}/api/requests?ended=9`)).text()
  expect(text).not.toMatch(/hunter2|6 \* 7|= 42|key=k/)
  const { requests, ended }: { requests: unknown[]; ended: EndedRequest[] } = JSON.parse(text)
  expect(requests).toEqual([])
  expect(ended).toMatchObject([
    { ref: 'nowhere', service: null, outcome: 'failed', code: 'LEASEHOLD_MODEL_UNKNOWN', client: 'node' },
    {
      ref: 'local/demo',
      service: house.service().key,
      route: '/v1/chat/completions',
      client: 'aider',
      outcome: 'done',
      code: null,
      status: 200,
      rewrites: ['supportsUsageInStreaming'],
      attempts: [],
      usage: { completionTokens: expect.any(Number) },
    },
  ])
  const [, done] = ended
  expect(done?.bytes).toBeGreaterThan(100)
  expect(
    Math.abs(sum(done?.timings as never) - ((done?.endedAtMs ?? 0) - (done?.startedAtMs ?? 0))),
  ).toBeLessThan(4)
  // On the clock of the events.
  const eventOf = (type: string) =>
    house.events.find((event) => event.type === type && 'requestId' in event && event.requestId === done?.id)
  expect(eventOf('request.ended')?.atMs).toBeCloseTo(done?.endedAtMs ?? 0, -1)
  expect(eventOf('request.ended')).toMatchObject({ timings: done?.timings })
  expect(eventOf('request.started')).toMatchObject({ client: 'aider' })
  expect(await readEnded(house, 1)).toHaveLength(1)
  expect((await fetch(`${house.url}/api/requests?ended=few`)).status).toBe(400)
})

test('the time in which its service loaded is told apart from the wait', async () => {
  const port = await takeFreePort()
  await using house = await openHouse({
    serverUrl: `http://127.0.0.1:${port}`,
    provider: { localService: toLocalService(port, ['--load-ms', '400']) },
  })
  const waiting = house.post('/v1/chat/completions', chat)
  await expect.poll(() => house.service().state, { timeout: 20_000 }).toBe('starting.warming')
  await expect
    .poll(() => house.supervisor.requests()[0]?.timings.loadMs ?? 0, { timeout: 20_000 })
    .toBeGreaterThan(100)
  await (await waiting).text()
  await (await house.post('/v1/chat/completions', chat)).text()
  const [second, first] = await readEnded(house, 2)
  expect(first?.timings.loadMs).toBeGreaterThanOrEqual(400)
  expect(second?.timings).toMatchObject({ loadMs: 0 })
  expect(second?.timings.waitMs).toBeLessThan(300)
})

test('requests and tokens are counted for all and for each service', async () => {
  await using house = await openHouseWithServer()
  for (let index = 0; index < 3; index += 1) await (await house.post('/v1/chat/completions', chat)).text()
  await (await house.post('/v1/chat/completions', { model: 'nowhere' })).text()
  const { totals, services } = house.supervisor.snapshot()
  expect(totals).toMatchObject({ requests: 4, failed: 1 })
  expect(services[0]?.totals).toMatchObject({
    requests: 3,
    failed: 0,
    completionTokens: totals.completionTokens,
  })
  expect(totals.completionTokens).toBeGreaterThan(0)
})

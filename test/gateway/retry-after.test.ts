import { expect, test } from 'vitest'
import { createVirtualClock } from '../../src/testing/virtual-clock.ts'
import { takeFreePort } from '../transport/raw-server.ts'
import { openHouse } from './house.ts'

const chat = { model: 'local/demo', messages: [{ role: 'user', content: 'hello' }] }

test('Retry-After is how long the back-off lasts, and what is left of it for an open breaker (fault 79)', async () => {
  const clock = createVirtualClock()
  const house = await openHouse({
    serverUrl: `http://127.0.0.1:${await takeFreePort()}`,
    clock,
    provider: { localService: { command: '/bin/false' } },
    leasehold: { backoffMs: 20_000, breakerFailures: 2, breakerCooldownMs: 90_000 },
  })
  /** What waits on the clock, as looks at a process do, goes on; what does not takes its time. */
  const pump = async <Result>(work: Promise<Result>): Promise<Result> => {
    let isOver = false
    const done = work.finally(() => {
      isOver = true
    })
    await expect
      .poll(
        async () => {
          await clock.advanceTo(clock.now() + 1)
          return isOver
        },
        { interval: 1, timeout: 20_000 },
      )
      .toBe(true)
    return done
  }
  const ask = async () => {
    const { status, headers } = await house.post('/v1/chat/completions', chat)
    return [status, Number(headers.get('retry-after'))]
  }
  const enteredMs = (state: string, nth = 0) => {
    const entries = house.events.filter((event) => event.type === 'service.state' && event.to === state)
    return entries[nth]?.atMs ?? Number.NaN
  }

  expect(await pump(ask())).toEqual([503, 20])
  await clock.advanceTo(enteredMs('down.backoff') + 19_000)
  expect(await pump(ask())).toEqual([503, 1])
  expect(enteredMs('probing', 1)).toBeNaN()
  await clock.advanceTo(enteredMs('down.backoff') + 20_000)
  expect(enteredMs('down.cold') - enteredMs('down.backoff')).toBe(20_000)
  expect(await pump(ask())).toEqual([503, 90])

  await clock.advanceTo(clock.now() + 30_000)
  const [status, leftSeconds = 0] = await pump(ask())
  expect(status).toBe(503)
  expect(leftSeconds).toBeGreaterThan(0)
  const promisedMs = clock.now() + leftSeconds * 1_000
  await clock.advanceTo(promisedMs)
  expect(house.service().state).toBe('down.cold')
  expect(enteredMs('down.cold', 1) - enteredMs('down.tripped')).toBe(90_000)
  expect(promisedMs - enteredMs('down.cold', 1)).toBeLessThan(1_500)
  await pump(Promise.resolve(house[Symbol.asyncDispose]()))
})

import { afterEach, describe, expect, test, vi } from 'vitest'
import { type Clock, createLenientClock, delay, GAP_MS, settledWithin, systemClock } from '../src/clock.ts'

afterEach(() => {
  vi.restoreAllMocks()
})

describe('the system clock', () => {
  test.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 2 ** 31 - 1, 1e12])(
    'never arms for %s, which no timer can hold (fault 28)',
    (delayMs) => {
      const armed = vi.spyOn(globalThis, 'setTimeout')
      systemClock.clearTimeout(systemClock.setTimeout(() => {}, delayMs))
      expect(armed).not.toHaveBeenCalled()
    },
  )
})

describe('waiting', () => {
  test('takes as long as the clock says', async () => {
    const before = systemClock.now()
    await delay(systemClock, 5)
    expect(systemClock.now()).toBeGreaterThan(before)
  })

  test('ends with the work, however it ends, and clears its timer', async () => {
    const cleared = vi.spyOn(globalThis, 'clearTimeout')
    await settledWithin(systemClock, Promise.resolve(1), 1e6)
    await settledWithin(systemClock, Promise.reject(new Error('no')), 1e6)
    expect(cleared).toHaveBeenCalledTimes(2)
  })

  test('ends at its bound when the work does not', async () => {
    await settledWithin(systemClock, new Promise(() => {}), 1)
  })
})

/** A host whose time jumps, and whose timers fire when the test says so. */
function createHost() {
  let nowMs = 0
  const timers = new Set<() => void>()
  const clock: Clock = {
    now: () => nowMs,
    setTimeout: (fn) => {
      timers.add(fn)
      return fn
    },
    clearTimeout: (timer) => timers.delete(timer as () => void),
  }
  return {
    clock,
    timers,
    /** The loop stands still until `ms` later, and then serves every timer. */
    standStill: (ms: number) => {
      nowMs += ms
      const due = [...timers]
      timers.clear()
      for (const fire of due) fire()
    },
  }
}
const turn = () => new Promise((resolve) => setImmediate(() => setImmediate(() => setImmediate(resolve))))

describe('a lenient clock', () => {
  test('fires a timer in time as it is', () => {
    const host = createHost()
    const fired: string[] = []
    createLenientClock(host.clock, () => fired.push('gap')).setTimeout(() => fired.push('timer'), 200)
    host.standStill(230)
    expect(fired).toEqual(['timer'])
  })

  test('lets what has arrived be read before a late timer fires, so that it can be called off (fault 29, race R14)', async () => {
    const host = createHost()
    const fired: string[] = []
    const clock = createLenientClock(host.clock, () => fired.push('gap'))
    const deadline = clock.setTimeout(() => fired.push('deadline'), 200)
    clock.setTimeout(() => fired.push('another'), 200)
    // The answer is there, but the timers of a loop come before its sockets.
    setImmediate(() => clock.clearTimeout(deadline))
    host.standStill(500)
    expect(fired).toEqual([])
    await turn()
    host.standStill(20)
    expect(fired).toEqual(['another'])
  })

  test('tells of a gap once, before any of its timers (fault 110, race R15)', async () => {
    const host = createHost()
    const fired: string[] = []
    const clock = createLenientClock(host.clock, () => {
      fired.push('gap')
      clock.clearTimeout(idle)
    })
    const idle = clock.setTimeout(() => fired.push('idle'), 1_500)
    clock.setTimeout(() => fired.push('another'), 1_000)
    host.standStill(1_500 + GAP_MS)
    await turn()
    host.standStill(20)
    expect(fired).toEqual(['gap', 'another'])
    clock.setTimeout(() => fired.push('later'), 1)
    host.standStill(1 + GAP_MS)
    expect(fired).toEqual(['gap', 'another', 'gap'])
  })

  test.each([
    ['before the turn', async () => {}],
    ['after the turn', turn],
  ])('tells of a gap that begins in the grace of a late timer, %s (fault 110)', async (_when, until) => {
    const host = createHost()
    const fired: string[] = []
    createLenientClock(host.clock, () => fired.push('gap')).setTimeout(() => fired.push('timer'), 200)
    host.standStill(300)
    await until()
    host.standStill(GAP_MS + 20)
    await turn()
    host.standStill(20)
    await turn()
    host.standStill(20)
    expect(fired).toEqual(['gap', 'timer'])
  })

  test('forgets a timer that is cleared, and clears what is no timer', () => {
    const host = createHost()
    const clock = createLenientClock(host.clock, () => {})
    clock.clearTimeout(clock.setTimeout(() => expect.fail('it fired'), 10))
    clock.clearTimeout(undefined)
    expect(host.timers.size).toBe(0)
    host.standStill(20)
  })
})

import { afterEach, describe, expect, test, vi } from 'vitest'
import { delay, settledWithin, systemClock } from '../src/clock.ts'

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

import { debounceTime, from, interval, map, merge, NEVER, take, timeout, timer } from 'rxjs'
import { describe, expect, test } from 'vitest'
import { toScheduler } from '../../src/clock.ts'
import { createVirtualClock } from '../../src/testing/virtual-clock.ts'

function record() {
  const clock = createVirtualClock()
  const seen: string[] = []
  return { clock, seen, note: (what: string) => seen.push(`${clock.now()} ${what}`) }
}

describe('a virtual clock', () => {
  test('fires timers in the order of their times', async () => {
    const { clock, seen, note } = record()
    clock.setTimeout(() => note('late'), 200)
    clock.setTimeout(() => note('early'), 100)
    await clock.advanceTo(200)
    expect(seen).toEqual(['100 early', '200 late'])
  })

  test('fires timers of the same time first come first served', async () => {
    const { clock, seen, note } = record()
    for (const name of ['a', 'b', 'c']) clock.setTimeout(() => note(name), 100)
    await clock.advanceTo(100)
    expect(seen).toEqual(['100 a', '100 b', '100 c'])
  })

  test('walks through a chain of timers step by step', async () => {
    const { clock, seen, note } = record()
    const again = () => {
      note('tick')
      clock.setTimeout(again, 100)
    }
    clock.setTimeout(again, 100)
    await clock.advanceTo(350)
    expect(seen).toEqual(['100 tick', '200 tick', '300 tick'])
    expect(clock.now()).toBe(350)
    expect(clock.pending).toBe(1)
  })

  test('lets promises settle between two timers', async () => {
    const { clock, seen, note } = record()
    clock.setTimeout(
      () => void Promise.resolve().then(() => clock.setTimeout(() => note('from a promise'), 50)),
      100,
    )
    clock.setTimeout(() => note('second timer'), 200)
    await clock.advanceTo(200)
    expect(seen).toEqual(['150 from a promise', '200 second timer'])
  })

  test('forgets a timer that is cleared', async () => {
    const { clock, seen, note } = record()
    const cleared = clock.setTimeout(() => note('cleared'), 100)
    clock.clearTimeout(cleared)
    await clock.advanceTo(200)
    expect(seen).toEqual([])
    expect(clock.pending).toBe(0)
  })

  test('never fires a delay that no timer can hold', async () => {
    const { clock, seen, note } = record()
    clock.setTimeout(() => note('never'), 2 ** 31 - 1)
    clock.setTimeout(() => note('never'), Number.POSITIVE_INFINITY)
    await clock.advanceTo(2 ** 33)
    expect(seen).toEqual([])
  })

  test('does not go back', async () => {
    const { clock } = record()
    await clock.advanceTo(100)
    await clock.advanceTo(50)
    expect(clock.now()).toBe(100)
  })
})

describe('rxjs on a virtual clock', () => {
  test('timer and interval tick in virtual time, and end without a subscriber', async () => {
    const { clock, seen, note } = record()
    const scheduler = toScheduler(clock)
    merge(
      timer(150, scheduler).pipe(map(() => 'timer')),
      interval(100, scheduler).pipe(
        take(3),
        map(() => 'interval'),
      ),
    ).subscribe(note)
    await clock.advanceTo(1_000)
    expect(seen).toEqual(['100 interval', '150 timer', '200 interval', '300 interval'])
    expect(clock.pending).toBe(0)
  })

  test('debounceTime waits for silence', async () => {
    const { clock, seen, note } = record()
    const scheduler = toScheduler(clock)
    const bursts = merge(
      ...[0, 50, 100, 400].map((ms) => timer(ms, scheduler).pipe(map(() => `from ${ms}`))),
      NEVER,
    )
    const subscription = bursts.pipe(debounceTime(100, scheduler)).subscribe(note)
    await clock.advanceTo(1_000)
    subscription.unsubscribe()
    expect(seen).toEqual(['200 from 100', '500 from 400'])
  })

  test('timeout fails when nothing came in time', async () => {
    const { clock, seen, note } = record()
    const scheduler = toScheduler(clock)
    NEVER.pipe(timeout({ each: 100, scheduler })).subscribe({ error: ({ name }: Error) => note(name) })
    from([1])
      .pipe(timeout({ first: 100, scheduler }))
      .subscribe({ complete: () => note('complete') })
    await clock.advanceTo(1_000)
    expect(seen).toEqual(['0 complete', '100 TimeoutError'])
    expect(clock.pending).toBe(0)
  })
})

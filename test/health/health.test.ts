import { distinctUntilChanged, of, Subject } from 'rxjs'
import { describe, expect, test } from 'vitest'
import type { Verdict } from '../../machines/messages.ts'
import { createHeartbeat$, createWarmHealth$, WARM_POLL_MS } from '../../src/health/health.ts'
import { isSameVerdict } from '../../src/health/verdict.ts'
import { createVirtualClock, settle } from '../../src/testing/virtual-clock.ts'

const loading: Verdict = { kind: 'loading', detail: '503' }

/** A warming service on a virtual clock: its probes take `probeMs`, and say when they began. */
function createWarming({ probeMs = 0 } = {}) {
  const clock = createVirtualClock()
  const line$ = new Subject<string>()
  const startsMs: number[] = []
  const verdictsMs: number[] = []
  let running = 0
  let mostRunning = 0
  const probe = async () => {
    startsMs.push(clock.now())
    running += 1
    mostRunning = Math.max(mostRunning, running)
    if (probeMs > 0) await new Promise<void>((resolve) => clock.setTimeout(resolve, probeMs))
    running -= 1
    return loading
  }
  const watch = createWarmHealth$({ probe, clock, output$: line$ }).subscribe(() =>
    verdictsMs.push(clock.now()),
  )
  return {
    clock,
    line$,
    startsMs,
    verdictsMs,
    watch,
    get mostRunning() {
      return mostRunning
    },
  }
}

describe('a warming service', () => {
  test('is probed at once, soon again, ever more slowly, and never less than every half second', async () => {
    const { clock, startsMs } = createWarming()
    await clock.advanceTo(60_000)
    const pausesMs = startsMs.slice(1).map((at, index) => at - (startsMs[index] ?? 0))
    expect(startsMs[0]).toBe(0)
    expect(pausesMs[0]).toBeGreaterThanOrEqual(WARM_POLL_MS.first)
    expect(pausesMs[0]).toBeLessThan(2 * WARM_POLL_MS.first)
    for (const [index, pause] of pausesMs.entries())
      expect(pause).toBeGreaterThanOrEqual((pausesMs[index - 1] ?? 0) - 1e-6)
    expect(pausesMs.at(-1)).toBeCloseTo(WARM_POLL_MS.longest, 6)
    expect(startsMs.length).toBeGreaterThan(100)
  })

  test('waits for a probe at most 20 ms and a twentieth of its load time', async () => {
    const { clock, startsMs } = createWarming()
    await clock.advanceTo(20_000)
    for (const [index, startMs] of startsMs.slice(1).entries())
      expect(startMs - (startsMs[index] ?? 0)).toBeLessThanOrEqual(WARM_POLL_MS.first + startMs / 20 + 1e-6)
  })

  test('is probed in the same millisecond in which it prints a line', async () => {
    const { clock, line$, startsMs } = createWarming()
    await clock.advanceTo(30_123)
    const before = startsMs.length
    line$.next('listening on port 8080')
    expect(startsMs.slice(before)).toEqual([30_123])
  })

  test('is probed at most twice for a burst of lines: at its start and at its end', async () => {
    const { clock, line$, startsMs } = createWarming()
    await clock.advanceTo(30_000)
    const before = startsMs.length
    for (let line = 0; line < 1000; line += 1) line$.next(`line ${line}`)
    await clock.advanceTo(30_010)
    expect(startsMs.slice(before)).toEqual([30_000, 30_010])
  })

  test('is probed right after a probe during which it printed a line', async () => {
    const { clock, line$, startsMs } = createWarming({ probeMs: 300 })
    await clock.advanceTo(100)
    expect(startsMs).toEqual([0])
    line$.next('model loaded')
    await clock.advanceTo(299)
    expect(startsMs).toEqual([0])
    await clock.advanceTo(300)
    expect(startsMs).toEqual([0, 300])
    await clock.advanceTo(600)
    expect(startsMs.filter((at) => at >= 300 && at <= 600)).toEqual([300])
  })

  test('has one probe at a time, however slow it is and however much it prints', async () => {
    const warming = createWarming({ probeMs: 2_000 })
    for (let atMs = 0; atMs < 20_000; atMs += 7) {
      await warming.clock.advanceTo(atMs)
      warming.line$.next('x')
    }
    expect(warming.mostRunning).toBe(1)
    expect(warming.startsMs.length).toBeGreaterThan(5)
  })

  test('stops without a subscriber', async () => {
    const { clock, line$, startsMs, watch } = createWarming()
    await clock.advanceTo(1_000)
    watch.unsubscribe()
    const before = startsMs.length
    line$.next('x')
    await clock.advanceTo(60_000)
    expect(startsMs).toHaveLength(before)
    expect(clock.pending).toBe(0)
  })

  test('is polled on when its output ends', async () => {
    const { clock, line$, verdictsMs } = createWarming()
    line$.complete()
    await clock.advanceTo(1_000)
    const before = verdictsMs.length
    await clock.advanceTo(2_000)
    expect(verdictsMs.length).toBeGreaterThan(before)
  })
})

describe('a service that is up', () => {
  test('is probed once per heartbeat, and not before the first is due', async () => {
    const clock = createVirtualClock()
    const startsMs: number[] = []
    const probe = async () => {
      startsMs.push(clock.now())
      return loading
    }
    const watch = createHeartbeat$({ probe, clock, everyMs: 10_000 }).subscribe()
    await clock.advanceTo(35_000)
    expect(startsMs).toEqual([10_000, 20_000, 30_000])
    watch.unsubscribe()
    expect(clock.pending).toBe(0)
  })

  test('misses a heartbeat while the probe before it is under way', async () => {
    const clock = createVirtualClock()
    let starts = 0
    const probe = () => {
      starts += 1
      return new Promise<Verdict>((resolve) => clock.setTimeout(() => resolve(loading), 25_000))
    }
    const watch = createHeartbeat$({ probe, clock, everyMs: 10_000 }).subscribe()
    await clock.advanceTo(39_000)
    expect(starts).toBe(1)
    await clock.advanceTo(40_000)
    expect(starts).toBe(2)
    watch.unsubscribe()
  })
})

test('changes are the verdicts that differ from the one before in kind or words', async () => {
  const told: Verdict[] = []
  const other: Verdict = { kind: 'loading', detail: '503 almost' }
  const ready: Verdict = { kind: 'ready', detail: '200' }
  of(loading, { ...loading }, other, ready, { ...ready, status: 200 }, loading)
    .pipe(distinctUntilChanged(isSameVerdict))
    .subscribe((verdict) => told.push(verdict))
  await settle()
  expect(told).toEqual([loading, other, ready, loading])
})

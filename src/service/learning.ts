import { type Observable, Subject } from 'rxjs'
import type { Amounts } from '../../machines/scheduler.ts'
import type { Clock } from '../clock.ts'
import type { ServiceEventBody } from '../events/events.ts'
import { createMemoryWatch, type MemorySample } from '../process/memory-watch.ts'
import type { ProcessTable } from '../process/table.ts'
import type { History } from './past-runs.ts'
import type { Seen } from './seen-needs.ts'
import type { MemoryUse } from './snapshot.ts'

const MIB = 1_048_576
/** When a server that fell asleep is measured, in milliseconds: its memory is given back a moment later. */
const ASLEEP_AFTER_MS = 2_000

/** What is learned of the services while they run: what they occupy, and so what they need. */
export interface Learning {
  /** The key of a service that was seen to need more than before. */
  readonly grown$: Observable<string>
  /** Emits after every look at what runs. */
  readonly looked$: Observable<void>
  /** Follows the runs of a service. */
  hear(key: string, event: ServiceEventBody): void
  /** A server fell asleep, or sleeps no longer. */
  noteSleep(key: string, isAsleep: boolean): void
  memoryOf(key: string): MemoryUse | null
  /** What a service was seen to need, in this run and in earlier ones, and how long it takes to start. */
  seenOf(key: string): Seen
  close(): void
}

export interface LearningOptions {
  readonly clock: Clock
  readonly table: ProcessTable
  readonly history: History
  readonly nvidiaSmi: () => string
}

export function createLearning({ clock, table, history, nvidiaSmi }: LearningOptions): Learning {
  const grown$ = new Subject<string>()
  const looked$ = new Subject<void>()
  const uses = new Map<string, MemoryUse & { readonly generation: string }>()

  /** Since when each server sleeps, on the clock. */
  const asleepSinceMs = new Map<string, number>()
  /** What each was seen to use while it slept. */
  const asleepNeeds = new Map<string, Amounts>()

  const noteAsleep = ({ key, ramBytes, gpuBytes }: MemorySample) => {
    const needs = toNeeds({ bytes: ramBytes, peakBytes: ramBytes, gpuBytes, gpuPeakBytes: gpuBytes })
    // Nothing is free: a measurement of 0 is one that could not be made.
    const seen = Object.fromEntries(Object.entries(needs).filter(([, amount]) => amount > 0))
    const isSame = JSON.stringify(asleepNeeds.get(key)) === JSON.stringify(seen)
    asleepNeeds.set(key, seen)
    if (!isSame) grown$.next(key)
  }
  const note = (sample: MemorySample) => {
    const { key, generation, ramBytes, gpuBytes } = sample
    const sinceMs = asleepSinceMs.get(key)
    if (sinceMs !== undefined && clock.now() - sinceMs >= ASLEEP_AFTER_MS) noteAsleep(sample)
    noteUse({ key, generation, ramBytes, gpuBytes })
  }
  const noteUse = ({ key, generation, ramBytes, gpuBytes }: MemorySample) => {
    const before = uses.get(key)
    const isSameRun = before?.generation === generation
    uses.set(key, {
      generation,
      bytes: ramBytes,
      peakBytes: Math.max(ramBytes, isSameRun ? before.peakBytes : 0),
      gpuBytes,
      gpuPeakBytes: toLarger(gpuBytes, isSameRun ? before.gpuPeakBytes : null),
    })
    const isMore =
      !isSameRun ||
      ramBytes > before.peakBytes ||
      toLarger(gpuBytes, before.gpuPeakBytes) !== before.gpuPeakBytes
    if (isMore) grown$.next(key)
  }
  const watch = createMemoryWatch({ clock, table, nvidiaSmi, onSample: note, onLook: () => looked$.next() })

  return {
    grown$,
    looked$,
    hear: (key, event) => {
      if (event.type === 'process.spawned') watch.begin()
      const use = uses.get(key)
      if (event.type !== 'process.settled' || use?.generation !== event.generation) return
      uses.delete(key)
      history.addRun(key, toNeeds(use))
    },
    noteSleep: (key, isAsleep) => {
      if (!isAsleep) return void asleepSinceMs.delete(key)
      if (asleepSinceMs.has(key)) return
      asleepSinceMs.set(key, clock.now())
      clock.setTimeout(() => {
        if (asleepSinceMs.has(key)) watch.lookOnce()
      }, ASLEEP_AFTER_MS)
    },
    memoryOf: (key) => {
      const use = uses.get(key)
      if (use === undefined) return null
      const { generation: _, ...memory } = use
      return memory
    },
    seenOf: (key) => {
      const startMs = history.startsOf(key)?.medianMs ?? null
      const asleep = asleepNeeds.get(key) ?? null
      // What it occupied before it was ready for the first time is only a part of what it needs.
      if (startMs === null) return { needs: {}, asleepNeeds: asleep, startMs }
      const use = uses.get(key)
      const before = history.needsOf(key)
      const now = use === undefined ? {} : toNeeds(use)
      const budgets = new Set([...Object.keys(before), ...Object.keys(now)])
      return {
        needs: Object.fromEntries(
          [...budgets].map((budget) => [budget, Math.max(before[budget] ?? 0, now[budget] ?? 0)]),
        ),
        asleepNeeds: asleep,
        startMs,
      }
    },
    close: watch.close,
  }
}

/** The larger of two amounts; `null` is not an amount. */
function toLarger(one: number | null, other: number | null): number | null {
  return one === null || other === null ? (one ?? other) : Math.max(one, other)
}

/** What a run occupied at the most, by the budgets that can be learned. */
function toNeeds({ peakBytes, gpuPeakBytes }: MemoryUse): Record<string, number> {
  return {
    ramMiB: Math.ceil(peakBytes / MIB),
    ...(gpuPeakBytes === null ? {} : { vramMiB: Math.ceil(gpuPeakBytes / MIB) }),
  }
}

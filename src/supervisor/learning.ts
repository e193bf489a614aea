import type { Clock } from '../clock.ts'
import type { ServiceEventBody } from '../events.ts'
import { createMemoryWatch, type MemorySample } from '../process/memory-watch.ts'
import type { ProcessTable } from '../process/table.ts'
import type { History } from './history.ts'
import type { Seen } from './sharing.ts'
import type { MemoryUse } from './snapshot.ts'

const MIB = 1_048_576

/** What is learned of the services while they run: what they occupy, and so what they need. */
export interface Learning {
  /** Follows the runs of a service. */
  hear(key: string, event: ServiceEventBody): void
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
  /** A service was seen to need more than before. */
  readonly onGrown: (key: string) => void
  /** Told after every look at what runs. */
  readonly onLook: () => void
}

export function createLearning({
  clock,
  table,
  history,
  nvidiaSmi,
  onGrown,
  onLook,
}: LearningOptions): Learning {
  const uses = new Map<string, MemoryUse & { readonly generation: string }>()

  const note = ({ key, generation, ramBytes, gpuBytes }: MemorySample) => {
    const before = uses.get(key)
    const isSameRun = before?.generation === generation
    uses.set(key, {
      generation,
      bytes: ramBytes,
      peakBytes: Math.max(ramBytes, isSameRun ? before.peakBytes : 0),
      gpuBytes,
      gpuPeakBytes: Math.max(gpuBytes, isSameRun ? before.gpuPeakBytes : 0),
    })
    const isMore =
      ramBytes > (isSameRun ? before.peakBytes : 0) || gpuBytes > (isSameRun ? before.gpuPeakBytes : 0)
    if (isMore) onGrown(key)
  }
  const watch = createMemoryWatch({ clock, table, nvidiaSmi, onSample: note, onLook })

  return {
    hear: (key, event) => {
      if (event.type === 'process.spawned') watch.begin()
      const use = uses.get(key)
      if (event.type !== 'process.settled' || use?.generation !== event.generation) return
      uses.delete(key)
      history.addRun(key, toNeeds(use))
    },
    memoryOf: (key) => {
      const use = uses.get(key)
      if (use === undefined) return null
      const { generation: _, ...memory } = use
      return memory
    },
    seenOf: (key) => {
      const use = uses.get(key)
      const before = history.needsOf(key)
      const now = use === undefined ? {} : toNeeds(use)
      const budgets = new Set([...Object.keys(before), ...Object.keys(now)])
      return {
        needs: Object.fromEntries(
          [...budgets].map((budget) => [budget, Math.max(before[budget] ?? 0, now[budget] ?? 0)]),
        ),
        startMs: history.startsOf(key)?.medianMs ?? null,
      }
    },
    close: watch.close,
  }
}

/** What a run occupied at the most, by the budgets that can be learned. */
function toNeeds({ peakBytes, gpuPeakBytes }: MemoryUse): Record<string, number> {
  return {
    ramMiB: Math.ceil(peakBytes / MIB),
    ...(gpuPeakBytes > 0 ? { vramMiB: Math.ceil(gpuPeakBytes / MIB) } : {}),
  }
}

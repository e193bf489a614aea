import type { Clock } from '../clock.ts'
import { measureMemory, readGpuMemory } from './memory.ts'
import type { ProcessTable } from './table.ts'

/** What one run occupied at one moment, in bytes. */
export interface MemorySample {
  readonly key: string
  readonly generation: string
  readonly ramBytes: number
  /** `null`: unknown. */
  readonly gpuBytes: number | null
}

/** Looks from time to time at what the running processes occupy. */
export interface MemoryWatch {
  /** Something runs, so there is something to look at. Idempotent. */
  begin(): void
  /** One look now, besides the others. */
  lookOnce(): void
  close(): void
}

export interface MemoryWatchOptions {
  readonly clock: Clock
  readonly table: ProcessTable
  /** The program that knows about GPUs. */
  readonly nvidiaSmi: () => string
  /** Told of every run that was looked at. */
  readonly onSample: (sample: MemorySample) => void
  /** Told after every look, also when nothing runs any more. */
  readonly onLook: () => void
  /** @default 5_000 */
  readonly everyMs?: number
}

/** Creates a watch. It looks at nothing before `begin`, and not after the last process is gone. */
export function createMemoryWatch({
  clock,
  table,
  nvidiaSmi,
  onSample,
  onLook,
  everyMs = 5_000,
}: MemoryWatchOptions): MemoryWatch {
  let timer: unknown
  let isClosed = false
  let isLooking = false

  const measure = async () => {
    const runs = table.entries().filter(({ state }) => state !== 'waiting')
    const gpu = runs.length > 0 ? await readGpuMemory(nvidiaSmi()) : null
    for (const { key, generation, pid } of runs) {
      if (pid === null) continue
      const pids = table.membersOf(generation)
      const ramBytes = await measureMemory(pids)
      const gpuBytes = gpu && pids.reduce((sum, member) => sum + (gpu.get(member) ?? 0), 0)
      if (!isClosed && ramBytes > 0) onSample({ key, generation, ramBytes, gpuBytes })
    }
  }
  const look = async () => {
    table.keepRecord()
    await measure()
    if (isClosed) return
    onLook()
    isLooking = table.entries().length > 0
    if (isLooking) timer = clock.setTimeout(() => void look(), everyMs)
  }

  return {
    begin: () => {
      if (isLooking || isClosed) return
      isLooking = true
      timer = clock.setTimeout(() => void look(), everyMs)
    },
    lookOnce: () => void measure(),
    close: () => {
      isClosed = true
      clock.clearTimeout(timer)
    },
  }
}

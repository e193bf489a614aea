import {
  debounceTime,
  exhaustMap,
  finalize,
  forkJoin,
  map,
  merge,
  type Observable,
  of,
  Subject,
  scan,
  startWith,
  takeUntil,
  timer,
} from 'rxjs'
import { type Clock, toScheduler } from '../clock.ts'
import type { Gpu, Gpus } from '../process/gpus.ts'
import type { HostFacts, HostReading } from '../process/host-reading.ts'

/** Time between two samples, in milliseconds. */
const EVERY_MS = 5_000
/** The second sample comes earlier: the processor's load is the difference of two. */
const SECOND_MS = 1_000
/** How long samples are taken after the last look, in milliseconds. */
const LINGER_MS = 20_000
/** Samples that are kept: one hour. */
const MAX_SAMPLES = 720

/** One GPU at one moment. `null`: it does not tell. */
export type GpuSample = Pick<
  Gpu,
  'index' | 'utilisationPercent' | 'temperatureC' | 'memoryTemperatureC' | 'powerWatts' | 'fanPercent'
> & { readonly memoryUsedMiB: number | null }

/** What does not change about the GPUs. */
export interface GpuFacts {
  readonly program: string
  readonly driver: string | null
  readonly list: readonly (Pick<Gpu, 'index' | 'name' | 'powerLimitWatts'> & {
    readonly memoryMiB: number | null
  })[]
}

/** The host and its GPUs at one moment. */
export interface HardwareSample {
  /** On the clock of the events, in whole milliseconds. */
  readonly atMs: number
  /** Part of the time since the sample before in which the processor worked; `null`: there is none before. */
  readonly cpuPercent: number | null
  /** The same of each thread. */
  readonly threadPercents: readonly number[] | null
  readonly load: HostReading['load']
  readonly memoryUsedMiB: number
  readonly swapUsedMiB: number | null
  /** Bytes per second of each network interface since the sample before; `null`: there is none before. */
  readonly network:
    | readonly { readonly name: string; readonly receivedPerSecond: number; readonly sentPerSecond: number }[]
    | null
  /** Empty: there is none, or it did not answer. */
  readonly gpus: readonly GpuSample[]
}

/** The answer of `GET /api/hardware`. */
export interface Hardware {
  readonly atMs: number
  /** Time between two samples while they are looked at. */
  readonly everyMs: number
  readonly host: HostFacts
  /** `null`: no GPU is known. */
  readonly gpus: GpuFacts | null
  /** Oldest first. There are none of the times in which they were not looked at. */
  readonly samples: readonly HardwareSample[]
}

/** What is read of a host. */
export interface HardwareReaders {
  readHostFacts(): Promise<HostFacts>
  readHost(): Promise<HostReading>
  /** The signal ends a program that is asked. */
  readGpus(signal: AbortSignal): Promise<Gpus | null>
}

export interface HardwareWatchOptions extends HardwareReaders {
  readonly clock: Clock
  /** The clock of the events. */
  readonly nowMs: () => number
}

/** Samples of the hardware, taken only while they are looked at. */
export interface HardwareWatch {
  /**
   * Looks: samples are taken until 20 s after the last look. Waits for the first one.
   * @param afterMs only samples after this moment @default all
   */
  look(afterMs?: number): Promise<Hardware>
  close(): void
}

interface Reading {
  readonly atMs: number
  readonly host: HostReading
  readonly gpus: Gpus | null
}

/** A reading, and the sample that it gives with the reading before. */
interface Step {
  readonly reading: Reading
  readonly sample: HardwareSample
}

/** Creates a watch. It reads nothing and has no timer before the first look. */
export function createHardwareWatch({
  clock,
  nowMs,
  readHostFacts,
  readHost,
  readGpus,
}: HardwareWatchOptions): HardwareWatch {
  const scheduler = toScheduler(clock)
  const looks$ = new Subject<void>()
  const closed$ = new Subject<void>()
  const samples: HardwareSample[] = []
  let waiting: (() => void)[] = []
  let gpus: GpuFacts | null = null
  let facts: Promise<HostFacts> | undefined

  const read = (): Observable<Reading> => {
    const leaving = new AbortController()
    const atMs = Math.round(nowMs())
    return forkJoin({ host: readHost(), gpus: readGpus(leaving.signal) }).pipe(
      map((both) => ({ atMs, ...both })),
      finalize(() => leaving.abort()),
    )
  }
  /** One watch: from a look until there was none for a while. */
  const watch = (): Observable<Step> => {
    const unwatched$ = looks$.pipe(startWith(undefined), debounceTime(LINGER_MS, scheduler))
    return merge(of(0), timer(SECOND_MS, EVERY_MS, scheduler)).pipe(
      exhaustMap(read),
      scan<Reading, Step, undefined>(toStep, undefined),
      takeUntil(unwatched$),
    )
  }
  const keep = ({ reading, sample }: Step) => {
    samples.push(sample)
    if (reading.gpus !== null) gpus = toGpuFacts(reading.gpus)
    if (samples.length > MAX_SAMPLES * 1.2) samples.splice(0, samples.length - MAX_SAMPLES)
    wake()
  }
  const wake = () => {
    for (const resolve of waiting) resolve()
    waiting = []
  }
  const watching = looks$
    .pipe(exhaustMap(watch), takeUntil(closed$))
    .subscribe({ next: keep, complete: wake })
  const isFresh = () => nowMs() - (samples.at(-1)?.atMs ?? Number.NEGATIVE_INFINITY) < 2 * EVERY_MS

  return {
    look: async (afterMs = Number.NEGATIVE_INFINITY) => {
      looks$.next()
      facts ??= readHostFacts()
      const host = await facts
      if (!isFresh() && !watching.closed) await new Promise<void>((resolve) => waiting.push(resolve))
      return {
        atMs: Math.round(nowMs()),
        everyMs: EVERY_MS,
        host,
        gpus,
        samples: samples.slice(-MAX_SAMPLES).filter(({ atMs }) => atMs > afterMs),
      }
    },
    close: () => closed$.next(),
  }
}

function toGpuFacts({ program, driver, list }: Gpus): GpuFacts {
  return {
    program,
    driver: driver ?? null,
    list: list.map(({ index, name, totalMiB, powerLimitWatts }) => ({
      index,
      name,
      memoryMiB: totalMiB,
      powerLimitWatts,
    })),
  }
}

function toStep(before: Step | undefined, reading: Reading): Step {
  return { reading, sample: toSample(before?.reading, reading) }
}

/** A reading, and how much was used since the one before. */
function toSample(before: Reading | undefined, { atMs, host, gpus }: Reading): HardwareSample {
  const seconds = before === undefined ? 0 : (atMs - before.atMs) / 1_000
  const { threads, load, memoryUsedMiB, swapUsedMiB, traffic } = host
  const usage = seconds > 0 && before !== undefined ? toUsage(before.host.threads, threads) : null
  return {
    atMs,
    cpuPercent: usage?.all ?? null,
    threadPercents: usage?.each ?? null,
    load,
    memoryUsedMiB,
    swapUsedMiB,
    network: seconds > 0 && traffic !== null ? toRates(before?.host.traffic ?? [], traffic, seconds) : null,
    gpus: (gpus?.list ?? []).map(({ name: _, totalMiB: __, powerLimitWatts: ___, usedMiB, ...sample }) => ({
      ...sample,
      memoryUsedMiB: usedMiB,
    })),
  }
}

/** `null`: the threads are others, because some were switched off or on. */
function toUsage(
  before: HostReading['threads'],
  now: HostReading['threads'],
): { readonly all: number; readonly each: readonly number[] } | null {
  if (before.length !== now.length || now.length === 0) return null
  const parts = now.map(({ busy, total }, index) => ({
    busy: busy - (before[index]?.busy ?? 0),
    total: total - (before[index]?.total ?? 0),
  }))
  const sum = (of: 'busy' | 'total') => parts.reduce((all, part) => all + part[of], 0)
  return {
    all: Math.round(toPercent(sum('busy'), sum('total')) * 10) / 10,
    each: parts.map(({ busy, total }) => Math.round(toPercent(busy, total))),
  }
}

/** The kernel's counters may go back a little. */
function toPercent(part: number, whole: number): number {
  return whole > 0 ? Math.min(100, Math.max(0, (100 * part) / whole)) : 0
}

function toRates(
  before: NonNullable<HostReading['traffic']>,
  now: NonNullable<HostReading['traffic']>,
  seconds: number,
): NonNullable<HardwareSample['network']> {
  return now.flatMap(({ name, receivedBytes, sentBytes }) => {
    const earlier = before.find((one) => one.name === name)
    if (earlier === undefined) return []
    // An interface that went down and up counts from 0.
    const toRate = (bytes: number) => Math.max(0, Math.round(bytes / seconds))
    return {
      name,
      receivedPerSecond: toRate(receivedBytes - earlier.receivedBytes),
      sentPerSecond: toRate(sentBytes - earlier.sentBytes),
    }
  })
}

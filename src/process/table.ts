import { randomUUID } from 'node:crypto'
import type { RunState } from '../../machines/run.ts'
import { type Clock, systemClock } from '../clock.ts'
import type { Output } from './output.ts'
import { createOwnerRecord } from './owner-record.ts'
import { createRun, type Run, type RunHandle, type RunListener, type RunOptions } from './run.ts'
import type { SendSignal } from './signals.ts'
import type { StateDirectory } from './state-directory.ts'
import { createWatchdog, type Watchdog, type WatchdogOptions, type WatchdogStatus } from './watchdog.ts'

/** What a table works with. */
export interface ProcessTableOptions {
  /** The host's environment, from which a child is given an allow-listed part. */
  readonly environment: Readonly<Record<string, string | undefined>>
  /** @default the host's clock */
  readonly clock?: Clock
  /** Masks secrets in a line of output. @default nothing */
  readonly clean?: (text: string) => string
  /** The longest a sweep takes, in milliseconds. @default 3_000 */
  readonly sweepMs?: number
  /** Every signal goes through here: to audit them, or to withhold them. @default process.kill */
  readonly sendSignal?: SendSignal
  /** Whether a process of its own, started with the first run, ends every tree when this process is gone. @default false */
  readonly watchdog?: boolean
  /** Told when no watchdog can be kept running, and when one runs again. */
  readonly onWatchdogEvent?: WatchdogOptions['onEvent']
  /** Where the table writes down what it runs, from before the first spawn until it is closed. @default nowhere */
  readonly stateDirectory?: () => StateDirectory
}

/** One run, for display. All JSON. `survived`: settled, but a part of its tree is still alive. */
export interface ProcessEntry {
  readonly key: string
  readonly generation: string
  readonly pid: number | null
  /** Wall clock. `null` before the spawn. */
  readonly startedAtMs: number | null
  readonly state: Exclude<RunState, 'settled'> | 'survived'
}

/** The last owner of every process: it outlives the actors that asked for them. */
export interface ProcessTable {
  /** Stands as `LEASEHOLD_OWNER` in the environment of every process of this table. */
  readonly owner: string
  /**
   * Runs a process and reports, never before this returns and in this order: `process.spawned`, or
   * `process.failed` and nothing more; `process.signalled` once per signal we send, where SIGKILL to the rest of
   * a tree comes after the exit of its leader; `process.exited`; and exactly one `process.settled`, which comes
   * without an exit when the leader would not die.
   * A run waits until every earlier one of its key is settled, and fails if a part of one is still alive.
   */
  run(options: RunOptions, listener: RunListener): RunHandle
  /** Ends whatever runs or waits under a key. Settles when all of it has. */
  reap(key: string): Promise<void>
  /** SIGKILL to every tree, before this returns: for a handler of the process's own exit. */
  killAllSync(): void
  /** Everything that waits, runs or survived. */
  entries(): readonly ProcessEntry[]
  /** Writes the record again where it was deleted. Never throws: the next spawn tells what is wrong. */
  keepRecord(): void
  /** Whether there is a process that ends every tree when this one is gone. */
  watchdog(): WatchdogStatus
  /** Processes of a run, looked up now. Empty for one that is over. */
  membersOf(generation: string): readonly number[]
  /** What the last process of a key printed, also after its end. */
  outputOf(key: string): Output | undefined
  /** Drops what is kept of a key. Nothing happens while anything of it waits, runs or survives. */
  forget(key: string): void
  /** Reaps every key; runs asked for afterwards fail. Idempotent. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** The runs of one key. */
interface Slot {
  /** Oldest first: all that are not settled, and the settled ones with survivors. */
  runs: readonly Run[]
  /** The last run that had a process. */
  last: Run | undefined
  /** Settles when every run so far has. */
  vacated: Promise<void>
}

/** Creates an empty table. It installs no handler and starts nothing by itself. */
export function createProcessTable({
  environment,
  clock = systemClock,
  clean = (text) => text,
  sweepMs,
  sendSignal,
  watchdog: isWatched = false,
  onWatchdogEvent,
  stateDirectory,
}: ProcessTableOptions): ProcessTable {
  const owner = randomUUID()
  const slots = new Map<string, Slot>()
  let isClosed = false
  let watchdog: Watchdog | undefined
  const record = stateDirectory && createOwnerRecord(owner, stateDirectory)

  const findSlot = (key: string): Slot => {
    const slot = slots.get(key) ?? { runs: [], last: undefined, vacated: Promise.resolve() }
    slots.set(key, slot)
    return slot
  }
  const prune = (slot: Slot) => {
    slot.last = slot.runs.findLast((run) => run.output() !== undefined) ?? slot.last
    slot.runs = slot.runs.filter(
      (run) =>
        run.state() !== 'settled' || run.survivors().length > 0 || run.isPortHeld() || run.isServerLeft(),
    )
  }
  const reap = async (key: string) => {
    const slot = slots.get(key)
    for (const run of slot?.runs ?? []) run.sweep()
    await slot?.vacated
  }
  const close = async () => {
    isClosed = true
    await Promise.all([...slots.keys()].map(reap))
    await watchdog?.close()
    if ([...slots.values()].every(({ runs }) => runs.length === 0)) record?.close()
  }

  return {
    owner,
    run(options, listener) {
      if (isWatched && !isClosed)
        watchdog ??= createWatchdog({ owner, environment, onEvent: onWatchdogEvent, record })
      const slot = findSlot(options.key)
      const earlier = slot.runs
      const vacated = slot.vacated.then(() => ({
        pids: earlier.flatMap((run) => run.survivors()),
        isServerLeft: earlier.some((run) => run.isServerLeft()),
      }))
      const surroundings = {
        clock,
        clean,
        environment,
        owner,
        sweepMs,
        sendSignal,
        watchdog,
        record,
        vacated,
      }
      const run = createRun(options, listener, surroundings)
      slot.runs = [...slot.runs, run]
      slot.vacated = Promise.all([slot.vacated, run.settled]).then(() => prune(slot))
      if (isClosed) run.kill()
      return run
    },
    reap,
    killAllSync() {
      for (const run of [...slots.values()].flatMap(({ runs }) => runs)) run.kill()
    },
    entries: () =>
      [...slots].flatMap(([key, slot]) => {
        prune(slot)
        return slot.runs.map((run) => buildEntry(key, run))
      }),
    keepRecord() {
      try {
        record?.open()
      } catch {
        // What runs goes on without one.
      }
    },
    watchdog: () => watchdog?.status() ?? { pid: null, problem: null },
    membersOf: (generation) =>
      [...slots.values()]
        .flatMap(({ runs }) => runs)
        .find((run) => run.generation === generation)
        ?.members() ?? [],
    outputOf(key) {
      const slot = slots.get(key)
      return (slot?.runs.findLast((run) => run.output() !== undefined) ?? slot?.last)?.output()
    },
    forget(key) {
      const slot = slots.get(key)
      if (slot === undefined) return
      prune(slot)
      if (slot.runs.length === 0) slots.delete(key)
    },
    close,
    [Symbol.asyncDispose]: close,
  }
}

function buildEntry(key: string, run: Run): ProcessEntry {
  const state = run.state()
  return {
    key,
    generation: run.generation,
    pid: run.pid(),
    startedAtMs: run.startedAtMs(),
    state: state === 'settled' ? 'survived' : state,
  }
}

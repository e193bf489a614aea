import { createActor, fromCallback, fromPromise } from 'xstate'
import type { Failure, PortHolder, ProcessEvent, Receipt } from '../../machines/messages.ts'
import {
  type RunEvent,
  type RunReport,
  type RunState,
  runMachine,
  type StopSignal,
} from '../../machines/run.ts'
import { findTellingLine, type TellingLine } from '../../machines/telling-line.ts'
import { afterTurn, type Clock, settledWithin } from '../clock.ts'
import { fillGeneration } from '../text/generation-mark.ts'
import { toShortText } from '../text/plain-text.ts'
import { type Command, toArgv } from './command.ts'
import { buildChildEnvironment, type Markers } from './environment.ts'
import { createOutput, type Output } from './output.ts'
import { createOutside, type OutsideCommands } from './outside.ts'
import type { OwnerRecord } from './owner-record.ts'
import type { SendSignal } from './signals.ts'
import { type OwnedChild, raiseOomScore, spawnChild } from './spawn.ts'
import { createStop, type Stop } from './stop.ts'
import {
  type Address,
  describeTaken,
  findPortHolder,
  isListenedAt,
  isOlder,
  isPortFree,
  untilPortFree,
  untilPortTaken,
} from './tcp-ports.ts'
import { isAlive, type ProcessIdentity } from './tree.ts'
import type { Watchdog } from './watchdog.ts'

/** What to run, and under which names. */
export interface RunOptions {
  /** The service's key: at most one process of a key lives at any time. */
  readonly key: string
  /** This run's id, never used before. It stands in the environment of the whole tree. */
  readonly generation: string
  /** Absolute path, executed as it is written and without a shell; or our own program that sends requests. */
  readonly command: string
  readonly args: readonly string[]
  /** @default the directory of this process */
  readonly cwd?: string
  /** Variables to set for the child. @default {} */
  readonly env?: Readonly<Record<string, string>>
  /** Exact names of host variables to pass on besides the usual ones. @default [] */
  readonly inheritEnv?: readonly string[]
  /**
   * Awaited between `terminate()` and SIGTERM, for at most two seconds and whatever its outcome: the time
   * to close what we hold open to the process, because some servers do not end with a request in flight.
   * @default SIGTERM in the same tick
   */
  readonly beforeSignal?: () => Promise<void>
  /** Where it will listen: nothing is spawned while that is taken, and the receipt says when it stays taken. */
  readonly address?: Address
  /** How the server is asked about and ended where that is more than its process. */
  readonly outside?: OutsideCommands
}

/** Told everything that happens to one run, in order. One that throws is reported as a process warning. */
export type RunListener = (event: ProcessEvent) => void

/** What can be asked of a run. Nothing throws, and everything may be asked at any time, even twice. */
export interface RunHandle {
  readonly generation: string
  /** The child; `null` before the spawn. */
  pid(): number | null
  /**
   * SIGTERM to the whole tree after `beforeSignal`, once whatever is asked later. What is left when the leader has
   * exited is not killed before `kill` or `sweep`. Before the spawn: there will be none.
   */
  terminate(): void
  /** Calls off a `terminate` whose signal is not sent yet. */
  spare(): void
  /** SIGKILL to the whole tree, synchronously. Before the spawn: there will be none. */
  kill(): void
  /** `kill`, and a receipt within a bounded time even if the process will not die. */
  sweep(): void
  /** Asks the kernel whether the child lives: it may be dead before its exit is reported. */
  isAlive(): boolean
  /** Whether the child has exited, and its server outside the tree goes on. */
  isDetached(): boolean
  /** Processes of its tree, looked up now. Empty before the spawn. */
  members(): readonly number[]
}

/** One run as its table sees it. */
export interface Run extends RunHandle {
  state(): RunState
  /** Wall clock, for display. `null` before the spawn. */
  startedAtMs(): number | null
  /** What it printed. `undefined` before the spawn. */
  output(): Output | undefined
  /** Processes of its tree that are known and alive now. */
  survivors(): readonly number[]
  /** Whether something still listens at its address since its receipt said so. */
  isPortHeld(): boolean
  /** Whether its server outside the tree may still be there since its receipt said so. */
  isServerLeft(): boolean
  /** Settles after the last event was given to the listener. Never rejects. */
  readonly settled: Promise<void>
}

/** What a table gives to every run. */
export interface RunSurroundings {
  readonly clock: Clock
  /** Masks secrets in a line of output. */
  readonly clean: (text: string) => string
  /** The host's environment. */
  readonly environment: Readonly<Record<string, string | undefined>>
  /** The table's id. */
  readonly owner: string
  readonly sweepMs?: number
  readonly sendSignal?: SendSignal
  /** Ends the tree after the death of this process. Absent: it is not ended. */
  readonly watchdog?: Watchdog
  /** Records the tree for the supervisor that cleans up after our death. Absent: no record. */
  readonly record?: OwnerRecord
  /** Settles when the key is free, with everything of it that could not be ended. */
  readonly vacated: Promise<Leftovers>
}

/** What earlier runs of a key left. */
export interface Leftovers {
  readonly pids: readonly number[]
  /** Whether a server outside the tree may still be there. */
  readonly isServerLeft: boolean
}

const RUN_STATES = ['waiting', 'running', 'stopping', 'exited', 'settled'] as const

/** How long an exit is held back for the last words in the pipes: with the tree dead they end at once. */
const LAST_WORDS_MS = 200
/** A process that ends with 0 so soon after its birth may have left its server in the background. */
const FOREGROUND_MS = 10_000
/** Lines of output told with an exit. */
const TAIL_LINES = 20
/** Of each of these lines, in characters: exits are events, and events are kept. */
const MAX_TOLD_LINE = 1_000

/** Begins a run. Its life is the chart in `machines/run.ts`; nothing is reported before this returns. */
export function createRun(options: RunOptions, listener: RunListener, surroundings: RunSurroundings): Run {
  const { generation, beforeSignal, address, outside: commands } = options
  const { clock, sweepMs, sendSignal, watchdog, record, clean } = surroundings
  const cancel = new AbortController()
  /** Processes of its tree that were found outside its session. */
  const found = new Set<number>()
  /** The program may have the right to open a port below 1024 that we lack. */
  let isForbidden = false
  /** It ended because another process has its port. */
  let wasPortTaken = false
  /** Where a process still listened when the receipt was written. */
  let heldAt: Address | undefined
  /** The processes of its tree that listened when its leader ended with 0 by itself. */
  let left: PortHolder | undefined
  let own: Own | undefined

  const tell = (report: RunReport) => {
    try {
      listener(withGeneration(report, generation))
    } catch (error) {
      process.emitWarning(error instanceof Error ? error : String(error), {
        type: 'LeaseholdListenerWarning',
      })
    }
  }
  const take = (child: OwnedChild) => {
    watchdog?.arm(child)
    record?.add(child)
    // A worker with a clean environment is known by its parent alone, so the watchdog and the next supervisor must be told of it.
    const onFound = (member: ProcessIdentity) => {
      found.add(member.pid)
      watchdog?.arm(member)
      record?.add(member)
      raiseOomScore(member.pid)
    }
    const onLeft = (members: readonly number[]) => {
      const holder = address === undefined ? undefined : findPortHolder(address, members)
      if (holder !== undefined && holder.ours.length > 0) left = holder
    }
    const stop = createStop(child, {
      generation,
      clock,
      sweepMs,
      onFound,
      onLeft,
      sendSignal,
      isExternal: commands?.isExternal,
    })
    const output = createOutput({ clock, clean })
    output.attach('stdout', child.stdout)
    output.attach('stderr', child.stderr)
    own = { child, stop, output, startedAtMs: Date.now(), bornAtMs: clock.now() }
  }
  const environmentOf = (markers: Markers) => {
    const { env, inheritEnv } = options
    return buildChildEnvironment({ host: surroundings.environment, env, inheritEnv, markers })
  }
  const server = commands && fillServer(commands, generation)
  const outside =
    server &&
    createOutside({
      commands: server,
      env: environmentOf({}),
      cwd: options.cwd,
      clock,
      onFound: (id) => record?.identifyServer(generation, id),
    })
  /** From before the spawn on, so that the server is ended after our death, too. */
  const armServer = () => {
    if (server === undefined) return
    record?.addServer({ generation, key: options.key, ...server })
    const { stop, status } = server
    watchdog?.armServer({ generation, stop, status, env: environmentOf({}), cwd: options.cwd })
  }
  const disarmServer = () => {
    record?.removeServer(generation)
    watchdog?.disarmServer(generation)
  }
  const isListening = async () =>
    address !== undefined && !(await isPortFree(address.host, address.port).catch(() => true))
  const taken = (): Own => {
    if (own === undefined) throw new Error('the chart of a run asked for a process before its spawn')
    return own
  }

  const prepare = async (): Promise<Failure | null> => {
    const leftovers = await Promise.race([surroundings.vacated, aborted(cancel.signal)])
    if (leftovers.pids.length > 0) return buildLeftoverFailure(leftovers.pids)
    if (leftovers.isServerLeft || (await outside?.ask()) === 'there') return buildThereFailure(leftovers)
    const isFree =
      address === undefined ||
      (await isPortFree(address.host, address.port).catch((error) => {
        isForbidden = error.code === 'EACCES'
        return true
      }))
    if (address !== undefined && !isFree) return buildTakenFailure(address)
    const failure = findRecordFailure(record)
    if (failure === undefined) armServer()
    return failure ?? null
  }
  const spawn = (report: (event: RunEvent) => void) => {
    const markers: Markers = { LEASEHOLD_OWNER: surroundings.owner, LEASEHOLD_GENERATION: generation }
    const { command, args, cwd } = options
    const [program = '', ...rest] = toArgv([command, ...args])
    return spawnChild({
      command: program,
      args: rest.map((text) => fillGeneration(text, generation)),
      cwd,
      env: environmentOf(markers),
      markers,
      signal: cancel.signal,
      onSpawn: (child) => {
        take(child)
        report({ type: 'process.spawned', pid: child.pid })
      },
    }).then((result) => {
      if (result.ok) return
      disarmServer()
      report({ type: 'process.failed', failure: result.failure })
    })
  }
  const explain = async (): Promise<Extract<RunReport, { type: 'process.exited' }>> => {
    const { child, stop, output, bornAtMs } = taken()
    await settledWithin(clock, child.drained, LAST_WORDS_MS)
    // What it had answered before it ended may wait in our sockets: it is read before its end is told.
    await new Promise<void>(afterTurn)
    const lines = output.tail().map(({ text }) => text)
    const telling = explainExit(lines, isForbidden, address?.port)
    wasPortTaken = telling?.cause === 'port'
    const portHolder =
      telling?.cause === 'port' && address !== undefined ? findPortHolder(address, stop.members()) : undefined
    const { exitCode = null, signal = null } = child.exitStatus() ?? {}
    const { signals, isDetached } = actor.getSnapshot().context
    const isUnasked = signals.length === 0
    const isQuickEnd = clock.now() - bornAtMs < FOREGROUND_MS
    const daemon =
      exitCode === 0 && isUnasked && address !== undefined && commands?.isExternal !== true
        ? (left ?? (await findDaemon(address, isQuickEnd, child.startTicks, clock)))
        : undefined
    return {
      type: 'process.exited',
      exitCode,
      signal,
      tail: lines.slice(-TAIL_LINES).map((line) => toShortText(line, MAX_TOLD_LINE)),
      ...(telling === undefined ? {} : { telling }),
      ...(portHolder === undefined ? {} : { portHolder }),
      ...(daemon === undefined ? {} : { daemon }),
      ...(isUnasked && isDetached ? { isServerGone: true } : {}),
      ...(isUnasked && isDetached && commands?.isModel ? { isUnloaded: true } : {}),
    }
  }
  const settle = async (isFound: boolean, isLoadOpen: boolean): Promise<Receipt> => {
    const { child, stop, output } = taken()
    const swept = await stop.sweep()
    const ended = await outside?.settle(isListening, isFound, isLoadOpen)
    const portHolder =
      address === undefined ? undefined : await untilPortFree(address, clock, child.startTicks)
    const isPortHeld =
      portHolder !== undefined && !wasPortTaken && !isOlder(portHolder, child.startTicks ?? 0)
    if (isPortHeld) heldAt = address
    if (swept.survivors.length === 0) {
      for (const pid of [child.pid, ...found]) {
        watchdog?.disarm(pid)
        record?.remove(pid)
      }
    }
    if (ended?.status === 'gone') disarmServer()
    output.close()
    return {
      ...swept,
      ...(ended === undefined ? {} : { outside: ended }),
      ...(portHolder === undefined ? {} : { portHolder }),
      ...(isPortHeld ? { isPortHeld } : {}),
    }
  }
  /** Signals the tree. The chart is told when a process was left to get the signal. */
  const end = (signal: StopSignal, act: (stop: Stop) => void) => {
    if (own === undefined) return
    const { child, stop } = own
    const isTreeLeft = child.exitStatus() === undefined || stop.survivors().length > 0
    act(stop)
    // No signal reaches a server outside of the tree, whose client may have ended long ago.
    if (signal === 'SIGKILL') void outside?.end()
    if (isTreeLeft) actor.send({ type: 'process.signalled', signal })
  }

  const machine = runMachine.provide({
    actors: {
      prepare: fromPromise(prepare),
      spawn: fromCallback<RunEvent, undefined, RunEvent>(({ sendBack }) => void spawn(sendBack)),
      leader: fromCallback<RunEvent, undefined, RunEvent>(({ sendBack }) => {
        const { child, stop } = taken()
        void Promise.race([child.exited, stop.receipt]).then(() => {
          const status = child.exitStatus()
          sendBack(status === undefined ? { type: 'leader.stuck' } : { type: 'leader.exited', ...status })
        })
      }),
      ask: fromPromise(async () => outside?.ask() ?? 'unknown'),
      close: fromPromise(async () => beforeSignal?.()),
      command: fromPromise<void, { readonly isAgain: boolean }>(async ({ input }) =>
        outside?.end(input.isAgain),
      ),
      explain: fromPromise(explain),
      rest: fromPromise(async () => {
        await Promise.all([taken().stop.left(), outside?.end()])
      }),
      settle: fromPromise<Receipt, { readonly isFound: boolean; readonly isLoadOpen: boolean }>(({ input }) =>
        settle(input.isFound, input.isLoadOpen),
      ),
      retry: fromPromise(async () => {
        const { status } = (await outside?.retry(isListening)) ?? { status: 'gone' }
        return status
      }),
    },
    actions: {
      cancelSpawn: () => cancel.abort(),
      terminate: () => end('SIGTERM', (stop) => stop.terminate()),
      kill: () => end('SIGKILL', (stop) => stop.kill()),
      disarm: disarmServer,
      sweep: () =>
        end('SIGKILL', (stop) => {
          stop.kill()
          void stop.sweep()
        }),
    },
  })
  const actor = createActor(machine, {
    clock,
    input: {
      closesFirst: beforeSignal !== undefined,
      hasStopCommand: commands !== undefined,
      hasStatusCommand: commands?.status !== undefined,
      isExternal: commands?.isExternal === true,
      isModel: commands?.isModel === true,
      loadOutlastsMs: commands?.loadOutlastsMs ?? 0,
    },
  })
  const state = () => RUN_STATES.find((tag) => actor.getSnapshot().hasTag(tag)) ?? 'waiting'
  const isDetached = () => state() === 'running' && actor.getSnapshot().context.isDetached
  // A report is given on when the state that follows from it can be seen.
  const reports: RunReport[] = []
  actor.on('*', (report) => reports.push(report))
  const settled = new Promise<void>((resolve, reject) => {
    actor.subscribe({
      next: () => {
        for (const report of reports.splice(0)) tell(report)
        if (state() === 'settled') resolve()
      },
      error: reject,
    })
  })
  actor.start()

  return {
    generation,
    terminate: () => actor.send({ type: 'run.terminate' }),
    spare: () => actor.send({ type: 'run.spare' }),
    kill: () => actor.send({ type: 'run.kill' }),
    sweep: () => actor.send({ type: 'run.sweep' }),
    isAlive: () =>
      own !== undefined &&
      (own.child.exitStatus() === undefined ? isAlive(own.child.pid, own.child.startTicks) : isDetached()),
    isDetached,
    state,
    pid: () => own?.child.pid ?? null,
    startedAtMs: () => own?.startedAtMs ?? null,
    output: () => own?.output,
    survivors: () => own?.stop.survivors() ?? [],
    isPortHeld: () => {
      if (heldAt !== undefined && !isListenedAt(heldAt)) heldAt = undefined
      return heldAt !== undefined
    },
    isServerLeft: () => actor.getSnapshot().context.isServerLeft,
    members: () => own?.stop.members() ?? [],
    settled,
  }
}

/** The process of a run, from its spawn on. */
interface Own {
  readonly child: OwnedChild
  readonly stop: Stop
  readonly output: Output
  /** Wall clock, for display. */
  readonly startedAtMs: number
  readonly bornAtMs: number
}

/** A failure names its generation as well, because it is kept when the event is gone. */
function withGeneration(report: RunReport, generation: string): ProcessEvent {
  if (report.type !== 'process.failed') return { ...report, generation }
  return { ...report, generation, failure: { ...report.failure, generation } }
}

/** The processes that listen at an address after a leader has ended: it may have left them there, a moment ago. */
async function findDaemon(
  address: Address,
  isWaitedFor: boolean,
  bornAtTicks: number | undefined,
  clock: Clock,
): Promise<PortHolder | undefined> {
  const holder = isWaitedFor ? await untilPortTaken(address, clock) : findPortHolder(address, [])
  return holder === undefined || isOlder(holder, bornAtTicks ?? 0) ? undefined : holder
}

/** Nothing left, when the signal is aborted: the spawn that follows sees it and refuses. */
function aborted(signal: AbortSignal): Promise<Leftovers> {
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve({ pids: [], isServerLeft: false }), { once: true })
  })
}

/**
 * Why it ended, by all that it printed. Servers that may not open their port say that it is taken, or that they failed.
 * The program may run as a user with fewer rights than ours: then only its words say that its port is forbidden.
 */
function explainExit(
  lines: readonly string[],
  isForbidden: boolean,
  port = FIRST_FREE_PORT,
): TellingLine | undefined {
  const telling = findTellingLine(lines)
  const isAboutPort = isForbidden
    ? ['port', 'permission', 'other'].includes(telling?.cause ?? 'other')
    : port < FIRST_FREE_PORT && telling !== undefined && isBindRefusal(telling)
  if (!isAboutPort) return telling
  const line = telling === undefined ? '' : ` (${telling.line})`
  return { cause: 'port-permission', line: `this user may not open its port, which is below 1024${line}` }
}

/** The first port that every user may open. */
const FIRST_FREE_PORT = 1024

/** llama-server names no reason: its port was free before the spawn. An error about a file names the file. */
function isBindRefusal({ cause, line }: TellingLine): boolean {
  if (cause === 'port') return !/EADDRINUSE|in use/i.test(line)
  return (
    cause === 'permission' && /\b(?:listen|bind|socket|port)\b|\[Errno 13\] Permission denied$/i.test(line)
  )
}

function buildTakenFailure(address: Address): Failure {
  return {
    code: 'LEASEHOLD_PORT_TAKEN',
    message: describeTaken(address, findPortHolder(address, [])),
    retry: 'later',
  }
}

/** The owner record must exist before the first spawn: after a crash its processes could not be found. */
function findRecordFailure(record: OwnerRecord | undefined): Failure | undefined {
  try {
    record?.open()
    return undefined
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    return { code: 'LEASEHOLD_STATE_UNUSABLE', message: `not spawned without a record: ${message}` }
  }
}

/** A server outside the tree that is there before the spawn: of an earlier run, or of another program. */
function buildThereFailure({ isServerLeft }: Leftovers): Failure {
  const whose = isServerLeft
    ? 'its stopCommand has not ended the server of an earlier run; stop that server yourself'
    : 'its statusCommand says that the server is there already, and nothing proves that it is ours: stop it, or give this one another name'
  return { code: 'LEASEHOLD_SPAWN_FAILED', message: `not spawned, because ${whose}`, retry: 'later' }
}

function fillServer({ stop, status, ...rest }: OutsideCommands, generation: string): OutsideCommands {
  const fill = (command: Command) => command.map((text) => fillGeneration(text, generation))
  return { ...rest, stop: stop.map(fill), ...(status === undefined ? {} : { status: fill(status) }) }
}

function buildLeftoverFailure(pids: readonly number[]): Failure {
  const named =
    pids.length === 1
      ? `process ${pids[0]} of an earlier run is`
      : `processes ${pids.join(', ')} of an earlier run are`
  return { code: 'LEASEHOLD_SPAWN_FAILED', message: `not spawned, because the ${named} still alive` }
}

import { and, fromCallback, fromPromise, not, setup } from 'xstate'
import { type Failure, isServerLeft, type Presence, type ProcessEvent, type Receipt } from './messages.ts'

/** How a run is told to end: a signal to its tree, or the command that ends a server outside of it. */
export type StopSignal = 'SIGTERM' | 'SIGKILL' | 'stopCommand'

/** A report about the run: an event of the process effect without its generation. */
export type RunReport = ProcessEvent extends infer Event
  ? Event extends ProcessEvent
    ? Omit<Event, 'generation'>
    : never
  : never

/** Events of a run: what is asked of it, and what its effects report. All JSON. */
export type RunEvent =
  | { readonly type: 'run.terminate' | 'run.spare' | 'run.kill' | 'run.sweep' }
  | { readonly type: 'process.spawned'; readonly pid: number }
  | { readonly type: 'process.failed'; readonly failure: Failure }
  /** A stop signal was sent, and a process was there to get it; or the stop command was begun. */
  | { readonly type: 'process.signalled'; readonly signal: StopSignal }
  /** The leader has exited. */
  | ({ readonly type: 'leader.exited' } & LeaderExit)
  /** A sweep has ended, and the leader lives: it waits in the kernel. */
  | { readonly type: 'leader.stuck' }

/** How the leader ended. */
export interface LeaderExit {
  readonly exitCode: number | null
  readonly signal: string | null
}

export interface RunInput {
  /** Whether our own connections to the server are closed before SIGTERM. */
  readonly closesFirst: boolean
  /** Whether a command ends the server, before any signal. */
  readonly hasStopCommand: boolean
  /** Whether a command tells if the server is there. */
  readonly hasStatusCommand: boolean
  /** Whether the server runs outside the tree of the leader, which may then exit while the server goes on. */
  readonly isExternal: boolean
  /** Whether it is a model of a daemon: it is there only when its leader, which asks for it, has ended well. */
  readonly isModel: boolean
  /**
   * How long a daemon may go on with a load whose client was ended, in milliseconds. `0`: such a load ends with its
   * client.
   */
  readonly loadOutlastsMs: number
}

export interface RunContext extends RunInput {
  /** The stop signals that were sent, each once. */
  readonly signals: readonly StopSignal[]
  /** `null`: it lives, or there is none. */
  readonly leader: LeaderExit | null
  /** Whether the leader has exited and its server runs on. */
  readonly isDetached: boolean
  /** Whether the status command has shown the server of this run. */
  readonly isFound: boolean
  /** Whether the server may still be there after the receipt. */
  readonly isServerLeft: boolean
  /** Whether a load that may go on without its client has had its time. */
  readonly isLoadOver: boolean
  /** The pause before the next look for a server that was never seen, in milliseconds. */
  readonly seekMs: number
  /** How often it was looked for after its stop command, while the leader lives. */
  readonly lateLooks: number
  /** The pause before the stop command is run again, in milliseconds. */
  readonly retryMs: number
}

/** `waiting`: not spawned yet. `exited`: the leader is gone, and its tree ends or is being swept. */
export type RunState = 'waiting' | 'running' | 'stopping' | 'exited' | 'settled'

/** Time that closing our connections may take before SIGTERM, in milliseconds. */
const CLOSE_MS = 2_000
/** A server counts as gone when two looks with this pause say so, in milliseconds. */
const CONFIRM_MS = 1_000
/** Between two looks at a server whose leader has exited, in milliseconds. */
const WATCH_MS = 5_000
/**
 * How often a server that was never seen is looked for after its stop command, and again after the end of its leader, and
 * the pause before each look, in milliseconds. On a busy host the engine is as slow to run what the leader ordered as it is
 * to answer a look.
 */
export const LATE_LOOKS = 15
export const LATE_MS = 100
/** The pause before the stop command is run again doubles from the first to the last, in milliseconds. */
const RETRY_MS = 5_000
const MAX_RETRY_MS = 60_000

const notProvided = (effect: string) => (): never => {
  throw new Error(`The effect "${effect}" is not provided.`)
}

type Scope = { readonly context: RunContext; readonly event: RunEvent }

const base = setup({
  types: {
    context: {} as RunContext,
    events: {} as RunEvent,
    emitted: {} as RunReport,
    input: {} as RunInput,
    tags: {} as RunState,
  },
  actors: {
    /** Waits until the key is free, then checks the port and the record. A failure: nothing is spawned. */
    prepare: fromPromise<Failure | null>(notProvided('prepare')),
    /** Spawns the process: `process.spawned` in the tick of its birth, or `process.failed`. */
    spawn: fromCallback<RunEvent, undefined, RunEvent>(notProvided('spawn')),
    /** Watches the leader: `leader.exited`, or `leader.stuck`. */
    leader: fromCallback<RunEvent, undefined, RunEvent>(notProvided('leader')),
    /** Asks the status command once. Without one: `unknown`. */
    ask: fromPromise<Presence>(notProvided('ask')),
    /** Closes our own connections to the server. */
    close: fromPromise<void>(notProvided('close')),
    /** Runs the stop command, for a bounded time. `isAgain`: it has run, and the server came after it. */
    command: fromPromise<void, { readonly isAgain: boolean }>(notProvided('command')),
    /** Reads the last output: how and why the leader ended. */
    explain: fromPromise<Extract<RunReport, { type: 'process.exited' }>>(notProvided('explain')),
    /** Settles when the tree has ended by itself or is killed. */
    rest: fromPromise<void>(notProvided('rest')),
    /** Kills what is left of the tree, ends a server outside of it, checks the port and writes the receipt. */
    settle: fromPromise<Receipt, { readonly isFound: boolean; readonly isLoadOpen: boolean }>(
      notProvided('settle'),
    ),
    /** Runs the stop command again, and looks whether the server outside the tree is gone. */
    retry: fromPromise<Presence>(notProvided('retry')),
  },
  delays: {
    close: CLOSE_MS,
    confirm: CONFIRM_MS,
    watch: WATCH_MS,
    late: LATE_MS,
    outlast: ({ context }: { context: RunContext }) => context.loadOutlastsMs,
    seek: ({ context }: { context: RunContext }) => context.seekMs,
    retry: ({ context }: { context: RunContext }) => context.retryMs,
  },
  guards: {
    closesFirst: ({ context }: Scope) => context.closesFirst,
    hasStopCommand: ({ context }: Scope) => context.hasStopCommand,
    isFailure: ({ event }: Scope) => outputOf(event) !== null,
    hasExited: ({ context }: Scope) => context.leader !== null,
    isExternal: ({ context }: Scope) => context.isExternal,
    hasStatusCommand: ({ context }: Scope) => context.hasStatusCommand,
    /** The server was never seen, and a command can tell. */
    isSought: ({ context }: Scope) => context.hasStatusCommand && !context.isFound,
    /** The leader may have ordered a server that was not there yet when the stop command ran. */
    mayComeYet: ({ context: { isExternal, hasStatusCommand, isModel, isFound, leader } }: Scope) =>
      isExternal && hasStatusCommand && !isModel && !isFound && leader === null,
    /** Its client is not ended before the daemon has answered: the load would go on. */
    isLoading: ({ context: { loadOutlastsMs, isFound, leader } }: Scope) =>
      loadOutlastsMs > 0 && !isFound && leader === null,
    /** The model may come yet: its client was ended before the daemon has answered. */
    isLoadOpen: ({ context }: Scope) => isLoadOpen(context),
    isLookedForAgain: ({ context, event }: Scope) =>
      outputOf(event) === 'gone' && context.lateLooks < LATE_LOOKS - 1,
    isThere: ({ event }: Scope) => outputOf(event) === 'there',
    isGone: ({ event }: Scope) => outputOf(event) === 'gone',
    isFound: ({ context }: Scope) => context.isFound,
    outlives,
    isSignalled: ({ context }: Scope) => context.signals.length > 0,
    isTerminated: ({ context: { signals } }: Scope) =>
      signals.includes('SIGTERM') || signals.includes('stopCommand'),
    isServerLeft: ({ event }: Scope) => isServerLeft(outputOf(event) as Receipt),
    isNewSignal: ({ context, event }: Scope) =>
      event.type === 'process.signalled' && !context.signals.includes(event.signal),
  },
})

const run = base.extend({
  actions: {
    recordSignal: base.assign(({ context, event }) =>
      event.type === 'process.signalled' ? { signals: [...context.signals, event.signal] } : {},
    ),
    recordLeader: base.assign(({ event }) =>
      event.type === 'leader.exited' ? { leader: { exitCode: event.exitCode, signal: event.signal } } : {},
    ),
    recordDetached: base.assign({ isDetached: true }),
    recordPresence: base.assign(({ context, event }) => ({
      isFound: context.isFound || outputOf(event) === 'there',
    })),
    seekLater: base.assign(({ context }) => ({ seekMs: Math.min(context.seekMs * 2, WATCH_MS) })),
    countLook: base.assign(({ context }) => ({ lateLooks: context.lateLooks + 1 })),
    recordLeft: base.assign({ isServerLeft: true }),
    recordGone: base.assign({ isServerLeft: false }),
    recordLoadOver: base.assign({ isLoadOver: true }),
    retryLater: base.assign(({ context }) => ({ retryMs: Math.min(context.retryMs * 2, MAX_RETRY_MS) })),
    /** Reports the event as it is. */
    report: base.emit(({ event }) => event as RunReport),
    /** From here on the stop cannot be called off. */
    announceCommand: base.raise({ type: 'process.signalled', signal: 'stopCommand' }),
    reportFailure: base.emit(({ event }) => ({
      type: 'process.failed',
      failure: outputOf(event) as Failure,
    })),
    reportDetached: base.emit({ type: 'process.detached' }),
    reportExit: base.emit(({ event }) => outputOf(event) as RunReport),
    reportReceipt: base.emit(({ event }) => ({
      type: 'process.settled',
      receipt: outputOf(event) as Receipt,
    })),

    // `src/process/run.ts` supplies these. The signals report `process.signalled` when a process was there.
    cancelSpawn: () => {},
    terminate: () => {},
    kill: () => {},
    sweep: () => {},
    /** The server that was left is gone: it is not ended any more after our death. */
    disarm: () => {},
  },
})

/** The life of one run of a process, from its turn to its receipt. */
export const runMachine = run.createMachine({
  id: 'run',
  description:
    'One run of a process: it waits for its turn, is spawned, runs, exits or is stopped, and is settled.',
  context: ({ input }) => ({
    ...input,
    signals: [],
    leader: null,
    isDetached: false,
    isFound: false,
    isServerLeft: false,
    isLoadOver: false,
    seekMs: CONFIRM_MS,
    lateLooks: 0,
    retryMs: RETRY_MS,
  }),
  on: {
    'process.signalled': { guard: 'isNewSignal', actions: ['recordSignal', 'report'] },
    'run.kill': { actions: 'kill' },
    'run.sweep': { actions: 'sweep' },
  },
  initial: 'preparing',
  states: {
    preparing: {
      description: 'Nothing is spawned before the key and the port are free and the run is on record.',
      tags: 'waiting',
      invoke: {
        src: 'prepare',
        onDone: [{ guard: 'isFailure', target: 'settled', actions: 'reportFailure' }, { target: 'spawning' }],
      },
      on: {
        'run.terminate': { actions: 'cancelSpawn' },
        'run.kill': { actions: 'cancelSpawn' },
        'run.sweep': { actions: 'cancelSpawn' },
      },
    },

    spawning: {
      description: 'The program is checked and spawned. A stop before its birth cancels it.',
      tags: 'waiting',
      invoke: { src: 'spawn' },
      on: {
        'process.spawned': { target: 'alive', actions: 'report' },
        'process.failed': { target: 'settled', actions: 'report' },
        'run.terminate': { actions: 'cancelSpawn' },
        'run.kill': { actions: 'cancelSpawn' },
        'run.sweep': { actions: 'cancelSpawn' },
      },
    },

    alive: {
      description: 'The leader of the process tree is alive, or the server that it started outside the tree.',
      invoke: { src: 'leader' },
      on: {
        'leader.exited': { target: 'exited', actions: 'recordLeader' },
        'leader.stuck': 'sweeping',
        'run.kill': { target: '.stopping', actions: 'kill' },
        'run.sweep': { target: '.stopping', actions: 'sweep' },
      },
      initial: 'running',
      states: {
        running: {
          description: 'The leader is alive, and no stop is under way.',
          tags: 'running',
          on: {
            'leader.exited': [
              { guard: 'isExternal', target: 'asking', actions: 'recordLeader' },
              { target: '#run.exited', actions: 'recordLeader' },
            ],
            'run.terminate': [
              { guard: 'closesFirst', target: 'closing' },
              { guard: 'hasStopCommand', target: 'commanding' },
              { target: 'stopping', actions: 'terminate' },
            ],
          },
          initial: 'seen',
          states: {
            seen: {
              description: 'Nothing is asked: the server is known, or no command can tell.',
              always: { guard: 'isSought', target: 'seeking' },
            },
            seeking: {
              description:
                'The server was never seen. It is looked for, later each time, so that its id is known.',
              after: { seek: 'looking' },
            },
            looking: {
              description: 'The status command runs.',
              invoke: {
                src: 'ask',
                onDone: [
                  { guard: 'isThere', target: 'seen', actions: 'recordPresence' },
                  { target: 'seeking', actions: 'seekLater' },
                ],
              },
            },
          },
        },
        asking: {
          description:
            'The leader has exited. The status command and its exit say whether the server goes on.',
          tags: 'running',
          invoke: {
            src: 'ask',
            onDone: [
              {
                guard: 'outlives',
                target: 'detached',
                actions: ['recordPresence', 'recordDetached', 'reportDetached'],
              },
              { target: '#run.exited' },
            ],
          },
          on: {
            'run.terminate': [{ guard: 'closesFirst', target: 'closing' }, { target: 'commanding' }],
          },
        },
        detached: {
          description: 'The leader has exited, and its server goes on without it.',
          tags: 'running',
          on: {
            'run.terminate': [{ guard: 'closesFirst', target: 'closing' }, { target: 'commanding' }],
          },
          initial: 'unasked',
          states: {
            unasked: {
              description: 'No command can tell whether the server is there.',
              always: { guard: 'hasStatusCommand', target: 'expected' },
            },
            expected: {
              description: 'The server has just lost its leader, or was never seen.',
              after: { confirm: 'looking' },
            },
            watched: {
              description: 'The server is there, or that cannot be told. It is looked at from time to time.',
              after: { watch: 'looking' },
            },
            looking: {
              description: 'The status command runs.',
              invoke: {
                src: 'ask',
                onDone: [
                  { guard: not('isGone'), target: 'watched', actions: 'recordPresence' },
                  { guard: 'isFound', target: 'missed' },
                  { target: 'expected' },
                ],
              },
            },
            missed: {
              description: 'One look has not found the server.',
              after: { confirm: 'confirming' },
            },
            confirming: {
              description: 'The status command runs again. A server that is gone twice has crashed.',
              invoke: {
                src: 'ask',
                onDone: [{ guard: 'isGone', target: '#run.exited' }, { target: 'watched' }],
              },
            },
          },
        },
        closing: {
          description:
            'Our own connections are being closed: some servers do not end with a request in flight.',
          tags: 'running',
          invoke: {
            src: 'close',
            onDone: [
              { guard: 'hasStopCommand', target: 'commanding' },
              { target: 'stopping', actions: 'terminate' },
            ],
            onError: [
              { guard: 'hasStopCommand', target: 'commanding' },
              { target: 'stopping', actions: 'terminate' },
            ],
          },
          after: {
            close: [
              { guard: 'hasStopCommand', target: 'commanding' },
              { target: 'stopping', actions: 'terminate' },
            ],
          },
          on: {
            'leader.exited': [
              { guard: 'isExternal', actions: 'recordLeader' },
              { target: '#run.exited', actions: 'recordLeader' },
            ],
            'run.spare': [{ guard: 'hasExited', target: 'asking' }, { target: 'running' }],
          },
        },
        commanding: {
          description: 'The stop command runs. It ends a server that no signal of ours reaches.',
          tags: 'stopping',
          entry: 'announceCommand',
          invoke: {
            src: 'command',
            input: ({ context }) => ({ isAgain: context.lateLooks > 0 }),
            onDone: [
              { guard: 'mayComeYet', target: 'awaiting' },
              { guard: 'isLoading', target: 'loading' },
              { target: 'stopping', actions: 'terminate' },
            ],
            onError: { target: 'stopping', actions: 'terminate' },
          },
        },
        awaiting: {
          description:
            'The stop command has run, and the server was never seen. A leader that gets a signal while its engine prepares a container leaves a network behind, so it waits for a moment.',
          tags: 'stopping',
          initial: 'pausing',
          states: {
            pausing: {
              description: 'The next look waits.',
              after: { late: 'looking' },
            },
            looking: {
              description: 'The status command runs. A server that has come is ended by the stop command.',
              invoke: {
                src: 'ask',
                onDone: [
                  {
                    guard: 'isThere',
                    target: '#run.alive.commanding',
                    actions: ['recordPresence', 'countLook'],
                  },
                  { guard: 'isLookedForAgain', target: 'pausing', actions: 'countLook' },
                  { target: '#run.alive.stopping', actions: 'terminate' },
                ],
              },
            },
          },
        },
        loading: {
          description:
            'A model is being loaded, and its daemon would go on without the client. The model is unloaded when the client has its answer.',
          tags: 'stopping',
        },
        stopping: {
          description: 'SIGTERM or SIGKILL is sent to the leader, which has not exited yet.',
          tags: 'stopping',
          always: { guard: 'hasExited', target: '#run.exited' },
        },
      },
    },

    exited: {
      description: 'The leader has exited; its last output is read, and says why.',
      tags: 'exited',
      invoke: {
        src: 'explain',
        onDone: [
          // The leader may be only a launcher: the server behind it has the rest of the grace for its clean-up.
          { guard: 'isTerminated', target: 'resting', actions: 'reportExit' },
          { target: 'sweeping', actions: 'reportExit' },
        ],
      },
      on: { 'run.terminate': { guard: not('isSignalled'), actions: 'terminate' } },
    },

    resting: {
      description: 'The rest of the tree and the stop command end by themselves, until the tree is killed.',
      tags: 'exited',
      invoke: { src: 'rest', onDone: 'sweeping' },
    },

    sweeping: {
      description:
        'What is left of the tree is killed, a server outside of it is ended, and the receipt is written.',
      tags: 'exited',
      invoke: {
        src: 'settle',
        input: ({ context }) => ({ isFound: context.isFound, isLoadOpen: isLoadOpen(context) }),
        onDone: [
          { guard: 'isServerLeft', target: 'lingering', actions: ['recordLeft', 'reportReceipt'] },
          { target: 'settled', actions: 'reportReceipt' },
        ],
      },
      on: { 'run.terminate': { guard: not('isSignalled'), actions: 'terminate' } },
    },

    lingering: {
      description:
        'The receipt is written, and the stop command has not ended the server: it is tried again.',
      tags: 'settled',
      on: { 'process.signalled': {}, 'run.sweep': { target: 'settled', actions: 'sweep' } },
      after: { outlast: { actions: 'recordLoadOver' } },
      initial: 'pausing',
      states: {
        pausing: {
          description: 'The next try waits, longer after each one.',
          after: { retry: [{ guard: 'isLoadOpen', target: 'looking' }, { target: 'retrying' }] },
        },
        looking: {
          description: 'The status command says whether the load has ended with a model.',
          invoke: { src: 'ask', onDone: { target: 'retrying', actions: 'recordPresence' } },
        },
        retrying: {
          description: 'The stop command runs again.',
          invoke: {
            src: 'retry',
            onDone: [
              {
                guard: and(['isGone', not('isLoadOpen')]),
                target: '#run.settled',
                actions: ['recordGone', 'disarm'],
              },
              { target: 'pausing', actions: 'retryLater' },
            ],
          },
        },
      },
    },

    settled: {
      description: 'The receipt is written, or there never was a process. Survivors can still be killed.',
      tags: 'settled',
      on: { 'process.signalled': {} },
    },
  },
})

function isLoadOpen({ loadOutlastsMs, isFound, isLoadOver, leader }: RunContext): boolean {
  return loadOutlastsMs > 0 && !isFound && !isLoadOver && (leader === null || leader.signal !== null)
}

/** The result of an effect. */
function outputOf(event: object): unknown {
  return 'output' in event ? event.output : undefined
}

/** Whether the server goes on after its leader has exited, by the answer of the status command. */
function outlives({ context: { leader, hasStatusCommand, isModel, isFound }, event }: Scope): boolean {
  const hasSucceeded = leader?.exitCode === 0
  // A daemon lists a model from the beginning of its load on, and a moment longer when that has failed.
  if (isModel && !hasSucceeded) return false
  switch (outputOf(event) as Presence) {
    case 'there':
      return true
    case 'gone':
      // A command that only gives an order ends before its server is there.
      return hasSucceeded && !isFound
    case 'unknown':
      // A client that could not start a server ends with a code of its own, one that was killed with a signal. When
      // the daemon of an engine dies, the client of a server that goes on ends with a code, too.
      return hasSucceeded || isFound || (hasStatusCommand && leader?.signal !== null)
  }
}

import { fromCallback, fromPromise, not, setup } from 'xstate'
import { type Failure, isServerLeft, type ProcessEvent, type Receipt } from './messages.ts'

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
  /** The leader has exited, and the server that it started runs on outside its tree. */
  | { readonly type: 'process.detached' }

export interface RunInput {
  /** Whether our own connections to the server are closed before SIGTERM. */
  readonly closesFirst: boolean
  /** Whether a command ends the server, before any signal. */
  readonly hasStopCommand: boolean
}

export interface RunContext extends RunInput {
  /** The stop signals that were sent, each once. */
  readonly signals: readonly StopSignal[]
  /** Whether the leader has exited and its server runs on. */
  readonly isDetached: boolean
}

/** `waiting`: not spawned yet. `exited`: the leader is gone, and its tree ends or is being swept. */
export type RunState = 'waiting' | 'running' | 'stopping' | 'exited' | 'settled'

/** Time that closing our connections may take before SIGTERM, in milliseconds. */
const CLOSE_MS = 2_000

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
    /**
     * Settles when the leader has exited (`true`), or when a sweep has ended although it lives. Of a server outside the
     * tree: not before that is gone, too.
     */
    exit: fromPromise<boolean>(notProvided('exit')),
    /** Closes our own connections to the server. */
    close: fromPromise<void>(notProvided('close')),
    /** Runs the stop command, for a bounded time. */
    command: fromPromise<void>(notProvided('command')),
    /** Reads the last output: how and why the leader ended. */
    explain: fromPromise<Extract<RunReport, { type: 'process.exited' }>>(notProvided('explain')),
    /** Settles when the tree has ended by itself or is killed. */
    rest: fromPromise<void>(notProvided('rest')),
    /** Kills what is left of the tree, ends a server outside of it, checks the port and writes the receipt. */
    settle: fromPromise<Receipt>(notProvided('settle')),
    /** Runs the stop command again, later each time, until the server outside the tree is gone. */
    retry: fromPromise<void>(notProvided('retry')),
  },
  delays: { close: CLOSE_MS },
  guards: {
    closesFirst: ({ context }: Scope) => context.closesFirst,
    hasStopCommand: ({ context }: Scope) => context.hasStopCommand,
    isFailure: ({ event }: Scope) => outputOf(event) !== null,
    hasExited: ({ event }: Scope) => outputOf(event) === true,
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
    recordDetached: base.assign({ isDetached: true }),
    /** Reports the event as it is. */
    report: base.emit(({ event }) => event as RunReport),
    /** From here on the stop cannot be called off. */
    announceCommand: base.raise({ type: 'process.signalled', signal: 'stopCommand' }),
    reportFailure: base.emit(({ event }) => ({
      type: 'process.failed',
      failure: outputOf(event) as Failure,
    })),
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
  },
})

/** The life of one run of a process, from its turn to its receipt. */
export const runMachine = run.createMachine({
  id: 'run',
  description:
    'One run of a process: it waits for its turn, is spawned, runs, exits or is stopped, and is settled.',
  context: ({ input }) => ({ ...input, signals: [], isDetached: false }),
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
      invoke: {
        src: 'exit',
        onDone: [{ guard: 'hasExited', target: 'exited' }, { target: 'sweeping' }],
      },
      initial: 'running',
      states: {
        running: {
          description: 'No stop is under way.',
          tags: 'running',
          on: {
            'process.detached': { actions: ['recordDetached', 'report'] },
            'run.terminate': [
              { guard: 'closesFirst', target: 'closing' },
              { guard: 'hasStopCommand', target: 'commanding' },
              { target: 'stopping', actions: 'terminate' },
            ],
            'run.kill': { target: 'stopping', actions: 'kill' },
            'run.sweep': { target: 'stopping', actions: 'sweep' },
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
            'run.spare': 'running',
            'run.kill': { target: 'stopping', actions: 'kill' },
            'run.sweep': { target: 'stopping', actions: 'sweep' },
          },
        },
        commanding: {
          description: 'The stop command runs. It ends a server that no signal of ours reaches.',
          tags: 'stopping',
          entry: 'announceCommand',
          invoke: {
            src: 'command',
            onDone: { target: 'stopping', actions: 'terminate' },
            onError: { target: 'stopping', actions: 'terminate' },
          },
          on: {
            'run.kill': { target: 'stopping', actions: 'kill' },
            'run.sweep': { target: 'stopping', actions: 'sweep' },
          },
        },
        stopping: {
          description: 'SIGTERM or SIGKILL is sent, and the leader has not exited yet.',
          tags: 'stopping',
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
        onDone: [
          { guard: 'isServerLeft', target: 'lingering', actions: 'reportReceipt' },
          { target: 'settled', actions: 'reportReceipt' },
        ],
      },
      on: { 'run.terminate': { guard: not('isSignalled'), actions: 'terminate' } },
    },

    lingering: {
      description:
        'The receipt is written, and the stop command has not ended the server: it is tried again.',
      tags: 'settled',
      invoke: { src: 'retry', onDone: 'settled' },
      on: { 'process.signalled': {}, 'run.sweep': { target: 'settled', actions: 'sweep' } },
    },

    settled: {
      description: 'The receipt is written, or there never was a process. Survivors can still be killed.',
      tags: 'settled',
      on: { 'process.signalled': {} },
    },
  },
})

/** The result of an effect. */
function outputOf(event: object): unknown {
  return 'output' in event ? event.output : undefined
}

import { assign, enqueueActions, fromCallback, sendTo, setup } from 'xstate'

/** Events of the watchdog machine. All JSON. */
export type WatchdogEvent =
  /** Its program runs and reads its input. */
  | { readonly type: 'watchdog.reported' }
  | { readonly type: 'watchdog.ended'; readonly reason: string }
  /** It could not be spawned. */
  | { readonly type: 'watchdog.failed'; readonly reason: string }
  /** A server was started that needs a watchdog. */
  | { readonly type: 'watchdog.needed' }
  | { readonly type: 'watchdog.close' }

/** Commands to the effect. `dismiss`: end without a signal to any process; `kill`: SIGKILL to the watchdog itself. */
export type WatchdogCommand = { readonly type: 'dismiss' | 'kill' }

export type WatchdogEmitted =
  | { readonly type: 'watchdog.lost'; readonly problem: string }
  | { readonly type: 'watchdog.restored' }

export interface WatchdogContext {
  /** Watchdogs in a row that ended before they were stable. */
  readonly failures: number
  /** Pauses in a row: the next one is twice as long. */
  readonly pauses: number
  /** Why no watchdog runs; `null` while one runs or is about to. */
  readonly problem: string | null
}

/** Failures in a row after which the next start waits. */
const MAX_FAILURES = 5
/** Node starts in about 50 ms; on an overloaded host in seconds. */
const REPORT_MS = 10_000
/** Time after its report from which a watchdog counts as stable. */
const STABLE_MS = 1_000
const FIRST_PAUSE_MS = 1_000
const MAX_PAUSE_MS = 60_000
/** A dismissed watchdog ends within milliseconds, unless it is stopped or hangs. */
const DISMISS_MS = 2_000
/** A process that survives SIGKILL for this long is stuck in the kernel; a close does not wait for it. */
const KILL_MS = 1_000

const lost = {
  type: 'noteLost',
  params: ({ event }: { event: WatchdogEvent }) => ({ problem: 'reason' in event ? event.reason : '' }),
} as const
const overdue = {
  type: 'noteLost',
  params: { problem: `it did not report within ${REPORT_MS / 1000} s` },
} as const

/** The life of one supervisor's watchdog, from the first server to the close. */
export const watchdogMachine = setup({
  types: {
    context: {} as WatchdogContext,
    events: {} as WatchdogEvent,
    emitted: {} as WatchdogEmitted,
  },
  actors: {
    /** Spawns a watchdog and reports its life. The process outlives this effect. */
    process: fromCallback<WatchdogCommand, undefined, WatchdogEvent>(() => {
      throw new Error('The effect "process" is not provided.')
    }),
  },
  delays: {
    report: REPORT_MS,
    stable: STABLE_MS,
    pause: ({ context }) => Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (context.pauses - 1)),
    dismissal: DISMISS_MS,
    kill: KILL_MS,
  },
  guards: {
    isReplacedAtOnce: ({ context }) => context.failures < MAX_FAILURES - 1,
  },
  actions: {
    dismiss: sendTo('process', { type: 'dismiss' }),
    kill: sendTo('process', { type: 'kill' }),
    noteFailure: assign(({ context }) => ({ failures: context.failures + 1 })),
    noteLost: enqueueActions(({ context, enqueue }, { problem }: { readonly problem: string }) => {
      if (context.problem === null) enqueue.emit({ type: 'watchdog.lost', problem })
      enqueue.assign({ failures: MAX_FAILURES, pauses: context.pauses + 1, problem })
    }),
    noteStable: enqueueActions(({ context, enqueue }) => {
      if (context.problem !== null) enqueue.emit({ type: 'watchdog.restored' })
      enqueue.assign({ failures: 0, pauses: 0, problem: null })
    }),
  },
}).createMachine({
  id: 'watchdog',
  context: { failures: 0, pauses: 0, problem: null },
  initial: 'running',
  states: {
    running: {
      description: 'A watchdog process runs or is being started.',
      invoke: { id: 'process', src: 'process' },
      initial: 'starting',
      on: {
        'watchdog.failed': { target: 'pausing', actions: lost },
        'watchdog.ended': [
          { guard: 'isReplacedAtOnce', target: 'running', reenter: true, actions: 'noteFailure' },
          { target: 'pausing', actions: lost },
        ],
      },
      states: {
        starting: {
          description: 'The process is spawned and has not reported yet.',
          on: { 'watchdog.reported': 'young', 'watchdog.close': 'killing' },
          after: { report: 'overdue' },
        },
        overdue: {
          description: 'It did not report in time: under a process limit Node hangs before its first line.',
          entry: 'kill',
          on: {
            'watchdog.ended': { target: '#watchdog.pausing', actions: overdue },
            'watchdog.close': 'killing',
          },
        },
        young: {
          description: 'It has reported; soon it counts as stable.',
          on: { 'watchdog.close': 'dismissing' },
          after: { stable: { target: 'watching', actions: 'noteStable' } },
        },
        watching: {
          description: 'It is stable. When it ends, another one is started at once.',
          on: {
            'watchdog.ended': { target: '#watchdog.running', reenter: true },
            'watchdog.close': 'dismissing',
          },
        },
        dismissing: {
          description: 'It was asked to end without a signal to any server.',
          entry: 'dismiss',
          on: { 'watchdog.ended': '#watchdog.closed' },
          after: { dismissal: 'killing' },
        },
        killing: {
          description: 'Nothing is left to watch, so one that hangs is ended.',
          entry: 'kill',
          on: { 'watchdog.ended': '#watchdog.closed', 'watchdog.failed': '#watchdog.closed' },
          after: { kill: '#watchdog.closed' },
        },
      },
    },
    pausing: {
      description: 'No watchdog could be kept running; the next one is started after a pause.',
      on: { 'watchdog.needed': 'running', 'watchdog.close': 'closed' },
      after: { pause: 'running' },
    },
    closed: { description: 'The supervisor is closed, and no watchdog is left.', type: 'final' },
  },
})

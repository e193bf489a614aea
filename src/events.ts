import type {
  Peer,
  ProcessEvent,
  ProviderEmitted,
  ProviderEvent,
  ServicePolicy,
  Verdict,
} from '../machines/messages.ts'
import type { Reason } from '../machines/reasons.ts'
import type { Decision } from '../machines/scheduler.ts'
import type { WatchdogEmitted } from '../machines/watchdog.ts'
import type { ConfigProblem } from './errors.ts'
import type { Usage } from './usage.ts'

/** What can be said about another supervisor that borrows a service of ours. */
export type GuestEventBody = { readonly type: 'guest.joined' | 'guest.left'; readonly guest: Peer }

/** What was done about the record of another supervisor that was found dead, or that is not to be believed. */
export type ReapingEventBody =
  | {
      readonly type: 'orphans.reaped'
      readonly owner: string
      readonly supervisorPid: number
      readonly pids: readonly number[]
      readonly survivors: readonly number[]
    }
  | { readonly type: 'orphans.refused'; readonly file: string; readonly problem: string }

/** What can be said about one service. Logs, metrics, pages, recordings and tests all read these. */
export type ServiceEventBody =
  | Extract<
      ProviderEvent,
      { type: 'lease.requested' | 'lease.cancelled' | 'lease.released' | 'service.stop' }
    >
  | {
      readonly type: 'lease.queued'
      readonly id: string
      /** `1`: the next one. */
      readonly position: number
      /** In milliseconds; `null` where nothing is known to tell it from. */
      readonly estimatedMs: number | null
    }
  | Exclude<ProviderEmitted, { type: 'lease.refused' }>
  | ProcessEvent
  | GuestEventBody
  | {
      readonly type: 'service.added'
      /** Names this life of its statechart: generations begin with it. */
      readonly instance: string
      readonly policy: ServicePolicy
    }
  | { readonly type: 'service.retired' }
  | {
      readonly type: 'service.told'
      /** As the statechart hears it: `xstate.after.idleStop.…` for a delay that ended, `xstate.done.actor.probe`, … */
      readonly event: { readonly type: string; readonly [fact: string]: unknown }
    }
  | {
      readonly type: 'service.state'
      readonly from: string
      readonly to: string
      /** In one word: the reason of the stop, or the code of the failure. */
      readonly reason: string | null
      /** In full, with its facts; `toReasonText` makes a sentence of it. */
      readonly why: Reason | null
    }
  | {
      readonly type: 'lease.overdue'
      readonly id: string
      readonly generation: string
      readonly heldMs: number
    }
  | (Extract<ProviderEmitted, { type: 'lease.refused' }> & {
      /** When trying again makes sense, in milliseconds. Absent: at once, or never. */
      readonly retryAfterMs?: number
    })
  | { readonly type: 'service.failed'; readonly message: string }
  | { readonly type: 'health.verdict'; readonly verdict: Verdict }
  | ({ readonly type: 'scheduler.decided' } & Decision)

/** What can be said about one request. Never a prompt, never an answer. */
export type RequestEventBody =
  | { readonly type: 'request.started'; readonly route: string; readonly ref: string }
  | { readonly type: 'request.attempted'; readonly ref: string; readonly code: string }
  | {
      readonly type: 'request.responded'
      readonly ref: string
      readonly status: number
      readonly waitedMs: number
    }
  | {
      readonly type: 'request.advised'
      readonly ref: string
      readonly advice: string
      readonly text: string
      readonly block: string | null
    }
  | {
      readonly type: 'request.ended'
      readonly outcome: 'done' | 'failed' | 'cancelled'
      readonly code: string | null
      /** What the server said about its answer; `null`: nothing, or there is none. */
      readonly usage: Usage | null
    }

/** What a new configuration changes. Names only: no value of either configuration is in it. */
export interface ConfigChange {
  /** Ids of the providers that only the new one has, that only the old one had, and that differ. */
  readonly added: readonly string[]
  readonly removed: readonly string[]
  readonly changed: readonly string[]
  /** Of those that differ, the ones with another server: the old one drains and stops, then the new one may start. */
  readonly restarted: readonly string[]
  readonly unchanged: readonly string[]
  /** Paths of other settings that differ: `agents.defaults.model`, `leasehold.apiKeys`. */
  readonly settings: readonly string[]
  /** Of these settings, the ones that a gateway that listens already cannot follow. */
  readonly ignored: readonly string[]
}

/** A configuration that was not taken: the one before it stays in force. */
export interface ConfigRefusal {
  readonly file: string
  readonly message: string
  /** Each with its line and column, where it has a place in the file. */
  readonly problems: readonly ConfigProblem[]
}

/** What can be said about the supervisor itself. */
export type SupervisorEventBody =
  | ({ readonly type: 'config.replaced'; readonly file: string } & ConfigChange)
  | ({ readonly type: 'config.refused' } & ConfigRefusal)
  | {
      readonly type: 'events.missed'
      readonly from: number
      /** `null`: they are those of an earlier supervisor. */
      readonly to: number | null
    }
  | ReapingEventBody
  | WatchdogEmitted
  | { readonly type: 'supervisor.closed' }

/** Who an event is about: a service by its key and its provider ids, or a request by its id. */
export type Subject =
  | { readonly service: string; readonly key: string }
  | { readonly requestId: string }
  | Record<never, never>

/** One fact: numbered without gaps, with monotonic milliseconds since the supervisor began, and the time of day. */
export type SupervisorEvent = { readonly seq: number; readonly atMs: number; readonly time: string } & (
  | ({ readonly service: string; readonly key: string } & ServiceEventBody)
  | ({ readonly requestId: string } & RequestEventBody)
  | SupervisorEventBody
)

/** Whether a service in this state serves whoever asks: at rest, or in use. It goes to and fro with every request. */
export function isServing(state: string): boolean {
  return state === 'ready' || state === 'leased.open'
}

/** Every event type with its one-line meaning: the table of the README. */
export const eventMeanings = {
  'service.added': 'A service is known; nothing of it runs yet.',
  'service.state': 'Its statechart changed state: `from`, `to`, and why.',
  'service.stop': 'A stop was asked for: `reason`, and whether leases are cut (`force`).',
  'service.told':
    'Its statechart heard what has no event of its own: a delay ended, a probe or claim answered, a start is permitted.',
  'service.failed': 'Its actor died of a bug; a fresh one takes its place.',
  'service.retired': 'It was removed, or the supervisor is closing; nothing of it is left.',
  'scheduler.decided':
    'Who starts, who makes room for it, or why it waits: `choice`, `because`, and who was `rejected`.',
  'lease.requested': 'Somebody wants the service to be up.',
  'lease.queued': 'It has to wait: its place in the queue, and how long it may take.',
  'lease.granted': 'It is up, and stays up for this lease.',
  'lease.refused': 'It cannot serve: `failure` says why.',
  'lease.cancelled': 'A waiter left before it was granted.',
  'lease.released': 'The holder is done.',
  'lease.overdue': 'A lease is held for longer than `leaseWarnMs`.',
  'leases.revoked': 'Every lease of a generation ended with it.',
  'health.verdict': 'A probe found something else than the one before it.',
  'process.spawned': 'A child process runs.',
  'process.failed': 'A child process could not be started.',
  'process.signalled': 'A stop signal was sent to its process group.',
  'process.exited': 'The child ended: code, signal, last output.',
  'process.settled':
    'The receipt of a run: its tree is gone, or the survivors and the listener on its port are named.',
  'guest.joined': 'Another supervisor of this user asks for leases of a server that this one runs.',
  'guest.left': 'That supervisor is gone, and its leases with it.',
  alarm: 'Something needs a person: survivors of a stop, or a process that still listens on its port.',
  'request.started': 'A model request arrived.',
  'request.attempted': 'A candidate could not serve it.',
  'request.responded': 'The response head arrived from upstream.',
  'request.advised':
    'The backend refused with a known text, or a field of the request was not sent on: `text` says what to set.',
  'request.ended': 'It is done, failed or cancelled.',
  'events.missed': 'This reader asked for events that are not kept any more: those from `from` to `to`.',
  'config.replaced': 'A new configuration is in force; which providers and settings it changes.',
  'config.refused': 'A configuration was not taken; the old one stays. Every problem with its place.',
  'orphans.reaped':
    'Processes that a dead supervisor of this user had left were ended: `pids`; `survivors` could not be.',
  'orphans.refused':
    'A record of another supervisor is not to be believed: `problem`. Nothing was signalled.',
  'watchdog.lost':
    'No watchdog process can be kept running, for the reason in `problem`: if leasehold is killed now, its servers may stay. It is tried again with growing pauses.',
  'watchdog.restored': 'A watchdog process runs again.',
  'supervisor.closed': 'Everything is stopped.',
} as const satisfies Record<SupervisorEvent['type'], string>

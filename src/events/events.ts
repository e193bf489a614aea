import type {
  Peer,
  ProcessEvent,
  ProviderEmitted,
  ProviderEvent,
  ServicePolicy,
  Verdict,
} from '../../machines/messages.ts'
import { hasTag, type ProviderState } from '../../machines/provider/tags.ts'
import type { Reason } from '../../machines/reasons.ts'
import type { Decision } from '../../machines/scheduler.ts'
import type { WatchdogEmitted } from '../../machines/watchdog.ts'
import type { ConfigProblem } from '../errors.ts'
import type { RequestTimings } from './timings.ts'
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
      /** The stop commands that ended servers outside the trees. Absent: there was no such server. */
      readonly servers?: readonly string[]
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
      readonly type: 'machine.event'
      /** As the statechart hears it: `xstate.after.idleStop.…` for a delay that ended, `xstate.done.actor.probe`, … */
      readonly event: { readonly type: string; readonly [fact: string]: unknown }
    }
  | {
      readonly type: 'service.state'
      readonly from: ProviderState
      readonly to: ProviderState
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
  | {
      readonly type: 'request.started'
      readonly route: string
      /** Its first candidate. Where there is none, the name that was asked for, at most 100 characters. */
      readonly ref: string
      /** Product name in its `user-agent`, at most 40 characters; `null`: it names none. */
      readonly client: string | null
    }
  | {
      readonly type: 'request.sent'
      readonly ref: string
      /** Names of the rules that changed its body. */
      readonly rewrites: readonly string[]
      /** The member of the cluster that gets it, and why that one: `on attic, because …`. Absent: none does. */
      readonly member?: string
      readonly choice?: string | undefined
    }
  | { readonly type: 'request.attempted'; readonly ref: string; readonly code: string }
  | {
      readonly type: 'request.responded'
      readonly ref: string
      readonly status: number
      readonly waitedMs: number
      /** The member of the cluster that answers. Absent: none does. */
      readonly member?: string
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
      readonly timings: RequestTimings
    }

/** What a new configuration changes. Names only: no value of either configuration is in it. */
export interface ConfigChange {
  /** Ids of the providers that only the new one has, that only the old one had, and that differ. */
  readonly added: readonly string[]
  readonly removed: readonly string[]
  readonly changed: readonly string[]
  /** Changed services with another server: the old one drains and stops, then the new one may start. */
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

/** What can be said about the cluster that this supervisor is a member of. */
export type ClusterEventBody =
  | { readonly type: 'cluster.connected'; readonly server: string }
  | { readonly type: 'cluster.disconnected' }
  /** The credentials or this member's name are refused, or the client of NATS is missing. */
  | { readonly type: 'cluster.refused'; readonly message: string }
  | {
      readonly type: 'member.joined'
      readonly member: string
      readonly address: string | null
      readonly version: string
    }
  | {
      readonly type: 'member.changed'
      readonly member: string
      readonly state: 'open' | 'draining' | 'muted' | 'settling'
    }
  | { readonly type: 'member.lost'; readonly member: string; readonly reason: string }

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
  | ClusterEventBody
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

/** Whether a service in this state grants leases: idle or in use. Each request moves it from one to the other and back. */
export function isServing(state: string): boolean {
  return hasTag(state, 'serving')
}

/** Every event type with its one-line meaning: the table of the README beside this file. */
export const eventMeanings = {
  'service.added': 'A service was configured. It has no process yet.',
  'service.state': 'The statechart of the service changed its state: `from`, `to`, `reason` and `why`.',
  'service.stop': 'A stop was requested: `reason`; `force` ends its leases at once.',
  'machine.event':
    'The statechart received an event without a type of its own here: an elapsed delay, the result of a probe or of a claim, permission to start.',
  'service.failed': 'An internal error ended the statechart; a new one replaces it.',
  'service.retired':
    'The service was removed from the configuration, or the supervisor is closing; no process of it is left.',
  'scheduler.decided':
    'A scheduling decision: `choice` names the service and what is stopped for it, `because` the reason, `rejected` the services that keep their room.',
  'lease.requested': 'A request or a command asked for a lease.',
  'lease.queued': 'The lease waits: `position` in the queue and estimated wait.',
  'lease.granted': 'The service is ready and stays up while this lease is held.',
  'lease.refused': 'The lease was refused: `failure` has the reason.',
  'lease.cancelled': 'A waiting lease was cancelled before it was granted.',
  'lease.released': 'A lease was released.',
  'lease.overdue': 'A lease has been held longer than `leaseWarnMs`.',
  'leases.revoked': 'The run of the service ended, and all of its leases with it.',
  'health.verdict': 'The result of the health check changed.',
  'process.spawned': 'A process was started.',
  'process.failed': 'A process could not be started.',
  'process.signalled': 'A stop signal was sent to the process group, or the `stopCommand` was begun.',
  'process.detached': 'The process exited, and the server that it started runs on outside its tree.',
  'process.exited': 'The process exited: code, signal and last output.',
  'process.settled':
    'The receipt of a run: all processes have ended, or the survivors and the process that still has the port are named.',
  'guest.joined': 'Another supervisor of this user borrows a service of this one.',
  'guest.left': 'That supervisor disconnected; its leases were released.',
  'stop.incomplete':
    'A stop is incomplete: processes survived SIGKILL, a process still listens on the port, or the `stopCommand` has not ended the server.',
  'request.started': 'A model request arrived.',
  'request.sent':
    'The request was sent to a server: `rewrites` names the rules that changed its body; in a cluster `member` has it, and `choice` says why that one.',
  'request.attempted': 'A candidate model could not serve the request; the next one is tried.',
  'request.responded': 'The status and headers of the answer arrived from upstream.',
  'request.advised':
    'The server refused with a known message, a field of the request was dropped, or a fallback was left out because its `api` differs: `text` names the setting to change.',
  'request.ended':
    'The request is done, failed or cancelled: `usage`, and `timings` (wait, load, first byte, stream).',
  'events.missed': 'Events `from` to `to` are no longer kept and were not sent to this reader.',
  'config.replaced': 'A new configuration is in force: the providers and settings that changed.',
  'config.refused': 'A new configuration was refused; the current one stays in force. Lists every problem.',
  'orphans.reaped':
    'Processes left behind by a dead supervisor of this user were ended: `pids`; `survivors` are still alive.',
  'orphans.refused':
    'The record of another supervisor is invalid, or its server elsewhere may still be there: `problem`. No process was signalled.',
  'watchdog.lost':
    'No watchdog process stays up: `problem`. If leasehold is killed now, its servers may keep running. The start is retried with growing pauses.',
  'watchdog.restored': 'A watchdog process runs again.',
  'cluster.connected': 'This member is connected to a NATS server of its cluster.',
  'cluster.disconnected':
    'The connection to NATS is lost. The members keep each other by HTTP, and this one serves its own models.',
  'cluster.refused':
    'The cluster cannot be joined: `message` says why. It is tried again, except where a library is missing.',
  'member.joined': 'Another member of the cluster is there: its models can be used.',
  'member.changed': 'Another member drains, is reached only over HTTP (`muted`), or is itself again.',
  'member.lost': 'Another member is gone: `reason`. Requests that wait for it go elsewhere.',
  'supervisor.closed': 'The supervisor is closed and all of its services are stopped.',
} as const satisfies Record<SupervisorEvent['type'], string>

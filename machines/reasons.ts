import type { Failure, Peer, StartCause, StopReason, Verdict } from './messages.ts'

/**
 * Why a service is in the state it is in, with the facts of the decision: set by the chart where it decides, part of
 * `service.state` events and snapshots, and put into words by `toReasonText` alone.
 */
export type Reason =
  /** It was down, and a lease was asked for: by a request, or by what `cause` names. */
  | { readonly kind: 'requested'; readonly id: string; readonly cause?: StartCause }
  /** The wait after a failure is over and requests wait: the next start begins. `waiting` counts requests. */
  | { readonly kind: 'retried'; readonly waiting: number; readonly failures: number }
  /** Requests came while it was stopping: the next run begins for them. */
  | { readonly kind: 'wanted-again'; readonly waiting: number }
  /** Nothing answers at its address, so a process of ours is started. */
  | { readonly kind: 'absent'; readonly verdict: Verdict; readonly waiting: number }
  /** Its process is about to be spawned. */
  | { readonly kind: 'spawning'; readonly waiting: number }
  /** Its process runs and is not ready yet. */
  | { readonly kind: 'loading'; readonly pid: number }
  /** A server that we did not start is loading; we wait for it. */
  | { readonly kind: 'loading-elsewhere'; readonly verdict: Verdict | null }
  /** Another supervisor of this user runs it, or is about to: its leases are borrowed. `null`: not met yet. */
  | { readonly kind: 'held'; readonly holder: Peer | null }
  /** Another member of the cluster has it, or starts it: the requests go there. */
  | { readonly kind: 'elsewhere'; readonly member: string }
  /** No request waits here any more for a server that another supervisor runs. */
  | { readonly kind: 'left' }
  /** A server was there already: it is used, and never signalled. `member`: it is a member of the cluster. */
  | { readonly kind: 'adopted'; readonly verdict: Verdict | null; readonly member?: string }
  /** The process that we started is ready; waiting requests are served. */
  | { readonly kind: 'became-ready'; readonly verdict: Verdict | null }
  /** It was ready, and a request was granted its lease at once. */
  | { readonly kind: 'leased'; readonly id: string; readonly cause?: StartCause }
  /** Its last lease ended. */
  | { readonly kind: 'released' }
  /** It is told to sleep. `afterMs`: it was idle for that long; absent: another service needs the room. */
  | { readonly kind: 'falling-asleep'; readonly afterMs?: number }
  /** Its check says that it sleeps. `isSelf`: nothing told it to. */
  | { readonly kind: 'asleep'; readonly isSelf: boolean }
  /** There is room for it again, and it is being woken. `waiting` counts requests. */
  | { readonly kind: 'waking'; readonly waiting: number }
  /** It was woken, or woke by itself, and is healthy. */
  | { readonly kind: 'awake'; readonly isSelf: boolean }
  /** Whether it sleeps is not certain: it is stopped. `during`: what was asked of it, or its sleep. */
  | {
      readonly kind: 'sleep-failed'
      readonly during: 'sleep' | 'asleep' | 'wake'
      readonly detail: string
    }
  /** No lease was held for `idleStopMs`. `isAsked`: a request had asked for this time (`keep_alive`). */
  | { readonly kind: 'idle'; readonly idleStopMs: number; readonly isAsked?: true }
  /** For `abandonStartMs` no request waited for the start. */
  | { readonly kind: 'abandoned'; readonly abandonStartMs: number }
  /** A request came before the stop had sent a signal. */
  | {
      readonly kind: 'called-off'
      readonly id: string
      readonly stop: StopReason
      readonly cause?: StartCause
    }
  /** It was draining for another service, which no longer needs the room. */
  | { readonly kind: 'stayed' }
  /** A stop was requested: by a person, the configuration, the scheduler for another service, or the shutdown. */
  | { readonly kind: 'stop'; readonly reason: StopReason; readonly force: boolean }
  /** A start failed, or what ran ended or hung. */
  | { readonly kind: 'failed'; readonly failure: Failure; readonly failures: number }
  /** A server that we did not start is gone or hangs: it is not used any more. */
  | { readonly kind: 'gone'; readonly verdict: Verdict }
  /** The daemon of the model has unloaded it without being asked, or has ended. */
  | { readonly kind: 'unloaded' }
  /** The breaker's cooldown is over: one trial start is allowed. */
  | { readonly kind: 'cooled-down'; readonly failures: number }
  /** The wait after a failure is over and no request waits. */
  | { readonly kind: 'unwanted'; readonly failures: number }
  /** Its start needed the room of other services, and no request waited for it any more. */
  | { readonly kind: 'declined' }
  /** The breaker was closed, or the wait was ended, by hand. */
  | { readonly kind: 'reset' }

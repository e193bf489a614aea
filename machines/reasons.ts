import type { Failure, Peer, StartCause, StopReason, Verdict } from './messages.ts'

/**
 * Why a service is in the state it is in, with the facts of the decision: noted by the chart where it decides, told by
 * `service.state` events and snapshots, and put into words by `toReasonText` alone.
 */
export type Reason =
  /** It was down, and a lease was asked for: by a request, or by what `cause` names. */
  | { readonly kind: 'requested'; readonly id: string; readonly cause?: StartCause }
  /** The wait after a failure is over, and its start is still wanted. `waiting` counts requests. */
  | { readonly kind: 'retried'; readonly waiting: number; readonly failures: number }
  /** Requests came while it stopped, or while it was let go: it begins anew for them. */
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
  /** Nobody here waits any more for a server that another supervisor runs. */
  | { readonly kind: 'left' }
  /** A server was there already: it is used, and never signalled. */
  | { readonly kind: 'adopted'; readonly verdict: Verdict | null }
  /** The process that we started says that it is ready; whoever waited is served. */
  | { readonly kind: 'became-ready'; readonly verdict: Verdict | null }
  /** It was ready, and a request was granted its lease at once. */
  | { readonly kind: 'leased'; readonly id: string; readonly cause?: StartCause }
  /** Its last lease ended. */
  | { readonly kind: 'released' }
  /** Nobody held a lease for `idleStopMs`. */
  | { readonly kind: 'idle'; readonly idleStopMs: number }
  /** Nobody waited any more for a start for `abandonStartMs`. */
  | { readonly kind: 'abandoned'; readonly abandonStartMs: number }
  /** A request came before the stop had sent a signal. */
  | {
      readonly kind: 'called-off'
      readonly id: string
      readonly stop: StopReason
      readonly cause?: StartCause
    }
  /** It was making room for a service that does not wait for it any more. */
  | { readonly kind: 'stayed' }
  /** A stop was asked for: by a person, the configuration, a neighbour that needs room, or the end of it all. */
  | { readonly kind: 'stop'; readonly reason: StopReason; readonly force: boolean }
  /** A start failed, or what ran ended or hung. */
  | { readonly kind: 'failed'; readonly failure: Failure; readonly failures: number }
  /** The server that somebody else runs is gone, or hangs: it is not used any more. */
  | { readonly kind: 'gone'; readonly verdict: Verdict }
  /** The breaker's cooldown is over: one trial start is allowed. */
  | { readonly kind: 'cooled-down'; readonly failures: number }
  /** The wait after a failure is over, and nobody waits. */
  | { readonly kind: 'unwanted'; readonly failures: number }
  /** Others would have had to leave for its start, and nobody waited for it any more. */
  | { readonly kind: 'declined' }
  /** Somebody closed the breaker, or ended the wait, by hand. */
  | { readonly kind: 'reset' }

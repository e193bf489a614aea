import type { Failure, Peer, Receipt, ServicePolicy, StopReason, Verdict, Waiter } from '../messages.ts'
import type { Reason } from '../reasons.ts'
import type { ProviderState } from './tags.ts'

/** What a provider machine is created with. `instance` makes the generations of two actors of one key differ. */
export interface ProviderInput {
  readonly key: string
  readonly instance: string
  readonly policy: ServicePolicy
}

/** The memory of a provider machine. All of it is JSON; leases are counted, never listed. */
export interface ProviderContext extends ProviderInput {
  /** Runs begun by this actor; the current generation is `instance.run`. */
  readonly run: number
  readonly generation: string | null
  /** `borrowed`: another supervisor of this user runs the server and lends us leases. */
  readonly ownership: 'none' | 'owned' | 'adopted' | 'borrowed'
  /** The supervisor that runs what we borrow, once it is known. */
  readonly holder: Peer | null
  /** Times in a row that no supervisor was found behind a claim that is held. */
  readonly lostPeers: number
  readonly pid: number | null
  readonly leases: number
  /** The idle time that a lease of this run asked for; `null`: that of the policy. */
  readonly keepAliveMs: number | null
  readonly waiters: readonly Waiter[]
  /** Failures since the service was last stable: the count of the breaker. */
  readonly failures: number
  /** The last failure: what a refused waiter is told. */
  readonly failure: Failure | null
  /** Times that the start was tried again for the current waiters. */
  readonly retries: number
  /** Whether the start follows the end of another process, whose memory may still be in use. */
  readonly follows: boolean
  readonly verdict: Verdict | null
  /** The part of `readyTimeoutMs` that the probe before this run has used up. */
  readonly lookedMs: number
  /** Heartbeats in a row that were not `ready`. */
  readonly misses: number
  /** Whether a request was refused the connection since the last good check: a lease would be of no use. */
  readonly isUnreachable: boolean
  /** Whether it sleeps or may sleep: from the request to sleep until it is awake and healthy again. */
  readonly isAsleep: boolean
  /** Why it is being stopped. */
  readonly stop: StopReason | null
  /** The last receipt. */
  readonly receipt: Receipt | null
  /** Why it is in its state; `null`: nothing has happened yet. */
  readonly why: Reason | null
}

/** How often a start is tried again for the same waiters when the failure is transient. */
export const MAX_RETRIES = 2
/** How many heartbeats in a row an unleased service may miss before it counts as hung. */
export const UNHEALTHY_MISSES = 3
/** How often in a row a held claim may have no reachable supervisor before that is a failure: about a second. */
export const MAX_LOST_PEERS = 10

/** The number of waiting requests; `preload` and starts by hand are not counted. */
export function countRequests({ waiters }: Pick<ProviderContext, 'waiters'>): number {
  return waiters.filter(({ cause }) => cause === undefined).length
}

/** The wait before the next start, in milliseconds: doubled by each failure in a row, up to the policy's maximum. */
export function toBackoffMs({ policy, failures }: Pick<ProviderContext, 'policy' | 'failures'>): number {
  return Math.min(policy.backoffMs * 2 ** Math.max(0, failures - 1), policy.backoffMaxMs)
}

/**
 * A state value as a dotted name of at most two levels, as it is shown: `{ leased: 'open' }` is `leased.open`. `ready` is
 * the name of `ready.awake`: most services never sleep.
 */
export function toStateName(value: unknown): ProviderState {
  if (typeof value === 'string') return value as ProviderState
  const [state, inner] = Object.entries(value as Record<string, unknown>)[0] ?? []
  const innerName = typeof inner === 'string' ? inner : Object.keys(inner ?? {})[0]
  if (state === 'ready' && innerName === 'awake') return 'ready'
  return `${state}.${innerName}` as ProviderState
}

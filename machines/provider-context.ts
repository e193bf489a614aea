import type { Failure, Peer, Receipt, ServicePolicy, StopReason, Verdict, Waiter } from './messages.ts'
import type { Reason } from './reasons.ts'

/** What a provider machine is born with. `instance` makes the generations of two actors of one key differ. */
export interface ProviderInput {
  readonly key: string
  readonly instance: string
  readonly policy: ServicePolicy
}

/** What a provider machine remembers. JSON throughout; leases are counted, never listed. */
export interface ProviderContext extends ProviderInput {
  /** Runs begun by this actor; the current generation is `instance.run`. */
  readonly run: number
  readonly generation: string | null
  /** `borrowed`: another supervisor of this user runs it, and gives us leases of it. */
  readonly ownership: 'none' | 'owned' | 'adopted' | 'borrowed'
  /** The supervisor that runs what we borrow, once it is known. */
  readonly holder: Peer | null
  /** How often in a row nobody was found behind a claim that is held. */
  readonly lostPeers: number
  readonly pid: number | null
  readonly leases: number
  readonly waiters: readonly Waiter[]
  /** Failures since the service was last stable; the breaker's count. */
  readonly failures: number
  /** The last failure; what a refused waiter is told. */
  readonly failure: Failure | null
  /** How often the start was tried again for those who wait. */
  readonly retries: number
  /** Whether the start follows directly upon the end of another process, whose memory may still be being freed. */
  readonly follows: boolean
  readonly verdict: Verdict | null
  /** How much of `readyTimeoutMs` the look before this run has used up. */
  readonly lookedMs: number
  /** Heartbeats in a row that were not `ready`. */
  readonly misses: number
  /** Whether a request was refused the connection since the last good check: a lease would be of no use. */
  readonly isUnreachable: boolean
  readonly stop: StopReason | null
  /** The last receipt. */
  readonly receipt: Receipt | null
  /** Why it is in the state it is in; `null`: nothing has happened yet. */
  readonly why: Reason | null
}

/** How often a start is tried again for the same waiters, when the failure is one that passes. */
export const MAX_RETRIES = 2
/** How many heartbeats in a row an unleased service may miss before it counts as hung. */
export const UNHEALTHY_MISSES = 3
/** Time a killed leader has to disappear, and a sweep has to end, in milliseconds. */
const KILL_GRACE_MS = 1_000
export const SWEEP_TIMEOUT_MS = 5_000

/**
 * Time until a peer must be known as met, silent or a stranger, and the pause before the claim is asked for again, in
 * milliseconds. Its effect says `silent` before this ends.
 */
export const PEER_TIMEOUT_MS = 7_000
const PEER_RETRY_MS = 100
/** So often in a row nobody may be found behind a claim before that counts as a failure: about a second. */
export const MAX_LOST_PEERS = 10

/** The longest a timer can hold, and so our `never`: a `setTimeout` of 2^31 fires at once. */
export const NEVER_MS = 2 ** 31 - 1

/** The waiting requests, without other waiters. */
export function countRequests({ waiters }: Pick<ProviderContext, 'waiters'>): number {
  return waiters.filter(({ cause }) => cause === undefined).length
}

/** The wait before the next start: doubled by each failure in a row, up to the policy's maximum. */
export function toBackoffMs({ policy, failures }: Pick<ProviderContext, 'policy' | 'failures'>): number {
  return Math.min(policy.backoffMs * 2 ** Math.max(0, failures - 1), policy.backoffMaxMs)
}

/** The current delay of every timed state: what a countdown shows and a `Retry-After` is computed from. */
export const providerDelays = {
  abandonStart: ({ context }: { context: ProviderContext }) => context.policy.abandonStartMs ?? 0,
  backoff: ({ context }: { context: ProviderContext }) => toBackoffMs(context),
  breakerCooldown: ({ context }: { context: ProviderContext }) =>
    context.failure?.retry === 'never' ? NEVER_MS : context.policy.breakerCooldownMs,
  /** One that makes room for others has all the time that its leases need. */
  drainTimeout: ({ context }: { context: ProviderContext }) =>
    context.stop === 'yielded' ? NEVER_MS : context.policy.drainTimeoutMs,
  idleStop: ({ context }: { context: ProviderContext }) => context.policy.idleStopMs || NEVER_MS,
  killGrace: KILL_GRACE_MS,
  peerRetry: PEER_RETRY_MS,
  peerTimeout: PEER_TIMEOUT_MS,
  readyTimeout: ({ context }: { context: ProviderContext }) =>
    Math.max(0, context.policy.readyTimeoutMs - context.lookedMs),
  stability: ({ context }: { context: ProviderContext }) => context.policy.stabilityMs,
  stopGrace: ({ context }: { context: ProviderContext }) => context.policy.stopGraceMs,
  sweepTimeout: SWEEP_TIMEOUT_MS,
}

/** A state value as a dotted name of at most two levels, `{ leased: 'open' }` as `leased.open`: what is shown. */
export function toStateName(value: unknown): string {
  if (typeof value === 'string') return value
  const [state, inner] = Object.entries(value as Record<string, unknown>)[0] ?? []
  const innerName = typeof inner === 'string' ? inner : Object.keys(inner ?? {})[0]
  return `${state}.${innerName}`
}

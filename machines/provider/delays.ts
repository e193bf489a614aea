import type { ServicePolicy } from '../messages.ts'
import { type ProviderContext, toBackoffMs } from './context.ts'

/** The longest a timer can hold, used as `never`: a `setTimeout` of 2^31 fires at once. */
export const NEVER_MS = 2 ** 31 - 1
/** Time that a killed leader has to disappear, in milliseconds. */
export const KILL_GRACE_MS = 1_000
/** Time that a sweep has to end, in milliseconds. */
export const SWEEP_TIMEOUT_MS = 5_000
/** Time until the peer effect says `met`, `silent` or `failed`, in milliseconds. It says `silent` before this ends. */
export const PEER_TIMEOUT_MS = 7_000
/** The pause before a claim is asked for again, in milliseconds. */
const PEER_RETRY_MS = 100

/** The idle time of this run in milliseconds: what a lease asked for, else that of the policy; {@link NEVER_MS}: none. */
export function toIdleStopMs({
  keepAliveMs,
  policy,
}: {
  readonly keepAliveMs: number | null
  readonly policy: Pick<ServicePolicy, 'idleStopMs'>
}): number {
  return keepAliveMs ?? (policy.idleStopMs || NEVER_MS)
}

/** What a delay is computed from. */
export type DelayScope = { readonly context: ProviderContext }

/** The delay of every timed state, in milliseconds: a countdown and a `Retry-After` are computed from it. */
export const providerDelays = {
  abandonStart: ({ context }: DelayScope) => context.policy.abandonStartMs ?? 0,
  backoff: ({ context }: DelayScope) => toBackoffMs(context),
  breakerCooldown: ({ context }: DelayScope) =>
    context.failure?.retry === 'never' ? NEVER_MS : context.policy.breakerCooldownMs,
  /** A service that makes room for others has all the time that its leases need. */
  drainTimeout: ({ context }: DelayScope) =>
    context.stop === 'yielded' ? NEVER_MS : context.policy.drainTimeoutMs,
  idleStop: ({ context }: DelayScope) => toIdleStopMs(context),
  killGrace: KILL_GRACE_MS,
  peerRetry: PEER_RETRY_MS,
  peerTimeout: PEER_TIMEOUT_MS,
  /** A request that asked to keep it loaded keeps it awake as well. */
  sleepAfter: ({ context: { policy, keepAliveMs } }: DelayScope) =>
    keepAliveMs === null ? policy.sleep?.afterMs || NEVER_MS : NEVER_MS,
  sleepTimeout: ({ context }: DelayScope) => context.policy.sleep?.requestMs ?? 0,
  wakeTimeout: ({ context }: DelayScope) => context.policy.sleep?.wakeMs ?? 0,
  readyTimeout: ({ context }: DelayScope) => Math.max(0, context.policy.readyTimeoutMs - context.lookedMs),
  stability: ({ context }: DelayScope) => context.policy.stabilityMs,
  /** A stop command comes before SIGTERM. */
  stopGrace: ({ context: { policy } }: DelayScope) => policy.stopCommandMs + policy.stopGraceMs,
  /** A sweep may have to run the stop command, and to run it again. */
  sweepTimeout: ({ context: { policy } }: DelayScope) => 2 * policy.stopCommandMs + SWEEP_TIMEOUT_MS,
}

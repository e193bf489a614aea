import { setup } from 'xstate'
import type { ProviderEmitted, ProviderEvent, Receipt, StopReason } from './messages.ts'
import { claim, health, peer, probe, process } from './ports.ts'
import {
  MAX_LOST_PEERS,
  MAX_RETRIES,
  type ProviderContext,
  type ProviderInput,
  providerDelays,
  UNHEALTHY_MISSES,
} from './provider-context.ts'
import { failureOf, idOf, outcomeOf, verdictOf } from './provider-events.ts'
import { NO_START_FAILURES } from './provider-failures.ts'
import { findTellingLine, isLastingCause } from './telling-line.ts'

export type Scope = { context: ProviderContext; event: ProviderEvent }

/** What a provider chart is made of, and the questions that it asks. Its actions are made with this. */
export const base = setup({
  types: {
    context: {} as ProviderContext,
    events: {} as ProviderEvent,
    emitted: {} as ProviderEmitted,
    input: {} as ProviderInput,
    output: {} as { readonly key: string; readonly receipt: Receipt | null },
  },
  actors: { claim, health, peer, probe, process },
  delays: providerDelays,
  guards: {
    isCurrentGeneration: ({ context, event }: Scope) =>
      'generation' in event && event.generation === context.generation,
    isKnownWaiter: ({ context, event }: Scope) => context.waiters.some(({ id }) => id === idOf(event)),
    isQueueFull: ({ context }: Scope) => context.waiters.length >= context.policy.maxQueue,
    isQueueUsed: ({ context }: Scope) => context.waiters.length > 0,
    /** Of what is borrowed the owner knows whether there is room. */
    hasRoom: ({ context }: Scope) =>
      context.ownership !== 'borrowed' &&
      context.leases < context.policy.maxConcurrent &&
      context.waiters.length === 0 &&
      !context.isUnreachable,
    isUnreachable: ({ context }: Scope) => context.isUnreachable,
    /** No request waits for it, whatever `preload` wants. */
    isDeclinable: ({ context }: Scope) => context.waiters.every(({ cause }) => cause === 'preload'),
    isUnleased: ({ context }: Scope) => context.leases === 0,
    isLastLease: ({ context }: Scope) => context.leases === 1,
    isLastWaiter: ({ context }: Scope) => context.waiters.length === 1,
    isOwned: ({ context }: Scope) => context.ownership === 'owned',
    isBorrowed: ({ context }: Scope) => context.ownership === 'borrowed',
    isManaged: ({ context }: Scope) => context.policy.managed,
    isReady: ({ event }: Scope) => verdictOf(event)?.kind === 'ready',
    isLoading: ({ event }: Scope) => verdictOf(event)?.kind === 'loading',
    isRefused: ({ event }: Scope) => verdictOf(event)?.kind === 'refused',
    isHopeless: ({ event }: Scope) => ['failed', 'foreign'].includes(verdictOf(event)?.kind ?? ''),
    isSuspect: ({ context }: Scope) => context.misses > 0,
    /** Everything that was seen between two heartbeats counts as one failed check. */
    isOfRequest: ({ event }: Scope) => event.type === 'health.verdict' && event.isOfRequest === true,
    isHung: ({ context }: Scope) => context.misses + 1 >= UNHEALTHY_MISSES,
    isHeld: ({ event }: Scope) => outcomeOf(event)?.outcome === 'held',
    isClaimImpossible: ({ event }: Scope) => outcomeOf(event)?.outcome === 'impossible',
    /** The owner tried and failed: the same start would fail here, too. */
    isStartFailure: ({ event }: Scope) =>
      event.type === 'peer.refused' && !NO_START_FAILURES.has(event.failure.code),
    isLostTooOften: ({ context }: Scope) => context.lostPeers + 1 >= MAX_LOST_PEERS,
    canIdleStop: ({ context }: Scope) => context.policy.idleStopMs > 0,
    canCallOff: ({ context }: Scope) => context.stop === 'idle' || context.stop === 'evicted',
    isForced: ({ event }: Scope) => event.type === 'service.stop' && event.force === true,
    hasNewIdleStop: ({ context, event }: Scope) =>
      event.type === 'policy.replaced' && event.policy.idleStopMs !== context.policy.idleStopMs,
    /** Somebody else needs the room: nothing that is in use, or not up yet, is stopped for it. */
    isEviction: ({ event }: Scope) =>
      event.type === 'service.stop' && (event.reason === 'evicted' || event.reason === 'yielded'),
    isYield: ({ event }: Scope) => event.type === 'service.stop' && event.reason === 'yielded',
    isYielding: ({ context }: Scope) => context.stop === 'yielded',
    isRetirement: ({ event }: Scope) => event.type === 'service.stop' && retires(event.reason),
    isRetiring: ({ context }: Scope) => retires(context.stop),
    isAfterFailure: ({ context }: Scope) => isFailureReason(context.stop),
    isBreakerDue: ({ context }: Scope) => context.failures + 1 >= context.policy.breakerFailures,
    isStrangers: ({ event }: Scope) => {
      const owner = verdictOf(event)?.owner
      return owner !== undefined && (owner.strangers.length > 0 || owner.uid !== undefined)
    },
    isOtherUser: ({ event }: Scope) => verdictOf(event)?.owner?.uid !== undefined,
    saysPortTaken: ({ event }: Scope) =>
      event.type === 'process.exited' && tellingOf(event)?.cause === 'port',
    /** Its output names a cause that the next start would meet again. */
    saysLasting: ({ event }: Scope) => event.type === 'process.exited' && isLastingCause(tellingOf(event)),
    isPortConflict: ({ event }: Scope) => failureOf(event)?.code === 'LEASEHOLD_PORT_TAKEN',
    isPassing: ({ event }: Scope) => failureOf(event)?.retry === 'later',
    isLasting: ({ event }: Scope) => failureOf(event)?.retry === 'never',
    hasRetry: ({ context }: Scope) => context.retries < MAX_RETRIES,
    isFollowing: ({ context }: Scope) => context.follows,
    isBreakerOpen: ({ context }: Scope) =>
      context.failures >= context.policy.breakerFailures || context.failure?.retry === 'cooldown',
    hasSurvivors: ({ event }: Scope) =>
      event.type === 'process.settled' &&
      (event.receipt.survivors.length > 0 || event.receipt.isPortHeld === true),
  },
})

function tellingOf({ telling, tail }: Extract<ProviderEvent, { type: 'process.exited' }>) {
  return telling ?? findTellingLine(tail)
}

export function retires(reason: StopReason | null): boolean {
  return reason === 'removed' || reason === 'shutdown'
}

export function isFailureReason(reason: StopReason | null): boolean {
  return reason === 'start-failed' || reason === 'unhealthy'
}

import { setup } from 'xstate'
import {
  isServerLeft,
  type ProviderEmitted,
  type ProviderEvent,
  type Receipt,
  type StopReason,
} from '../messages.ts'
import { claim, health, peer, probe, process, requests, sleep, wake } from '../ports.ts'
import { findTellingLine, isLastingCause } from '../telling-line.ts'
import {
  MAX_LOST_PEERS,
  MAX_RETRIES,
  type ProviderContext,
  type ProviderInput,
  UNHEALTHY_MISSES,
} from './context.ts'
import { NEVER_MS, providerDelays, toIdleStopMs } from './delays.ts'
import { causeOf, failureOf, idOf, outcomeOf, sleepFaultOf, verdictOf } from './event-facts.ts'
import { NO_START_FAILURES, START_FAILURES } from './failures.ts'
import type { ProviderTag } from './tags.ts'

export type Scope = { context: ProviderContext; event: ProviderEvent }

/** The types, effects, delays and guards of the provider chart. Its actions are made with this. */
export const base = setup({
  types: {
    context: {} as ProviderContext,
    events: {} as ProviderEvent,
    emitted: {} as ProviderEmitted,
    input: {} as ProviderInput,
    output: {} as { readonly key: string; readonly receipt: Receipt | null },
    tags: {} as ProviderTag,
  },
  actors: { claim, health, peer, probe, process, requests, sleep, wake },
  delays: providerDelays,
  guards: {
    // The event belongs to the current run.
    isCurrentGeneration: ({ context, event }: Scope) =>
      'generation' in event && event.generation === context.generation,

    // Waiters and leases.
    isKnownWaiter: ({ context, event }: Scope) => isKnownWaiter(context, event),
    isQueueFull: ({ context }: Scope) => isQueueFull(context),
    canQueue: ({ context, event }: Scope) => !isQueueFull(context) && !isKnownWaiter(context, event),
    hasWaiters: ({ context }: Scope) => context.waiters.length > 0,
    isLastWaiter: ({ context }: Scope) => context.waiters.length === 1,
    /** No request waits, only `preload`. */
    hasOnlyPreload: ({ context }: Scope) => context.waiters.every(({ cause }) => cause === 'preload'),
    /** The scheduler said why no request can have room. */
    isKeptOut: ({ event }: Scope) => event.type === 'start.declined' && 'failure' in event,
    /** The owner of a borrowed server counts its leases itself. */
    hasFreePlace: ({ context }: Scope) =>
      context.ownership !== 'borrowed' &&
      context.leases < context.policy.maxConcurrent &&
      context.waiters.length === 0 &&
      !context.isUnreachable,
    hasNoLeases: ({ context }: Scope) => context.leases === 0,
    isLastLease: ({ context }: Scope) => context.leases === 1,

    // Ownership.
    isManaged: ({ context }: Scope) => context.policy.managed,
    isOwned: ({ context }: Scope) => context.ownership === 'owned',
    isBorrowed: ({ context }: Scope) => context.ownership === 'borrowed',

    // Health.
    isReady: ({ event }: Scope) => verdictOf(event)?.kind === 'ready',
    isLoading: ({ event }: Scope) => verdictOf(event)?.kind === 'loading',
    isRefused: ({ event }: Scope) => verdictOf(event)?.kind === 'refused',
    isFailedOrForeign: ({ event }: Scope) => ['failed', 'foreign'].includes(verdictOf(event)?.kind ?? ''),
    /** The last health check failed. */
    isSuspect: ({ context }: Scope) => context.misses > 0,
    /** Everything that was seen between two heartbeats counts as one miss. */
    isSeenByRequest: ({ event }: Scope) => event.type === 'health.verdict' && event.isOfRequest === true,
    /** A request was refused the connection since the last good check. */
    isUnreachable: ({ context }: Scope) => context.isUnreachable,
    /** This miss is one too many. */
    isHung: ({ context }: Scope) => context.misses + 1 >= UNHEALTHY_MISSES,
    hasForeignListener: ({ event }: Scope) => {
      const holder = verdictOf(event)?.portHolder
      return holder !== undefined && (holder.strangers.length > 0 || holder.uid !== undefined)
    },
    isListenerOfOtherUser: ({ event }: Scope) => verdictOf(event)?.portHolder?.uid !== undefined,

    // Sleep.
    /** It is ours, and can be told to sleep. */
    isSleeper: ({ context }: Scope) => isSleeper(context),
    /** It can be told to sleep now: no request waits for its next good check. */
    canSleep: ({ context }: Scope) => isSleeper(context) && context.waiters.length === 0,
    /** The scheduler wants no more than its sleep frees. */
    isSleepEnough: ({ event }: Scope) => event.type === 'service.stop' && event.sleeps === true,
    isSelfSleeper: ({ context }: Scope) => context.policy.sleep?.isSelf === true,
    isSeenAsleep: ({ event }: Scope) => event.type === 'sleep.seen' && event.isAsleep,
    /** The request to sleep or to wake did not do what it should. */
    isSleepFault: ({ event }: Scope) => sleepFaultOf(event) !== undefined,
    /** The new policy does not say how a server that was told to sleep is woken. */
    isSleepRemoved: ({ context, event }: Scope) =>
      event.type === 'policy.replaced' &&
      (event.policy.sleep === null || (event.policy.sleep.isSelf && context.policy.sleep?.isSelf !== true)),

    // Claims and other supervisors.
    isClaimHeld: ({ event }: Scope) => outcomeOf(event)?.outcome === 'held',
    isRoomLost: ({ event }: Scope) => outcomeOf(event)?.outcome === 'no-room',
    isElsewhere: ({ event }: Scope) => outcomeOf(event)?.outcome === 'elsewhere',
    isClaimImpossible: ({ event }: Scope) => outcomeOf(event)?.outcome === 'impossible',
    /** The owner tried to start the server and failed: the same start would fail here. */
    isStartFailure: ({ event }: Scope) =>
      event.type === 'peer.refused' && !NO_START_FAILURES.has(event.failure.code),
    isLostPeerLimitReached: ({ context }: Scope) => context.lostPeers + 1 >= MAX_LOST_PEERS,

    // Failed starts.
    /** The host lacked something for a moment: the same start may succeed. */
    isTransient: ({ event }: Scope) => failureOf(event)?.retry === 'later',
    /** Only another configuration, or a start by hand, changes anything. */
    isPermanent: ({ event }: Scope) => failureOf(event)?.retry === 'never',
    /** The process was not spawned because its port is taken. */
    isPortConflict: ({ event }: Scope) => failureOf(event)?.code === 'LEASEHOLD_PORT_TAKEN',
    /** The process ended and its output says that its port is taken. */
    isPortTaken: ({ event }: Scope) => event.type === 'process.exited' && tellingOf(event)?.cause === 'port',
    /** The process ended and its output names a cause that the next start would meet again. */
    isPermanentExit: ({ event }: Scope) =>
      event.type === 'process.exited' && isLastingCause(tellingOf(event)),
    /** The daemon of the model has unloaded it, or has ended: no failure of the model. */
    isUnloaded: ({ event }: Scope) => event.type === 'process.exited' && event.isUnloaded === true,
    hasRetry: ({ context }: Scope) => context.retries < MAX_RETRIES,
    /** Another process ended just before this start, and its memory may still be in use. */
    hasPredecessor: ({ context }: Scope) => context.follows,

    // The breaker.
    /** This failure is one in a row too many: it opens the breaker. */
    isLastAllowedFailure: ({ context }: Scope) => context.failures + 1 >= context.policy.breakerFailures,
    /** The last start failed, and its waiters were told: none waits for another try. */
    isToldFailure: ({ context, event }: Scope) =>
      context.waiters.length === 0 &&
      START_FAILURES.has(context.failure?.code ?? 'LEASEHOLD_INTERNAL') &&
      causeOf(event).cause === undefined,
    isBreakerOpen: ({ context }: Scope) =>
      context.failures >= context.policy.breakerFailures || context.failure?.retry === 'cooldown',

    // Stops.
    canIdleStop: ({ context }: Scope) => toIdleStopMs(context) < NEVER_MS,
    /** What a lease asked for outlasts a new policy. */
    hasNewIdleStop: ({ context, event }: Scope) =>
      event.type === 'policy.replaced' &&
      context.keepAliveMs === null &&
      event.policy.idleStopMs !== context.policy.idleStopMs,
    isForced: ({ event }: Scope) => event.type === 'service.stop' && event.force === true,
    /** The scheduler wants the room for another service: what is in use, or not up yet, is not stopped for that. */
    isRoomRequest: ({ event }: Scope) =>
      event.type === 'service.stop' && (event.reason === 'evicted' || event.reason === 'yielded'),
    /** The scheduler wants the room of a service in use: it drains, without a deadline. */
    isDrainRequest: ({ event }: Scope) => event.type === 'service.stop' && event.reason === 'yielded',
    isYielding: ({ context }: Scope) => context.stop === 'yielded',
    isRetirement: ({ event }: Scope) => event.type === 'service.stop' && isRetiring(event.reason),
    isRetiring: ({ context }: Scope) => isRetiring(context.stop),
    isFailureStop: ({ context }: Scope) => isFailureReason(context.stop),
    /** Before SIGTERM is sent, a request calls these stops off, unless the server sleeps. */
    canCallOff: ({ context }: Scope) =>
      !context.isAsleep && (context.stop === 'idle' || context.stop === 'evicted'),
    /** Processes survived the stop, one still listens on the port, or a server outside the tree is there. */
    hasSurvivors: ({ event }: Scope) =>
      event.type === 'process.settled' &&
      (event.receipt.survivors.length > 0 ||
        event.receipt.isPortHeld === true ||
        isServerLeft(event.receipt)),
  },
})

function isKnownWaiter({ waiters }: ProviderContext, event: ProviderEvent): boolean {
  const id = idOf(event)
  return waiters.some((waiter) => waiter.id === id)
}

function isQueueFull({ waiters, policy }: ProviderContext): boolean {
  return waiters.length >= policy.maxQueue
}

function isSleeper({ policy, ownership }: ProviderContext): boolean {
  return policy.sleep !== null && !policy.sleep.isSelf && ownership === 'owned'
}

function tellingOf({ telling, tail }: Extract<ProviderEvent, { type: 'process.exited' }>) {
  return telling ?? findTellingLine(tail)
}

/** Whether this reason to stop ends the service for good. */
export function isRetiring(reason: StopReason | null): boolean {
  return reason === 'removed' || reason === 'shutdown'
}

/** Whether it is stopped because it failed. */
export function isFailureReason(reason: StopReason | null): boolean {
  return reason === 'start-failed' || reason === 'unhealthy'
}

import { cancel, setup } from 'xstate'
import type {
  ClaimOutcome,
  Failure,
  FailureCode,
  Listener,
  PeerCommand,
  PortOwner,
  ProcessCommand,
  ProviderEmitted,
  ProviderEvent,
  Receipt,
  StopReason,
  Verdict,
  Waiter,
} from './messages.ts'
import { claim, health, peer, probe, process } from './ports.ts'
import {
  MAX_LOST_PEERS,
  MAX_RETRIES,
  PEER_TIMEOUT_MS,
  type ProviderContext,
  type ProviderInput,
  providerDelays,
  SWEEP_TIMEOUT_MS,
  UNHEALTHY_MISSES,
} from './provider-context.ts'
import type { Reason } from './reasons.ts'
import { lineUp } from './waiting-line.ts'

type Scope = { context: ProviderContext; event: ProviderEvent }

const base = setup({
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
      context.waiters.length === 0,
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
    isStrangers: ({ event }: Scope) => (verdictOf(event)?.owner?.strangers.length ?? 0) > 0,
    saysPortTaken: ({ event }: Scope) =>
      event.type === 'process.exited' && event.tail.some((line) => PORT_TAKEN.test(line)),
    isPortConflict: ({ event }: Scope) => failureOf(event)?.code === 'LEASEHOLD_PORT_TAKEN',
    isPassing: ({ event }: Scope) => failureOf(event)?.retry === 'later',
    isLasting: ({ event }: Scope) => failureOf(event)?.retry === 'never',
    hasRetry: ({ context }: Scope) => context.retries < MAX_RETRIES,
    isFollowing: ({ context }: Scope) => context.follows,
    isBreakerOpen: ({ context }: Scope) => context.failures >= context.policy.breakerFailures,
    hasSurvivors: ({ event }: Scope) =>
      event.type === 'process.settled' && event.receipt.survivors.length > 0,
  },
})

/** Every waiter is told why it gets no lease. */
const refuseAll = (toWhy: (context: ProviderContext) => Failure) =>
  base.enqueueActions(({ context, enqueue }) => {
    for (const { id } of context.waiters) {
      enqueue.cancel(timerOf(id))
      enqueue.emit({ type: 'lease.refused', id, failure: toWhy(context) })
      if (context.ownership === 'borrowed') enqueue.sendTo('peer', toReturn(context, id))
    }
    enqueue.assign({ waiters: [], retries: 0, follows: false })
  })

/** Every holder is told why its lease has ended. */
const revokeAll = (toWhy: (context: ProviderContext) => Failure) =>
  base.enqueueActions(({ context, enqueue }) => {
    const { leases, generation } = context
    enqueue.assign({ leases: 0 })
    if (leases > 0 && generation !== null)
      enqueue.emit({ type: 'leases.revoked', generation, failure: toWhy(context) })
  })

/** A failure is the reason for the state that follows it, too. */
const note = (toNoted: (scope: Scope) => Failure) =>
  base.assign((scope) => {
    const failure = toNoted(scope)
    return { failure, why: { kind: 'failed', failure, failures: scope.context.failures } }
  })

const because = (toWhy: (scope: Scope) => Reason) => base.assign({ why: toWhy })

/** The guards, actions and delays that the provider chart is written in. */
export const provider = base.extend({
  actions: {
    // Admission: every `lease.requested` is answered by exactly one grant or refusal.
    enqueue: base.enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'lease.requested') return
      const { id, priority = 0, sinceMs = 0 } = event
      const waiter: Waiter = { id, priority, sinceMs }
      enqueue.assign({ waiters: lineUp(context.waiters, waiter) })
      enqueue.raise(
        { type: 'waiter.expired', id: waiter.id },
        { delay: context.policy.maxQueueMs, id: timerOf(waiter.id) },
      )
      enqueue.cancel('abandon')
      if (context.ownership === 'borrowed') enqueue.sendTo('peer', toWant(context, waiter))
    }),
    unqueue: base.enqueueActions(({ context, event, enqueue }) => {
      enqueue.assign({ waiters: context.waiters.filter(({ id }) => id !== idOf(event)) })
      enqueue.cancel(timerOf(idOf(event)))
      if (context.ownership === 'borrowed') enqueue.sendTo('peer', toReturn(context, idOf(event)))
    }),
    /** The owner chose one of those who wait here. */
    grantWaiter: base.enqueueActions(({ context, event, enqueue }) => {
      enqueue.assign({
        leases: context.leases + 1,
        waiters: context.waiters.filter(({ id }) => id !== idOf(event)),
        why: { kind: 'leased', id: idOf(event) },
      })
      enqueue.cancel(timerOf(idOf(event)))
      enqueue.emit(toGrant(context, idOf(event)))
    }),
    refuseByOwner: base.emit(({ event }) => ({
      type: 'lease.refused',
      id: idOf(event),
      failure: event.type === 'peer.refused' ? event.failure : UNEXPLAINED,
    })),
    countLease: base.assign(({ context, event }) => ({
      leases: context.leases + 1,
      why: { kind: 'leased', id: idOf(event) },
    })),
    grant: base.emit(({ context, event }) => toGrant(context, idOf(event))),
    grantWaiters: base.enqueueActions(({ context, enqueue }) => {
      // A replaced policy may allow fewer leases than are held.
      const granted = context.waiters.slice(0, Math.max(0, context.policy.maxConcurrent - context.leases))
      enqueue.assign({
        retries: 0,
        follows: false,
        leases: context.leases + granted.length,
        waiters: context.waiters.slice(granted.length),
      })
      for (const { id } of granted) {
        enqueue.cancel(timerOf(id))
        enqueue.emit(toGrant(context, id))
      }
    }),
    refuse: base.emit(({ context, event }) => ({
      type: 'lease.refused',
      id: idOf(event),
      failure: context.failure ?? UNEXPLAINED,
    })),
    refuseQueueFull: base.emit(({ context, event }) => ({
      type: 'lease.refused',
      id: idOf(event),
      failure: {
        code: 'LEASEHOLD_QUEUE_FULL',
        message: `its queue is full: ${context.waiters.length} requests are waiting`,
      },
    })),
    refuseExpired: base.emit(({ context, event }) => ({
      type: 'lease.refused',
      id: idOf(event),
      failure: {
        code: 'LEASEHOLD_QUEUE_TIMEOUT',
        message: `no lease within ${context.policy.maxQueueMs} ms of waiting`,
        ...(context.verdict === null ? {} : { verdict: context.verdict }),
      },
    })),
    refuseTripped: base.emit(({ context, event }) => ({
      type: 'lease.refused',
      id: idOf(event),
      failure: toTrippedFailure(context),
    })),
    refuseWhileStopping: base.emit(({ context, event }) => ({
      type: 'lease.refused',
      id: idOf(event),
      failure: toStopFailure(context.stop),
    })),
    refuseWaiters: refuseAll(({ failure }) => failure ?? UNEXPLAINED),
    refuseStopped: refuseAll(({ stop }) => toStopFailure(stop)),
    release: base.enqueueActions(({ context, event, enqueue }) => {
      const isDone = context.leases === 1 && context.waiters.length === 0 && context.stop === null
      enqueue.assign({ leases: context.leases - 1, ...(isDone ? { why: RELEASED } : {}) })
      if (context.ownership === 'borrowed') enqueue.sendTo('peer', toReturn(context, idOf(event)))
    }),
    revokeLeases: revokeAll(({ failure }) => failure ?? UNEXPLAINED),
    revokeStopped: revokeAll(({ stop }) => toStopFailure(stop)),
    revokeUndrained: revokeAll(({ stop, policy }) => {
      const { code, message } = toStopFailure(stop)
      const late = `the lease outlasted the drain deadline of ${policy.drainTimeoutMs} ms`
      return { code, message: `${message}, and ${late}` }
    }),

    // What was seen, kept for whoever asks why.
    noteVerdict: base.assign({ verdict: ({ context, event }) => verdictOf(event) ?? context.verdict }),
    noteMiss: base.assign({ misses: ({ context }) => context.misses + 1 }),
    noteHealthy: base.assign({ misses: 0 }),
    noteReceipt: base.assign({
      receipt: ({ context, event }) => (event.type === 'process.settled' ? event.receipt : context.receipt),
    }),
    notePid: base.assign(({ event }) => {
      const pid = event.type === 'process.spawned' ? event.pid : null
      return { pid, ...(pid === null ? {} : { why: { kind: 'loading', pid } as const }) }
    }),
    noteStop: base.assign(({ context, event }) => {
      if (event.type !== 'service.stop') return {}
      const { reason, force = false } = event
      const stop = toGraver(context.stop, reason)
      return { stop, why: stop === reason ? { kind: 'stop', reason, force } : context.why }
    }),
    noteIdle: base.assign(({ context }) => ({ stop: 'idle', why: toIdle(context) })),
    noteHung: base.assign({ stop: 'unhealthy' }),
    noteAbandoned: base.assign(({ context }) => ({ stop: 'abandoned', why: toAbandoned(context) })),
    noteStartFailed: base.assign({ stop: 'start-failed' }),

    // Why, where no other note says it.
    explainRequest: because(({ event }) => ({ kind: 'requested', id: idOf(event) })),
    explainRetry: because(({ context: { waiters, failures } }) => ({
      kind: 'retried',
      waiting: waiters.length,
      failures,
    })),
    explainNewRun: because(({ context }) => ({ kind: 'wanted-again', waiting: context.waiters.length })),
    explainStart: because(({ context: { verdict, waiters } }) => ({
      kind: 'absent',
      verdict: verdict ?? UNSEEN,
      waiting: waiters.length,
    })),
    explainHeld: because(({ context }) => ({ kind: 'held', holder: context.holder })),
    explainLeft: because(() => ({ kind: 'left' })),
    explainReady: because(({ event }) => ({ kind: 'became-ready', verdict: verdictOf(event) ?? null })),
    explainLetGo: because(({ context }) => toIdle(context)),
    explainAbandoned: because(({ context }) => toAbandoned(context)),
    explainCallOff: because(({ context, event }) => ({
      kind: 'called-off',
      id: idOf(event),
      stop: context.stop ?? 'idle',
    })),
    explainStay: because(() => ({ kind: 'stayed' })),
    explainGone: because(({ event }) => ({ kind: 'gone', verdict: verdictOf(event) ?? UNSEEN })),
    explainCooledDown: because(({ context }) => ({ kind: 'cooled-down', failures: context.failures })),
    explainUnwanted: because(({ context }) => ({ kind: 'unwanted', failures: context.failures })),
    explainDeclined: because(() => ({ kind: 'declined' })),
    explainReset: because(() => ({ kind: 'reset' })),
    forgetStop: base.assign({ stop: null }),
    noteSpawnFailure: note(({ event }) => (event.type === 'process.failed' ? event.failure : UNEXPLAINED)),
    noteEarlyExit: note(({ event }) => toExitFailure('LEASEHOLD_EXITED_BEFORE_READY', event)),
    notePortTaken: note(({ event }) => ({
      ...toExitFailure('LEASEHOLD_PORT_TAKEN', event),
      message: 'the process ended because its port is taken',
      retry: 'later',
    })),
    noteExit: note(({ event }) => toExitFailure('LEASEHOLD_SERVICE_EXITED', event)),
    noteReadyTimeout: note(({ context }) => ({
      code: 'LEASEHOLD_READY_TIMEOUT',
      message: `not ready within ${context.policy.readyTimeoutMs} ms`,
      ...(context.generation === null ? {} : { generation: context.generation }),
      ...(context.pid === null ? {} : { pid: context.pid }),
      ...(context.verdict === null ? {} : { verdict: context.verdict }),
    })),
    noteVerdictFailure: note(({ event }) => toVerdictFailure(verdictOf(event))),
    noteUnhealthy: note(({ context, event }) => ({
      code: 'LEASEHOLD_UNHEALTHY',
      message: `${context.misses + 1} health checks in a row failed`,
      ...(verdictOf(event) === undefined ? {} : { verdict: verdictOf(event) }),
    })),
    noteSurvivors: note(({ event }) => toSurvivorsFailure(event)),
    /** A receipt that comes when something else runs already: told, but no reason for that. */
    noteLateSurvivors: base.assign({ failure: ({ event }) => toSurvivorsFailure(event) }),
    noteClaimFailure: note(({ event }) => {
      const outcome = outcomeOf(event)
      return outcome?.outcome === 'impossible' ? outcome.failure : UNEXPLAINED
    }),
    notePeerFailure: note(({ event }) => ('failure' in event ? event.failure : UNEXPLAINED)),
    notePeerSilence: note(() => ({
      code: 'LEASEHOLD_CLAIM_FAILED',
      message: `the supervisor that holds the claim on its address did not answer within ${PEER_TIMEOUT_MS} ms`,
    })),
    notePeerAbsence: note(() => ({
      code: 'LEASEHOLD_CLAIM_FAILED',
      message: `the claim on its address is held, but ${MAX_LOST_PEERS} times in a row nobody answered for it`,
    })),
    forgetPeers: base.assign({ lostPeers: 0 }),
    noteLostPeer: base.assign({ lostPeers: ({ context }) => context.lostPeers + 1 }),
    noteHolder: base.assign(({ event }) =>
      event.type === 'peer.met'
        ? { lostPeers: 0, holder: event.holder, why: { kind: 'held', holder: event.holder } }
        : {},
    ),
    noteEffectFailure: note(({ event }) => ({
      code: 'LEASEHOLD_INTERNAL',
      message: `an effect failed: ${'error' in event ? String(event.error) : event.type}`,
    })),
    noteStrangers: note(({ event }) => ({
      code: 'LEASEHOLD_FOREIGN_SERVER',
      message: toOwnerText(verdictOf(event)?.owner),
      ...(verdictOf(event) === undefined ? {} : { verdict: verdictOf(event) }),
    })),
    countRetry: base.assign({ retries: ({ context }) => context.retries + 1 }),
    noteFollowing: base.assign({ follows: true }),
    noteRoomMade: base.assign({
      follows: ({ context, event }) =>
        context.follows || (event.type === 'start.permitted' && event.follows === true),
    }),
    forgetRetries: base.assign({ retries: 0, follows: false }),
    charge: base.assign(({ context: { failure, failures: before, why } }) => {
      const failures = before + chargeOf(failure)
      return { failures, why: why?.kind === 'failed' ? { ...why, failures } : why }
    }),
    forgive: base.assign({ failures: 0 }),
    allowOneTrial: base.assign({ failures: ({ context }) => context.policy.breakerFailures - 1 }),
    soundAlarm: base.emit(({ context }) => ({ type: 'alarm', failure: context.failure ?? UNEXPLAINED })),

    /** Only what is configured is sent a policy: a removal under way is then a stop, after which it may start again. */
    replacePolicy: base.assign({
      policy: ({ context, event }) => (event.type === 'policy.replaced' ? event.policy : context.policy),
      stop: ({ context }) => (context.stop === 'removed' ? 'asked' : context.stop),
    }),

    // Whose process it is.
    beginRun: base.assign(({ context }) => ({
      ...toNextRun(context),
      ownership: 'owned',
      lostPeers: 0,
      why: { kind: 'spawning', waiting: context.waiters.length },
    })),
    adopt: base.assign(({ context, event }) => ({
      ...toNextRun(context),
      ownership: 'adopted',
      lostPeers: 0,
      why: { kind: 'adopted', verdict: verdictOf(event) ?? null },
    })),
    watchStranger: base.assign(({ context, event }) => ({
      ...toNextRun(context),
      ownership: 'none',
      lostPeers: 0,
      why: { kind: 'loading-elsewhere', verdict: verdictOf(event) ?? null },
    })),
    /** Another supervisor runs it: what is wanted here is asked for there. */
    borrow: base.enqueueActions(({ context, enqueue }) => {
      const next = toNextRun(context)
      enqueue.assign({ ...next, ownership: 'borrowed', why: { kind: 'held', holder: null } })
      for (const waiter of context.waiters) enqueue.sendTo('peer', toWant(next, waiter))
    }),
    forgetRun: base.enqueueActions(({ context, enqueue }) => {
      if (context.ownership === 'borrowed')
        enqueue.sendTo('peer', { type: 'peer.leave', generation: context.generation ?? '' })
      enqueue.assign({
        ownership: 'none',
        holder: null,
        pid: null,
        generation: null,
        misses: 0,
        stop: null,
        leases: 0,
        verdict: null,
      })
    }),

    // What the effects are asked to do.
    spawn: base.sendTo('process', ({ context }) => toProcessCommand('process.spawn', context)),
    terminate: base.sendTo('process', ({ context }) => toProcessCommand('process.terminate', context)),
    spare: base.sendTo('process', ({ context }) => toProcessCommand('process.spare', context)),
    kill: base.sendTo('process', ({ context }) => toProcessCommand('process.kill', context)),
    sweep: base.sendTo('process', ({ context }) => toProcessCommand('process.sweep', context)),
    warmHealth: base.sendTo('health', ({ context }) => ({
      type: 'health.warm',
      generation: context.generation ?? '',
    })),
    watchHealth: base.sendTo('health', ({ context }) => ({
      type: 'health.watch',
      generation: context.generation ?? '',
    })),
    checkHealth: base.sendTo('health', ({ context }) => ({
      type: 'health.check',
      generation: context.generation ?? '',
    })),
    restHealth: base.sendTo('health', { type: 'health.rest' }),
    /** A grant for somebody who does not wait any more. */
    returnGrant: base.sendTo('peer', ({ context, event }) => toReturn(context, idOf(event))),
    releaseClaim: base.sendTo('peer', { type: 'claim.release' }),
    awaitStability: base.raise({ type: 'stability.reached' }, { delay: 'stability', id: 'stability' }),
    forgetStability: cancel('stability'),
    /** A start that nobody waits for is given up after a while, where the policy says so. */
    awaitAbandon: base.enqueueActions(({ context, enqueue }) => {
      if (context.waiters.length === 0 && context.policy.abandonStartMs !== null)
        enqueue.raise({ type: 'start.abandoned' }, { delay: 'abandonStart', id: 'abandon' })
    }),
    forgetAbandon: cancel('abandon'),

    // The tree around this machine supplies these: shared limits are the supervisor's.
    requestStart: () => {},
    reportDemand: () => {},
    finishStart: () => {},
    reportRest: () => {},
    reportUse: () => {},
    reportStop: () => {},
    reportEnd: () => {},
  },
})

/** The one reason of a state that every request leaves behind: made once. */
const RELEASED: Reason = { kind: 'released' }
const UNSEEN: Verdict = { kind: 'refused', detail: 'nothing was seen' }
const UNEXPLAINED: Failure = { code: 'LEASEHOLD_INTERNAL', message: 'no cause was recorded' }

function idOf(event: ProviderEvent): string {
  return 'id' in event ? event.id : ''
}

function timerOf(waiterId: string): string {
  return `waiter.${waiterId}`
}

/** The verdict an event carries: a health report, or the result of the one probe of `probing`. */
function verdictOf(event: ProviderEvent): Verdict | undefined {
  if (event.type === 'health.verdict') return event.verdict
  return 'output' in event && 'kind' in (event.output as object) ? (event.output as Verdict) : undefined
}

/** How a claim ended, of the claim itself or of the probe that made it. */
function outcomeOf(event: ProviderEvent): ClaimOutcome | undefined {
  return 'output' in event && 'outcome' in (event.output as object)
    ? (event.output as ClaimOutcome)
    : undefined
}

function retires(reason: StopReason | null): boolean {
  return reason === 'removed' || reason === 'shutdown'
}

/** Of two reasons to stop, the one that decides what comes after: retirement, then failure, then the newer. */
function toGraver(before: StopReason | null, after: StopReason): StopReason {
  const isGrave = retires(before) || (isFailureReason(before) && !retires(after))
  return before !== null && isGrave ? before : after
}

function isFailureReason(reason: StopReason | null): boolean {
  return reason === 'start-failed' || reason === 'unhealthy'
}

/** A stranger on our port is nobody's failure to start, so it does not count towards the breaker. */
function chargeOf(failure: Failure | null): 0 | 1 {
  return failure?.code === 'LEASEHOLD_FOREIGN_SERVER' || failure?.code === 'LEASEHOLD_PORT_TAKEN' ? 0 : 1
}

function toIdle({ policy }: ProviderContext): Reason {
  return { kind: 'idle', idleStopMs: policy.idleStopMs }
}

function toAbandoned({ policy }: ProviderContext): Reason {
  return { kind: 'abandoned', abandonStartMs: policy.abandonStartMs ?? 0 }
}

function failureOf(event: ProviderEvent): Failure | undefined {
  return event.type === 'process.failed' ? event.failure : undefined
}

/** What servers print when another one has their port: libc's words, Node's, and llama.cpp's own. */
const PORT_TAKEN = /EADDRINUSE|address (is )?already in use|couldn't bind HTTP server socket/i

function toNextRun({ instance, run }: ProviderContext) {
  return {
    run: run + 1,
    generation: `${instance}.${run + 1}`,
    pid: null,
    misses: 0,
    verdict: null,
    stop: null,
  }
}

function toGrant({ generation, ownership }: ProviderContext, id: string): ProviderEmitted {
  return { type: 'lease.granted', id, generation: generation ?? '', owned: ownership === 'owned' }
}

/** Refusals that say nothing about the server. */
const NO_START_FAILURES: ReadonlySet<FailureCode> = new Set([
  'LEASEHOLD_QUEUE_FULL',
  'LEASEHOLD_QUEUE_TIMEOUT',
  'LEASEHOLD_STOPPED',
  'LEASEHOLD_REMOVED',
  'LEASEHOLD_SHUTTING_DOWN',
])

type Conversation = Pick<ProviderContext, 'generation'>

function toWant({ generation }: Conversation, { id, priority }: Waiter): PeerCommand {
  return { type: 'peer.want', generation: generation ?? '', id, priority }
}

function toReturn({ generation }: Conversation, id: string): PeerCommand {
  return { type: 'peer.return', generation: generation ?? '', id }
}

function toProcessCommand(type: ProcessCommand['type'], { generation }: ProviderContext): ProcessCommand {
  return { type, generation: generation ?? '' }
}

function toStopFailure(reason: StopReason | null): Failure {
  if (reason === 'shutdown') return { code: 'LEASEHOLD_SHUTTING_DOWN', message: 'leasehold is shutting down' }
  if (reason === 'removed')
    return { code: 'LEASEHOLD_REMOVED', message: 'it was removed from the configuration' }
  return { code: 'LEASEHOLD_STOPPED', message: 'it was stopped on request' }
}

function toExitFailure(code: FailureCode, event: ProviderEvent): Failure {
  if (event.type !== 'process.exited') return UNEXPLAINED
  const { generation, exitCode, signal, tail } = event
  // Of our own SIGKILLs nobody is told in this way: they end a stop.
  const guess = signal === 'SIGKILL' ? ', which was not ours: the system may have been out of memory' : ''
  const how = signal === null ? `exited with code ${exitCode}` : `was ended by ${signal}${guess}`
  const when = code === 'LEASEHOLD_EXITED_BEFORE_READY' ? ' before it was ready' : ''
  return { code, message: `the process ${how}${when}`, generation, exitCode, signal, tail }
}

function toSurvivorsFailure(event: ProviderEvent): Failure {
  return {
    code: 'LEASEHOLD_STOP_TIMEOUT',
    message:
      event.type === 'process.settled'
        ? `its processes ${event.receipt.survivors.join(', ')} survived SIGKILL`
        : `no receipt within ${SWEEP_TIMEOUT_MS} ms of the sweep`,
  }
}

function toVerdictFailure(verdict: Verdict | undefined): Failure {
  if (verdict === undefined) return UNEXPLAINED
  if (verdict.kind === 'foreign')
    return { code: 'LEASEHOLD_FOREIGN_SERVER', message: toOwnerText(verdict.owner), verdict }
  if (verdict.kind === 'failed')
    return {
      code: 'LEASEHOLD_BACKEND_FAILED',
      message: 'the server says that it will never be ready',
      verdict,
    }
  return { code: 'LEASEHOLD_NOT_REACHABLE', message: 'nothing answers at its address', verdict }
}

/** Who has the port, in words: `process 12 (/usr/bin/nc) listens on its port 8080`. */
function toOwnerText(owner: PortOwner | undefined): string {
  if (owner === undefined || owner.strangers.length === 0) return 'another server answers at its address'
  const name = ({ pid, exe }: Listener) => `process ${pid}${exe === undefined ? '' : ` (${exe})`}`
  const strangers = owner.strangers.map(name).join(' and ')
  if (owner.ours.length === 0)
    return `its port ${owner.port} belongs to another program: ${strangers} listens on it`
  return `its port ${owner.port} is shared with another program: ${strangers} listens on it beside ${owner.ours.map(name).join(' and ')}`
}

function toTrippedFailure({ failure, failures }: ProviderContext): Failure {
  if (failure?.retry === 'never') return failure
  return {
    code: 'LEASEHOLD_CIRCUIT_OPEN',
    message: `not tried again yet: it failed ${failures} times in a row`,
    ...(failure === null ? {} : { cause: failure }),
  }
}

import type { Failure, StopReason } from '../../messages.ts'
import type { Reason } from '../../reasons.ts'
import { countRequests, MAX_LOST_PEERS } from '../context.ts'
import { PEER_TIMEOUT_MS } from '../delays.ts'
import { isConnectionRefused, outcomeOf, sleepFaultOf, verdictOf } from '../event-facts.ts'
import {
  countsAsFailure,
  describeUnproven,
  toExitFailure,
  toMismatchFailure,
  toPortFailure,
  toSurvivorsFailure,
  toVerdictFailure,
  UNEXPLAINED,
} from '../failures.ts'
import { base, isFailureReason, isRetiring, type Scope } from '../guards.ts'
import { buildAbandonedReason, buildIdleReason } from './explain.ts'

/** Records a failure. It is also the reason for the state that follows. */
const recordFailure = (buildFailure: (scope: Scope) => Failure) =>
  base.assign((scope) => {
    const failure = buildFailure(scope)
    return { failure, why: { kind: 'failed', failure, failures: scope.context.failures } }
  })

/** Whether the server sleeps is not certain. That is no failed start: the next request gets a new server. */
const recordDoubt = (during: 'sleep' | 'asleep' | 'wake', findDetail: (scope: Scope) => string | undefined) =>
  base.assign((scope) => ({
    stop: 'sleep-failed',
    why: { kind: 'sleep-failed', during, detail: findDetail(scope) ?? 'its answer is not clear' },
  }))

/** What the chart remembers of an event. */
export const records = {
  // Health.
  recordVerdict: base.assign({
    verdict: ({ context, event }) => verdictOf(event) ?? context.verdict,
    isUnreachable: ({ context, event }) => context.isUnreachable || isConnectionRefused(event),
  }),
  recordHealthy: base.assign({ misses: 0, isUnreachable: false }),
  countMiss: base.assign({ misses: ({ context }) => context.misses + 1 }),
  resetMisses: base.assign({ misses: 0 }),

  // The run.
  recordPid: base.assign(({ event }) => {
    const pid = event.type === 'process.spawned' ? event.pid : null
    return { pid, ...(pid === null ? {} : { why: { kind: 'loading', pid } as const }) }
  }),
  recordReceipt: base.assign({
    receipt: ({ context, event }) => (event.type === 'process.settled' ? event.receipt : context.receipt),
  }),
  recordPredecessor: base.assign({ follows: true }),
  recordRoomMade: base.assign({
    follows: ({ context, event }) =>
      context.follows || (event.type === 'start.permitted' && event.follows === true),
  }),

  // Why it is stopped.
  recordStop: base.assign(({ context, event }) => {
    if (event.type !== 'service.stop') return {}
    const { reason, force = false } = event
    const stop = chooseReason(context.stop, reason)
    return { stop, why: stop === reason ? { kind: 'stop', reason, force } : context.why }
  }),
  recordIdleStop: base.assign(({ context }) => ({ stop: 'idle', why: buildIdleReason(context) })),
  recordAbandonedStop: base.assign(({ context }) => ({
    stop: 'abandoned',
    why: buildAbandonedReason(context),
  })),
  recordUnhealthyStop: base.assign({ stop: 'unhealthy' }),
  recordFailedStartStop: base.assign({ stop: 'start-failed' }),
  clearStop: base.assign({ stop: null }),

  // Sleep.
  recordSleepWhenIdle: base.assign(({ context }) => ({
    isAsleep: true,
    misses: 0,
    why: { kind: 'falling-asleep', afterMs: context.policy.sleep?.afterMs ?? 0 },
  })),
  recordSleepForRoom: base.assign({ isAsleep: true, misses: 0, why: { kind: 'falling-asleep' } }),
  recordAsleep: base.assign(({ context }) => ({
    isAsleep: true,
    misses: 0,
    why: { kind: 'asleep', isSelf: context.policy.sleep?.isSelf === true },
  })),
  recordWaking: base.assign(({ context }) => ({
    why: { kind: 'waking', waiting: countRequests(context) },
  })),
  recordAwake: base.assign(({ context }) => ({
    isAsleep: false,
    isUnreachable: false,
    misses: 0,
    why: { kind: 'awake', isSelf: context.policy.sleep?.isSelf === true },
  })),
  recordEviction: base.assign({ stop: 'evicted', why: { kind: 'stop', reason: 'evicted', force: false } }),
  recordSleepFault: recordDoubt('sleep', ({ event }) => sleepFaultOf(event)),
  recordSleepTimeout: recordDoubt(
    'sleep',
    ({ context }) => `it did not sleep within ${context.policy.sleep?.requestMs ?? 0} ms`,
  ),
  recordLostSleep: recordDoubt('asleep', () => 'its check says that it is awake, and nothing woke it'),
  recordSleepRemoved: recordDoubt('asleep', () => 'its new configuration does not say how it is woken'),
  recordWakeFault: recordDoubt('wake', ({ event }) => sleepFaultOf(event)),
  recordWakeTimeout: recordDoubt(
    'wake',
    ({ context }) => `it was not awake and healthy within ${context.policy.sleep?.wakeMs ?? 0} ms`,
  ),

  // Failed starts, and runs that ended or hang.
  recordSpawnFailure: recordFailure(({ event }) =>
    event.type === 'process.failed' ? event.failure : UNEXPLAINED,
  ),
  recordEarlyExit: recordFailure(({ event }) => toExitFailure('LEASEHOLD_EXITED_BEFORE_READY', event)),
  recordPortTaken: recordFailure(({ event }) => toPortFailure(event)),
  recordExit: recordFailure(({ event }) => toExitFailure('LEASEHOLD_SERVICE_EXITED', event)),
  recordReadyTimeout: recordFailure(({ context: { generation, pid, policy, verdict } }) => ({
    ...(verdict?.mismatch === undefined
      ? { code: 'LEASEHOLD_READY_TIMEOUT', message: `not ready within ${policy.readyTimeoutMs} ms` }
      : toMismatchFailure(verdict.mismatch, pid, verdict)),
    ...(generation === null ? {} : { generation }),
    ...(pid === null ? {} : { pid }),
    ...(verdict === null ? {} : { verdict }),
  })),
  recordVerdictFailure: recordFailure(({ context, event }) =>
    toVerdictFailure(verdictOf(event), context.pid),
  ),
  recordForeignListener: recordFailure(({ context, event }) => ({
    code: 'LEASEHOLD_FOREIGN_SERVER',
    message: describeUnproven(verdictOf(event)?.portHolder, context.pid),
    ...(verdictOf(event) === undefined ? {} : { verdict: verdictOf(event) }),
  })),
  recordUnhealthy: recordFailure(({ context, event }) => ({
    code: 'LEASEHOLD_UNHEALTHY',
    message: `${context.misses + 1} health checks in a row failed`,
    ...(verdictOf(event) === undefined ? {} : { verdict: verdictOf(event) }),
  })),
  recordEffectFailure: recordFailure(({ event }) => ({
    code: 'LEASEHOLD_INTERNAL',
    message: `an effect failed: ${'error' in event ? String(event.error) : event.type}`,
  })),

  recordNoRoom: recordFailure(({ event }) =>
    event.type === 'start.declined' && 'failure' in event ? event.failure : UNEXPLAINED,
  ),

  // Claims and other supervisors.
  recordClaimFailure: recordFailure(({ event }) => {
    const outcome = outcomeOf(event)
    return outcome?.outcome === 'impossible' ? outcome.failure : UNEXPLAINED
  }),
  recordElsewhere: base.assign(({ event }) => {
    const outcome = outcomeOf(event)
    return outcome?.outcome === 'elsewhere' ? toElsewhere(outcome.member) : {}
  }),
  /** Nothing has failed: the requests ask at the other member. */
  recordRevocation: base.assign(({ event }) =>
    event.type === 'start.revoked' ? { stop: 'revoked', ...toElsewhere(event.member) } : {},
  ),
  recordHolder: base.assign(({ event }) =>
    event.type === 'peer.met'
      ? { lostPeers: 0, holder: event.holder, why: { kind: 'held', holder: event.holder } }
      : {},
  ),
  countLostPeer: base.assign({ lostPeers: ({ context }) => context.lostPeers + 1 }),
  resetLostPeers: base.assign({ lostPeers: 0 }),
  recordPeerFailure: recordFailure(({ event }) => ('failure' in event ? event.failure : UNEXPLAINED)),
  recordPeerTimeout: recordFailure(() => ({
    code: 'LEASEHOLD_CLAIM_FAILED',
    message: `the supervisor that holds the claim on its address did not answer within ${PEER_TIMEOUT_MS} ms`,
  })),
  recordPeerAbsence: recordFailure(() => ({
    code: 'LEASEHOLD_CLAIM_FAILED',
    message: `the claim on its address is held, but ${MAX_LOST_PEERS} times in a row no supervisor answered for it`,
  })),
  /** Waiters are refused with this. It is no reason for the state, because held leases stay. */
  recordSilence: base.assign({
    failure: ({ event }) => ('failure' in event ? event.failure : UNEXPLAINED),
  }),

  // Survivors of a stop.
  recordSurvivors: recordFailure(({ context, event }) =>
    toSurvivorsFailure(event, context.stop === 'shutdown'),
  ),
  /** The receipt of an earlier run: it is reported, and is no reason for the current state. */
  recordLateSurvivors: base.assign({
    failure: ({ context, event }) => toSurvivorsFailure(event, context.stop === 'shutdown'),
  }),
  reportIncompleteStop: base.emit(({ context }) => ({
    type: 'stop.incomplete',
    failure: context.failure ?? UNEXPLAINED,
  })),

  // Retries and the breaker.
  countRetry: base.assign({ retries: ({ context }) => context.retries + 1 }),
  resetRetries: base.assign({ retries: 0, follows: false }),
  countFailure: base.assign(({ context: { failure, failures: before, why } }) => {
    const failures = before + (countsAsFailure(failure) ? 1 : 0)
    return { failures, why: why?.kind === 'failed' ? { ...why, failures } : why }
  }),
  resetFailures: base.assign({ failures: 0 }),
  allowOneTrial: base.assign({ failures: ({ context }) => context.policy.breakerFailures - 1 }),

  /**
   * A policy is sent only to a service that is configured. When a removal is under way it becomes an ordinary stop,
   * after which the service may start again.
   */
  replacePolicy: base.assign({
    policy: ({ context, event }) => (event.type === 'policy.replaced' ? event.policy : context.policy),
    stop: ({ context }) => (context.stop === 'removed' ? 'asked' : context.stop),
  }),
}

function toElsewhere(member: string): { readonly failure: Failure; readonly why: Reason } {
  return {
    failure: { code: 'LEASEHOLD_ELSEWHERE', message: `${member} has it, or starts it`, member },
    why: { kind: 'elsewhere', member },
  }
}

/** The one of two reasons to stop that decides what follows: retirement, then failure, then the newer. */
function chooseReason(before: StopReason | null, after: StopReason): StopReason {
  const isGraver = isRetiring(before) || (isFailureReason(before) && !isRetiring(after))
  return before !== null && isGraver ? before : after
}

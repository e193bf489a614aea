import type { Failure, StopReason, Verdict } from './messages.ts'
import { countRequests, MAX_LOST_PEERS, PEER_TIMEOUT_MS, type ProviderContext } from './provider-context.ts'
import { causeOf, idOf, isConnectionRefused, outcomeOf, verdictOf } from './provider-events.ts'
import {
  chargeOf,
  toExitFailure,
  toMismatchFailure,
  toOwnerText,
  toPortFailure,
  toSurvivorsFailure,
  toVerdictFailure,
  UNEXPLAINED,
} from './provider-failures.ts'
import { base, isFailureReason, retires, type Scope } from './provider-guards.ts'
import type { Reason } from './reasons.ts'

/** A failure is the reason for the state that follows it, too. */
const note = (toNoted: (scope: Scope) => Failure) =>
  base.assign((scope) => {
    const failure = toNoted(scope)
    return { failure, why: { kind: 'failed', failure, failures: scope.context.failures } }
  })

const because = (toWhy: (scope: Scope) => Reason) => base.assign({ why: toWhy })

/** What the chart remembers, and why it is where it is. */
export const notes = {
  noteVerdict: base.assign({
    verdict: ({ context, event }) => verdictOf(event) ?? context.verdict,
    isUnreachable: ({ context, event }) => context.isUnreachable || isConnectionRefused(event),
  }),
  noteMiss: base.assign({ misses: ({ context }) => context.misses + 1 }),
  noteHealthy: base.assign({ misses: 0, isUnreachable: false }),
  forgetMisses: base.assign({ misses: 0 }),
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
  explainRequest: because(({ event }) => ({ kind: 'requested', id: idOf(event), ...causeOf(event) })),
  explainRetry: because(({ context }) => ({
    kind: 'retried',
    waiting: countRequests(context),
    failures: context.failures,
  })),
  explainNewRun: because(({ context }) => ({ kind: 'wanted-again', waiting: countRequests(context) })),
  explainStart: because(({ context }) => ({
    kind: 'absent',
    verdict: context.verdict ?? UNSEEN,
    waiting: countRequests(context),
  })),
  explainHeld: because(({ context }) => ({ kind: 'held', holder: context.holder })),
  explainLeft: because(() => ({ kind: 'left' })),
  explainReady: base.assign(({ event }) => ({
    failure: null,
    why: { kind: 'became-ready', verdict: verdictOf(event) ?? null },
  })),
  explainLetGo: because(({ context }) => toIdle(context)),
  explainAbandoned: because(({ context }) => toAbandoned(context)),
  explainCallOff: because(({ context, event }) => ({
    kind: 'called-off',
    id: idOf(event),
    ...causeOf(event),
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
  notePortTaken: note(({ event }) => toPortFailure(event)),
  noteExit: note(({ event }) => toExitFailure('LEASEHOLD_SERVICE_EXITED', event)),
  noteReadyTimeout: note(({ context: { generation, pid, policy, verdict } }) => ({
    ...(verdict?.mismatch === undefined
      ? { code: 'LEASEHOLD_READY_TIMEOUT', message: `not ready within ${policy.readyTimeoutMs} ms` }
      : toMismatchFailure(verdict.mismatch, pid, verdict)),
    ...(generation === null ? {} : { generation }),
    ...(pid === null ? {} : { pid }),
    ...(verdict === null ? {} : { verdict }),
  })),
  noteVerdictFailure: note(({ context, event }) => toVerdictFailure(verdictOf(event), context.pid)),
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
  /** Told to those who wait, but no reason for the state: who holds a lease keeps it. */
  noteSilence: base.assign({
    failure: ({ event }) => ('failure' in event ? event.failure : UNEXPLAINED),
  }),
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
}

const UNSEEN: Verdict = { kind: 'refused', detail: 'nothing was seen' }

/** Of two reasons to stop, the one that decides what comes after: retirement, then failure, then the newer. */
function toGraver(before: StopReason | null, after: StopReason): StopReason {
  const isGrave = retires(before) || (isFailureReason(before) && !retires(after))
  return before !== null && isGrave ? before : after
}

function toIdle({ policy }: ProviderContext): Reason {
  return { kind: 'idle', idleStopMs: policy.idleStopMs }
}

function toAbandoned({ policy }: ProviderContext): Reason {
  return { kind: 'abandoned', abandonStartMs: policy.abandonStartMs ?? 0 }
}

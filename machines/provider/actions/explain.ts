import type { Verdict } from '../../messages.ts'
import type { Reason } from '../../reasons.ts'
import { countRequests, type ProviderContext } from '../context.ts'
import { toIdleStopMs } from '../delays.ts'
import { causeOf, idOf, verdictOf } from '../event-facts.ts'
import { base, type Scope } from '../guards.ts'

/** Sets why the service is in its state. */
const because = (buildReason: (scope: Scope) => Reason) => base.assign({ why: buildReason })

/** Why the service is in its state, where no record says it already. */
export const explanations = {
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
  explainLetGo: because(({ context }) => buildIdleReason(context)),
  explainAbandoned: because(({ context }) => buildAbandonedReason(context)),
  explainCallOff: because(({ context, event }) => ({
    kind: 'called-off',
    id: idOf(event),
    ...causeOf(event),
    stop: context.stop ?? 'idle',
  })),
  explainRest: because(() => ({ kind: 'released' })),
  explainStay: because(() => ({ kind: 'stayed' })),
  explainGone: because(({ event }) => ({ kind: 'gone', verdict: verdictOf(event) ?? UNSEEN })),
  explainUnloaded: because(() => ({ kind: 'unloaded' })),
  explainCooledDown: because(({ context }) => ({ kind: 'cooled-down', failures: context.failures })),
  explainUnwanted: because(({ context }) => ({ kind: 'unwanted', failures: context.failures })),
  explainDeclined: because(() => ({ kind: 'declined' })),
  explainReset: because(() => ({ kind: 'reset' })),
}

const UNSEEN: Verdict = { kind: 'refused', detail: 'nothing was seen' }

export function buildIdleReason(context: ProviderContext): Reason {
  const isAsked = context.keepAliveMs !== null
  return { kind: 'idle', idleStopMs: toIdleStopMs(context), ...(isAsked ? { isAsked } : {}) }
}

export function buildAbandonedReason({ policy }: ProviderContext): Reason {
  return { kind: 'abandoned', abandonStartMs: policy.abandonStartMs ?? 0 }
}

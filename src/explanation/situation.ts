import type { Failure, ServicePolicy, StopReason, Verdict } from '../../machines/messages.ts'
import { hasTag } from '../../machines/provider/tags.ts'
import type { Reason } from '../../machines/reasons.ts'
import type { Decision } from '../../machines/scheduler.ts'
import type { Advice } from './advice.ts'

/** The facts about a service that an explanation uses. A snapshot is a situation. */
export interface Situation {
  readonly key: string
  /** Display name. */
  readonly service: string
  readonly state: string
  readonly inStateMs: number
  readonly ownership: 'owned' | 'adopted' | 'borrowed' | 'none'
  readonly pid: number | null
  readonly leases: number
  /** The idle time that a request asked for, in milliseconds; `null`: that of the policy. */
  readonly keepAliveMs: number | null
  readonly queue: readonly unknown[]
  /** The running delays with their remaining time. */
  readonly timers: readonly { readonly name: string; readonly remainingMs: number }[]
  readonly startTimes: { readonly medianMs: number } | null
  readonly failures: number
  readonly failure: Failure | null
  readonly verdict: Verdict | null
  readonly stopReason: StopReason | null
  readonly why: Reason | null
  /** The last decision of the scheduler that involved it. */
  readonly decision: Decision | null
  /** Its policy; `null` if unknown. */
  readonly policy:
    | (Pick<ServicePolicy, 'maxQueue'> &
        Partial<Pick<ServicePolicy, 'readyTimeoutMs' | 'stopGraceMs' | 'maxConcurrent'>>)
    | null
}

/** The facts about another service that an explanation uses. */
export type Neighbour = Pick<Situation, 'key' | 'service' | 'state' | 'decision'>

/** The other services, and the output of this one. */
export interface Surroundings {
  /** Every service, itself included. */
  readonly all: readonly Neighbour[]
  /** Its last line of output. */
  readonly lastLine?: string | undefined
  /** Looks in its output for the line that says why it failed. */
  readonly findCause?: (() => string | undefined) | undefined
}

/** How urgent a state is: at rest, at work, serving, to be looked at, broken. */
export type Tone = 'rest' | 'busy' | 'good' | 'warn' | 'bad'

/**
 * The state of a service for users: what happens, why, what happens next, and what to do. The page,
 * the command line and the API all show it. It may quote output of a server, which is untrusted.
 */
export interface Explanation {
  readonly tone: Tone
  /** `Loading for 12 s`, `In use by 2 requests`. */
  readonly title: string
  /** What it does now, or why it does nothing, for one row of a table: at most 60 characters, no full stop. */
  readonly short: string
  readonly sentence: string
  /** The line of its output that says why it failed; `null`: it has not failed, or no line says why. */
  readonly cause: string | null
  /** What happens at the end of the running delay: `It stops in 12 s, unless a request comes.` */
  readonly next: string | null
  /** Actions for the user; empty when none is needed. */
  readonly advice: readonly Advice[]
}

/** An explanation without what follows from the state alone. */
export type Told = Omit<Explanation, 'short' | 'cause'>

/** The decision it waits on, for room or for a start slot; `null` if it does not wait. */
export function toAwaited({
  key,
  state,
  decision,
}: Pick<Situation, 'key' | 'state' | 'decision'>): Decision | null {
  const canWait = hasTag(state, 'claiming') || (hasTag(state, 'asleep') && decision?.choice.isWake === true)
  const isWaiting =
    canWait &&
    decision?.choice.key === key &&
    decision.choice.type !== 'start' &&
    decision.choice.type !== 'decline'
  return isWaiting ? decision : null
}

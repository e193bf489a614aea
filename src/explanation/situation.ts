import type { Failure, ServicePolicy, StopReason, Verdict } from '../../machines/messages.ts'
import { hasTag } from '../../machines/provider/tags.ts'
import type { Reason } from '../../machines/reasons.ts'
import type { Decision } from '../../machines/scheduler.ts'
import type { Advice } from './advice.ts'

/** As much of a service, at one moment, as an explanation of it is made of. Snapshots are situations, too. */
export interface Situation {
  readonly key: string
  /** Its name for people. */
  readonly service: string
  readonly state: string
  readonly inStateMs: number
  readonly ownership: 'owned' | 'adopted' | 'borrowed' | 'none'
  readonly pid: number | null
  readonly leases: number
  readonly queue: readonly unknown[]
  /** The delays that run, with what is left of them. */
  readonly timers: readonly { readonly name: string; readonly remainingMs: number }[]
  readonly startTimes: { readonly medianMs: number } | null
  readonly failures: number
  readonly failure: Failure | null
  readonly verdict: Verdict | null
  readonly stopReason: StopReason | null
  readonly why: Reason | null
  /** The last decision about room that it had a part in. */
  readonly decision: Decision | null
  /** The numbers that it lives by; `null`: they were not told. */
  readonly policy: Pick<ServicePolicy, 'maxQueue'> | null
}

/** As much of another service as an explanation needs. */
export type Neighbour = Pick<Situation, 'key' | 'service' | 'state' | 'decision'>

/** What is around a service. */
export interface Surroundings {
  /** Every service, itself included. */
  readonly all: readonly Neighbour[]
  /** What it printed last. */
  readonly lastLine?: string | undefined
}

/** How urgent a state is: at rest, at work, serving, to be looked at, broken. */
export type Tone = 'rest' | 'busy' | 'good' | 'warn' | 'bad'

/**
 * The state of a service for users: what happens, why, what happens next, and what to do. The page,
 * the command line and the API all say this and nothing else. It may quote a server: text of others.
 */
export interface Explanation {
  readonly tone: Tone
  /** `Loading for 12 s`, `In use by 2 requests`. */
  readonly title: string
  readonly sentence: string
  /** What the end of the running delay brings: `It stops in 12 s, unless a request comes.` */
  readonly next: string | null
  /** Actions for the user; empty when none is needed. */
  readonly advice: readonly Advice[]
}

/** What it waits for, where that is room or a place to start in; `null`: it does not. */
export function toAwaited({
  key,
  state,
  decision,
}: Pick<Situation, 'key' | 'state' | 'decision'>): Decision | null {
  const isWaiting =
    hasTag(state, 'claiming') && decision?.choice.key === key && decision.choice.type !== 'start'
  return isWaiting ? decision : null
}

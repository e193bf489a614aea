import { type Amounts, type ResidentPhase, type SchedulerState, toNeeds } from '../../machines/scheduler.ts'
import type { Service } from './services.ts'

/** A part of a budget that a run holds, from its start until none of its processes is left. */
export interface BudgetHold {
  readonly key: string
  readonly service: string
  readonly amount: number
  /** Whether the amount comes from earlier runs, because the configuration has no `needs`. */
  readonly isLearned: boolean
  /** Whether it is the whole budget, because no run was measured yet. */
  readonly isUnmeasured: boolean
  readonly phase: ResidentPhase
}

/** A part of a budget that a service needs for its start. */
export interface BudgetWant {
  readonly key: string
  readonly service: string
  readonly amount: number
  readonly isUnmeasured: boolean
  /** Requests that wait for the start. */
  readonly waiting: number
}

/** One budget of `leasehold.budgets`, in its own unit. */
export interface Budget {
  readonly name: string
  readonly capacity: number
  readonly holds: readonly BudgetHold[]
  /** In the order of the queue for starts. */
  readonly wants: readonly BudgetWant[]
}

/** Every budget, the runs that hold a part of it, and the services that wait for one. Exclusive groups are no budgets. */
export function listBudgets(state: SchedulerState, services: ReadonlyMap<string, Service>): Budget[] {
  const { limits, shares, residents, queuedStarts } = state
  const nameOf = (key: string) => shares[key]?.service ?? key
  const isUnmeasured = (key: string, budget: string) => shares[key]?.unmeasured.includes(budget) ?? false
  return Object.entries(limits)
    .filter(([name]) => !name.startsWith('group:'))
    .map(([name, capacity]) => ({
      name,
      capacity,
      holds: residents.flatMap(({ key, holds, phase }) => {
        const amount = holds[name] ?? 0
        if (amount <= 0) return []
        const isLearned = services.get(key)?.localService?.needs === undefined
        const isGuess = isUnmeasured(key, name)
        return {
          key,
          service: nameOf(key),
          amount,
          isLearned: isLearned && !isGuess,
          isUnmeasured: isGuess,
          phase,
        }
      }),
      wants: queuedStarts.flatMap(({ key, waiting, isForeseen }) => {
        const amount = isForeseen ? 0 : (toNeeds(state, key)[name] ?? 0)
        if (amount <= 0) return []
        return { key, service: nameOf(key), amount, isUnmeasured: isUnmeasured(key, name), waiting }
      }),
    }))
}

/** How much of each budget is held. */
export function sumHolds({ limits, residents }: Pick<SchedulerState, 'limits' | 'residents'>): Amounts {
  return Object.fromEntries(
    Object.keys(limits)
      .filter((name) => !name.startsWith('group:'))
      .map((name) => [name, residents.reduce((sum, { holds }) => sum + (holds[name] ?? 0), 0)]),
  )
}

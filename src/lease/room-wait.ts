import type { AnyActorRef } from 'xstate'
import { type Decision, isKeptOutBy } from '../../machines/scheduler.ts'
import type { SupervisorContext } from '../../machines/supervisor-context.ts'
import type { Clock } from '../clock.ts'
import { findDelay } from '../statechart/armed-delays.ts'

/** The last decision that a service had a part in, with what is left of each minimum residency that it names. */
export function findDecision(
  root: AnyActorRef,
  { decisions, residents }: Pick<SupervisorContext, 'decisions' | 'residents'>,
  key: string,
  clock: Clock,
): Decision | null {
  const decision = decisions[key] ?? null
  if (!decision?.rejected.some(({ because }) => because === 'settling')) return decision
  const rejected = decision.rejected.map((one) => {
    const generation = residents.find((other) => other.key === one.key)?.generation
    const delay = one.because === 'settling' ? findDelay(root, `residency.${generation}`) : undefined
    if (delay === undefined) return one
    return { ...one, residencyLeftMs: Math.max(0, Math.round(delay.armedAtMs + delay.delayMs - clock.now())) }
  })
  return { ...decision, rejected }
}

/**
 * How long a start waits for room, in milliseconds: what is left of the residencies and stops of the services that make it.
 * `null`: it depends on leases or starts of others, or no stop of theirs was seen yet.
 *
 * @param stopLeftMsOf what is left of a service's stop, or the whole of one that has not begun
 */
export function toRoomMs(decision: Decision, stopLeftMsOf: (key: string) => number | null): number | null {
  const { choice, because, rejected } = decision
  const waitsOf = (keys: readonly string[]) => longest(keys.map(stopLeftMsOf))
  switch (because.cause) {
    case 'idle-cheapest':
      return waitsOf(choice.taken.map(({ key }) => key))
    case 'receipts':
      return waitsOf(rejected.filter((one) => one.because === 'leaving').map(({ key }) => key))
    case 'no-room':
      if (isKeptOutBy(decision, ['pinned', 'survivor', 'starting', 'leased'])) return null
      return longest(
        rejected.map(({ key, because: cause, residencyLeftMs }) => {
          if (cause !== 'settling' && cause !== 'leaving') return 0
          const stopMs = stopLeftMsOf(key)
          return stopMs === null ? null : (residencyLeftMs ?? 0) + stopMs
        }),
      )
    case 'promised':
    case 'starved':
    case 'start-places':
      return null
    default:
      return 0
  }
}

function longest(waitsMs: readonly (number | null)[]): number | null {
  return waitsMs.includes(null) ? null : Math.max(0, ...waitsMs.map((waitMs) => waitMs ?? 0))
}

import type { Waiter } from '../../machines/messages.ts'
import { hasTag } from '../../machines/provider/tags.ts'

/** One request in a service's queue, as far as it is known. */
export interface QueuedRequest {
  readonly id: string
  /** `1`: the next one. */
  readonly position: number
  readonly priority: number
  /** How long it has waited, in milliseconds. */
  readonly waitedMs: number
  /** Estimated rest of its wait, in milliseconds, from earlier durations; `null` without any. */
  readonly estimatedMs: number | null
}

/** Input of an estimate. Times in milliseconds; `null`: not known yet. */
export interface QueueFacts {
  readonly state: string
  readonly inStateMs: number
  readonly leases: number
  readonly maxConcurrent: number
  /** What is left of the wait before the next start. */
  readonly backoffMs: number
  /** How long a start takes, and how long a lease is held. */
  readonly startMs: number | null
  readonly leaseMs: number | null
  /** What is left of its stop; the whole of a stop that has yet to begin. `null`: it was never stopped. */
  readonly stopMs: number | null
  /** How long other services keep the room that it waits for; `null`: not known. */
  readonly roomMs: number | null
}

/** The waiting requests with their places. `now` is on the clock of their waiting times. */
export function toQueue(waiters: readonly Waiter[], facts: QueueFacts, nowMs: number): QueuedRequest[] {
  return waiters.flatMap(({ id, priority, sinceMs, cause }, index) =>
    cause === undefined
      ? {
          id,
          position: index + 1,
          priority,
          waitedMs: Math.round(nowMs - sinceMs),
          estimatedMs: toWaitMs(index + 1, facts),
        }
      : [],
  )
}

/**
 * Estimated wait at this place in the queue. A service that is up grants one lease as each other ends; a service that
 * has yet to start grants as many as it can at once, and the next as many when they end.
 */
export function toWaitMs(position: number, facts: QueueFacts): number | null {
  const { leases, maxConcurrent, leaseMs } = facts
  if (hasTag(facts.state, 'serving') && leases >= maxConcurrent)
    return leaseMs === null ? null : Math.round((leaseMs * position) / maxConcurrent)
  const upMs = toUpMs(facts)
  const turns = Math.ceil(position / maxConcurrent) - 1
  if (upMs === null || turns === 0) return upMs === null ? null : Math.round(upMs)
  return leaseMs === null ? null : Math.round(upMs + turns * leaseMs)
}

/** How long until the service is up. */
function toUpMs(facts: QueueFacts): number | null {
  const { state, inStateMs, backoffMs, startMs, leaseMs, stopMs, roomMs } = facts
  // A request that waits for a ready service waits until the server listens again.
  if (hasTag(state, 'idle')) return null
  if (hasTag(state, 'serving')) return 0
  // A wake takes a part of a start that no start tells.
  if (hasTag(state, 'sleeping')) return null
  if (startMs === null || roomMs === null) return null
  if (hasTag(state, 'warming')) return Math.max(0, startMs - inStateMs)
  if (hasTag(state, 'backoff')) return backoffMs + startMs
  // A successor starts when the current leases have ended.
  if (hasTag(state, 'draining'))
    return leaseMs === null || stopMs === null ? null : leaseMs + stopMs + startMs
  if (hasTag(state, 'stopping')) return stopMs === null ? null : stopMs + startMs
  return roomMs + startMs
}

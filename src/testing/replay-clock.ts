import { isDeepStrictEqual } from 'node:util'
import type { AnyActorRef, AnyEventObject } from 'xstate'
import type { Clock } from '../clock.ts'
import { listScheduledEvents } from '../statechart/system.ts'

/** A clock on which a delay ends when the recording says that it did, and not before it is due. */
export interface ReplayClock extends Clock {
  moveTo(timeMs: number): void
  /**
   * Ends the delay that says this.
   * @returns how early it would be, in milliseconds, `0` when it is due; absent: there is no such delay
   */
  fire(event: AnyEventObject): number | undefined
  /** When a delay ends, or the first of all; absent: there is none. */
  dueMs(event?: AnyEventObject): number | undefined
  /** Gives the clock the actor whose delays it keeps. */
  serve(actor: AnyActorRef): void
}

interface Timer {
  readonly dueMs: number
  readonly fn: () => void
  readonly event: AnyEventObject | undefined
}

/** Node's timers count in whole milliseconds of a clock that is a little behind: one may end this much early. */
const EARLY_MS = 2

/** Creates a replay clock at 0 ms. */
export function createReplayClock(): ReplayClock {
  let nowMs = 0
  let actor: AnyActorRef | undefined
  const known = new WeakSet<object>()
  const timers = new Set<Timer>()

  /** What a delay will say when it ends: the scheduler has entered it just before it asks for the timer. */
  const newestEvent = (): AnyEventObject | undefined => {
    const scheduled = actor === undefined ? [] : listScheduledEvents(actor)
    const newest = scheduled.find((one) => !known.has(one))
    for (const one of scheduled) known.add(one)
    return newest?.event
  }
  const find = (event: AnyEventObject) =>
    [...timers].find((one) => one.event !== undefined && isDeepStrictEqual(one.event, event))
  return {
    now: () => nowMs,
    moveTo: (timeMs) => {
      nowMs = Math.max(nowMs, timeMs)
    },
    serve: (served) => {
      actor = served
    },
    setTimeout: (fn, ms) => {
      const timer = { dueMs: nowMs + Math.max(0, ms), fn, event: newestEvent() }
      timers.add(timer)
      return timer
    },
    clearTimeout: (timer) => {
      timers.delete(timer as Timer)
    },
    dueMs: (event) => (event === undefined ? firstOf(timers)?.dueMs : find(event)?.dueMs),
    fire: (event) => {
      const timer = find(event)
      if (timer === undefined) return undefined
      const earlyMs = timer.dueMs - nowMs
      if (earlyMs > EARLY_MS) return earlyMs
      timers.delete(timer)
      nowMs = Math.max(nowMs, timer.dueMs)
      timer.fn()
      return 0
    },
  }
}

function firstOf(timers: ReadonlySet<Timer>): Timer | undefined {
  return [...timers].toSorted((a, b) => a.dueMs - b.dueMs)[0]
}

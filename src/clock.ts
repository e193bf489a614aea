import { type SchedulerAction, type SchedulerLike, Subscription } from 'rxjs'
import { NEVER_MS } from '../machines/provider/delays.ts'

/** The one clock of a supervisor: machines, streams and effects all wait on it, and tests replace it. */
export interface Clock {
  /** Monotonic milliseconds. Only differences mean anything; the wall clock is for display. */
  now(): number
  /** Calls `fn` once after `ms`. A delay of 2^31-1 or more, which no timer can hold, never fires. */
  setTimeout(fn: () => void, ms: number): unknown
  clearTimeout(timer: unknown): void
}

/** Real time; its timers keep the process alive. A delay that is not finite never fires: Node would fire it at once. */
export const systemClock: Clock = {
  now: () => performance.now(),
  setTimeout: (fn, ms) => (Number.isFinite(ms) && ms < NEVER_MS ? setTimeout(fn, ms) : undefined),
  clearTimeout: (timer) => clearTimeout(timer as NodeJS.Timeout | undefined),
}

/** From this lateness on a timer lets what has already arrived be read first, in milliseconds. */
const LATE_MS = 50
/** And for how long, after a full turn of the event loop. */
const GRACE_MS = 20
/** A timer that is this late tells of a host that was suspended or a process that stood still, in milliseconds. */
export const GAP_MS = 2_000

/**
 * A clock for decisions: a timer that fires late, because the event loop stood still, first yields a full turn of it and
 * a little time, so that an answer that has already arrived is read before it is counted as missing. After a
 * gap of two seconds or more `onGap` is called, once, before any of the late timers; one that begins within that little
 * time is a gap like any other.
 */
export function createLenientClock(clock: Clock, onGap: () => void): Clock {
  let isGapTold = false
  const tellGap = () => {
    if (isGapTold) return
    isGapTold = true
    setImmediate(() => {
      isGapTold = false
    })
    onGap()
  }
  return {
    now: () => clock.now(),
    setTimeout: (fn, ms) => {
      const timer: LenientTimer = { isCleared: false, inner: undefined }
      const wait = (afterMs: number, dueMs: number, isGrace: boolean) => {
        timer.inner = clock.setTimeout(() => {
          if (timer.isCleared) return
          const lateMs = clock.now() - dueMs
          if (lateMs >= GAP_MS) tellGap()
          else if (isGrace || lateMs < LATE_MS) return fn()
          // Counted from here, for the turn is a time to stand still in, too.
          const graceEndsMs = clock.now() + GRACE_MS
          afterTurn(() => {
            if (!timer.isCleared) wait(GRACE_MS, graceEndsMs, true)
          })
        }, afterMs)
      }
      wait(ms, clock.now() + ms, false)
      return timer
    },
    clearTimeout: (timer) => {
      if (timer === undefined) return
      const lenient = timer as LenientTimer
      lenient.isCleared = true
      clock.clearTimeout(lenient.inner)
    },
  }
}

interface LenientTimer {
  isCleared: boolean
  inner: unknown
}

/** Calls `fn` after a full turn of the event loop: whatever has arrived is read in between. */
export function afterTurn(fn: () => void): void {
  // The first may come in the turn that is under way.
  setImmediate(() => setImmediate(fn))
}

/** Resolves after `ms` on the clock. */
export function delay(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => {
    clock.setTimeout(resolve, ms)
  })
}

/** Settles when `work` does, either way, and at the latest after `boundMs`. Never rejects. */
export function settledWithin(clock: Clock, work: Promise<unknown>, boundMs: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = clock.setTimeout(resolve, boundMs)
    const finish = () => {
      clock.clearTimeout(timer)
      resolve()
    }
    work.then(finish, finish)
  })
}

/** The same time for RxJS: every timed operator takes this scheduler. */
export function toScheduler(clock: Clock): SchedulerLike {
  return {
    now: () => clock.now(),
    schedule: (work, delayMs = 0, state) =>
      // rxjs hands the state through untouched, so the action need not know its type.
      new ClockAction(clock, work as Work).schedule(state, delayMs),
  }
}

type Work = (this: SchedulerAction<unknown>, state?: unknown) => void

/** One scheduled piece of RxJS work; rescheduling replaces its timer, as rxjs's own AsyncAction does. */
class ClockAction extends Subscription implements SchedulerAction<unknown> {
  readonly #clock: Clock
  readonly #work: Work
  #timer: unknown

  constructor(clock: Clock, work: Work) {
    super(() => clock.clearTimeout(this.#timer))
    this.#clock = clock
    this.#work = work
  }

  schedule(state?: unknown, delayMs = 0): Subscription {
    if (this.closed) return this
    this.#clock.clearTimeout(this.#timer)
    this.#timer = this.#clock.setTimeout(() => this.#work.call(this, state), delayMs)
    return this
  }
}

import { NEVER_MS } from '../../machines/provider/delays.ts'
import type { Clock } from '../clock.ts'

interface Timer {
  readonly atMs: number
  readonly fn: () => void
}

/** A clock that moves only when told to. Machines and streams share it, so a long story takes milliseconds. */
export interface VirtualClock extends Clock {
  /** Timers that are armed now. */
  readonly pending: number
  /**
   * Moves to `timeMs`, firing every timer that comes due on the way in order, timers armed meanwhile included.
   * All microtasks settle between two timers, as they would in real time.
   */
  advanceTo(timeMs: number): Promise<void>
}

/** Creates a clock at 0 ms. Equal times fire first come first served; a delay of 2^31-1 or more never fires. */
export function createVirtualClock(): VirtualClock {
  let nowMs = 0
  const queue: Timer[] = []

  return {
    now: () => nowMs,
    get pending() {
      return queue.length
    },
    setTimeout: (fn, ms) => {
      const timer: Timer = { atMs: nowMs + Math.max(0, ms), fn }
      if (ms >= NEVER_MS) return timer
      const after = queue.findIndex((other) => other.atMs > timer.atMs)
      queue.splice(after === -1 ? queue.length : after, 0, timer)
      return timer
    },
    clearTimeout: (timer) => {
      const index = queue.indexOf(timer as Timer)
      if (index >= 0) queue.splice(index, 1)
    },
    advanceTo: async (timeMs) => {
      for (;;) {
        await settle()
        const next = queue[0]
        if (next === undefined || next.atMs > timeMs) break
        queue.shift()
        nowMs = next.atMs
        next.fn()
      }
      nowMs = Math.max(nowMs, timeMs)
      await settle()
    },
  }
}

/** Lets every microtask that is due run, and whatever those queue. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

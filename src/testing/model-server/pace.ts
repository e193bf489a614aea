import { setTimeout } from 'node:timers/promises'

/** Longest time a timer can hold, in milliseconds: a longer one would fire at once. */
export const longestTimerMs = 2 ** 31 - 1

/**
 * Waits, in milliseconds of real time: this program plays the outside world, which has a clock of its own.
 * `0` does not wait at all. Rejects with an `AbortError` as soon as the signal is aborted.
 */
export async function pause(durationMs: number, signal: AbortSignal): Promise<void> {
  if (durationMs > 0) await setTimeout(Math.min(durationMs, longestTimerMs), undefined, { signal })
  signal.throwIfAborted()
}

/** Waits until the signal is aborted, and then rejects with its reason. */
export function pauseForEver(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason)
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
}

/** How many of the last durations of a service count. */
const MAX_KEPT = 9

/** How long something took lately. Times in milliseconds. */
export interface Typical {
  readonly medianMs: number
  /** How many of them there were, nine at most. */
  readonly count: number
}

/** Keeps how long something took, by service key: the last few times decide what is typical. */
export interface Durations {
  add(key: string, durationMs: number): void
  /** `null`: it has not happened yet. */
  of(key: string): Typical | null
  forget(key: string): void
}

export function createDurations(): Durations {
  const kept = new Map<string, readonly number[]>()
  return {
    add: (key, durationMs) => kept.set(key, [...(kept.get(key) ?? []), durationMs].slice(-MAX_KEPT)),
    of: (key) => toTypical(kept.get(key) ?? []),
    forget: (key) => kept.delete(key),
  }
}

/** What is typical of some durations; `null`: there is none. */
export function toTypical(durationsMs: readonly number[]): Typical | null {
  const sorted = durationsMs.toSorted((a, b) => a - b)
  const middle = sorted[Math.floor(sorted.length / 2)]
  return middle === undefined ? null : { medianMs: Math.round(middle), count: sorted.length }
}

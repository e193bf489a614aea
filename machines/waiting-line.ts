/** Time in which whoever waits gains one level of priority, in milliseconds. */
export const AGEING_MS = 10_000

/** Somebody in a line: how urgent it is, and since when it waits, in milliseconds on any clock that the line shares. */
interface Standing {
  readonly priority?: number
  readonly sinceMs: number
}

/**
 * A line with one more in it: behind everybody of the same rank, before everybody of a lower one. All age alike, so
 * the order of two never changes, and nobody has to be moved as time passes.
 */
export function lineUp<One extends Standing>(line: readonly One[], one: One): readonly One[] {
  const behind = line.findIndex((other) => toRank(other) < toRank(one))
  return line.toSpliced(behind === -1 ? line.length : behind, 0, one)
}

/** Who goes first: waiting for `AGEING_MS` counts as much as a level of priority. */
function toRank({ priority = 0, sinceMs }: Standing): number {
  return priority * AGEING_MS - sinceMs
}

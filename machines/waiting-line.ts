/** Waiting time that counts as much as one level of priority, in milliseconds. */
export const AGEING_MS = 10_000

/** An entry of a waiting line: its priority, and since when it waits, in milliseconds on the clock of the line. */
interface LineEntry {
  readonly priority?: number
  readonly sinceMs: number
}

/**
 * The line with one more entry: behind every entry of the same rank, before every entry of a lower rank. All entries
 * age alike, so the order of two never changes and no entry is moved as time passes.
 */
export function lineUp<One extends LineEntry>(line: readonly One[], one: One): readonly One[] {
  const behind = line.findIndex((other) => toRank(other) < toRank(one))
  return line.toSpliced(behind === -1 ? line.length : behind, 0, one)
}

/** The higher rank goes first. */
function toRank({ priority = 0, sinceMs }: LineEntry): number {
  return priority * AGEING_MS - sinceMs
}

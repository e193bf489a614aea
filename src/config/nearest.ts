/** Longest text that is compared; what comes from a request may be of any length. */
const MAX_COMPARED = 128

/** A candidate and the number of edits between its name and the word it was compared with. */
export interface Ranked<Candidate> {
  readonly candidate: Candidate
  readonly edits: number
}

/** The candidates, those whose names are most like `word` first. Case does not count. */
export function rankByDistance<Candidate>(
  word: string,
  candidates: readonly Candidate[],
  toName: (candidate: Candidate) => string,
): Ranked<Candidate>[] {
  return candidates
    .map((candidate) => ({ candidate, edits: countEdits(toCompared(word), toCompared(toName(candidate))) }))
    .sort((a, b) => a.edits - b.edits)
}

/** The name most like `word`, with its number of edits; `undefined` when there is none to choose from. */
export function findNearest(word: string, names: readonly string[]): Ranked<string> | undefined {
  return rankByDistance(word, names, (name) => name)[0]
}

/** Whether so few edits look like a slip of the fingers in a word of this length. */
export function isNearMiss(word: string, edits: number): boolean {
  return edits <= Math.max(1, Math.floor(Math.min(word.length, MAX_COMPARED) / 4))
}

function toCompared(text: string): string {
  return text.slice(0, MAX_COMPARED).toLowerCase()
}

/** Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`. */
function countEdits(a: string, b: string): number {
  let beforeLast: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, column) => column)
  for (let row = 1; row <= a.length; row++) {
    const current = [row]
    for (let column = 1; column <= b.length; column++) {
      const isSame = a[row - 1] === b[column - 1]
      const isSwap = row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]
      current[column] = Math.min(
        (last[column] ?? 0) + 1,
        (current[column - 1] ?? 0) + 1,
        (last[column - 1] ?? 0) + (isSame ? 0 : 1),
        isSwap ? (beforeLast[column - 2] ?? 0) + 1 : Number.POSITIVE_INFINITY,
      )
    }
    beforeLast = last
    last = current
  }
  return last[b.length] ?? 0
}

/** A value at a time; `null`: it is not known. */
export type Point = readonly [atMs: number, value: number | null]

export interface LineSpan {
  readonly fromMs: number
  readonly toMs: number
  /** The value at the upper edge. */
  readonly most: number
  /** Two points that are further apart are not joined, in milliseconds. */
  readonly gapMs: number
}

/** The size of the picture that the path is in. */
export const LINE_WIDTH = 300
export const LINE_HEIGHT = 40

/** A path through points, the oldest first, with a break where nothing is known. */
export function buildLinePath(points: readonly Point[], { fromMs, toMs, most, gapMs }: LineSpan): string {
  let path = ''
  let last: number | null = null
  for (const [atMs, value] of points) {
    if (value === null || atMs < fromMs || atMs > toMs) {
      last = null
      continue
    }
    const x = ((atMs - fromMs) / Math.max(1, toMs - fromMs)) * LINE_WIDTH
    const y = LINE_HEIGHT - 1 - Math.min(1, value / Math.max(1e-9, most)) * (LINE_HEIGHT - 3)
    const isJoined = last !== null && atMs - last <= gapMs
    path += `${isJoined ? 'L' : 'M'}${x.toFixed(1)} ${y.toFixed(1)}`
    last = atMs
  }
  return path
}

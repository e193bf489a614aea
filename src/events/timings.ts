/** Where the time of a request went, in milliseconds. The four add up to its whole time, but for rounding. */
export interface RequestTimings {
  /** From its arrival to its last lease, without the time in `loadMs`; failed attempts before that are in it. */
  readonly waitMs: number
  /** The part of the wait in which its service was loading. */
  readonly loadMs: number
  /** From its lease to the first byte of the body of the answer. */
  readonly firstByteMs: number
  /** From the first byte to the end. */
  readonly streamMs: number
}

/** Moments of a request on one clock, in milliseconds. `0`: it has not come yet. */
export interface RequestMoments {
  readonly startedAtMs: number
  readonly grantedAtMs: number
  readonly firstByteAtMs: number
  /** The part of the wait in which its service was loading. */
  readonly loadMs: number
}

/** Where the time of a request went until now. */
export function toTimings(
  { startedAtMs, grantedAtMs, firstByteAtMs, loadMs }: RequestMoments,
  nowMs: number,
): RequestTimings {
  const grantedOrNowMs = grantedAtMs || nowMs
  const firstByteOrNowMs = firstByteAtMs || nowMs
  return {
    waitMs: Math.max(0, Math.round(grantedOrNowMs - startedAtMs - loadMs)),
    loadMs: Math.round(loadMs),
    firstByteMs: Math.round(firstByteOrNowMs - grantedOrNowMs),
    streamMs: Math.round(nowMs - firstByteOrNowMs),
  }
}

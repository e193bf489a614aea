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

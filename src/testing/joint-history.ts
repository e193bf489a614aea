import type { Recording } from './recording.ts'

/** The recording of one member of a cluster. */
export interface MemberRecording {
  /** The member, or the file of a supervisor that is in no cluster. */
  readonly name: string
  readonly recording: Recording
}

/** The clocks of two members differ: `effect` recorded that `cause` is there before that one had reached NATS. */
export interface ClockFault {
  readonly cause: string
  readonly effect: string
  /** By so much, in milliseconds. */
  readonly earlyMs: number
}

/** The wall clock at 0 of `atMs`, in milliseconds: it puts the steps of several recordings in order. */
export function toOriginMs({ header, events: [first] }: Recording): number {
  return first === undefined ? Date.parse(header.time) : Date.parse(first.time) - first.atMs
}

/**
 * Whether several recordings can be one history: a member is heard after it has reached NATS, or `toleranceMs` before
 * that at most, because clocks differ.
 */
export function findClockFaults(all: readonly MemberRecording[], toleranceMs: number): ClockFault[] {
  const toWallMs = (recording: Recording, event: { readonly atMs: number } | undefined) =>
    event === undefined ? undefined : toOriginMs(recording) + event.atMs
  return all.flatMap(({ name: effect, recording }) =>
    all.flatMap(({ name: cause, recording: other }) => {
      const connected = other.events.find(({ type }) => type === 'cluster.connected')
      // An earlier run of it may have been there before.
      const joined = recording.events.findLast(
        (event) => event.type === 'member.joined' && event.member === cause,
      )
      const doneAtMs = toWallMs(other, connected)
      const heardAtMs = toWallMs(recording, joined)
      if (cause === effect || doneAtMs === undefined || heardAtMs === undefined) return []
      const earlyMs = Math.round(doneAtMs - heardAtMs)
      return earlyMs > toleranceMs ? [{ cause, effect, earlyMs }] : []
    }),
  )
}

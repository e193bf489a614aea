import { type Observable, Subject } from 'rxjs'
import type { Clock } from '../clock.ts'
import type { RequestEventBody, ServiceEventBody, SupervisorEvent, SupervisorEventBody } from './events.ts'

/** An event before it has its number and time. */
export type EventBody =
  | ({ readonly service: string; readonly key: string } & ServiceEventBody)
  | ({ readonly requestId: string } & RequestEventBody)
  | SupervisorEventBody

/** An event that is kept, before it is put together for a reader. `atMs` is on the clock of the events. */
export interface KeptEvent {
  readonly seq: number
  readonly atMs: number
  readonly body: EventBody
}

/** Picks what a reader is told, in the same order. */
export type ChooseEvents = (kept: readonly KeptEvent[]) => readonly KeptEvent[]

/** The hub of all events of a supervisor. */
export interface EventHub {
  readonly events$: Observable<SupervisorEvent>
  /** The number of each event as it happens; the event itself is not built for these subscribers. */
  readonly seq$: Observable<number>
  /** The number of the last event; `0`: there was none. */
  readonly lastSeq: number
  /** What the clock of the events says now, in milliseconds since the hub was made. */
  readonly nowMs: number
  /**
   * The events after a number that are still kept, oldest first, at most `limit`; of these the chosen ones. All readers
   * share them.
   */
  past(afterSeq: number, limit?: number, choose?: ChooseEvents): SupervisorEvent[]
  publish(body: EventBody): void
  /** Scrubs the kept events again, because more must be hidden. */
  rescrub(): void
  /** Completes `events$` and `seq$`. */
  close(): void
}

/** How many events are kept for a reader that comes late or again. */
export const MAX_KEPT_EVENTS = 4096

/**
 * Creates a hub. `scrub` removes secrets from an event. An event is built once, when it is first read: without a reader
 * it costs only its place in the history.
 */
export function createEventHub(clock: Clock, scrub: <T>(value: T) => T = (value) => value): EventHub {
  const subject = new Subject<SupervisorEvent>()
  const numbers = new Subject<number>()
  const startedAtMs = clock.now()
  const bodies: EventBody[] = []
  const events: (SupervisorEvent | undefined)[] = []
  const clockMs = new Float64Array(MAX_KEPT_EVENTS)
  const wallMs = new Float64Array(MAX_KEPT_EVENTS)
  let seq = 0
  let told = { ms: Number.NaN, time: '' }

  /** Many events come in one millisecond: they share the text of their time. */
  const toTime = (ms: number): string => {
    if (ms !== told.ms) told = { ms, time: new Date(ms).toISOString() }
    return told.time
  }
  const toEventMs = (ms: number) => Math.round((ms - startedAtMs) * 1000) / 1000
  const toKept = (seq: number): KeptEvent => {
    const at = seq % MAX_KEPT_EVENTS
    return { seq, atMs: toEventMs(clockMs[at] ?? 0), body: bodies[at] as EventBody }
  }
  const read = (seq: number): SupervisorEvent => {
    const at = seq % MAX_KEPT_EVENTS
    const { atMs, body } = toKept(seq)
    events[at] ??= { seq, atMs, time: toTime(wallMs[at] ?? 0), ...scrub(body) }
    return events[at]
  }
  return {
    events$: subject.asObservable(),
    seq$: numbers.asObservable(),
    get lastSeq() {
      return seq
    },
    get nowMs() {
      return toEventMs(clock.now())
    },
    past: (afterSeq, limit = MAX_KEPT_EVENTS, choose = (kept) => kept) => {
      const from = Math.max(afterSeq, seq - MAX_KEPT_EVENTS, 0) + 1
      const count = Math.max(0, Math.min(limit, seq - from + 1))
      return choose(Array.from({ length: count }, (_, index) => toKept(from + index))).map(({ seq }) =>
        read(seq),
      )
    },
    publish: (body) => {
      seq += 1
      const at = seq % MAX_KEPT_EVENTS
      bodies[at] = body
      events[at] = undefined
      clockMs[at] = clock.now()
      wallMs[at] = Date.now()
      if (subject.observed) subject.next(read(seq))
      if (numbers.observed) numbers.next(seq)
    },
    rescrub: () => {
      events.length = 0
    },
    close: () => {
      subject.complete()
      numbers.complete()
    },
  }
}

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
  /** The last notable events, oldest first: they are kept when {@link past} has lost them to busier ones. */
  notable(): SupervisorEvent[]
  /** Each notable event as it happens. */
  readonly notable$: Observable<SupervisorEvent>
  publish(body: EventBody): void
  /** Scrubs the kept events again, because more must be hidden. */
  rescrub(): void
  /** Completes `events$`, `seq$` and `notable$`. */
  close(): void
}

/** How many events are kept for a reader that comes late or again. */
export const MAX_KEPT_EVENTS = 4096
/** How many notable events of each sort are kept. */
export const MAX_NOTABLE_EVENTS = 500

/** An event that is notable, in the shortest form that it can be built from. */
interface NotableEvent {
  readonly seq: number
  readonly clockMs: number
  readonly wallMs: number
  readonly body: EventBody
}

/**
 * Creates a hub. `scrub` removes secrets from an event. An event is built once, when it is first read: without a reader
 * it costs only its place in the history. `sortOf` names the sort of a notable event: many of one sort displace none of
 * another.
 */
export function createEventHub(
  clock: Clock,
  scrub: <T>(value: T) => T = (value) => value,
  sortOf: (body: EventBody) => string | undefined = () => undefined,
): EventHub {
  const subject = new Subject<SupervisorEvent>()
  const notableSubject = new Subject<SupervisorEvent>()
  const notable = new Map<string, NotableEvent[]>()
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
  const keepNotable = (sort: string, event: NotableEvent) => {
    const kept = notable.get(sort) ?? []
    if (kept.length === 0) notable.set(sort, kept)
    kept.push(event)
    // In one go, so that a full list is not moved for each event.
    if (kept.length > MAX_NOTABLE_EVENTS * 1.2) kept.splice(0, kept.length - MAX_NOTABLE_EVENTS)
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
    notable: () =>
      [...notable.values()]
        .flatMap((kept) => kept.slice(-MAX_NOTABLE_EVENTS))
        .sort((a, b) => a.seq - b.seq)
        .map(({ seq, clockMs, wallMs, body }) => ({
          seq,
          atMs: toEventMs(clockMs),
          time: new Date(wallMs).toISOString(),
          ...scrub(body),
        })),
    notable$: notableSubject.asObservable(),
    publish: (body) => {
      seq += 1
      const at = seq % MAX_KEPT_EVENTS
      bodies[at] = body
      events[at] = undefined
      clockMs[at] = clock.now()
      wallMs[at] = Date.now()
      const sort = sortOf(body)
      if (sort !== undefined) {
        keepNotable(sort, { seq, clockMs: clockMs[at] ?? 0, wallMs: wallMs[at] ?? 0, body })
        if (notableSubject.observed) notableSubject.next(read(seq))
      }
      if (subject.observed) subject.next(read(seq))
      if (numbers.observed) numbers.next(seq)
    },
    rescrub: () => {
      events.length = 0
    },
    close: () => {
      subject.complete()
      numbers.complete()
      notableSubject.complete()
    },
  }
}

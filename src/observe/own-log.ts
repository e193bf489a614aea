import type { EventBody } from '../events/event-hub.ts'
import type { SupervisorEvent } from '../events/events.ts'
import { toEventText } from '../explanation/event-text.ts'
import { findLevel, type LogLevel, rememberAdvice } from './log.ts'

/** One line of leasehold's own log. */
export interface OwnLogLine {
  /** Number of its event. */
  readonly seq: number
  /** On the clock of the events, in milliseconds. */
  readonly atMs: number
  /** ISO 8601. */
  readonly time: string
  readonly level: Exclude<LogLevel, 'debug'>
  readonly type: SupervisorEvent['type']
  /** The service or the request that it is about; both `null`: leasehold itself. */
  readonly service: string | null
  readonly requestId: string | null
  /** A sentence, without time and service. */
  readonly text: string
}

/**
 * Names the sort of an event that belongs into leasehold's own log: what `serve --log-level info` writes. Those of
 * requests are a sort of their own, because a busy gateway may refuse thousands of them.
 */
export function createLogSorter(): (body: EventBody) => 'request' | 'service' | undefined {
  const isNewAdvice = rememberAdvice()
  return (body) => {
    if (findLevel(body) === 'debug') return isNewAdvice(body) ? 'request' : undefined
    return 'requestId' in body || body.type === 'lease.refused' ? 'request' : 'service'
  }
}

/** An event of that log as its line. */
export function toOwnLogLine(event: SupervisorEvent): OwnLogLine {
  const { seq, atMs, time, type } = event
  const level = findLevel(event)
  return {
    seq,
    atMs,
    time,
    // An advice is in the log when it is new.
    level: level === 'debug' ? 'warn' : level,
    type,
    service: 'service' in event ? event.service : null,
    requestId: 'requestId' in event ? event.requestId : null,
    text: toEventText(event).replaceAll('\n', ' '),
  }
}

import { filter, firstValueFrom, type Observable, race, timer } from 'rxjs'
import { hasTag } from '../../machines/provider/tags.ts'
import { systemClock, toScheduler } from '../clock.ts'
import { splitRef } from '../config/model-ref.ts'
import type { SupervisorEvent } from '../events/events.ts'

/** Maximum number of events kept during a request; a busy gateway sends events of other requests, too. */
const MAX_EVENTS = 10_000
/**
 * How much later than its answer the last events of a request may arrive, over their own connection, in
 * milliseconds.
 */
const LAST_EVENTS_MS = 500

/** A candidate that failed. */
export interface FailedAttempt {
  readonly provider: string
  readonly model: string
  readonly code: string
}

/** The facts that events report about one request. */
export interface RequestFacts {
  /** The reference of the candidate that was tried last. */
  readonly ref?: string
  readonly attempts: readonly FailedAttempt[]
  /** Time from the lease request to its grant if the service had to be started, in milliseconds; else `0`. */
  readonly coldStartMs: number
}

/** Records events from now on, for the next request. */
export interface RequestRecord {
  /**
   * The facts about the request with this id, once its last event has arrived. Without an id: about the only
   * request.
   */
  read(id: string | undefined): Promise<RequestFacts>
  close(): void
}

/** Opens a record of request events. */
export function createRequestRecord(events$: Observable<SupervisorEvent>): RequestRecord {
  const events: SupervisorEvent[] = []
  const watch = events$.subscribe((event) => {
    events.push(event)
    if (events.length > MAX_EVENTS) events.shift()
  })
  return {
    read: async (given) => {
      const id = given ?? findOnlyId(events)
      const isLast = (event: SupervisorEvent) => event.type === 'request.ended' && event.requestId === id
      if (id !== undefined && !watch.closed && !events.some(isLast))
        await firstValueFrom(
          race(events$.pipe(filter(isLast)), timer(LAST_EVENTS_MS, toScheduler(systemClock))),
          { defaultValue: undefined },
        )
      return collectFacts(events, id)
    },
    close: () => watch.unsubscribe(),
  }
}

function findOnlyId(events: readonly SupervisorEvent[]): string | undefined {
  const ids = new Set(events.flatMap((event) => ('requestId' in event ? [event.requestId] : [])))
  return ids.size === 1 ? [...ids][0] : undefined
}

function collectFacts(events: readonly SupervisorEvent[], id: string | undefined): RequestFacts {
  const own = events.filter((event) => 'requestId' in event && event.requestId === id)
  const refs = own.flatMap((event) => ('ref' in event ? [event.ref] : []))
  const attempts = own.flatMap((event) =>
    event.type === 'request.attempted' ? [parseAttempt(event.ref, event.code)] : [],
  )
  return { ref: refs.at(-1), attempts, coldStartMs: measureColdStart(events, id) }
}

/** A failed attempt with a full reference. */
export function parseAttempt(ref: string, code: string): FailedAttempt {
  const { providerId, modelId } = splitRef(ref) ?? { providerId: '', modelId: ref }
  return { provider: providerId, model: modelId, code }
}

/** A lease is asked for under the id of its request. */
function measureColdStart(events: readonly SupervisorEvent[], id: string | undefined): number {
  const granted = events.findLast((event) => event.type === 'lease.granted' && event.id === id)
  if (granted === undefined || !('key' in granted)) return 0
  const { key, atMs } = granted
  const asked = events.find(
    (event) => event.type === 'lease.requested' && event.id === id && event.key === key,
  )
  const isStarted = events.some(
    (event) => event.type === 'service.state' && event.key === key && hasTag(event.to, 'starting'),
  )
  return asked === undefined || !isStarted ? 0 : Math.round(atMs - asked.atMs)
}

import type { Clock } from '../clock.ts'
import type { QueuedRequest } from '../lease/queue.ts'
import type { ServiceSnapshot } from '../service/snapshot.ts'
import type { Supervisor } from '../supervisor/interface.ts'

/** What one request waits for: its service, and its place in the queue there while it has no lease. */
export interface WaitView {
  readonly service: ServiceSnapshot | undefined
  readonly place: QueuedRequest | undefined
}

/** Gives waiting requests their places. Requests of one service that ask at about the same time share one look-up. */
export interface WaitBoard {
  /** `maxAgeMs`: how old a look-up may be that answers this one, in milliseconds; {@link SHARED_MS} at most. */
  find(call: { readonly id: string; readonly serviceKey: string | undefined }, maxAgeMs: number): WaitView
}

/** How long a look-up is shared, in milliseconds: a place in a queue is told in seconds. */
export const SHARED_MS = 100

interface LookUp {
  readonly atMs: number
  readonly service: ServiceSnapshot | undefined
  readonly places: ReadonlyMap<string, QueuedRequest>
}

export function createWaitBoard(supervisor: Pick<Supervisor, 'service'>, clock: Clock): WaitBoard {
  const lookUps = new Map<string, LookUp>()
  const look = (key: string): LookUp => {
    const atMs = clock.now()
    for (const [other, one] of lookUps) if (atMs - one.atMs >= SHARED_MS) lookUps.delete(other)
    const service = findService(supervisor, key)
    const lookUp = { atMs, service, places: new Map(service?.queue.map((place) => [place.id, place])) }
    lookUps.set(key, lookUp)
    return lookUp
  }
  return {
    find: ({ id, serviceKey }, maxAgeMs) => {
      if (serviceKey === undefined) return { service: undefined, place: undefined }
      const known = lookUps.get(serviceKey)
      const isFresh = known !== undefined && clock.now() - known.atMs < Math.min(maxAgeMs, SHARED_MS)
      const { service, places } = isFresh ? known : look(serviceKey)
      return { service, place: places.get(id) }
    },
  }
}

/** Absent: it was removed while the request waited. */
function findService(supervisor: Pick<Supervisor, 'service'>, key: string): ServiceSnapshot | undefined {
  try {
    return supervisor.service(key)
  } catch {
    return undefined
  }
}

import { isUp, type SupervisorEvent } from '../events.ts'

/** Requests whose events are told at a time; of those that never end, the oldest make room. */
const MAX_FOLLOWED = 1_000
/** Turns of a service between use and rest in one batch; of more only the last is told. */
const MAX_TURNS = 4

/** Chooses what a reader is told who cannot read everything. Events go in as they happened, batch by batch. */
export type EventSampler = (batch: readonly SupervisorEvent[]) => SupervisorEvent[]

/**
 * Creates a sampler that takes up so many new requests a second, tells everything of those and nothing of the others.
 * Whatever else happens is told, but of a service that is used and rests many times in a batch only the last turn: what
 * is told last of a state is always true.
 */
export function createEventSampler(requestsPerSecond: number): EventSampler {
  const followed = new Set<string>()
  let budget = requestsPerSecond
  let lastMs = Number.NEGATIVE_INFINITY

  const follow = (id: string, atMs: number): boolean => {
    budget = Math.min(requestsPerSecond, budget + ((atMs - lastMs) / 1000) * requestsPerSecond)
    lastMs = atMs
    if (budget < 1) return false
    budget -= 1
    const [oldest] = followed
    if (oldest !== undefined && followed.size >= MAX_FOLLOWED) followed.delete(oldest)
    followed.add(id)
    return true
  }
  const isFollowed = (event: SupervisorEvent): boolean => {
    const id = toRequestId(event)
    if (id === undefined || followed.has(id)) return true
    return FIRST.has(event.type) && follow(id, event.atMs)
  }

  return (batch) => {
    const turns = new Map<string, number[]>()
    for (const event of batch)
      if (isTurn(event)) turns.set(event.key, [...(turns.get(event.key) ?? []), event.seq])
    return batch.filter((event) => {
      if (isTurn(event)) {
        const all = turns.get(event.key) ?? []
        return all.length <= MAX_TURNS || all.at(-1) === event.seq
      }
      const isTold = isFollowed(event)
      if (event.type === 'request.ended') followed.delete(event.requestId)
      return isTold
    })
  }
}

/** What a request begins with; a lease that no model request asked for begins with the second. */
const FIRST: ReadonlySet<string> = new Set(['request.started', 'lease.requested'])

/** The request that an event is about; a lease has the id of its request. */
function toRequestId(event: SupervisorEvent): string | undefined {
  if ('requestId' in event) return event.requestId
  return event.type.startsWith('lease.') && 'id' in event ? event.id : undefined
}

type Turn = Extract<SupervisorEvent, { readonly type: 'service.state' }>

function isTurn(event: SupervisorEvent): event is Turn {
  return event.type === 'service.state' && isUp(event.from) && isUp(event.to)
}

import type { ChooseEvents, EventBody, KeptEvent } from '../events/event-hub.ts'
import { isServing } from '../events/events.ts'

/** Limit of remembered requests and leases under way: the oldest are forgotten, in case their end is never reported. */
const MAX_KNOWN = 10_000
/** Turns of a service between use and rest in one batch; of more only the last is told. */
const MAX_TURNS = 4

/**
 * Creates a choice for a reader who cannot read everything; events go in as they happened, batch by batch. It takes up
 * so many new requests a second, tells everything of those and nothing of the others. Whatever else happens is told,
 * but of a service that is used and rests many times in a batch only the last turn: what is told last of a state is
 * always true.
 */
export function createEventSampler(requestsPerSecond: number): ChooseEvents {
  const known = new Map<string, Known>()
  let budget = requestsPerSecond
  let lastMs = 0

  const meet = (id: string, { atMs, body: { type } }: KeptEvent) => {
    budget = Math.min(requestsPerSecond, budget + ((atMs - lastMs) / 1000) * requestsPerSecond)
    lastMs = atMs
    const isTold = budget >= 1
    if (isTold) budget -= 1
    const [oldest] = known.keys()
    if (oldest !== undefined && known.size >= MAX_KNOWN) known.delete(oldest)
    known.set(id, { isTold, isRequest: type === 'request.started' })
  }
  const isTold = (kept: KeptEvent): boolean => {
    const { type } = kept.body
    const id = toRequestId(kept.body)
    if (id === undefined) return true
    if (FIRST.has(type) && !known.has(id)) meet(id, kept)
    const one = known.get(id)
    // A request ends after its leases.
    if (type === 'request.ended' || (LAST.has(type) && one?.isRequest === false)) known.delete(id)
    return one?.isTold ?? false
  }

  return (batch) => {
    const turns = new Map<string, number[]>()
    for (const { seq, body } of batch) {
      if (!isTurn(body)) continue
      const seqs = turns.get(body.key)
      if (seqs === undefined) turns.set(body.key, [seq])
      else seqs.push(seq)
    }
    return batch.filter((kept) => {
      if (!isTurn(kept.body)) return isTold(kept)
      const seqs = turns.get(kept.body.key) ?? []
      return seqs.length <= MAX_TURNS || seqs.at(-1) === kept.seq
    })
  }
}

interface Known {
  readonly isTold: boolean
  /** Or a lease's that no model request asked for. */
  readonly isRequest: boolean
}

/** What a request begins with; a lease that no model request asked for begins with the second. */
const FIRST: ReadonlySet<string> = new Set(['request.started', 'lease.requested'])
/** What a lease ends with. */
const LAST: ReadonlySet<string> = new Set(['lease.released', 'lease.refused', 'lease.cancelled'])

/** The request that an event is about; a lease has the id of its request. */
function toRequestId(event: EventBody): string | undefined {
  if ('requestId' in event) return event.requestId
  return event.type.startsWith('lease.') && 'id' in event ? event.id : undefined
}

type Turn = Extract<EventBody, { readonly type: 'service.state' }>

function isTurn(event: EventBody): event is Turn {
  return event.type === 'service.state' && isServing(event.from) && isServing(event.to)
}

import type { Failure, LeaseEvent, ProviderEmitted, StartCause } from '../../machines/messages.ts'
import type { Clock } from '../clock.ts'
import type { ServiceError } from '../errors.ts'
import type { ServiceEventBody } from '../events/events.ts'
import type { Durations } from '../service/past-durations.ts'
import type { QueuedRequest } from './queue.ts'

/** A place in a queue; `estimatedMs` as in {@link QueuedRequest}. */
export type Place = Pick<QueuedRequest, 'position' | 'estimatedMs'>

/** Told what becomes of one request for a lease: `granted` or `refused` once, `revoked` at most once after a grant. */
export interface LeaseListener {
  /** There is no lease to be had at once: at most once, before the answer. */
  queued?(place: Place): void
  granted(grant: { readonly generation: string; readonly owned: boolean }): void
  refused(error: ServiceError): void
  /** The service ended under the lease, or was made to. The lease needs no release any more. */
  revoked(error: ServiceError): void
}

/** Who waits for a lease and who holds one. The machines count; this knows whom to tell. */
export interface LeaseBook {
  /** Asks for a lease; without a `cause` a request does. On a ready service the listener is told before this returns. */
  request(
    key: string,
    id: string,
    listener: LeaseListener,
    priority?: number,
    cause?: StartCause,
    keepAliveMs?: number,
  ): void
  /** Gives up waiting, or gives the lease back. Every further call, and one after a revocation, does nothing. */
  end(id: string): void
  /** Hands a machine's message on to whom it concerns. */
  deliver(key: string, message: ProviderEmitted): void
  /** Everyone of a service is told that it failed: its actor died without answering. */
  abandon(key: string, failure: Failure): void
  /** Ids that wait for a key or hold a lease of it, with the generation of those that hold one. */
  entriesOf(key: string): readonly { readonly id: string; readonly generation: string | null }[]
}

interface Entry {
  readonly key: string
  readonly listener: LeaseListener
  generation: string | null
  /** Whether its listener knows of the grant: one that had to wait is told in a later turn. */
  isTold: boolean
  grantedAtMs: number
  /** What waits for it to be held for too long. */
  timers: readonly unknown[]
}

/** How long a lease may be held. Durations in milliseconds, `0`: for ever. */
export interface LeaseLimits {
  /** When that is told. */
  readonly leaseWarnMs: number
  /** When it is ended. */
  readonly maxLeaseMs: number
}

export interface LeaseBookOptions {
  readonly clock: Clock
  /** Gets how long each lease was held; a revoked lease does not count. */
  readonly leaseTimes: Durations
  /** The place of somebody who waits. */
  readonly placeOf: (key: string, id: string) => Place | undefined
  readonly limits: () => LeaseLimits
  /** Puts an event into `requests$` of a service; `false`: no actor listens to it. */
  readonly send: (key: string, event: LeaseEvent) => boolean
  readonly publish: (key: string, event: ServiceEventBody) => void
  readonly toError: (key: string, failure: Failure) => ServiceError
  /** Whether services end because everything does. Otherwise one that is gone was removed. */
  readonly isClosing: () => boolean
  /**
   * Runs work in a later turn of the event loop. The listener of a request that waited is told of its grant there: it
   * rewrites and sends a body, and many grants come in one turn when a service becomes ready.
   */
  readonly inTurn: (work: () => void) => void
}

/** Opens an empty book. */
export function createLeaseBook({
  clock,
  leaseTimes,
  placeOf,
  limits,
  send,
  publish,
  toError,
  isClosing,
  inTurn,
}: LeaseBookOptions): LeaseBook {
  const entries = new Map<string, Entry>()
  /** The request that is being asked for now: its grant is answered at once. */
  let asking: Entry | undefined

  const drop = (id: string, { timers }: Entry) => {
    entries.delete(id)
    for (const timer of timers) clock.clearTimeout(timer)
  }
  const giveBack = (key: string, id: string, generation: string) => {
    const event = { type: 'lease.released', id, generation } as const
    publish(key, event)
    send(key, event)
  }
  /** A listener that does not know of its grant yet hears a refusal. */
  const tellRevoked = ({ isTold, listener }: Entry, error: ServiceError) =>
    isTold ? listener.revoked(error) : listener.refused(error)
  const limit = (id: string, entry: Entry, generation: string) => {
    const { leaseWarnMs, maxLeaseMs } = limits()
    const { key } = entry
    const after = (ms: number, fn: () => void) => (ms > 0 ? [clock.setTimeout(fn, ms)] : [])
    const message = `the lease was held for ${maxLeaseMs} ms, longer than maxLeaseMs allows`
    entry.timers = [
      ...after(leaseWarnMs, () =>
        publish(key, { type: 'lease.overdue', id, generation, heldMs: leaseWarnMs }),
      ),
      ...after(maxLeaseMs, () => {
        drop(id, entry)
        giveBack(key, id, generation)
        tellRevoked(entry, toError(key, { code: 'LEASEHOLD_LEASE_TIMEOUT', message, generation }))
      }),
    ]
  }

  const refuse = (key: string, id: string, failure: Failure) => {
    const entry = entries.get(id)
    if (entry === undefined) return
    drop(id, entry)
    entry.listener.refused(toError(key, failure))
  }
  const revoke = (key: string, generation: string, failure: Failure) => {
    for (const [id, entry] of entries) {
      if (entry.key !== key || entry.generation !== generation) continue
      drop(id, entry)
      tellRevoked(entry, toError(key, failure))
    }
  }
  const deliver = (key: string, message: ProviderEmitted) => {
    if (message.type === 'lease.refused') refuse(key, message.id, message.failure)
    else if (message.type === 'leases.revoked') revoke(key, message.generation, message.failure)
    else if (message.type === 'lease.granted') {
      const entry = entries.get(message.id)
      if (entry === undefined) return
      entry.generation = message.generation
      entry.grantedAtMs = clock.now()
      limit(message.id, entry, message.generation)
      const tell = () => {
        if (entries.get(message.id) !== entry) return
        entry.isTold = true
        entry.listener.granted(message)
      }
      if (entry === asking) tell()
      else inTurn(tell)
    }
  }
  const toGone = (): Failure => ({
    code: isClosing() ? 'LEASEHOLD_SHUTTING_DOWN' : 'LEASEHOLD_REMOVED',
    message: 'it is not supervised any more',
  })
  /** Says what an actor that is not there any more cannot say. */
  const announce = (key: string, message: ProviderEmitted) => {
    publish(key, message)
    deliver(key, message)
  }

  return {
    request: (key, id, listener, priority = 0, cause, keepAliveMs) => {
      const entry: Entry = {
        key,
        listener,
        generation: null,
        isTold: false,
        grantedAtMs: 0,
        timers: [],
      }
      entries.set(id, entry)
      const event = {
        type: 'lease.requested',
        id,
        priority,
        sinceMs: clock.now(),
        ...(cause === undefined ? {} : { cause }),
        ...(keepAliveMs === undefined ? {} : { keepAliveMs }),
      } as const
      publish(key, event)
      asking = entry
      const isHeard = send(key, event)
      asking = undefined
      if (!isHeard) return announce(key, { type: 'lease.refused', id, failure: toGone() })
      // Answered already, or it waits: a service that is up does not keep anybody waiting.
      if (entries.get(id) !== entry || entry.generation !== null) return
      const place = placeOf(key, id)
      if (place === undefined) return
      publish(key, { type: 'lease.queued', id, ...place })
      listener.queued?.(place)
    },
    end: (id) => {
      const entry = entries.get(id)
      if (entry === undefined) return
      drop(id, entry)
      const { key, generation } = entry
      if (generation !== null) {
        leaseTimes.add(key, clock.now() - entry.grantedAtMs)
        return giveBack(key, id, generation)
      }
      publish(key, { type: 'lease.cancelled', id })
      send(key, { type: 'lease.cancelled', id })
    },
    deliver,
    abandon: (key, failure) => {
      const left = [...entries].filter(([, entry]) => entry.key === key)
      for (const [id, entry] of left)
        if (entry.generation === null && entries.get(id) === entry)
          announce(key, { type: 'lease.refused', id, failure })
      for (const generation of new Set(left.map(([, entry]) => entry.generation)))
        if (generation !== null) announce(key, { type: 'leases.revoked', generation, failure })
    },
    entriesOf: (key) =>
      [...entries]
        .filter(([, entry]) => entry.key === key)
        .map(([id, { generation }]) => ({ id, generation })),
  }
}

import type { Failure, LeaseEvent, ProviderEmitted, StartCause } from '../../machines/messages.ts'
import type { Clock } from '../clock.ts'
import { OpenMap } from '../collections/open-map.ts'
import type { ServiceError } from '../errors.ts'
import type { ServiceEventBody } from '../events/events.ts'
import type { Durations } from '../service/past-durations.ts'
import type { QueuedRequest } from './queue.ts'

/** A place in a queue; `estimatedMs` as in {@link QueuedRequest}. */
export type Place = Pick<QueuedRequest, 'position' | 'estimatedMs'>

/** Listener of one request for a lease: `granted` or `refused` is called once, `revoked` at most once after a grant. */
export interface LeaseListener {
  /** The lease is not granted at once: called at most once, before the answer. */
  queued?(place: Place): void
  granted(grant: { readonly generation: string; readonly owned: boolean }): void
  refused(error: ServiceError): void
  /** The service ended, or was forced to end, while the lease was held. The lease needs no release any more. */
  revoked(error: ServiceError): void
}

/** Waiters and holders of leases. The machines count them; the desk knows their listeners. */
export interface LeaseBook {
  /** Asks for a lease, for a request unless a `cause` is given. On a ready service the listener is called before this returns. */
  request(
    key: string,
    id: string,
    listener: LeaseListener,
    priority?: number,
    cause?: StartCause,
    keepAliveMs?: number,
    /** Since when it waits, on the clock. @default now */
    sinceMs?: number,
  ): void
  /** Cancels the wait, or releases the lease. Further calls, and calls after a revocation, do nothing. */
  end(id: string): void
  /** Passes a machine's message to the listener that it is for. */
  deliver(key: string, message: ProviderEmitted): void
  /** Fails every waiter and lease of a service whose actor died without an answer. */
  abandon(key: string, failure: Failure): void
  /** Ids that wait for a key, or hold a lease of it: then with its generation. */
  entriesOf(key: string): readonly { readonly id: string; readonly generation: string | null }[]
}

interface Entry {
  readonly key: string
  readonly listener: LeaseListener
  generation: string | null
  /** Whether its listener was called with the grant: after a wait it is called in a later turn. */
  isTold: boolean
  grantedAtMs: number
  /** When `leaseWarnMs` will have passed; infinite without that limit, or once it is reported. */
  warnsAtMs: number
  endsAtMs: number
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
  /** The place of a waiter. */
  readonly placeOf: (key: string, id: string) => Place | undefined
  readonly limits: () => LeaseLimits
  /** Puts an event into `requests$` of a service; `false`: no actor listens to it. */
  readonly send: (key: string, event: LeaseEvent) => boolean
  /** The mailbox of its actor: one that was spawned in this step listens once it has started. `false`: there is none. */
  readonly mail: (key: string, event: LeaseEvent) => boolean
  readonly publish: (key: string, event: ServiceEventBody) => void
  readonly toError: (key: string, failure: Failure) => ServiceError
  /** Whether services end because the supervisor closes. Otherwise a service that is gone was removed. */
  readonly isClosing: () => boolean
  /**
   * Runs work in a later turn of the event loop. The listener of a request that waited is told of its grant there: it
   * rewrites and sends a body, and many grants come in one turn when a service becomes ready.
   */
  readonly inTurn: (work: () => void) => void
}

const NEVER_MS = Number.POSITIVE_INFINITY

/** Creates an empty desk. */
export function createLeaseBook({
  clock,
  leaseTimes,
  placeOf,
  limits,
  send: stream,
  mail,
  publish,
  toError,
  isClosing,
  inTurn,
}: LeaseBookOptions): LeaseBook {
  const entries = new OpenMap<Entry>()
  /** The request that is being asked for now: its grant is answered at once. */
  let requested: Entry | undefined
  let held = 0
  /** One timer for all leases, because each request has one: it fires when the first limit may have passed. */
  let timer: unknown
  let firesAtMs = NEVER_MS

  const send = (key: string, event: LeaseEvent) => stream(key, event) || mail(key, event)
  const drop = (id: string, { generation }: Entry) => {
    entries.delete(id)
    if (generation === null) return
    held -= 1
    if (held > 0) return
    clock.clearTimeout(timer)
    firesAtMs = NEVER_MS
  }
  const fireBy = ({ warnsAtMs, endsAtMs }: Entry) => {
    const dueMs = Math.min(warnsAtMs, endsAtMs)
    if (dueMs >= firesAtMs) return
    clock.clearTimeout(timer)
    firesAtMs = dueMs
    timer = clock.setTimeout(checkLimits, dueMs - clock.now())
  }
  const giveBack = (key: string, id: string, generation: string) => {
    const event = { type: 'lease.released', id, generation } as const
    publish(key, event)
    send(key, event)
  }
  /** A listener that does not know of its grant yet hears a refusal. */
  const tellRevoked = ({ isTold, listener }: Entry, error: ServiceError) =>
    isTold ? listener.revoked(error) : listener.refused(error)
  const note = (entry: Entry, generation: string) => {
    const { leaseWarnMs, maxLeaseMs } = limits()
    const nowMs = clock.now()
    if (entry.generation === null) held += 1
    entry.generation = generation
    entry.grantedAtMs = nowMs
    if (leaseWarnMs > 0) entry.warnsAtMs = nowMs + leaseWarnMs
    if (maxLeaseMs > 0) entry.endsAtMs = nowMs + maxLeaseMs
    fireBy(entry)
  }
  const checkLimits = () => {
    firesAtMs = NEVER_MS
    const nowMs = clock.now()
    for (const [id, entry] of entries) {
      const { key, generation, grantedAtMs, warnsAtMs, endsAtMs } = entry
      if (generation === null) continue
      if (warnsAtMs <= nowMs) {
        entry.warnsAtMs = NEVER_MS
        publish(key, { type: 'lease.overdue', id, generation, heldMs: Math.round(warnsAtMs - grantedAtMs) })
      }
      if (endsAtMs > nowMs) {
        fireBy(entry)
        continue
      }
      drop(id, entry)
      giveBack(key, id, generation)
      const message = `the lease was held for ${Math.round(endsAtMs - grantedAtMs)} ms, longer than maxLeaseMs allows`
      tellRevoked(entry, toError(key, { code: 'LEASEHOLD_LEASE_TIMEOUT', message, generation }))
    }
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
      note(entry, message.generation)
      const tell = () => {
        if (entries.get(message.id) !== entry) return
        entry.isTold = true
        entry.listener.granted(message)
      }
      if (entry === requested) tell()
      else inTurn(tell)
    }
  }
  const toGone = (): Failure => ({
    code: isClosing() ? 'LEASEHOLD_SHUTTING_DOWN' : 'LEASEHOLD_REMOVED',
    message: 'it is not supervised any more',
  })
  /** Answers in place of an actor that does not exist any more. */
  const announce = (key: string, message: ProviderEmitted) => {
    publish(key, message)
    deliver(key, message)
  }

  return {
    request: (key, id, listener, priority = 0, cause, keepAliveMs, sinceMs = clock.now()) => {
      const entry: Entry = {
        key,
        listener,
        generation: null,
        isTold: false,
        grantedAtMs: 0,
        warnsAtMs: NEVER_MS,
        endsAtMs: NEVER_MS,
      }
      entries.set(id, entry)
      const event = {
        type: 'lease.requested',
        id,
        priority,
        sinceMs,
        ...(cause === undefined ? {} : { cause }),
        ...(keepAliveMs === undefined ? {} : { keepAliveMs }),
      } as const
      publish(key, event)
      requested = entry
      const isHeard = send(key, event)
      requested = undefined
      if (!isHeard) return announce(key, { type: 'lease.refused', id, failure: toGone() })
      // It was answered already, or no longer waits: a service that is up grants at once.
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

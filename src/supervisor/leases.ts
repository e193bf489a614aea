import type { Failure, ProviderEmitted, ProviderEvent } from '../../machines/messages.ts'
import type { ServiceError } from '../errors.ts'
import type { ServiceEventBody } from '../events.ts'

/** Told what becomes of one request for a lease: `granted` or `refused` once, `revoked` at most once after a grant. */
export interface LeaseListener {
  granted(grant: { readonly generation: string; readonly owned: boolean }): void
  refused(error: ServiceError): void
  /** The service ended under the lease, or was made to. The lease needs no release any more. */
  revoked(error: ServiceError): void
}

/** Who waits for a lease and who holds one. The machines count; this knows whom to tell. */
export interface LeaseBook {
  /** Asks for a lease. On a ready service the listener is told before this returns. */
  request(key: string, id: string, listener: LeaseListener, priority?: number): void
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
}

export interface LeaseBookOptions {
  /** Puts an event into the mailbox of a service's actor; `false` when there is none that listens. */
  readonly send: (key: string, event: ProviderEvent) => boolean
  readonly publish: (key: string, event: ServiceEventBody) => void
  readonly toError: (key: string, failure: Failure) => ServiceError
  /** Whether services end because everything does. Otherwise one that is gone was removed. */
  readonly isClosing: () => boolean
}

/** Opens an empty book. */
export function createLeaseBook({ send, publish, toError, isClosing }: LeaseBookOptions): LeaseBook {
  const entries = new Map<string, Entry>()

  const refuse = (key: string, id: string, failure: Failure) => {
    const entry = entries.get(id)
    if (entry === undefined) return
    entries.delete(id)
    entry.listener.refused(toError(key, failure))
  }
  const revoke = (key: string, generation: string, failure: Failure) => {
    const error = toError(key, failure)
    for (const [id, entry] of entries) {
      if (entry.key !== key || entry.generation !== generation) continue
      entries.delete(id)
      entry.listener.revoked(error)
    }
  }
  const deliver = (key: string, message: ProviderEmitted) => {
    if (message.type === 'lease.refused') refuse(key, message.id, message.failure)
    else if (message.type === 'leases.revoked') revoke(key, message.generation, message.failure)
    else if (message.type === 'lease.granted') {
      const entry = entries.get(message.id)
      if (entry === undefined) return
      entry.generation = message.generation
      entry.listener.granted(message)
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
    request: (key, id, listener, priority = 0) => {
      entries.set(id, { key, listener, generation: null })
      publish(key, { type: 'lease.requested', id, priority })
      if (!send(key, { type: 'lease.requested', id, priority }))
        announce(key, { type: 'lease.refused', id, failure: toGone() })
    },
    end: (id) => {
      const entry = entries.get(id)
      if (entry === undefined) return
      entries.delete(id)
      const { key, generation } = entry
      const event: ProviderEvent =
        generation === null ? { type: 'lease.cancelled', id } : { type: 'lease.released', id, generation }
      publish(key, event)
      send(key, event)
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

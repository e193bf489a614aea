import type { Failure, Peer } from '../../machines/messages.ts'
import { limitKeepAlive } from '../compat/keep-alive.ts'
import type { GuestEventBody } from '../events/events.ts'
import type { LeaseBook } from '../lease/desk.ts'
import type { PeerConnection, PeerMessage } from './peer-wire.ts'

/** Another supervisor that borrows a service of ours. */
export interface Guest extends Peer {
  /** Leases it holds, and those it waits for. */
  readonly leases: number
  readonly waiting: number
}

/** The supervisors that borrow from this one. Each lease that they ask for is an ordinary lease of ours. */
export interface Guests {
  /** A guest has come to the claim of `key`; absent: of a service that is none any more. */
  receive(key: string | undefined, guest: PeerConnection, leases: LeaseBook): void
  of(key: string): readonly Guest[]
}

export interface GuestsOptions {
  readonly publish: (key: string, event: GuestEventBody) => void
  /** What this supervisor is, for a guest that is refused. */
  readonly self: Peer
}

/** Questions that one guest may have open at a time; a supervisor of ours bounds its queue far below. */
const MAX_OPEN = 10_000

export function createGuests({ publish, self }: GuestsOptions): Guests {
  const present = new Map<PeerConnection, { readonly key: string; readonly open: Map<string, Question> }>()
  let arrivals = 0

  const receive = (key: string | undefined, guest: PeerConnection, leases: LeaseBook) => {
    if (key === undefined) return guest.close()
    arrivals += 1
    const { peer } = guest
    const prefix = `guest-${peer.pid}-${arrivals}-`
    const open = new Map<string, Question>()
    present.set(guest, { key, open })
    publish(key, { type: 'guest.joined', guest: peer })

    const ask = (id: string, priority: number, keepAliveMs: number | undefined) => {
      const question: Question = { isGranted: false }
      open.set(id, question)
      leases.request(
        key,
        prefix + id,
        {
          granted: ({ owned }) => {
            question.isGranted = true
            // An adopted server is not ours to lend; its claim is about to be released.
            if (owned) guest.send({ type: 'granted', id })
            else leases.end(prefix + id)
          },
          refused: ({ failure }) => {
            open.delete(id)
            // It is to start the server itself as soon as ours is gone, and that is when the connection ends.
            if (failure.code === 'LEASEHOLD_SHUTTING_DOWN' || failure.code === 'LEASEHOLD_REMOVED') return
            guest.send({ type: 'refused', id, failure })
          },
          revoked: ({ failure }) => {
            open.delete(id)
            guest.send({ type: 'revoked', failure })
          },
        },
        priority,
        undefined,
        keepAliveMs,
      )
    }
    const answer = ({ type, key: wanted, id, priority, keepAliveMs }: PeerMessage) => {
      if (type === 'ping') return guest.send({ type: 'pong' })
      if (typeof id !== 'string') return
      if (type === 'return') {
        if (open.delete(id)) leases.end(prefix + id)
        return
      }
      if (type !== 'want' || open.has(id)) return
      if (wanted !== key) guest.send({ type: 'refused', id, failure: toOtherServiceFailure(self) })
      else if (open.size >= MAX_OPEN) guest.close()
      else
        ask(
          id,
          typeof priority === 'number' && Number.isSafeInteger(priority) ? priority : 0,
          typeof keepAliveMs === 'number' ? limitKeepAlive(keepAliveMs) : undefined,
        )
    }
    guest.listen({
      message: answer,
      closed: () => {
        present.delete(guest)
        for (const id of open.keys()) leases.end(prefix + id)
        publish(key, { type: 'guest.left', guest: peer })
      },
    })
  }

  return {
    receive,
    of: (key) =>
      [...present]
        .filter(([, one]) => one.key === key)
        .map(([{ peer }, { open }]) => {
          const granted = [...open.values()].filter(({ isGranted }) => isGranted).length
          return { ...peer, leases: granted, waiting: open.size - granted }
        }),
  }
}

interface Question {
  isGranted: boolean
}

function toOtherServiceFailure({ name, pid }: Peer): Failure {
  return {
    code: 'LEASEHOLD_CLAIM_FAILED',
    message: `another service is run at its address by leasehold ${name} (process ${pid}); stop it there, or give one of the two another port`,
  }
}

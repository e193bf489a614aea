import type { Observable } from 'rxjs'
import { createActor, fromCallback } from 'xstate'
import {
  type BorrowingCommand,
  type BorrowingEvent,
  borrowingMachine,
  type ConnectionEvent,
  type OwnerMessage,
} from '../../machines/borrowing.ts'
import type { PeerEvent } from '../../machines/messages.ts'
import type { Clock } from '../clock.ts'
import { toFailure } from './peer-messages.ts'
import { HandshakeError, type PeerConnection, type PeerMessage } from './peer-wire.ts'

/** What a service borrows from another supervisor. The chart `machines/borrowing.ts` decides, this is the connection. */
export interface Borrowing {
  obey(command: BorrowingCommand): void
  close(): void
}

export interface BorrowingOptions {
  readonly key: string
  readonly clock: Clock
  /** Connects to the supervisor that has the claim. */
  readonly meet: () => Promise<PeerConnection>
  readonly report: (event: PeerEvent) => void
  /** This host or this process goes on after it stood still. */
  readonly resumed$: Observable<void>
}

export function createBorrowing({ key, clock, meet, report, resumed$ }: BorrowingOptions): Borrowing {
  const connection = fromCallback<OwnerMessage, undefined, BorrowingEvent>(({ sendBack, receive }) => {
    let isOver = false
    let owner: PeerConnection | undefined
    const begin = (met: PeerConnection) => {
      if (isOver) return met.close()
      owner = met
      sendBack({ type: 'connection.made', owner: met.peer })
      met.listen({
        message: (message) => {
          sendBack({ type: 'owner.heard' })
          const event = parseAnswer(message)
          if (event !== undefined) sendBack(event)
        },
        closed: () => sendBack({ type: 'connection.closed' }),
      })
    }
    meet().then(begin, (error) => sendBack(buildRefusal(error)))
    receive((message) => owner?.send(message.type === 'want' ? { ...message, key } : message))
    return () => {
      isOver = true
      owner?.close()
    }
  })
  const actor = createActor(borrowingMachine.provide({ actors: { connection } }), { clock })
  actor.on('*', report)
  const resuming = resumed$.subscribe(() => actor.send({ type: 'host.resumed' }))
  actor.start()
  return {
    obey: (command) => actor.send(command),
    close: () => {
      resuming.unsubscribe()
      actor.stop()
    },
  }
}

function buildRefusal(error: unknown): ConnectionEvent {
  if (!(error instanceof HandshakeError)) return { type: 'connection.refused', reason: 'unproven' }
  const { reason, pid } = error
  return { type: 'connection.refused', reason, ...(pid === undefined ? {} : { pid }) }
}

function parseAnswer({ type, id, failure }: PeerMessage): ConnectionEvent | undefined {
  if (type === 'revoked') return { type: 'owner.revoked', failure: toFailure(failure) }
  if (typeof id !== 'string') return undefined
  if (type === 'granted') return { type: 'owner.granted', id }
  if (type === 'refused') return { type: 'owner.refused', id, failure: toFailure(failure) }
  return undefined
}

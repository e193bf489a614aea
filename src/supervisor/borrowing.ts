import type { Failure, PeerCommand, PeerEvent } from '../../machines/messages.ts'
import { HandshakeError, type PeerConnection, type PeerMessage } from '../process/peer-wire.ts'
import { toFailure } from './peer-messages.ts'

/** One conversation with the supervisor that runs what we borrow; a run of the machine has one. */
export interface Borrowing {
  obey(command: Exclude<PeerCommand, { type: 'claim.release' }>): void
  close(): void
}

export interface BorrowingOptions {
  readonly key: string
  readonly meet: () => Promise<PeerConnection>
  readonly report: (event: PeerEvent) => void
}

/** Opens conversations as the machine asks for leases, one at a time. What an old one says is not reported. */
export function createBorrowing({ key, meet, report }: BorrowingOptions): Borrowing {
  let current: Conversation | undefined

  const begin = (generation: string): Conversation => {
    const conversation: Conversation = { generation, peer: undefined, unsent: [], isOver: false }
    const say = (event: PeerEvent) => {
      if (!conversation.isOver) report(event)
    }
    const lose = (failure: Failure) => {
      say({ type: 'peer.lost', generation, failure })
      conversation.isOver = true
    }
    meet().then(
      (peer) => {
        if (conversation.isOver) return peer.close()
        conversation.peer = peer
        say({ type: 'peer.met', generation, holder: peer.peer })
        for (const message of conversation.unsent.splice(0)) peer.send(message)
        peer.listen({
          message: (message) => {
            const event = toEvent(generation, message)
            if (event?.type === 'peer.lost') lose(event.failure)
            else if (event !== undefined) say(event)
          },
          closed: () => lose(toLossFailure(peer)),
        })
      },
      (error) => {
        if (error instanceof HandshakeError && error.reason === 'closed') return lose(NOBODY)
        // A silent one is the chart's matter: it has a delay for that.
        if (error instanceof HandshakeError && error.reason === 'timeout') return
        say({ type: 'peer.failed', generation, failure: UNPROVEN })
        conversation.isOver = true
      },
    )
    return conversation
  }
  const end = () => {
    if (current === undefined) return
    current.isOver = true
    current.peer?.close()
    current = undefined
  }

  return {
    obey: (command) => {
      const { type, generation } = command
      if (type === 'peer.want' && current?.generation !== generation) {
        end()
        current = begin(generation)
      }
      if (current?.generation !== generation) return
      if (type === 'peer.leave') return end()
      if (current.isOver) return
      const message =
        type === 'peer.want'
          ? { type: 'want', key, id: command.id, priority: command.priority }
          : { type: 'return', id: command.id }
      if (current.peer === undefined) current.unsent.push(message)
      else current.peer.send(message)
    },
    close: end,
  }
}

interface Conversation {
  readonly generation: string
  peer: PeerConnection | undefined
  /** What was asked before the peer was met: at most the queue of the service and its cancellations. */
  readonly unsent: object[]
  isOver: boolean
}

const NOBODY: Failure = {
  code: 'LEASEHOLD_OWNER_LOST',
  message: 'the supervisor that held the claim on its address is gone',
}
const UNPROVEN: Failure = {
  code: 'LEASEHOLD_CLAIM_FAILED',
  message:
    'the claim on its address is held by a process that does not prove to be a supervisor of this user and state directory; nothing is started beside it',
}

function toLossFailure({ peer: { name, pid } }: PeerConnection): Failure {
  return {
    code: 'LEASEHOLD_OWNER_LOST',
    message: `the supervisor that ran it (leasehold ${name}, process ${pid}) let it go or is gone`,
  }
}

function toEvent(generation: string, message: PeerMessage): PeerEvent | undefined {
  const { type, id } = message
  if (type === 'revoked') return { type: 'peer.lost', generation, failure: toFailure(message.failure) }
  if (typeof id !== 'string') return undefined
  if (type === 'granted') return { type: 'peer.granted', generation, id }
  if (type === 'refused') return { type: 'peer.refused', generation, id, failure: toFailure(message.failure) }
  return undefined
}

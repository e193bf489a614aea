import type { Failure, PeerCommand, PeerEvent } from '../../machines/messages.ts'
import type { Clock } from '../clock.ts'
import { toFailure } from './peer-messages.ts'
import { HandshakeError, OWNER_SILENCE_MS, type PeerConnection, type PeerMessage } from './peer-wire.ts'
import { type SilenceWatch, watchSilence } from './silence-watch.ts'

/** One conversation with the supervisor that runs what we borrow; a run of the machine has one. */
export interface Borrowing {
  obey(command: Exclude<PeerCommand, { type: 'claim.release' }>): void
  close(): void
}

export interface BorrowingOptions {
  readonly key: string
  readonly clock: Clock
  readonly meet: () => Promise<PeerConnection>
  readonly report: (event: PeerEvent) => void
}

/** Opens conversations as the machine asks for leases, one at a time. What an old one says is not reported. */
export function createBorrowing({ key, clock, meet, report }: BorrowingOptions): Borrowing {
  let current: Conversation | undefined

  const begin = (generation: string): Conversation => {
    const conversation: Conversation = {
      generation,
      peer: undefined,
      watch: undefined,
      unsent: [],
      isOver: false,
    }
    const say = (event: PeerEvent) => {
      if (!conversation.isOver) report(event)
    }
    const lose = (failure: Failure) => {
      say({ type: 'peer.lost', generation, failure })
      finish(conversation)
    }
    meet().then(
      (peer) => {
        if (conversation.isOver) return peer.close()
        conversation.peer = peer
        say({ type: 'peer.met', generation, holder: peer.peer })
        for (const message of conversation.unsent.splice(0)) peer.send(message)
        conversation.watch = watchSilence({
          clock,
          ping: () => peer.send({ type: 'ping' }),
          onSilent: () => say({ type: 'peer.silent', generation, failure: toSilenceFailure(peer.peer) }),
        })
        peer.listen({
          message: (message) => {
            conversation.watch?.hear()
            const event = toEvent(generation, message)
            if (event?.type === 'peer.lost') lose(event.failure)
            else if (event !== undefined) say(event)
          },
          closed: () => lose(toLossFailure(peer)),
        })
      },
      (error) => {
        if (error instanceof HandshakeError && error.reason === 'closed') return lose(NOBODY)
        if (error instanceof HandshakeError && error.reason === 'timeout')
          say({ type: 'peer.silent', generation, failure: toSilenceFailure({ pid: error.pid }) })
        else say({ type: 'peer.failed', generation, failure: UNPROVEN })
        finish(conversation)
      },
    )
    return conversation
  }
  const end = () => {
    if (current === undefined) return
    finish(current)
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
          ? {
              type: 'want',
              key,
              id: command.id,
              priority: command.priority,
              keepAliveMs: command.keepAliveMs,
            }
          : { type: 'return', id: command.id }
      if (current.peer === undefined) current.unsent.push(message)
      else current.peer.send(message)
    },
    close: end,
  }
}

function finish(conversation: Conversation) {
  conversation.isOver = true
  conversation.watch?.close()
}

interface Conversation {
  readonly generation: string
  peer: PeerConnection | undefined
  watch: SilenceWatch | undefined
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

function toSilenceFailure({
  pid,
  name,
}: {
  readonly pid?: number | undefined
  readonly name?: string
}): Failure {
  const who = name === undefined ? '' : `leasehold ${name}, `
  const named = pid === undefined ? '' : ` (${who}process ${pid})`
  const advice =
    pid === undefined
      ? 'resume it or end it'
      : `resume it (kill -CONT ${pid}) or end it (kill -KILL ${pid}): then the next request goes on`
  return {
    code: 'LEASEHOLD_OWNER_SILENT',
    message: `the supervisor that holds the claim on its address${named} has not answered for ${OWNER_SILENCE_MS} ms: it is stopped or hung, and nothing is started beside it; ${advice}`,
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

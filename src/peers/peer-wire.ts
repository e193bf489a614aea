import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Socket } from 'node:net'
import { pid as ownPid } from 'node:process'
import { OWNER_SILENCE_MS } from '../../machines/borrowing.ts'
import type { Peer } from '../../machines/messages.ts'
import type { Clock } from '../clock.ts'

/** Longest line of a peer, in bytes: a failure with the tail of an output fits. */
export const MAX_LINE_BYTES = 262_144
/** A peer that reads so slowly that this much waits for it is cut off, in bytes. */
const MAX_BEHIND_BYTES = 1_048_576
/** Longest name that a supervisor gives itself. */
const MAX_NAME_LENGTH = 64
/** How long the other end may take to prove who it is, in milliseconds: less for a stranger who comes to us. */
const HANDSHAKE_TIMEOUT_MS = { owner: 2_000, guest: OWNER_SILENCE_MS } as const
const NONCE_BYTES = 32

/** A line that was sent, parsed; nothing of it is checked but that it is an object. */
export type PeerMessage = Readonly<Record<string, unknown>>

/** What happens on a connection. `closed` comes once, last. */
export interface PeerListener {
  message(message: PeerMessage): void
  closed(): void
}

/** A connection between two supervisors that have proven to each other that they know the host key. */
export interface PeerConnection {
  /** Who is at the other end, as it says itself. */
  readonly peer: Peer
  /** From now on; what came before is told at once. To be called once. */
  listen(listener: PeerListener): void
  send(message: object): void
  close(): void
}

/** Who we are, and what a peer must know. */
export interface Identity {
  readonly hostKey: Buffer
  /** The claim that is spoken about: a proof for one is none for another. */
  readonly claim: string
  /** What we call ourselves: `serve`, `infer`. */
  readonly name: string
  readonly clock: Clock
}

/** The other end does not prove that it knows the host key. `closed`: it was gone before it said anything. */
export class HandshakeError extends Error {
  override readonly name = 'HandshakeError'
  readonly reason: 'closed' | 'timeout' | 'unproven'
  /** Who was silent, where that can be seen. */
  readonly pid: number | undefined

  constructor(reason: HandshakeError['reason'], pid?: number) {
    super(`the peer ${{ closed: 'left', timeout: 'was silent', unproven: 'does not know the key' }[reason]}`)
    this.reason = reason
    this.pid = pid
  }
}

/**
 * Proves both ends to each other: the owner of the claim speaks first, and each answers the other's nonce. The
 * listener on a name is not proven by the name: any user of the host can take an abstract name.
 * @throws {@link HandshakeError}
 */
export async function shakeHands(
  socket: Socket,
  role: 'owner' | 'guest',
  identity: Identity,
): Promise<PeerConnection> {
  const lines = createLines(socket)
  const nonce = randomBytes(NONCE_BYTES).toString('hex')
  const { name, clock } = identity
  const timer = clock.setTimeout(() => lines.fail(new HandshakeError('timeout')), HANDSHAKE_TIMEOUT_MS[role])
  try {
    const self = { pid: ownPid, name }
    if (role === 'owner') lines.send({ leasehold: 1, nonce })
    const hello = await lines.next()
    const nonces = role === 'owner' ? [nonce, hello.nonce] : [hello.nonce, nonce]
    if (role === 'owner') {
      check(hello.mac, toMac(identity, 'guest', nonces))
      lines.send({ ...self, mac: toMac(identity, 'owner', nonces) })
      return lines.open(toPeer(hello))
    }
    lines.send({ ...self, nonce, mac: toMac(identity, 'guest', nonces) })
    const proof = await lines.next()
    check(proof.mac, toMac(identity, 'owner', nonces))
    return lines.open(toPeer(proof))
  } catch (error) {
    socket.destroy()
    throw error instanceof HandshakeError ? error : new HandshakeError('unproven')
  } finally {
    clock.clearTimeout(timer)
  }
}

function toMac({ hostKey, claim }: Identity, role: string, nonces: readonly unknown[]): string {
  if (nonces.some((nonce) => typeof nonce !== 'string' || nonce.length !== NONCE_BYTES * 2))
    throw new HandshakeError('unproven')
  return createHmac('sha256', hostKey)
    .update([role, claim, ...nonces].join('\n'))
    .digest('hex')
}

function check(given: unknown, expected: string): void {
  const bytes = Buffer.from(String(given))
  if (bytes.length !== expected.length || !timingSafeEqual(bytes, Buffer.from(expected)))
    throw new HandshakeError('unproven')
}

function toPeer({ pid, name }: PeerMessage): Peer {
  return {
    pid: typeof pid === 'number' && Number.isSafeInteger(pid) && pid > 0 ? pid : 0,
    name: typeof name === 'string' ? name.slice(0, MAX_NAME_LENGTH) : '',
  }
}

/** A socket as lines of JSON. Input before the first listener is kept, bounded by the socket's own buffer. */
function createLines(socket: Socket) {
  let rest = ''
  let listener: PeerListener | undefined
  let failure: HandshakeError | undefined
  const kept: PeerMessage[] = []
  let waiting:
    | { readonly resolve: (message: PeerMessage) => void; readonly reject: (error: Error) => void }
    | undefined

  const fail = (error: HandshakeError) => {
    failure ??= error
    waiting?.reject(error)
    waiting = undefined
    socket.destroy()
  }
  const take = (line: string) => {
    const message = parse(line)
    if (message === undefined) return fail(new HandshakeError('unproven'))
    if (listener !== undefined) return listener.message(message)
    if (waiting === undefined) {
      kept.push(message)
      return
    }
    const { resolve } = waiting
    waiting = undefined
    resolve(message)
  }
  socket.setEncoding('utf8')
  socket.on('data', (text: string) => {
    const lines = (rest + text).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) if (failure === undefined) take(line)
    if (rest.length > MAX_LINE_BYTES || kept.length > 16) fail(new HandshakeError('unproven'))
  })
  // A socket that breaks closes, and that is what is told.
  socket.on('error', () => {})
  socket.once('close', () => {
    fail(new HandshakeError('closed'))
    listener?.closed()
  })

  const send = (message: object) => {
    if (socket.destroyed) return
    socket.write(`${JSON.stringify(message)}\n`)
    if (socket.writableLength > MAX_BEHIND_BYTES) socket.destroy()
  }
  return {
    send,
    fail,
    next: () =>
      new Promise<PeerMessage>((resolve, reject) => {
        const message = kept.shift()
        if (message !== undefined) resolve(message)
        else if (failure !== undefined) reject(failure)
        else waiting = { resolve, reject }
      }),
    open: (peer: Peer): PeerConnection => ({
      peer,
      listen: (next) => {
        listener = next
        for (const message of kept.splice(0)) next.message(message)
        if (socket.closed) next.closed()
      },
      send,
      close: () => {
        socket.destroySoon()
      },
    }),
  }
}

function parse(line: string): PeerMessage | undefined {
  try {
    const value: unknown = JSON.parse(line)
    return typeof value === 'object' && value !== null ? (value as PeerMessage) : undefined
  } catch {
    return undefined
  }
}

import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import type { MemberTls } from '../transport/member-tls.ts'

/** The first byte of a TLS connection, and of no HTTP request: the type of a record with a handshake (RFC 8446 §5.1). */
const HANDSHAKE = 0x16
/** Longest time until a connection has shown what it is, and until its handshake is over, in milliseconds. */
const ADMISSION_MS = 10_000
/** Most connections that have not shown it yet. One more ends the oldest. */
const MAX_ARRIVING = 1_024

interface Arriving {
  readonly socket: Socket
  readonly deadline: NodeJS.Timeout
}

/**
 * Lets members in by TLS at the port of a gateway. A connection that begins with a handshake must prove the secret of the
 * cluster; every other one is HTTP. The listeners of the server hear of a connection once it is known which it is.
 * @returns ends the connections of which that is not known yet
 */
export function openMemberPort(server: Server, { accept }: MemberTls): () => void {
  const { createServer } = process.getBuiltinModule('node:tls')
  /** By the place of the client: a secure socket is another object than the one that it is made of. */
  const arriving = new Map<string, Arriving>()
  const listeners = server.listeners('connection')
  const forget = (place: string) => {
    clearTimeout(arriving.get(place)?.deadline)
    arriving.delete(place)
  }
  const admit = (socket: Socket) => {
    forget(toPlace(socket))
    for (const listener of listeners) listener.call(server, socket)
  }
  const secure = createServer(accept, admit)
  server.removeAllListeners('connection')
  server.on('connection', (socket) => {
    const place = toPlace(socket)
    const destroy = () => socket.destroy()
    // Half of a connection is none: a client that has said its last word will not finish a handshake.
    socket.once('error', destroy).once('end', destroy)
    socket.once('close', () => {
      if (arriving.get(place)?.socket === socket) forget(place)
    })
    socket.once('data', (first) => {
      socket.off('error', destroy).off('end', destroy)
      socket.pause()
      socket.unshift(first)
      if (first[0] === HANDSHAKE) return void secure.emit('connection', socket)
      admit(socket)
      process.nextTick(() => socket.resume())
    })
    arriving.set(place, { socket, deadline: setTimeout(destroy, ADMISSION_MS).unref() })
    const [oldest] = arriving.values()
    if (arriving.size > MAX_ARRIVING) oldest?.socket.destroy()
  })
  return () => {
    for (const { socket } of arriving.values()) socket.destroy()
  }
}

function toPlace({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`
}

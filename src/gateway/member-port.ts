import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import type { MemberTls } from '../transport/member-tls.ts'

/** The first byte of a TLS connection, and of no HTTP request: the type of a record with a handshake (RFC 8446 §5.1). */
const HANDSHAKE = 0x16
/** Longest time until a connection says which it is, in milliseconds. */
const FIRST_BYTE_MS = 10_000

/**
 * Lets members in by TLS at the port of a gateway. A connection that begins with a handshake must prove the secret of the
 * cluster; every other one is HTTP. The listeners of the server hear of a connection when it is known which it is.
 * @returns closes the connections that are not known yet
 */
export function openMemberPort(server: Server, { accept }: MemberTls): () => void {
  const { createServer } = process.getBuiltinModule('node:tls')
  const unknown = new Set<Socket>()
  const listeners = server.listeners('connection')
  const admit = (socket: Socket) => {
    for (const listener of listeners) listener.call(server, socket)
  }
  const secure = createServer(accept, admit)
  const begin = (socket: Socket, first: Buffer) => {
    unknown.delete(socket)
    socket.removeAllListeners('error')
    socket.setTimeout(0)
    socket.pause()
    socket.unshift(first)
    if (first[0] === HANDSHAKE) return void secure.emit('connection', socket)
    admit(socket)
    process.nextTick(() => socket.resume())
  }
  server.removeAllListeners('connection')
  server.on('connection', (socket) => {
    unknown.add(socket)
    socket.setTimeout(FIRST_BYTE_MS, () => {
      if (unknown.has(socket)) socket.destroy()
    })
    socket.once('error', () => socket.destroy())
    socket.once('close', () => unknown.delete(socket))
    socket.once('data', (first) => begin(socket, first))
  })
  return () => {
    for (const socket of unknown) socket.destroy()
  }
}

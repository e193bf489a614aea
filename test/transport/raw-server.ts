import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'

/** A server of bare sockets: what it answers need not be HTTP. */
export interface RawServer extends AsyncDisposable {
  readonly port: number
  /** Without a path: `http://127.0.0.1:41234`. */
  readonly url: string
  /** What each connection has sent so far, in the order in which they came. */
  readonly received: readonly string[]
  /** Connections that are open. */
  readonly open: number
  /** Connections that have ended. */
  readonly closed: number
}

/** Listens on a free port. `answer` is called once per connection, with its first head. */
export async function createRawServer(answer: (socket: Socket, head: string) => void): Promise<RawServer> {
  const received: string[] = []
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    const index = received.push('') - 1
    let isAnswered = false
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => {})
    socket.on('data', (chunk) => {
      received[index] += chunk.toString('latin1')
      if (isAnswered || !received[index]?.includes('\r\n\r\n')) return
      isAnswered = true
      answer(socket, received[index])
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    received,
    get open() {
      return sockets.size
    },
    get closed() {
      return received.length - sockets.size
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

/** A port on which nothing listens: it was free a moment ago. */
export async function takeFreePort(): Promise<number> {
  await using server = await createRawServer(() => {})
  return server.port
}

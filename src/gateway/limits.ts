import type { IncomingMessage, Server, ServerOptions, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { isLoopback } from '../net/loopback.ts'
import { toClientKey } from './client-key.ts'

/** How slow a client may be. Node's own limits let one hold a connection for minutes. */
export interface HttpLimits {
  /** From the connection, or the end of the request before, to the end of a request's head, in milliseconds. @default 10_000 */
  readonly headersTimeout?: number | undefined
  /** The same to the end of its body: a client that is slower is told 408. `0`: no limit. @default 60_000 */
  readonly requestTimeout?: number | undefined
  /** How long a connection may rest between two requests, in milliseconds. @default 5_000 */
  readonly keepAliveTimeout?: number | undefined
  /** How often the first two are looked at, in milliseconds. @default 1_000 */
  readonly connectionsCheckingInterval?: number | undefined
}

/** The options of the server that listens. */
export function toServerOptions({
  headersTimeout = 10_000,
  requestTimeout = 60_000,
  keepAliveTimeout = 5_000,
  connectionsCheckingInterval = 1_000,
}: HttpLimits = {}): ServerOptions {
  return {
    headersTimeout,
    requestTimeout,
    keepAliveTimeout,
    connectionsCheckingInterval,
    maxHeaderSize: 16_384,
    insecureHTTPParser: false,
  }
}

/** Backlog of connections that are not accepted yet: a burst must not wait for the retry of a SYN. */
export const BACKLOG = 4096

/** Connections above the limit that still get an answer; further ones are closed without one. */
const MAX_SURPLUS = 16_384

export interface ConnectionLimits {
  readonly maxConnections: number
  /** Of one address beyond loopback: this host's own programs all have the same one. */
  readonly maxClientConnections: number
}

/** A server's connections. */
export interface Connections {
  /** Whether the connection of a request came when there were already as many as are served. */
  isSurplus(request: IncomingMessage): boolean
  /** Notes a request, so that its connection is left alone until it is answered. */
  note(request: IncomingMessage, response: ServerResponse): void
  /**
   * Cuts every connection but those of whole requests that are being answered, and those when they are. Node looks at
   * its limits no more once its server is closed: a client that is slow then would hold it open for ever.
   */
  close(): void
}

/** Watches a server's connections. `limits` are those in force when a connection comes. */
export function watchConnections(server: Server, limits: () => ConnectionLimits): Connections {
  const surplus = new WeakSet<Socket>()
  const perClient = new Map<string, number>()
  /** Every connection, and the requests on it that are not answered yet. */
  const open = new Map<Socket, IncomingMessage[]>()
  let isClosing = false
  server.maxConnections = limits().maxConnections + MAX_SURPLUS
  // The size of the head is the limit. Node's limit of their number drops what is beyond it, unseen by any guard.
  server.maxHeadersCount = 0
  server.on('connection', (socket) => {
    const client = toClientKey(socket.remoteAddress)
    const { maxConnections, maxClientConnections } = limits()
    const count = (perClient.get(client) ?? 0) + 1
    open.set(socket, [])
    perClient.set(client, count)
    if (open.size > maxConnections || (count > maxClientConnections && !isLoopback(client)))
      surplus.add(socket)
    socket.once('close', () => {
      open.delete(socket)
      const left = (perClient.get(client) ?? 1) - 1
      if (left > 0) perClient.set(client, left)
      else perClient.delete(client)
    })
  })
  return {
    isSurplus: ({ socket }) => surplus.has(socket),
    note: (request, response) => {
      const { socket } = request
      const requests = open.get(socket)
      requests?.push(request)
      response.once('close', () => {
        requests?.splice(requests.indexOf(request), 1)
        if (isClosing && requests?.length === 0) socket.destroySoon()
      })
    },
    close: () => {
      isClosing = true
      for (const [socket, requests] of open) if (!requests.some(({ complete }) => complete)) socket.destroy()
    },
  }
}

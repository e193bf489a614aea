import type { ClientRequest, IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import { connect as connectPlain, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { BadRequestError, UpstreamError } from '../errors.ts'
import type { Lease } from '../lease/lease.ts'
import { loadSecureRequest, request as requestPlain } from '../net/http.ts'
import type { Supervisor } from '../supervisor/interface.ts'
import { toClientHeaders, toUpstreamHeaders } from '../transport/headers.ts'

/** A request for the server itself: neither its path nor its body is rewritten. */
export interface ServerRequest {
  /** A model, or a provider's id. */
  readonly ref: string
  /** Path and query at the server's root. */
  readonly path: string
  /** What stands before such a path at the gateway: redirects within the server keep it. */
  readonly prefix: string
}

/** Reads what is asked of the server behind a service from the URL of a request. */
export function toServerRequest(
  url: URL,
  door: { readonly id: string; readonly path: string },
): ServerRequest {
  const query = new URLSearchParams(url.searchParams)
  query.delete('start')
  const search = query.size === 0 ? '' : `?${query}`
  return { ref: decodeURIComponent(door.id), path: door.path + search, prefix: `/upstream/${door.id}` }
}

/**
 * Finds the model whose service a request means, and refuses a read that would start it without being asked to:
 * browsers and discovery read many paths. `isStartAsked`: the query says `start=1`.
 * @throws {@link BadRequestError} 404 there is none; 409 it is not running
 */
export function findServed(
  supervisor: Supervisor,
  { ref, prefix }: Pick<ServerRequest, 'ref' | 'prefix'>,
  isStartAsked: boolean,
): string {
  const { service, state } = supervisor.service(ref)
  if (!isStartAsked && !/^(?:ready|leased)/.test(state))
    throw new BadRequestError(
      `${service} is not running (${state}), and a GET starts nothing. Add ?start=1: ${prefix}/?start=1, or run: leasehold start ${ref}`,
      { status: 409 },
    )
  const wanted = ref.toLowerCase()
  const provider = supervisor.config.providers.find(({ id }) => id.toLowerCase() === wanted)
  return provider === undefined ? ref : `${provider.id}/${provider.models[0]?.id ?? 'any'}`
}

/** Passes a request on to the server behind a service and its answer back. The lease ends with the answer. */
export async function answerFromServer(
  supervisor: Supervisor,
  request: IncomingMessage,
  response: ServerResponse,
  model: string,
  asked: ServerRequest,
): Promise<void> {
  const leaving = new AbortController()
  response.once('close', () => leaving.abort())
  const lease = await supervisor.acquire(model, { signal: leaving.signal })
  response.once('close', lease.release)
  if (response.destroyed) return lease.release()
  const { origin, root } = readBase(lease)
  const upstream = openRequest(origin, {
    method: request.method ?? 'GET',
    path: root + asked.path,
    headers: { ...toUpstreamHeaders(request.headers), ...toLengthHeader(request), ...lease.headers },
  })
  const cut = () => upstream.destroy(new Error('the service ended'))
  lease.signal.addEventListener('abort', cut, { once: true })
  response.once('close', () => {
    lease.signal.removeEventListener('abort', cut)
    upstream.destroy()
  })
  request.pipe(upstream)
  await new Promise<void>((resolve, reject) => {
    upstream.once('error', (cause) => {
      if (response.headersSent) return void response.destroy()
      const reason: unknown = lease.signal.aborted ? lease.signal.reason : undefined
      reject(
        reason ??
          new UpstreamError(asked.ref, `the connection to the server broke: ${cause.message}`, { cause }),
      )
    })
    upstream.once('response', (answer) => {
      const { location } = answer.headers
      const kept = location === undefined ? undefined : toOwnLocation(location, { origin, root }, asked)
      if (location !== undefined && kept === undefined) {
        answer.resume()
        return reject(
          new UpstreamError(
            asked.ref,
            'it answered with a redirect to another server, which is not passed on',
          ),
        )
      }
      response.writeHead(answer.statusCode ?? 502, {
        ...toClientHeaders(answer.headers),
        ...(kept === undefined ? {} : { location: kept }),
      })
      answer.once('error', () => response.destroy())
      answer.pipe(response)
      resolve()
    })
  })
}

/** Passes an upgraded connection, a WebSocket for one, on to the server behind a service: the lease lasts as long. */
export async function tunnelToServer(
  supervisor: Supervisor,
  request: IncomingMessage,
  client: Duplex,
  head: Buffer,
  model: string,
  asked: ServerRequest,
): Promise<void> {
  const leaving = new AbortController()
  client.once('close', () => leaving.abort())
  const lease = await supervisor.acquire(model, { signal: leaving.signal })
  const { origin, root } = readBase(lease)
  const server = openSocket(origin)
  const end = () => {
    lease.release()
    server.destroy()
    client.destroy()
  }
  lease.signal.addEventListener('abort', end, { once: true })
  for (const side of [client, server]) side.once('close', end).once('error', end)
  if (client.destroyed) return end()
  const headers: IncomingHttpHeaders = {
    ...toUpstreamHeaders(request.headers),
    ...lease.headers,
    host: new URL(origin).host,
    connection: 'Upgrade',
    upgrade: request.headers.upgrade,
  }
  for (const name of Object.keys(request.headers))
    if (name.startsWith('sec-websocket-')) headers[name] = request.headers[name]
  const lines = Object.entries(headers).flatMap(([name, value]) =>
    value === undefined ? [] : [value].flat().map((one) => `${name}: ${one}\r\n`),
  )
  server.write(`${request.method} ${root}${asked.path} HTTP/1.1\r\n${lines.join('')}\r\n`)
  server.write(head)
  server.pipe(client)
  client.pipe(server)
}

/** The root of a server, whose base URL ends in the `/v1` of its API. */
function readBase({ baseUrl }: Lease): { readonly origin: string; readonly root: string } {
  const { origin, pathname } = new URL(baseUrl)
  return { origin, root: pathname.replace(/\/(?:v\d\w*\/?)?$/, '') }
}

function openRequest(
  origin: string,
  options: {
    readonly method: string
    readonly path: string
    readonly headers: Record<string, string | string[]>
  },
): ClientRequest {
  const request = origin.startsWith('https:') ? loadSecureRequest() : requestPlain
  return request(origin, { ...options, agent: false })
}

function openSocket(origin: string): Socket {
  const { protocol, hostname, port } = new URL(origin)
  const host = hostname.replace(/^\[|\]$/g, '')
  // Loaded when it is needed: TLS takes long to load.
  if (protocol === 'https:')
    return process.getBuiltinModule('node:tls').connect({ host, port: Number(port || 443), servername: host })
  return connectPlain({ host, port: Number(port || 80) })
}

function toLengthHeader({ headers }: IncomingMessage): Record<string, string> {
  const length = headers['content-length']
  return length === undefined ? {} : { 'content-length': length }
}

/** A redirect within the server, as a path of the gateway; `undefined`: it leads elsewhere. */
function toOwnLocation(
  location: string,
  { origin, root }: { readonly origin: string; readonly root: string },
  { path, prefix }: ServerRequest,
): string | undefined {
  try {
    const target = new URL(location, origin + root + path)
    if (target.origin !== origin || !target.pathname.startsWith(`${root}/`)) return undefined
    return prefix + target.pathname.slice(root.length) + target.search + target.hash
  } catch {
    return undefined
  }
}

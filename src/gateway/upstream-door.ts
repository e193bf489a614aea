import type { ClientRequest, IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import { type Duplex, pipeline, Transform } from 'node:stream'
import { hasTag } from '../../machines/provider/tags.ts'
import type { Clock } from '../clock.ts'
import { resolveModel } from '../config/model-ref.ts'
import { BadRequestError, LeaseholdError, UpstreamError } from '../errors.ts'
import type { Lease } from '../lease/lease.ts'
import { loadSecureRequest, request as requestPlain } from '../net/http.ts'
import type { AnswerSecrets } from '../request/answer-mask.ts'
import type { Supervisor } from '../supervisor/interface.ts'
import { internalsOf } from '../supervisor/internals.ts'
import { toClientHeaders, toUpstreamHeaders } from '../transport/headers.ts'
import { checkHops, HOP_HEADER, toHopMark } from '../transport/hops.ts'
import { decodePath } from '../transport/path.ts'
import { withOwnVary } from './cors.ts'
import { createStallWatch } from './stall.ts'

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
  // Not through `URLSearchParams`, which spells a query anew.
  const query = url.search
    .slice(1)
    .split('&')
    .filter((part) => !/^start(?:=|$)/.test(part))
  const search = query.join('&') === '' ? '' : `?${query.join('&')}`
  return { ref: decodePath(door.id), path: door.path + search, prefix: `/upstream/${door.id}` }
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
  const { service, key, state, providers } = supervisor.service(ref)
  if (!isStartAsked && !hasTag(state, 'up'))
    throw new BadRequestError(
      `${service} is not running (${state}), and a GET starts nothing. Add ?start=1: ${prefix}/?start=1, or run: leasehold start ${ref}`,
      { status: 409 },
    )
  const [first = ref] = providers
  const wanted = (ref === service || ref === key ? first : ref).toLowerCase()
  const provider = supervisor.config.providers.find(({ id }) => id.toLowerCase() === wanted)
  return provider === undefined ? ref : `${provider.id}/${provider.models[0]?.id ?? 'any'}`
}

/** What the door needs of the gateway. */
export interface DoorOptions {
  readonly supervisor: Supervisor
  readonly clock: Clock
}

/** Passes a request on to the server behind a service and its answer back. The lease ends with the answer. */
export async function answerFromServer(
  { supervisor, clock }: DoorOptions,
  request: IncomingMessage,
  response: ServerResponse,
  model: string,
  asked: ServerRequest,
): Promise<void> {
  const hop = toHopHeader(supervisor, request)
  const leaving = new AbortController()
  response.once('close', () => leaving.abort())
  const lease = await supervisor.acquire(model, { signal: leaving.signal })
  response.once('close', lease.release)
  if (response.destroyed) return lease.release()
  if (request.headers.expect !== undefined) response.writeContinue()
  const { origin, root } = readBase(lease)
  const secrets = findSecrets(supervisor, model, lease)
  const upstream = openRequest(origin, {
    method: request.method ?? 'GET',
    path: root + asked.path,
    headers: {
      ...toUpstreamHeaders(request.headers),
      ...hop,
      ...toFraming(request),
      ...lease.headers,
      // A compressed answer cannot be searched for secrets.
      ...(secrets === undefined ? {} : { 'accept-encoding': 'identity' }),
    },
  })
  const cut = () => upstream.destroy(new Error('the service ended'))
  lease.signal.addEventListener('abort', cut, { once: true })
  response.once('close', () => {
    lease.signal.removeEventListener('abort', cut)
    upstream.destroy()
  })
  request.pipe(upstream)
  await new Promise<void>((resolve, reject) => {
    upstream.on('error', (cause) => {
      if (response.headersSent) response.destroy()
      else reject(toFailure(asked, lease, cause))
    })
    upstream.once('response', (answer) => {
      try {
        sendHead(response, answer, { origin, root }, asked, secrets)
      } catch (error) {
        upstream.destroy()
        return reject(error instanceof LeaseholdError ? error : toFailure(asked, lease, error))
      }
      answer.once('error', () => response.destroy())
      answer.on('pause', createStallWatch(response, clock, supervisor.config.leasehold.writeStallMs))
      const encoding = answer.headers['content-encoding'] ?? 'identity'
      if (secrets === undefined || encoding !== 'identity') answer.pipe(response)
      else pipeline(answer, createMask(secrets), response, () => {})
      resolve()
    })
  })
}

/** @throws {@link UpstreamError} for a redirect to another server; what Node throws for a head that HTTP does not have */
function sendHead(
  response: ServerResponse,
  { statusCode = 502, headers }: IncomingMessage,
  base: { readonly origin: string; readonly root: string },
  asked: ServerRequest,
  secrets: AnswerSecrets | undefined,
): void {
  const { location } = headers
  const kept = location === undefined ? undefined : toOwnLocation(location, base, asked)
  if (location !== undefined && kept === undefined)
    throw new UpstreamError(
      asked.ref,
      'it answered with a redirect to another server, which is not passed on',
    )
  const sent = withOwnVary(response, toClientHeaders(headers))
  const clean = secrets === undefined ? sent : maskHeaders(sent, secrets)
  response.writeHead(statusCode, { ...clean, ...(kept === undefined ? {} : { location: kept }) })
}

/** The secrets of the server that a lease leads to, which may be one of several replicas. */
function findSecrets(supervisor: Supervisor, model: string, { baseUrl }: Lease): AnswerSecrets | undefined {
  const { config } = supervisor
  const provider =
    config.providers.find((one) => one.baseUrl === baseUrl) ?? resolveModel(config, model).provider
  return internalsOf(supervisor).secretsOf(provider)
}

function maskHeaders(
  headers: Readonly<Record<string, string | string[] | undefined>>,
  { header }: AnswerSecrets,
): Record<string, string | string[] | undefined> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [
      name,
      typeof value === 'string' ? header(value) : value?.map(header),
    ]),
  )
}

/** Masks a body on its way, at its length. */
function createMask(secrets: AnswerSecrets): Transform {
  const mask = secrets.openBody()
  return new Transform({
    transform: (chunk: Buffer, _, done) => done(null, mask.push(chunk)),
    flush: (done) => done(null, mask.end()),
  })
}

/**
 * Passes a WebSocket on to the server behind a service. The lease lasts as long as both sides do. An answer that is not
 * an upgrade ends the connection: what follows on it would reach the server past every guard.
 */
export async function tunnelToServer(
  { supervisor, clock }: DoorOptions,
  request: IncomingMessage,
  client: Duplex,
  head: Buffer,
  model: string,
  asked: ServerRequest,
): Promise<void> {
  const hop = toHopHeader(supervisor, request)
  const leaving = new AbortController()
  client.once('close', () => leaving.abort())
  const unwatch = watchLeave(client)
  const lease = await supervisor.acquire(model, { signal: leaving.signal })
  unwatch()
  client.once('close', lease.release)
  if (client.destroyed) return lease.release()
  const { origin, root } = readBase(lease)
  const upstream = openRequest(origin, {
    method: 'GET',
    path: root + asked.path,
    headers: {
      ...toUpstreamHeaders(request.headers),
      ...pickWebSocket(request.headers),
      ...hop,
      ...lease.headers,
      connection: 'Upgrade',
      upgrade: 'websocket',
    },
  })
  const end = () => {
    client.destroy()
    upstream.destroy()
  }
  lease.signal.addEventListener('abort', end, { once: true })
  client.once('close', () => {
    lease.signal.removeEventListener('abort', end)
    upstream.destroy()
  })
  await new Promise<void>((resolve, reject) => {
    upstream.on('error', (cause) => reject(toFailure(asked, lease, cause)))
    upstream.once('response', (answer) => {
      writeRawHead(client, answer, { connection: 'close' })
      answer.once('error', end)
      client.once('finish', end).resume()
      answer.pipe(client)
      resolve()
    })
    upstream.once('upgrade', (answer, server, serverHead) => {
      writeRawHead(client, answer, { connection: 'Upgrade', upgrade: answer.headers.upgrade ?? '' })
      client.write(serverHead)
      server.write(head)
      // A side that has ended is told to the other, and then both are over: the other may never end by itself.
      for (const side of [client, server]) side.once('close', end).once('finish', end).on('error', end)
      client.once('close', () => server.destroy())
      server.on('pause', createStallWatch(client, clock, supervisor.config.leasehold.writeStallMs))
      server.pipe(client)
      client.pipe(server)
      resolve()
    })
    upstream.end()
  })
}

/** Notices that a client leaves while nothing is read of its connection. What it sends meanwhile is kept for later. */
function watchLeave(client: Duplex): () => void {
  const look = () => {
    if (client.readableLength === 0) client.read()
  }
  const leave = () => client.destroy()
  client.on('readable', look).once('end', leave)
  return () => client.off('readable', look).off('end', leave)
}

function writeRawHead(
  client: Duplex,
  { statusCode = 502, statusMessage = '', headers }: IncomingMessage,
  own: Readonly<Record<string, string>>,
): void {
  const lines = Object.entries({ ...toClientHeaders(headers), ...own }).flatMap(([name, value]) =>
    [value].flat().map((one) => `${name}: ${one}\r\n`),
  )
  client.write(`HTTP/1.1 ${statusCode} ${statusMessage}\r\n${lines.join('')}\r\n`, 'latin1')
}

function pickWebSocket(headers: IncomingHttpHeaders): Record<string, string> {
  const names = Object.keys(headers).filter((name) => name.startsWith('sec-websocket-'))
  return Object.fromEntries(names.map((name) => [name, String(headers[name])]))
}

/** @throws {@link LoopError} */
function toHopHeader(supervisor: Supervisor, { headers }: IncomingMessage): Record<string, string> {
  const id = `${internalsOf(supervisor).instance}-0`
  checkHops(headers, id)
  return { [HOP_HEADER]: toHopMark(headers, id) }
}

function toFailure({ ref }: ServerRequest, { signal }: Lease, cause: unknown): unknown {
  if (signal.aborted) return signal.reason
  const why = cause instanceof Error ? cause.message : String(cause)
  return new UpstreamError(ref, `the connection to the server broke: ${why}`, { cause })
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

/** Without it Node sends the body of a DELETE, for one, as bytes after the request: a second request to the server. */
function toFraming({ headers }: IncomingMessage): Record<string, string> {
  const { 'content-length': length, 'transfer-encoding': coding } = headers
  if (coding !== undefined) return { 'transfer-encoding': 'chunked' }
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

import type { ClientRequest, IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import { type Duplex, Transform } from 'node:stream'
import { hasTag } from '../../machines/provider/tags.ts'
import type { Clock } from '../clock.ts'
import { resolveModel } from '../config/model-ref.ts'
import { AbortedError, BadRequestError, LeaseholdError, UpstreamError } from '../errors.ts'
import type { Lease } from '../lease/lease.ts'
import { loadSecureRequest, request as requestPlain } from '../net/http.ts'
import type { AnswerSecrets } from '../request/answer-mask.ts'
import type { ServerCall } from '../request/server-calls.ts'
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

/** The model whose service a request means, and the key of the service. */
export interface Served {
  readonly model: string
  readonly serviceKey: string
}

/**
 * Finds the model whose service a request means, and refuses a read that would start it without being asked to:
 * browsers and discovery read many paths. `isStartAsked`: the query says `start=1`. A server that leasehold does not
 * start may always be read.
 * @throws {@link BadRequestError} 404 there is none; 409 it is not running
 */
export function findServed(
  supervisor: Supervisor,
  { ref, prefix, path }: ServerRequest,
  isStartAsked: boolean,
): Served {
  const { service, key, state, providers, policy } = supervisor.service(ref)
  if (!isStartAsked && policy.managed && !hasTag(state, 'up')) {
    const url = `${prefix}${path}${path.includes('?') ? '&' : '?'}start=1`
    throw new BadRequestError(
      hasTag(state, 'starting') || hasTag(state, 'probing')
        ? `${service} is starting (${state}), and a GET does not wait for it. Try again when it is ready, or wait with ?start=1: ${url}`
        : `${service} ${hasTag(state, 'sleeping') ? 'sleeps' : 'is not running'} (${state}), and a GET starts nothing. Add ?start=1: ${url}, or run: leasehold start ${ref}`,
      { status: 409 },
    )
  }
  const [first = ref] = providers
  const wanted = (ref === service || ref === key ? first : ref).toLowerCase()
  const provider = supervisor.config.providers.find(({ id }) => id.toLowerCase() === wanted)
  return {
    model: provider === undefined ? ref : `${provider.id}/${provider.models[0]?.id ?? 'any'}`,
    serviceKey: key,
  }
}

/** What the door needs of the gateway. */
export interface DoorOptions {
  readonly supervisor: Supervisor
  readonly clock: Clock
}

/** Passes a request on to the server behind a service and its answer back. The lease ends with the answer. */
export async function answerFromServer(
  options: DoorOptions,
  request: IncomingMessage,
  response: ServerResponse,
  served: Served,
  asked: ServerRequest,
): Promise<void> {
  const hop = toHopHeader(options.supervisor, request)
  const leaving = new AbortController()
  const call = openCall(options.supervisor, request, served, (reason) => {
    leaving.abort(reason)
    // Before its head the failure is the answer.
    if (response.headersSent) response.destroy()
  })
  response.once('close', () => {
    leaving.abort()
    if (response.writableFinished) call.ended()
    else call.cancelled()
  })
  try {
    await passOn(options, request, response, served, asked, { hop, call, signal: leaving.signal })
  } catch (error) {
    const failure = toCancellation(leaving.signal) ?? error
    call.failed(failure)
    if (!response.headersSent) response.setHeader('x-leasehold-request-id', call.id)
    throw failure
  }
}

/** Adds a request to the open ones. */
function openCall(
  supervisor: Supervisor,
  { url = '/', headers }: IncomingMessage,
  { model, serviceKey }: Served,
  onCancel: (reason: AbortedError) => void,
): ServerCall {
  return internalsOf(supervisor).openServerCall({ route: url, headers, ref: model, serviceKey, onCancel })
}

/** One request on its way to the server. */
interface Passage {
  readonly hop: Record<string, string>
  readonly call: ServerCall
  /** The client has left, or the request was cancelled. */
  readonly signal: AbortSignal
}

async function passOn(
  { supervisor, clock }: DoorOptions,
  request: IncomingMessage,
  response: ServerResponse,
  { model }: Served,
  asked: ServerRequest,
  { hop, call, signal }: Passage,
): Promise<void> {
  const lease = await supervisor.acquire(model, { signal })
  if (response.destroyed) return lease.release()
  call.granted()
  let upstream: ClientRequest | undefined
  const cut = () => upstream?.destroy(new Error('the service ended'))
  const cancel = () => {
    if (!response.destroyed) upstream?.destroy(new Error('the request was cancelled'))
  }
  lease.signal.addEventListener('abort', cut, { once: true })
  signal.addEventListener('abort', cancel, { once: true })
  response.once('close', () => {
    lease.release()
    lease.signal.removeEventListener('abort', cut)
    upstream?.destroy()
  })
  if (request.headers.expect !== undefined) response.writeContinue()
  const base = readBase(lease)
  const secrets = findSecrets(supervisor, model, lease)
  const sent = openRequest(base.origin, {
    method: request.method ?? 'GET',
    path: base.root + asked.path,
    headers: {
      ...toUpstreamHeaders(request.headers),
      ...hop,
      ...toFraming(request),
      ...lease.headers,
      // A compressed answer cannot be searched for secrets.
      ...(secrets === undefined ? {} : { 'accept-encoding': 'identity' }),
    },
  })
  upstream = sent
  request.pipe(sent)
  await new Promise<void>((resolve, reject) => {
    const breakOff = (cause: unknown) => {
      call.failed(toFailure(asked, lease, signal, cause))
      response.destroy()
    }
    sent.on('error', (cause) => {
      if (response.headersSent) breakOff(cause)
      else reject(toFailure(asked, lease, signal, cause))
    })
    sent.once('response', (answer) => {
      try {
        sendHead(response, answer, base, asked, { secrets, requestId: call.id })
        call.responded(response.statusCode)
      } catch (error) {
        sent.destroy()
        return reject(error instanceof LeaseholdError ? error : toFailure(asked, lease, signal, error))
      }
      answer.once('error', breakOff).on('data', ({ length }: Buffer) => call.received(length))
      answer.on('pause', createStallWatch(response, clock, supervisor.config.leasehold.writeStallMs))
      const encoding = answer.headers['content-encoding'] ?? 'identity'
      if (secrets === undefined || encoding !== 'identity') answer.pipe(response)
      else answer.pipe(createMask(secrets).once('error', breakOff)).pipe(response)
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
  { secrets, requestId }: { readonly secrets: AnswerSecrets | undefined; readonly requestId: string },
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
  response.writeHead(statusCode, {
    ...clean,
    ...(kept === undefined ? {} : { location: kept }),
    'x-leasehold-request-id': requestId,
  })
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

/** How long one side of a tunnel may go on after the other has ended, in milliseconds. */
const LINGER_MS = 3_000

/**
 * Passes a WebSocket on to the server behind a service. The lease lasts as long as the tunnel does. An answer that is not
 * an upgrade ends the connection: what follows on it would reach the server past every guard.
 */
export async function tunnelToServer(
  options: DoorOptions,
  request: IncomingMessage,
  client: Duplex,
  head: Buffer,
  served: Served,
  asked: ServerRequest,
): Promise<void> {
  const hop = toHopHeader(options.supervisor, request)
  const leaving = new AbortController()
  let hasBegun = false
  const call = openCall(options.supervisor, request, served, (reason) => {
    leaving.abort(reason)
    if (hasBegun) client.destroy()
  })
  client.once('close', () => {
    leaving.abort()
    call.cancelled()
  })
  try {
    await openTunnel(options, request, client, head, served, asked, { hop, call, signal: leaving.signal })
    hasBegun = true
  } catch (error) {
    const failure = toCancellation(leaving.signal) ?? error
    call.failed(failure)
    throw failure
  }
}

async function openTunnel(
  { supervisor, clock }: DoorOptions,
  request: IncomingMessage,
  client: Duplex,
  head: Buffer,
  { model }: Served,
  asked: ServerRequest,
  { hop, call, signal }: Passage,
): Promise<void> {
  const unwatch = watchLeave(client)
  const lease = await supervisor.acquire(model, { signal })
  unwatch()
  client.once('close', lease.release)
  if (client.destroyed) return lease.release()
  call.granted()
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
  const revoke = () => {
    call.failed(lease.signal.reason)
    end()
  }
  const cancel = () => {
    if (!client.destroyed) upstream.destroy(new Error('the request was cancelled'))
  }
  lease.signal.addEventListener('abort', revoke, { once: true })
  signal.addEventListener('abort', cancel, { once: true })
  client.once('close', () => {
    lease.signal.removeEventListener('abort', revoke)
    upstream.destroy()
  })
  await new Promise<void>((resolve, reject) => {
    upstream.on('error', (cause) => reject(toFailure(asked, lease, signal, cause)))
    upstream.once('response', (answer) => {
      writeRawHead(client, answer, { connection: 'close', 'x-leasehold-request-id': call.id })
      call.responded(answer.statusCode ?? 502)
      answer.once('error', end).once('end', () => call.ended())
      client.once('finish', end).resume()
      answer.pipe(client)
      resolve()
    })
    upstream.once('upgrade', (answer, server, serverHead) => {
      const { upgrade = '' } = answer.headers
      writeRawHead(client, answer, { connection: 'Upgrade', upgrade, 'x-leasehold-request-id': call.id })
      call.responded(answer.statusCode ?? 101)
      client.write(serverHead)
      server.write(head)
      const { writeStallMs } = supervisor.config.leasehold
      server.on('pause', createStallWatch(client, clock, writeStallMs))
      server.on('data', ({ length }: Buffer) => call.received(length))
      joinSides(client, server, { clock, writeStallMs }, (broken) => {
        if (broken === undefined) call.ended()
        else call.failed(toFailure(asked, lease, signal, broken))
        end()
      })
      resolve()
    })
    upstream.end()
  })
}

/**
 * Passes on what each side sends, and the end of each to the other. A side may send its last words after the other has
 * ended, but not for ever. `onOver` is called when both have ended, and with the cause when the server's side broke.
 */
function joinSides(
  client: Duplex,
  server: Duplex,
  { clock, writeStallMs }: { readonly clock: Clock; readonly writeStallMs: number },
  onOver: (broken?: unknown) => void,
): void {
  let timer: unknown
  const over = (broken?: unknown) => {
    clock.clearTimeout(timer)
    server.destroy()
    onOver(broken)
  }
  const finishWithin = (ms: number) => {
    if (client.writableFinished && server.writableFinished) return over()
    clock.clearTimeout(timer)
    timer = clock.setTimeout(over, ms)
  }
  for (const side of [client, server]) side.once('finish', () => finishWithin(LINGER_MS))
  server.on('error', over)
  client.on('error', () => over())
  server.once('close', () => {
    // What it has sent may still be on its way to the client.
    client.end()
    finishWithin(writeStallMs)
  })
  client.once('close', () => over())
  server.pipe(client)
  client.pipe(server)
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

/** Why the control surface ended the request. */
function toCancellation({ reason }: AbortSignal): AbortedError | undefined {
  return reason instanceof AbortedError ? reason : undefined
}

function toFailure({ ref }: ServerRequest, { signal }: Lease, leaving: AbortSignal, cause: unknown): unknown {
  if (signal.aborted) return signal.reason
  const cancellation = toCancellation(leaving)
  if (cancellation !== undefined) return cancellation
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

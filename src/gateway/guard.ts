import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { BadRequestError, KeyError } from '../errors.ts'
import { explainPath } from '../transport/meant-path.ts'
import { findDoor, isClientPath, withoutQuery } from './doors.ts'

/** Who is served. */
export interface GuardPolicy {
  /** Exactly the `Host` headers that are served, lower case. */
  readonly hosts: ReadonlySet<string>
  /** Origins of other sites and apps that are served, lower case: `https://chat.example`, `vscode-webview://*`. */
  readonly origins: ReadonlySet<string>
  /** Keys that open everything but the control surface, or that too when it has none of its own. */
  readonly apiKeys: readonly string[]
  /** Keys that open everything, and alone the control surface. */
  readonly controlKeys: readonly string[]
  /** Whether a request without a key is refused even if no key is configured: beyond loopback. */
  readonly isKeyRequired: boolean
}

/** Paths of the page and the health check, which need no key: they carry no data. */
const OPEN_PATHS: ReadonlySet<string> = new Set([
  '/',
  '/page/views.js',
  '/page/tool-views.js',
  '/inspect/stately',
  '/health',
])

/**
 * Decides what is looked at, before a route is: loopback is not a trust boundary. A browser page that talks to us by
 * another name (DNS rebinding), or from another origin, is refused; so is a POST without a JSON or multipart body,
 * because only those make a browser ask first. Returns the origin of a page of another site that is listed; its
 * answers must name it.
 * @throws {@link BadRequestError} with 400, 403 or 415
 */
export function guard(request: IncomingMessage, { hosts, origins }: GuardPolicy): string | undefined {
  const { method = 'GET', headers, url = '' } = request
  guardFraming(request)
  if (countHosts(request) !== 1 || headers.host === undefined)
    throw new BadRequestError('Exactly one Host header is required.', { status: 400 })
  if (!hosts.has(headers.host.toLowerCase()))
    throw new BadRequestError(
      `The host "${headers.host.slice(0, 100)}" is not served here. List it in leasehold.allowedHosts if it should be.`,
      { status: 403 },
    )
  const wrongPath = url.startsWith('//') ? explainPath(method, url) : undefined
  if (wrongPath !== undefined) throw new BadRequestError(wrongPath, { status: 404 })
  if (!isPlainPath(url))
    throw new BadRequestError('The request target must be a plain path, without dot segments.', {
      status: 400,
    })
  const origin = findListedOrigin(request, origins)
  guardBodyType(request)
  if (headers['content-encoding'] !== undefined && headers['content-encoding'] !== 'identity')
    throw new BadRequestError('Compressed request bodies are not accepted.', { status: 415 })
  return origin
}

/**
 * Asks for a key where one is needed. `isGuess` of the error says whether a wrong one was shown.
 * @throws {@link KeyError} 401
 */
export function guardKey(request: IncomingMessage, policy: GuardPolicy): void {
  const { method = 'GET', url = '' } = request
  const pathname = withoutQuery(url)
  if (OPEN_PATHS.has(pathname)) return
  if (isClientPath(method === 'HEAD' ? 'GET' : method, pathname))
    checkKey(request, policy, digestsOf(policy).client)
  else guardControl(request, policy)
}

/**
 * Asks for a key of the control surface: also for what a client's route does to a service itself.
 * @throws {@link KeyError} 401
 */
export function guardControl(request: IncomingMessage, policy: GuardPolicy): void {
  checkKey(request, policy, digestsOf(policy).control)
}

function countHosts({ rawHeaders }: IncomingMessage): number {
  let count = 0
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? ''
    if (name.length === 4 && name.toLowerCase() === 'host') count += 1
  }
  return count
}

function checkKey(
  { headers }: IncomingMessage,
  { isKeyRequired }: GuardPolicy,
  keys: readonly Buffer[],
): void {
  if (keys.length === 0 && !isKeyRequired) return
  if (isKnownKey(toKey(headers), keys)) return
  throw new KeyError(Boolean(headers.authorization || headers['x-api-key'] || headers['api-key']))
}

/** Only the gateway's own page and pages of listed origins may call it. */
function findListedOrigin({ headers }: IncomingMessage, origins: ReadonlySet<string>): string | undefined {
  const { origin, host } = headers
  const site = headers['sec-fetch-site']
  if (origin !== undefined && isListed(origin.toLowerCase(), origins)) return origin
  const isForeign =
    origin !== undefined
      ? origin.toLowerCase() !== `http://${host?.toLowerCase()}` || site === 'cross-site'
      : site === 'cross-site' || site === 'same-site'
  if (!isForeign) return undefined
  const advice =
    origin === undefined || origin === 'null'
      ? 'List an origin in leasehold.allowedOrigins to serve it.'
      : `List "${origin.slice(0, 200)}" in leasehold.allowedOrigins if it should be served.`
  throw new BadRequestError(`Requests from other origins are refused. ${advice}`, { status: 403 })
}

/** An origin is listed by itself, or by the scheme of its app. */
function isListed(origin: string, origins: ReadonlySet<string>): boolean {
  return origins.has(origin) || origins.has(`${origin.slice(0, origin.indexOf('://'))}://*`)
}

/**
 * True for a path that every server reads in the same way. To a server that decodes it once, `/v1/..%2fapi` is `/api`;
 * to one that decodes it twice, so is `/v1/%252e%252e/api`; to one that drops parameters, so is `/v1/..;/api`.
 */
function isPlainPath(url: string): boolean {
  return url.startsWith('/') && !url.startsWith('//') && !/[\\#]/.test(url) && !DOT_SEGMENT.test(url)
}

/** In the path only: a query may hold anything. */
const DOT_SEGMENT =
  /^[^?]*?(?:\/|%(?:25)*(?:2f|5c))(?:\.|%(?:25)*2e){1,2}(?:[/?;]|%(?:25)*(?:2f|3b|3f|5c)|$)/i

/** More headers than any client sends. */
const MAX_HEADERS = 200

/** Refuses what the parser accepts although two servers may read it differently. */
function guardFraming({ httpVersion, headers, rawHeaders }: IncomingMessage): void {
  if (httpVersion !== '1.1' && httpVersion !== '1.0')
    throw new BadRequestError(`HTTP/${httpVersion} is not spoken here.`, { status: 400 })
  if (rawHeaders.length > 2 * MAX_HEADERS)
    throw new BadRequestError(`A request has at most ${MAX_HEADERS} headers.`, { status: 431 })
  const coding = headers['transfer-encoding']
  if (coding !== undefined && (coding.toLowerCase() !== 'chunked' || headers['content-length'] !== undefined))
    throw new BadRequestError('The only transfer coding is chunked, without a length beside it.', {
      status: 400,
    })
}

/** A form may come from any page without asking, but never without its origin; the control surface takes none. */
function guardBodyType({ method, url, headers }: IncomingMessage): void {
  if (method !== 'POST') return
  const [type = ''] = (headers['content-type'] ?? '').toLowerCase().split(';')
  if (type.trim() === 'application/json') return
  if (type.trim() === 'multipart/form-data' && url?.startsWith('/v1/')) return
  // Ollama reads JSON of any type: litellm sends none, and `curl -d` that of a form.
  if (OLLAMA_TYPES.has(type.trim()) && findDoor(method, withoutQuery(url ?? ''))?.kind === 'ollama') return
  // The gateway's own page may use any form; a page of another origin was refused before.
  if (url?.startsWith('/upstream/')) return
  throw new BadRequestError('Send the body as application/json; below /v1 also as multipart/form-data.', {
    status: 415,
  })
}

const OLLAMA_TYPES: ReadonlySet<string> = new Set(['', 'application/x-www-form-urlencoded'])

function toKey(headers: IncomingMessage['headers']): string {
  const [, bearer] = /^Bearer (.+)$/i.exec(headers.authorization ?? '') ?? []
  // `api-key` is Azure's.
  const header = headers['x-api-key'] ?? headers['api-key']
  return bearer ?? (typeof header === 'string' ? header : '')
}

/** Compares digests, and all of them, so that the time taken tells nothing about a key. */
function isKnownKey(key: string, keys: readonly Buffer[]): boolean {
  const digest = toDigest(key)
  let isKnown = false
  for (const known of keys) if (timingSafeEqual(known, digest)) isKnown = true
  return isKnown
}

/** The digests of the keys: one list opens the routes of clients, the other the control surface. */
interface KeyDigests {
  readonly client: readonly Buffer[]
  readonly control: readonly Buffer[]
}

/** A policy stays for as long as its configuration is in force. */
const digests = new WeakMap<GuardPolicy, KeyDigests>()

function digestsOf(policy: GuardPolicy): KeyDigests {
  const known = digests.get(policy)
  if (known !== undefined) return known
  const { apiKeys, controlKeys } = policy
  const made = {
    client: (apiKeys.length === 0 ? [] : [...apiKeys, ...controlKeys]).map(toDigest),
    control: (controlKeys.length === 0 ? apiKeys : controlKeys).map(toDigest),
  }
  digests.set(policy, made)
  return made
}

function toDigest(key: string): Buffer {
  return createHash('sha256').update(key).digest()
}

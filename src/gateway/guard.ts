import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { BadRequestError } from '../errors.ts'

export interface GuardOptions {
  /** Exactly the `Host` headers that are served, lower case, with port. */
  readonly hosts: ReadonlySet<string>
  /** Keys that open `/v1` and `/api`; none: no key is asked for. */
  readonly apiKeys: readonly string[]
}

/**
 * Decides who is served, before a route is looked at: loopback is not a trust boundary. A browser page that talks to
 * us by another name (DNS rebinding), or from another origin, is refused; so is a POST without a JSON or multipart
 * body, because only those make a browser ask first.
 * @throws {@link BadRequestError} with 400, 401, 403 or 415
 */
export function guard(request: IncomingMessage, { hosts, apiKeys }: GuardOptions): void {
  const { headers, rawHeaders, method, url = '' } = request
  const hostCount = rawHeaders.filter(
    (name, index) => index % 2 === 0 && name.toLowerCase() === 'host',
  ).length
  if (hostCount !== 1 || headers.host === undefined)
    throw new BadRequestError('Exactly one Host header is required.', { status: 400 })
  if (!hosts.has(headers.host.toLowerCase()))
    throw new BadRequestError(`The host "${headers.host.slice(0, 100)}" is not served here.`, { status: 403 })
  if (!url.startsWith('/') || url.startsWith('//') || url.includes('\\'))
    throw new BadRequestError('The request target must be a plain path.', { status: 400 })
  const site = headers['sec-fetch-site']
  if (headers.origin !== undefined || site === 'cross-site' || site === 'same-site')
    refuseForeignOrigin(request)
  if (method === 'POST' && !isSafeBodyType(headers['content-type']))
    throw new BadRequestError('Send the body as application/json (or multipart/form-data).', { status: 415 })
  if (headers['content-encoding'] !== undefined && headers['content-encoding'] !== 'identity')
    throw new BadRequestError('Compressed request bodies are not accepted.', { status: 415 })
  if (apiKeys.length > 0 && url !== '/health' && !isKnownKey(toKey(headers), apiKeys))
    throw new BadRequestError('A valid API key is required.', { status: 401 })
}

/** The page of the gateway itself may talk to it; nobody else's may. */
function refuseForeignOrigin({ headers }: IncomingMessage): void {
  if (
    headers.origin?.toLowerCase() === `http://${headers.host?.toLowerCase()}` &&
    headers['sec-fetch-site'] !== 'cross-site'
  )
    return
  throw new BadRequestError('Requests from other origins are refused.', { status: 403 })
}

function isSafeBodyType(contentType: string | undefined): boolean {
  const [type] = (contentType ?? '').toLowerCase().split(';')
  return type?.trim() === 'application/json' || type?.trim() === 'multipart/form-data'
}

function toKey(headers: IncomingMessage['headers']): string {
  const [, bearer] = /^Bearer (.+)$/i.exec(headers.authorization ?? '') ?? []
  const header = headers['x-api-key']
  return bearer ?? (typeof header === 'string' ? header : '')
}

/** Compares digests, and all of them, so that the time taken tells nothing about a key. */
function isKnownKey(key: string, apiKeys: readonly string[]): boolean {
  const digest = toDigest(key)
  return apiKeys.map((known) => timingSafeEqual(toDigest(known), digest)).includes(true)
}

function toDigest(key: string): Buffer {
  return createHash('sha256').update(key).digest()
}

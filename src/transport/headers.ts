/** Headers with lower-case names. */
export type Headers = Readonly<Record<string, string | readonly string[] | undefined>>

/** Headers that belong to one connection and never travel on. @see RFC 9110 section 7.6.1 */
const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

/** Request headers that leasehold sets itself or drops: key, framing, origin. */
const CLIENT_ONLY = new Set([
  'authorization',
  'x-api-key',
  'api-key',
  'content-length',
  'cookie',
  'expect',
  'host',
  'origin',
  'referer',
])

/**
 * Headers that concern an origin, or the proxy in front of it. The client's origin is the gateway: a model server's
 * `access-control-allow-origin` would lock out the pages of `allowedOrigins`, and its `x-accel-redirect` would make a
 * proxy serve local files.
 */
const ORIGIN_SPEAKING = new Set([
  'accept-ch',
  'access-control-allow-credentials',
  'access-control-allow-headers',
  'access-control-allow-local-network',
  'access-control-allow-methods',
  'access-control-allow-origin',
  'access-control-allow-private-network',
  'access-control-expose-headers',
  'access-control-max-age',
  'alt-svc',
  'clear-site-data',
  'critical-ch',
  'nel',
  'origin-agent-cluster',
  'public-key-pins',
  'refresh',
  'report-to',
  'reporting-endpoints',
  'service-worker-allowed',
  'set-cookie',
  'set-cookie2',
  'strict-transport-security',
  'timing-allow-origin',
  'x-accel-buffering',
  'x-accel-charset',
  'x-accel-expires',
  'x-accel-limit-rate',
  'x-accel-redirect',
  'x-reproxy-url',
  'x-sendfile',
])

/** The headers of a client's request that are forwarded to the provider. */
export function toUpstreamHeaders(headers: Headers): Record<string, string | string[]> {
  return pick(headers, isForUpstream)
}

/** The headers of a provider's answer that are forwarded to the client. */
export function toClientHeaders(headers: Headers): Record<string, string | string[]> {
  return pick(headers, isForClient)
}

const isForUpstream = rememberByName(
  (name) =>
    !HOP_BY_HOP.has(name) &&
    !CLIENT_ONLY.has(name) &&
    !name.startsWith('sec-') &&
    !name.startsWith('x-leasehold-'),
)
const isForClient = rememberByName((name) => !HOP_BY_HOP.has(name) && !ORIGIN_SPEAKING.has(name))

/** The media type without its parameters, in lower case; empty if there is none. */
export function toMediaType({ 'content-type': type }: Headers): string {
  return String(type ?? '')
    .replace(/;.*$/s, '')
    .trim()
    .toLowerCase()
}

/** Tells a proxy such as nginx not to buffer the answer, and any proxy not to compress it: compressing gathers bytes. */
export const UNBUFFERED = { 'cache-control': 'no-cache, no-transform', 'x-accel-buffering': 'no' } as const

/** Adds {@link UNBUFFERED} to the headers of an answer; its own `cache-control` stays. */
export function forbidBuffering(headers: Record<string, string | string[]>): void {
  const { 'cache-control': own } = headers
  Object.assign(headers, UNBUFFERED)
  if (own !== undefined) headers['cache-control'] = `${own}, no-transform`
}

function pick(headers: Headers, isWanted: (name: string) => boolean): Record<string, string | string[]> {
  const named = listNamedByConnection(headers.connection)
  const picked: Record<string, string | string[]> = {}
  for (const name in headers) {
    const value = headers[name]
    if (value === undefined || !isWanted(name) || named?.includes(name) === true) continue
    picked[name] = typeof value === 'string' ? value : [...value]
  }
  return picked
}

/** The headers that the `connection` header names; `undefined` for the usual values. */
function listNamedByConnection(connection: Headers[string]): readonly string[] | undefined {
  if (connection === undefined || connection === 'keep-alive' || connection === 'close') return undefined
  return String(connection)
    .toLowerCase()
    .split(',')
    .map((name) => name.trim())
}

/** Clients choose their header names, so the cache is bounded. */
const MAX_REMEMBERED = 1_024

function rememberByName(isWanted: (name: string) => boolean): (name: string) => boolean {
  const known = new Map<string, boolean>()
  return (name) => {
    const remembered = known.get(name)
    if (remembered !== undefined) return remembered
    const fate = isWanted(name)
    if (known.size < MAX_REMEMBERED) known.set(name, fate)
    return fate
  }
}

/** Headers as both sides of the wire hold them here: lower-case names. */
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

/** What the client's side decides anew: its own key, its own framing, its own origin. */
const CLIENT_ONLY = new Set([
  'authorization',
  'x-api-key',
  'content-length',
  'cookie',
  'expect',
  'host',
  'origin',
  'referer',
])

/**
 * Headers that speak for an origin, or to the proxy in front of it. The client's origin is the gateway: with its own
 * `access-control-allow-origin` a model server would lock out the pages that `allowedOrigins` lets in, and with
 * `x-accel-redirect` it would read files of a proxy.
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

/** Headers of a client's request that travel on to the provider. */
export function toUpstreamHeaders(headers: Headers): Record<string, string | string[]> {
  return pick(headers, isForUpstream)
}

/** Headers of a provider's answer that travel on to the client. */
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

/** The media type without its parameters, in lower case; empty where none is named. */
export function toMediaType({ 'content-type': type }: Headers): string {
  return String(type ?? '')
    .replace(/;.*$/s, '')
    .trim()
    .toLowerCase()
}

/** Tells a proxy such as nginx to pass on what it gets, as it comes. */
export const UNBUFFERED = { 'x-accel-buffering': 'no' } as const

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

/** The headers that the `connection` header names; `undefined` for what almost every request says. */
function listNamedByConnection(connection: Headers[string]): readonly string[] | undefined {
  if (connection === undefined || connection === 'keep-alive' || connection === 'close') return undefined
  return String(connection)
    .toLowerCase()
    .split(',')
    .map((name) => name.trim())
}

/** Clients choose their header names, so only so many are remembered. */
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

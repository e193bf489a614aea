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

/** Headers of a client's request that travel on to the provider. */
export function toUpstreamHeaders(headers: Headers): Record<string, string | string[]> {
  return pick(
    headers,
    (name) => !CLIENT_ONLY.has(name) && !name.startsWith('sec-') && !name.startsWith('x-leasehold-'),
  )
}

/** Headers of a provider's answer that travel on to the client. */
export function toClientHeaders(headers: Headers): Record<string, string | string[]> {
  return pick(headers, () => true)
}

function pick(headers: Headers, isWanted: (name: string) => boolean): Record<string, string | string[]> {
  const named = new Set(
    String(headers.connection ?? '')
      .toLowerCase()
      .split(',')
      .map((name) => name.trim()),
  )
  const picked: Record<string, string | string[]> = {}
  for (const name in headers) {
    const value = headers[name]
    if (value === undefined || HOP_BY_HOP.has(name) || named.has(name) || !isWanted(name)) continue
    picked[name] = typeof value === 'string' ? value : [...value]
  }
  return picked
}

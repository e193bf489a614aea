import type { CompatFlags } from './flags.ts'

/** Headers with lower-case names. */
export type HeaderRecord = Readonly<Record<string, string | string[]>>

/**
 * The request headers for a local backend: without headers that identify the client (`originator`, `version`,
 * `user-agent`, `x-stainless-*`), with the client's session id under the names that the flags ask for. The transport
 * handles the headers of a connection.
 */
export function rewriteHeaders(
  headers: HeaderRecord,
  compat: CompatFlags,
): Record<string, string | string[]> {
  const sent: Record<string, string | string[]> = {}
  for (const name in headers) if (!isAttribution(name)) sent[name] = headers[name] ?? ''
  const session = sessionHeaders.map((name) => headers[name]).find((value) => value !== undefined)
  if (session === undefined) return sent
  if (compat.sendSessionAffinityHeaders === true) sent['x-session-affinity'] = session
  if (compat.sendSessionIdHeader === true) sent.session_id = session
  return sent
}

const attributionHeaders = new Set(['originator', 'version', 'user-agent'])

/** Where clients put their session id, the most specific first. */
const sessionHeaders = ['session_id', 'session-id', 'x-session-id', 'x-session-affinity']

function isAttribution(name: string): boolean {
  return attributionHeaders.has(name) || name.startsWith('x-stainless-')
}

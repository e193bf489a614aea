import type { Call } from './call.ts'
import type { ModelServerOptions } from './options.ts'
import type { Reply } from './reply.ts'
import { buildErrorReply, buildJsonReply } from './reply.ts'

/** An answer for one POST, and the change of options that consumes it. */
export interface OnceReply {
  readonly reply: Reply
  readonly change: ModelServerOptions
}

/** The answer set up for this one POST; `status429Once` comes before `statusOnce`. Absent: none is. */
export function findOnceReply({ method, settings }: Call): OnceReply | undefined {
  if (method !== 'POST') return undefined
  if (settings.status429Once) {
    const refusal = buildErrorReply(429, 'Too many requests', 'rate_limit_error')
    return { reply: withHeaders(refusal, { 'retry-after': '1' }), change: { status429Once: false } }
  }
  if (settings.statusOnce === null) return undefined
  const { status, headers = {}, body } = settings.statusOnce
  return { reply: withHeaders(buildOnceReply(status, body), headers), change: { statusOnce: null } }
}

function buildOnceReply(status: number, body: unknown): Reply {
  if (typeof body === 'string')
    return { kind: 'whole', status, headers: { 'content-type': 'text/plain' }, body, tokens: 0 }
  return body === undefined ? buildErrorReply(status, `Status ${status}`) : buildJsonReply(body, { status })
}

function withHeaders(reply: Reply, headers: Readonly<Record<string, string>>): Reply {
  return reply.kind === 'whole' ? { ...reply, headers: { ...reply.headers, ...headers } } : reply
}

import type { Call } from './call.ts'
import type { ModelServerOptions } from './options.ts'
import type { Reply } from './reply.ts'
import { toErrorReply, toJsonReply } from './reply.ts'

/** An answer that was set up for one POST, and the change of options that uses it up. */
export interface OnceReply {
  readonly reply: Reply
  readonly change: ModelServerOptions
}

/** The answer set up for this one POST; `status429Once` comes before `statusOnce`. Absent: none is. */
export function findOnceReply({ method, settings }: Call): OnceReply | undefined {
  if (method !== 'POST') return undefined
  if (settings.status429Once) {
    const refusal = toErrorReply(429, 'Too many requests', 'rate_limit_error')
    return { reply: withHeaders(refusal, { 'retry-after': '1' }), change: { status429Once: false } }
  }
  if (settings.statusOnce === null) return undefined
  const { status, headers = {}, body } = settings.statusOnce
  return { reply: withHeaders(toOnceBody(status, body), headers), change: { statusOnce: null } }
}

function toOnceBody(status: number, body: unknown): Reply {
  if (typeof body === 'string')
    return { kind: 'whole', status, headers: { 'content-type': 'text/plain' }, body, tokens: 0 }
  return body === undefined ? toErrorReply(status, `Status ${status}`) : toJsonReply(body, { status })
}

function withHeaders(reply: Reply, headers: Readonly<Record<string, string>>): Reply {
  return reply.kind === 'whole' ? { ...reply, headers: { ...reply.headers, ...headers } } : reply
}

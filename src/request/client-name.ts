import { toPlainText, toShortText } from '../text/plain-text.ts'
import type { Headers } from '../transport/headers.ts'

/** Longest name of a client that is shown, in characters. */
const MAX_NAME = 40
/** Longest part of a `user-agent` that is looked at, in characters. */
const MAX_LOOK = 200
/** Names that are remembered: there are few clients, and each request of one sends the same header. */
const MAX_KNOWN = 64

/** Finds the product name of a client in its `user-agent`; `null`: it names none. */
export type FindClientName = (headers: Headers) => string | null

/** Creates a finder that remembers the last headers it saw. */
export function rememberClientNames(): FindClientName {
  const known = new Map<string, string | null>()
  return ({ 'user-agent': agent }) => {
    if (typeof agent !== 'string') return null
    const name = known.get(agent)
    if (name !== undefined) return name
    const found = findProduct(agent)
    // A long header is not worth its memory.
    if (agent.length > MAX_LOOK) return found
    if (known.size >= MAX_KNOWN) known.clear()
    known.set(agent, found)
    return found
  }
}

/** The first product without its version: `curl` of `curl/8.5.0`, `OpenAI/Python` of `OpenAI/Python 1.40.0`. */
function findProduct(agent: string): string | null {
  const [product = ''] = toPlainText(toShortText(agent, MAX_LOOK))
    .trim()
    .split(/[\s(;,]/, 1)
  const name = product.replace(/\/v?\d.*$/, '').slice(0, MAX_NAME)
  return name === '' ? null : name
}

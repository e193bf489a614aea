import type { IncomingMessage, ServerResponse } from 'node:http'

/** How long a browser may remember that a listed page may ask, in seconds. */
const MAX_AGE_S = 600

/** Names the listed origin in an answer: without it the browser hides the answer from the page. */
export function nameOrigin(response: ServerResponse, origin: string): void {
  response.setHeader('access-control-allow-origin', origin)
  // All of them: an SDK in a browser needs `x-should-retry` and `retry-after` as much as one elsewhere does.
  response.setHeader('access-control-expose-headers', '*')
  response.setHeader('vary', 'origin')
}

/** The gateway varies by origin where pages of other origins are listed; what the server varies by is added to that. */
export function withOwnVary(
  response: ServerResponse,
  headers: Readonly<Record<string, string | string[] | undefined>>,
) {
  const own = response.getHeader('vary')
  if (own === undefined || headers.vary === undefined) return headers
  return { ...headers, vary: `${own}, ${headers.vary}` }
}

/** Answers the question of a browser whether a listed page may send a request, if this is one. It carries no key. */
export function answerPreflight({ method, headers }: IncomingMessage, response: ServerResponse): boolean {
  const asked = headers['access-control-request-method']
  if (method !== 'OPTIONS' || asked === undefined) return false
  response.writeHead(204, {
    'access-control-allow-methods': 'GET, POST, DELETE',
    'access-control-allow-headers': headers['access-control-request-headers'] ?? '',
    'access-control-max-age': String(MAX_AGE_S),
  })
  response.end()
  return true
}

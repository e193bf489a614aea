import type { IncomingMessage } from 'node:http'

/**
 * Routes besides OpenAI's that clients speak: a path of the server behind a service (`/upstream/ID/…`), llama.cpp's own
 * routes, Ollama's API, llama-swap's `/running` and `/unload`.
 */
export type Door =
  | { readonly kind: 'upstream'; readonly id: string; readonly path: string }
  | { readonly kind: 'llama.cpp'; readonly path: string }
  | { readonly kind: 'ollama'; readonly route: string }

/** llama.cpp's routes that editors and scripts use, at the root of the server. */
export const LLAMA_ROUTES = {
  GET: ['props', 'slots'],
  POST: ['apply-template', 'completion', 'detokenize', 'infill', 'rerank', 'reranking', 'tokenize'],
} as const

/** Ollama's routes that clients use to list, ask and load models. */
export const OLLAMA_ROUTES = {
  GET: ['version', 'tags', 'ps'],
  POST: ['chat', 'generate', 'embed', 'embeddings', 'show'],
} as const

const UPSTREAM = '/upstream/'

/** Doors of a fixed path, by method and path. `/v1/rerank` is a route that model servers offer themselves. */
const FIXED: ReadonlyMap<string, Door> = new Map(
  (['GET', 'POST'] as const).flatMap((method) => [
    ...LLAMA_ROUTES[method].flatMap((route): [string, Door][] => {
      const door = { kind: 'llama.cpp', path: `/${route}` } as const
      const root: [string, Door] = [`${method} /${route}`, door]
      return route === 'rerank' ? [root] : [root, [`${method} /v1/${route}`, door]]
    }),
    ...OLLAMA_ROUTES[method].map((route): [string, Door] => [
      `${method} /api/${route}`,
      { kind: 'ollama', route },
    ]),
  ]),
)

/** The path of a request's target, without what follows `?`. */
export function withoutQuery(url: string): string {
  const queryAt = url.indexOf('?')
  return queryAt === -1 ? url : url.slice(0, queryAt)
}

/** Finds the door of a request. `path`: without its query. */
export function findDoor(method: string, path: string): Door | undefined {
  if (!path.startsWith(UPSTREAM)) return FIXED.get(`${method} ${path}`)
  const end = path.indexOf('/', UPSTREAM.length)
  const id = path.slice(UPSTREAM.length, end === -1 ? undefined : end)
  return id === '' ? undefined : { kind: 'upstream', id, path: end === -1 ? '/' : path.slice(end) }
}

/**
 * Whether a request for another protocol is for a WebSocket of a server. Every other such request is an ordinary one, as
 * is one with a body: Node takes no body of a request whose protocol changes.
 */
export function isTunnel({
  method,
  url = '',
  headers,
}: Pick<IncomingMessage, 'method' | 'url' | 'headers'>): boolean {
  const { 'content-length': length = '0', 'transfer-encoding': coding } = headers
  const isPlain = method === 'GET' && length === '0' && coding === undefined
  return isPlain && url.startsWith(UPSTREAM) && headers.upgrade?.toLowerCase() === 'websocket'
}

/** Whether a path is a client's: it is opened by client keys and takes any body. The control surface is the rest. */
export function isClientPath(method: string, path: string): boolean {
  return path === '/v1' || path.startsWith('/v1/') || findDoor(method, path) !== undefined
}

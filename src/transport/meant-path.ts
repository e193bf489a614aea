/** Paths of the APIs that clients speak, below `/v1`, the longer of two with one ending first. */
const ROUTES = [
  'chat/completions',
  'completions',
  'embeddings',
  'responses',
  'messages/count_tokens',
  'messages',
  'models',
  'rerank',
  'moderations',
  'audio/speech',
  'audio/transcriptions',
  'audio/translations',
  'images/generations',
  'images/edits',
  'images/variations',
]
const KNOWN: ReadonlySet<string> = new Set(ROUTES.map((route) => `/v1/${route}`))
/**
 * Routes whose misspellings are refused. Audio and image routes are not included: small servers offer
 * `/v1/images/edit` and `/v1/audio/transcription`.
 */
const SPELLED = {
  GET: ['models'],
  POST: [
    'chat/completions',
    'completions',
    'embeddings',
    'responses',
    'messages',
    'messages/count_tokens',
    'rerank',
  ],
} as const
/** A route of this length may have two typing errors, a shorter one has one. */
const LONG_ROUTE = 8
/** Prefixes of a wrongly joined path. */
const ROUTE_WORDS: ReadonlySet<string> = new Set(['v1', ...ROUTES.flatMap((route) => route.split('/'))])

/** Ollama's API, which the gateway serves. */
const OLLAMA = /^\/api\/(?:chat|generate|tags|show|ps|embed|embeddings|version)\/?$/
/** What of Ollama's API is served nowhere. */
const OLLAMA_LIBRARY = /^\/api\/(?:pull|push|create|copy|delete|blobs(?:\/.*)?)\/?$/
const MAX_SHOWN = 200

/**
 * Describes the mistake in a path that a client built from a wrong base URL, with the intended path; `undefined` if
 * the path is fine. Without this check such a request would start a server just to get its 404.
 */
export function explainPath(method: string, target: string): string | undefined {
  const query = target.indexOf('?')
  const path = query === -1 ? target : target.slice(0, query)
  if (KNOWN.has(path)) {
    const isRead = method === 'GET' && path !== '/v1/models'
    return isRead ? `GET ${path} is not served here: POST ${path} is.` : undefined
  }
  const shown = `${method} ${path.slice(0, MAX_SHOWN)} is not served here`
  if (OLLAMA.test(path))
    return `${shown}: the route is Ollama's, whose API the gateway speaks; see the table of its routes.`
  if (OLLAMA_LIBRARY.test(path))
    return `${shown}: leasehold neither fetches nor changes models. Add one to the configuration file.`
  if ((method === 'POST' || method === 'GET') && (path === '/v1' || path === '/v1/'))
    return `${shown}: it is the base URL of a client, and no route of it. A chat is POST /v1/chat/completions.`
  const meant = findMeant(method, path)
  return meant === undefined ? undefined : `${shown}: ${meant} is. ${explainDifference(path, meant)}`
}

function findMeant(method: string, path: string): string | undefined {
  // The rest of such a path is the name of a model, which may hold any word.
  if (method !== 'POST' && /^\/v1\/models\/[^/]/.test(path) && !path.endsWith('/')) return undefined
  const names = path.split('/').filter((name) => name !== '')
  const joined = `/${names.join('/')}`
  const route = ROUTES.find((one) => joined.endsWith(`/${one}`))
  if (route === undefined) {
    const [first, second] = names
    const spelled = findSpelling(method, names)
    if (spelled !== undefined) return `/v1/${spelled}`
    const isOdd = first === 'v1' && (second === 'v1' || path.includes('//'))
    return isOdd && names.length > 1 ? joined.replace(/^(?:\/v1)+/, '/v1') : undefined
  }
  const before = names.slice(0, names.length - route.split('/').length)
  // A server may have a path like /v1/fim/completions; what follows two slashes may be a host.
  const isClear = path.startsWith('//') || (path === joined && before[0] === 'v1')
  if (!isClear || before.every((name) => ROUTE_WORDS.has(name))) return `/v1/${route}`
  const spelled = path.startsWith('//') ? undefined : findSpelling(method, names)
  return spelled && `/v1/${spelled}`
}

/** The route that a path misspells, so close that no server offers both. */
function findSpelling(method: string, names: readonly string[]): string | undefined {
  if (method !== 'POST' && method !== 'GET') return undefined
  const written = names.slice(names.findIndex((name) => name !== 'v1')).join('/')
  return SPELLED[method].find((route) => {
    const edits = route.length < LONG_ROUTE ? 1 : 2
    if (Math.abs(written.length - route.length) > edits) return false
    // A wrong first letter makes another word rather than a misspelled one: passages, messages.
    const lower = written.toLowerCase()
    return lower[0] === route[0] && isWithin(lower, route, edits)
  })
}

/** Whether so many insertions, deletions, replacements and swaps of neighbours turn `a` into `b`. */
function isWithin(a: string, b: string, edits: number): boolean {
  let same = 0
  while (same < a.length && a[same] === b[same]) same += 1
  const [x, y] = [a.slice(same), b.slice(same)]
  if (x === y) return true
  if (edits === 0) return false
  const left = edits - 1
  return (
    isWithin(x.slice(1), y, left) ||
    isWithin(x, y.slice(1), left) ||
    isWithin(x.slice(1), y.slice(1), left) ||
    (x[0] === y[1] && x[1] === y[0] && isWithin(x.slice(2), y.slice(2), left))
  )
}

function explainDifference(path: string, meant: string): string {
  if (/\/\/|\/$/.test(path)) return 'The base URL of the client, or its path, has a slash too many.'
  if (path.startsWith('/v1/v1/')) return 'The base URL of the client and its path have "/v1" both.'
  if (!path.endsWith(meant.slice('/v1'.length))) return 'The route is misspelled.'
  if (path.startsWith('/v1/')) return 'The base URL of the client ends in a route: it ends after "/v1".'
  return 'The base URL of the client lacks its "/v1", or has something else in its place.'
}

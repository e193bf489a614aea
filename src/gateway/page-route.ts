import { createHash } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import { promisify } from 'node:util'
import { brotliCompress, gzip } from 'node:zlib'
import { withOwnVary } from './cors.ts'
import { acceptsCoding } from './respond.ts'

/** A document of ours as it is sent: whole, from memory, with nothing allowed in it but what it is made of. */
interface Document {
  /** By coding; `identity` as it is. */
  readonly bodies: Readonly<Record<'br' | 'gzip' | 'identity', Buffer>>
  readonly tag: string
  readonly type: string
  readonly policy: string
}

interface File {
  readonly name: string
  readonly type: string
  readonly frames: string
  /** Other files whose text it may run as a script of its own. */
  readonly runs?: readonly string[]
}

const HTML = 'text/html; charset=utf-8'
const SCRIPT = 'text/javascript; charset=utf-8'

/** The documents the gateway shows in a browser, by path. */
const files: Readonly<Record<string, File>> = {
  '/': { name: 'page.html', type: HTML, frames: "'none'", runs: ['views.js', 'tool-views.js'] },
  '/page/views.js': { name: 'views.js', type: SCRIPT, frames: "'none'" },
  '/page/tool-views.js': { name: 'tool-views.js', type: SCRIPT, frames: "'none'" },
  '/inspect/stately': { name: 'stately.html', type: HTML, frames: 'https://stately.ai' },
}

const documents = new Map<string, Promise<Document>>()

/** Answers with a document of ours; `false`: there is none at this path. */
export async function sendPage(response: ServerResponse, path: string): Promise<boolean> {
  const file = files[path]
  if (file === undefined) return false
  const loading = documents.get(path) ?? loadDocument(file)
  documents.set(path, loading)
  const document = await loading
  const { headers } = response.req
  const coding = findCoding(String(headers['accept-encoding'] ?? ''))
  const tag = `"${document.tag}-${coding}"`
  const isKnown = (headers['if-none-match'] ?? '').includes(tag)
  const body = document.bodies[coding]
  response.writeHead(isKnown ? 304 : 200, {
    'content-type': document.type,
    ...(isKnown ? {} : { 'content-length': body.length }),
    ...(coding === 'identity' ? {} : { 'content-encoding': coding }),
    etag: tag,
    ...withOwnVary(response, { vary: 'accept-encoding' }),
    'content-security-policy': document.policy,
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'cross-origin-opener-policy': 'same-origin',
    'cache-control': 'no-cache',
  })
  response.end(isKnown ? undefined : body)
  return true
}

/** The smallest coding that a reader accepts. */
function findCoding(accepted: string): keyof Document['bodies'] {
  if (acceptsCoding(accepted, 'br')) return 'br'
  return acceptsCoding(accepted, 'gzip') ? 'gzip' : 'identity'
}

/** Loaded when it is first asked for: most gateways show no page. Compressed once, beside the event loop. */
async function loadDocument({ name, type, frames, runs = [] }: File): Promise<Document> {
  const { readDocument } = await import('../inspector/documents.ts')
  const text = readDocument(name)
  const body = Buffer.from(text)
  const [br, zipped] = await Promise.all([
    promisify(brotliCompress)(body),
    promisify(gzip)(body, { level: 9 }),
  ])
  const scripts = [...listInside(text, 'script'), ...runs.map(readDocument)]
  return {
    bodies: { br, gzip: zipped, identity: body },
    tag: createHash('sha256').update(body).digest('base64url').slice(0, 16),
    type,
    policy: [
      "default-src 'none'",
      `script-src ${toHashes(scripts)}`,
      `style-src ${toHashes(listInside(text, 'style'))}`,
      'img-src data:',
      'media-src data:',
      "connect-src 'self'",
      `frame-src ${frames}`,
      "base-uri 'none'",
      "form-action 'none'",
      "frame-ancestors 'none'",
    ].join('; '),
  }
}

/** What is inside every element of a name. */
function listInside(text: string, element: string): readonly string[] {
  const inside = text.matchAll(new RegExp(`<${element}>([\\s\\S]*?)</${element}>`, 'g'))
  return [...inside].map(([, content = '']) => content)
}

/** Texts as a policy names them. */
function toHashes(texts: readonly string[]): string {
  if (texts.length === 0) return "'none'"
  return texts.map((text) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`).join(' ')
}

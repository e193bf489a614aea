import { createHash } from 'node:crypto'
import type { ServerResponse } from 'node:http'

/** A document of ours as it is sent: whole, from memory, with nothing allowed in it but what it is made of. */
interface Document {
  readonly body: Buffer
  readonly policy: string
}

/** The documents the gateway shows in a browser, by path. */
const files: Readonly<Record<string, { readonly name: string; readonly frames: string }>> = {
  '/': { name: 'page.html', frames: "'none'" },
  '/inspect/stately': { name: 'stately.html', frames: 'https://stately.ai' },
}

const documents = new Map<string, Document>()

/** Answers with a document of ours; `false`: there is none at this path. */
export async function sendPage(response: ServerResponse, path: string): Promise<boolean> {
  const file = files[path]
  if (file === undefined) return false
  const document = documents.get(path) ?? (await loadDocument(file.name, file.frames))
  documents.set(path, document)
  response.writeHead(200, {
    'content-type': 'text/html; charset=utf-8',
    'content-length': document.body.length,
    'content-security-policy': document.policy,
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'cross-origin-opener-policy': 'same-origin',
    'cache-control': 'no-cache',
  })
  response.end(document.body)
  return true
}

/** Loaded when it is first asked for: most gateways show no page. */
async function loadDocument(name: string, frames: string): Promise<Document> {
  const { readDocument } = await import('../inspector/documents.ts')
  const text = readDocument(name)
  return {
    body: Buffer.from(text),
    policy: [
      "default-src 'none'",
      `script-src ${toHashes(text, 'script')}`,
      `style-src ${toHashes(text, 'style')}`,
      'img-src data:',
      "connect-src 'self'",
      `frame-src ${frames}`,
      "base-uri 'none'",
      "form-action 'none'",
      "frame-ancestors 'none'",
    ].join('; '),
  }
}

/** What is inside every element of a name, as a policy names it. */
function toHashes(text: string, element: string): string {
  const inside = [...text.matchAll(new RegExp(`<${element}>([\\s\\S]*?)</${element}>`, 'g'))]
  return inside
    .map(([, content = '']) => `'sha256-${createHash('sha256').update(content).digest('base64')}'`)
    .join(' ')
}

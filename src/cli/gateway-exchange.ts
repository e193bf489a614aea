import { type IncomingMessage, loadSecureRequest, request as requestPlain } from '../net/http.ts'

/** A request to a gateway. `body` is sent as JSON. */
export interface GatewayRequest {
  readonly path: string
  /** Headers besides the content type and the key. */
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  readonly signal?: AbortSignal
}

/**
 * The part of a `Response` that commands read. A real one would load Node's `fetch`, which takes longer than a short
 * command.
 */
export interface Answer {
  readonly status: number
  readonly headers: { get(name: string): string | null }
  readonly body: AsyncIterable<Uint8Array> | null
  text(): Promise<string>
}

/**
 * Sends one request on a connection of its own; any status is an answer. Redirects are answers, and nothing has a
 * timeout: a cold start may take as long as it wants.
 * @throws the connection's error, or the signal's reason
 */
export function exchange(origin: string, { path, headers, body, signal }: GatewayRequest): Promise<Answer> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted()
    const isSecure = origin.startsWith('https:')
    const request = (isSecure ? loadSecureRequest() : requestPlain)(`${origin}${path}`, {
      method: body === undefined ? 'GET' : 'POST',
      headers,
      agent: false,
    })
    const cut = (error: Error) => {
      response?.destroy(error)
      request.destroy(error)
    }
    const onAbort = () => cut(signal?.reason instanceof Error ? signal.reason : new Error('given up'))
    let response: IncomingMessage | undefined
    request.on('response', (message) => {
      response = message
      // Without a reader the error of the body would be unhandled.
      message.on('error', () => {})
      resolve({
        status: message.statusCode ?? 0,
        headers: { get: (name) => [message.headers[name] ?? null].flat().join(', ') || null },
        body: message,
        text: () => readText(message),
      })
    })
    request.on('error', reject)
    request.on('close', () => signal?.removeEventListener('abort', onAbort))
    signal?.addEventListener('abort', onAbort, { once: true })
    request.end(body)
  })
}

/** A body as text. It is cut off after `maxBytes`. */
export async function readText(body: AsyncIterable<Uint8Array>, maxBytes = Infinity): Promise<string> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of body) {
    chunks.push(chunk)
    size += chunk.length
    if (size >= maxBytes) break
  }
  return Buffer.concat(chunks).subarray(0, Math.min(size, maxBytes)).toString('utf8')
}

import type { ConnectionOptions } from 'node:tls'
import { buildConnector, Client } from 'undici'
import { afterTurn, type Clock } from '../clock.ts'
import { pinLookup } from './pin.ts'

export interface GetOptions {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  /** From the call to the last byte, in milliseconds. */
  readonly timeoutMs: number
  /** What comes after is cut off. */
  readonly maxBodyBytes: number
  readonly clock: Clock
  /** Address to connect to, instead of resolving the host of the URL. @default resolved */
  readonly address?: string | undefined
  /** What a TLS connection needs beside what the URL says. @default nothing */
  readonly tls?: ConnectionOptions | undefined
  readonly signal?: AbortSignal | undefined
  /**
   * Called once connected, before the request is sent: whether not to send it to this listener. Then the error has the
   * code `EREFUSED`.
   */
  readonly refuse?: (() => boolean) | undefined
}

export interface GetAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: string
  /** Address of the server that answered. */
  readonly address: string | undefined
}

/**
 * One bounded GET on a connection of its own. Redirects are answers, not followed.
 * @throws the transport's error with its `code`; `ETIMEOUT` when the time is up.
 */
export function get(options: GetOptions): Promise<GetAnswer> {
  return exchange(options, { method: 'GET' })
}

/** The JSON of a 200; `undefined` for any other answer, for text that is no JSON, and where none came. */
export async function getJson(options: GetOptions): Promise<unknown> {
  try {
    const { status, body } = await get(options)
    return status === 200 ? JSON.parse(body) : undefined
  } catch {
    return undefined
  }
}

/** The same as {@link get} as a POST of JSON. An answer that is longer than `maxBodyBytes` is cut off, and its connection closed. */
export function post(options: GetOptions & { readonly body: Buffer }): Promise<GetAnswer> {
  return ask({ ...options, method: 'POST' })
}

/** The same with any method, with a body of JSON or without one. */
export function ask({ method, body, ...options }: GetOptions & Request): Promise<GetAnswer> {
  if (body === undefined) return exchange(options, { method })
  const headers = { 'content-type': 'application/json', ...options.headers }
  return exchange({ ...options, headers }, { method, body })
}

/** What is asked. */
export interface Request {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  readonly body?: Buffer
}

async function exchange(
  { url, headers, timeoutMs, maxBodyBytes, clock, address, tls, signal, refuse }: GetOptions,
  request: Request,
): Promise<GetAnswer> {
  signal?.throwIfAborted()
  const abort = new AbortController()
  const onAbort = () => abort.abort(signal?.reason)
  signal?.addEventListener('abort', onAbort, { once: true })
  // After a stall of the event loop the timer is due before a received answer was read: read that first.
  const timer = clock.setTimeout(
    () => afterTurn(() => abort.abort(Object.assign(new Error('timeout'), { code: 'ETIMEOUT' }))),
    timeoutMs,
  )
  const { origin, pathname, search } = new URL(url)
  // Not the global dispatcher: an embedder may have put a proxy there, and the key is for this origin only.
  const connector = buildConnector({
    ...tls,
    ...(address === undefined ? {} : { lookup: pinLookup(address) }),
  })
  let answeredAt: string | undefined
  const connect: typeof connector = (options, connected) =>
    connector(options, (...result) => {
      const [, socket] = result
      answeredAt = socket?.remoteAddress
      if (!socket || refuse?.() !== true) return connected(...result)
      socket.destroy()
      connected(Object.assign(new Error('refused'), { code: 'EREFUSED' }), null)
    })
  const client = new Client(origin, { headersTimeout: 0, bodyTimeout: 0, connect })
  try {
    const response = await client.request({
      ...request,
      path: pathname + search,
      headers: { accept: 'application/json', ...headers },
      signal: abort.signal,
      reset: true,
    })
    const chunks: Buffer[] = []
    let size = 0
    for await (const chunk of response.body as AsyncIterable<Buffer>) {
      chunks.push(chunk)
      size += chunk.length
      if (size >= maxBodyBytes) break
    }
    return {
      status: response.statusCode,
      headers: response.headers,
      body: Buffer.concat(chunks).subarray(0, maxBodyBytes).toString('utf8'),
      address: answeredAt,
    }
  } finally {
    clock.clearTimeout(timer)
    signal?.removeEventListener('abort', onAbort)
    void client.destroy()
  }
}

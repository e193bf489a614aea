import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Writable } from 'node:stream'
import { constants, createGzip, gzipSync } from 'node:zlib'
import type { ModelServerSettings } from './options.ts'
import { pause } from './pace.ts'
import type { Reply } from './reply.ts'
import { writeEvents } from './sse.ts'

/** One request and its response on the wire. */
export interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly settings: ModelServerSettings
  /** Aborted when the client has left. */
  readonly signal: AbortSignal
  /** Ends the process, or the connection. */
  crash(): void
}

/** Sends a reply as slowly, compressed or broken as the settings say. Rejects as soon as the client leaves. */
export async function sendReply(reply: Reply, exchange: Exchange): Promise<void> {
  const { request, response, settings, signal } = exchange
  if (request.method === 'POST') await pause(settings.slowHeadersMs, signal)
  response.setHeader('server', 'leasehold-demo')
  const nonce = request.headers['x-demo-nonce']
  if (nonce !== undefined) response.setHeader('x-demo-nonce', nonce)
  const isGzip = settings.gzip && /\bgzip\b/.test(String(request.headers['accept-encoding'] ?? ''))
  if (isGzip) response.setHeader('content-encoding', 'gzip')
  if (reply.kind === 'stream') {
    const sink = openStream(response, settings, isGzip)
    return writeEvents(reply.events, { sink, settings, signal, crash: exchange.crash })
  }
  if (reply.tokens > 0)
    await pause(settings.firstTokenMs + settings.tokenDelayMs * (reply.tokens - 1), signal)
  const body = isGzip ? gzipSync(reply.body) : Buffer.from(reply.body)
  response.writeHead(reply.status, { ...reply.headers, 'content-length': body.length })
  response.end(body)
}

/** Sends the head of a stream at once, before its first token. Returns where its events go. */
function openStream(response: ServerResponse, settings: ModelServerSettings, isGzip: boolean): Writable {
  response.setHeader('content-type', 'text/event-stream')
  response.setHeader('cache-control', 'no-cache')
  response.setHeader('x-accel-buffering', 'no')
  if (settings.closeDelimited) {
    response.setHeader('connection', 'close')
    // Removing what was never set tells Node not to add it.
    response.removeHeader('transfer-encoding')
  }
  response.writeHead(200)
  response.flushHeaders()
  if (!isGzip) return response
  const gzip = createGzip({ flush: constants.Z_SYNC_FLUSH })
  response.once('close', () => gzip.destroy())
  gzip.pipe(response)
  return gzip
}

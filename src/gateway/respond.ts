import type { ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { gzipSync } from 'node:zlib'
import { toErrorApi, toErrorBody } from '../compat/error-shapes.ts'
import { toOpenAiError } from '../compat/openai-error.ts'
import { STATUS_CODES } from '../net/http.ts'
import { withOwnVary } from './cors.ts'

/** Answers with one JSON document. */
export function sendJson(
  response: ServerResponse,
  status: number,
  value: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  sendBody(response, status, toJson(value), headers)
}

function toJson(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value))
}

function sendBody(
  response: ServerResponse,
  status: number,
  body: Buffer,
  headers: Readonly<Record<string, string | string[] | undefined>>,
): void {
  response.writeHead(status, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': body.length,
    ...headers,
  })
  response.end(body)
}

/** A smaller document fits in a few packets as it is, in bytes. */
const MIN_GZIP_BYTES = 4_096

/**
 * Answers with a document that may be large, compressed for a reader that accepts it: the page asks for some every two
 * seconds. The lowest level takes about 0.1 ms for 30 services, and shrinks them to a tenth.
 */
export function sendLargeJson(response: ServerResponse, value: unknown): void {
  const body = toJson(value)
  const isGzip =
    body.length >= MIN_GZIP_BYTES &&
    acceptsCoding(String(response.req.headers['accept-encoding'] ?? ''), 'gzip')
  const headers = { vary: 'accept-encoding', ...(isGzip ? { 'content-encoding': 'gzip' } : {}) }
  sendBody(response, 200, isGzip ? gzipSync(body, { level: 1 }) : body, withOwnVary(response, headers))
}

/** Whether a reader takes a coding: `gzip;q=0` says that it does not. */
export function acceptsCoding(accepted: string, name: string): boolean {
  return accepted
    .split(',')
    .map((one) => one.trim())
    .some((one) => one.split(';')[0] === name && !/;\s*q=0(\.0*)?$/.test(one))
}

/** Answers with an error in the shape of the API that was called; once a head is out, the connection is cut instead. */
export function sendError(response: ServerResponse, error: unknown): void {
  if (response.headersSent) return void response.destroy()
  const told = toOpenAiError(error)
  // A request that is refused before its body was read must not leave the rest of it for the next request.
  if (!response.req.complete) response.setHeader('connection', 'close')
  const api = toErrorApi(response.req.url ?? '')
  sendJson(response, told.status, toErrorBody(api, told), told.headers)
}

/** One server-sent event. */
export function toSseEvent(event: string, data: unknown): string {
  return `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`
}

/** Answers a request for a WebSocket with an error: there is no response object for it. */
export function refuseUpgrade(socket: Duplex, error: unknown): void {
  if (socket.destroyed) return
  const { status, body } = toOpenAiError(error)
  const text = JSON.stringify(body)
  // The client may keep its side open, and no limit of Node's ends a connection after an upgrade request.
  socket.once('finish', () => socket.destroy()).resume()
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Error'}\r\nconnection: close\r\ncontent-type: application/json; charset=utf-8\r\ncontent-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
  )
}

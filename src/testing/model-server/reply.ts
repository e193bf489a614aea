import type { JsonObject } from './json.ts'

/** One server-sent event. */
export interface StreamEvent {
  /** Name of the event; the OpenAI chat API uses none. */
  readonly event?: string
  readonly data: string
  /** `token` events are paced and counted by the mid-stream faults; `done` is OpenAI's `[DONE]`. */
  readonly kind: 'frame' | 'token' | 'done'
}

/** What a route answers; the server sends it at the configured pace and with the configured faults. */
export type Reply =
  | {
      readonly kind: 'whole'
      readonly status: number
      readonly headers: Readonly<Record<string, string>>
      readonly body: string | Buffer
      /** Tokens that had to be generated for it. */
      readonly tokens: number
    }
  | { readonly kind: 'stream'; readonly events: Iterable<StreamEvent> }

/** A JSON answer. `tokens`: how many had to be generated for it. */
export function buildJsonReply(body: unknown, { status = 200, tokens = 0 } = {}): Reply {
  const headers = { 'content-type': 'application/json; charset=utf-8' }
  return { kind: 'whole', status, headers, body: JSON.stringify(body), tokens }
}

/** An answer that is not JSON. */
export function buildBytesReply(body: string | Buffer, contentType: string): Reply {
  return { kind: 'whole', status: 200, headers: { 'content-type': contentType }, body, tokens: 0 }
}

/** An error as llama.cpp words it. */
export function buildErrorReply(status: number, message: string, type = 'invalid_request_error'): Reply {
  return buildJsonReply({ error: { message, type, code: status } }, { status })
}

/** llama.cpp's answer to a path it does not have. */
export function buildNotFoundReply(): Reply {
  return buildErrorReply(404, 'File Not Found', 'not_found_error')
}

/** One event of a stream, with JSON data. */
export function buildStreamEvent(data: JsonObject, kind: StreamEvent['kind'], event?: string): StreamEvent {
  return { data: JSON.stringify(data), kind, ...(event === undefined ? {} : { event }) }
}

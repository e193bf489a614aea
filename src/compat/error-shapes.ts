import { isObject } from '../json/value.ts'
import type { OpenAiError } from './openai-error.ts'

/** An error as the API of a path has it. Every shape keeps our `code`. */
type Facts = OpenAiError['body']['error']

/** The API of a path, as far as error shapes differ. */
export type ErrorApi = 'openai' | 'messages' | 'responses' | 'ollama'

/** Finds the API of a path, with or without a query. */
export function toErrorApi(path: string): ErrorApi {
  if (/^\/v1\/messages(?:[/?]|$)/.test(path)) return 'messages'
  if (/^\/v1\/responses(?:[/?]|$)/.test(path)) return 'responses'
  return OLLAMA.test(path) ? 'ollama' : 'openai'
}

/** Routes of Ollama's API, which shares its prefix with the control surface. */
const OLLAMA =
  /^\/api\/(?:chat|generate|embed|embeddings|show|tags|ps|version|pull|push|create|copy|delete)(?:\?|$)/

/** The body of an answer that is an error. */
export function toErrorBody(api: ErrorApi, { status, body }: OpenAiError): object {
  if (api === 'messages') return buildAnthropicError(body.error, findAnthropicType(status))
  // Ollama's clients show what stands in `error`.
  return api === 'ollama' ? { error: body.error.message, code: body.error.code } : body
}

/** The end of a stream that failed after its first byte. */
export interface ErrorEnding {
  /** Complete events. */
  readonly text: string
  /** Whether the connection closes cleanly, because the events report the failure. */
  readonly isClean: boolean
}

/**
 * Builds the end of a failed stream. `error`: the error body, ours or the server's; `isFirst`: no event was sent yet.
 * Codex reads only `response.failed`, and only before a clean end.
 */
export function buildErrorEnding(
  api: ErrorApi,
  error: unknown,
  { requestId, isFirst }: { readonly requestId: string; readonly isFirst: boolean },
): ErrorEnding {
  if (api === 'openai' || api === 'ollama') return { text: formatEvent('error', error), isClean: false }
  const facts = readFacts(error)
  if (api === 'messages') {
    const isShaped = isObject(error) && error.type === 'error' && isObject(error.error)
    return {
      text: formatEvent('error', isShaped ? error : buildAnthropicError(facts, 'api_error')),
      isClean: false,
    }
  }
  const response = { id: `resp_${requestId}`, object: 'response', output: [], incomplete_details: null }
  const created = {
    type: 'response.created',
    sequence_number: 0,
    response: { ...response, status: 'in_progress', error: null },
  }
  const failed = {
    type: 'response.failed',
    sequence_number: 1,
    response: { ...response, status: 'failed', error: facts },
  }
  // Clients that accumulate the response reject any other first event.
  const begin = isFirst ? formatEvent(created.type, created) : ''
  return { text: begin + formatEvent(failed.type, failed), isClean: true }
}

function buildAnthropicError(facts: Facts, type: string): object {
  return { type: 'error', error: { ...facts, type } }
}

function findAnthropicType(status: number): string {
  return anthropicTypes.get(status) ?? 'api_error'
}

const anthropicTypes: ReadonlyMap<number, string> = new Map([
  [400, 'invalid_request_error'],
  [401, 'authentication_error'],
  [403, 'permission_error'],
  [404, 'not_found_error'],
  [413, 'request_too_large'],
  [415, 'invalid_request_error'],
  [429, 'rate_limit_error'],
  [504, 'timeout_error'],
])

/** Converts an error body of any shape to ours. */
function readFacts(body: unknown): Facts {
  const error =
    isObject(body) && isObject(body.error) ? body.error : { message: isObject(body) ? body.error : body }
  const text = (value: unknown, otherwise: string) => (typeof value === 'string' ? value : otherwise)
  return {
    message: text(error.message, 'The server refused without a word.'),
    type: text(error.type, 'upstream_error'),
    code: text(error.code, 'LEASEHOLD_UPSTREAM_FAILED'),
    param: typeof error.param === 'string' ? error.param : null,
  }
}

function formatEvent(event: string, data: unknown): string {
  return `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`
}

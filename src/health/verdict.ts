import type { Verdict } from '../../machines/messages.ts'

/** One health answer as it came: the head, and as much of the body as a probe reads. */
export interface HealthAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  /** At most `MAX_HEALTH_BODY_BYTES` of it. */
  readonly body: string
}

/**
 * The verdict on an answer. `isModelList`: the URL asked is a `/models` list, so a body that is not JSON is foreign.
 * `expected`: models of which a list should name one; another list is only reported, since many servers accept any
 * name.
 *
 * llama.cpp answers 503 on every route while it loads; inferrs answers 500 `{"status":"error"}` for ever after a
 * failed load, and 503 `{"status":"loading"}` before; a redirect is never followed, so it is never readiness.
 */
export function judgeAnswer(
  { status, headers, body }: HealthAnswer,
  isModelList: boolean,
  expected: readonly string[] = [],
): Verdict {
  const json = parseObject(body)
  if (status >= 300 && status < 400)
    return {
      kind: 'foreign',
      status,
      detail: formatLine(`${status} redirects to ${headers.location ?? 'nowhere'}`),
    }
  if (status === 401 || status === 403)
    return { kind: 'foreign', status, detail: `${status}: the health URL wants another key` }
  if (status >= 400 && status < 500 && status !== 408 && status !== 425 && status !== 429)
    return { kind: 'foreign', status, detail: `${status}: the health URL is not served here` }
  if (json?.status === 'error') return { kind: 'failed', status, detail: describeAnswer(status, json, body) }
  if (status >= 400 || json?.status === 'loading')
    return { kind: 'loading', status, detail: describeAnswer(status, json, body) }
  if (isModelList && !Array.isArray(json?.data) && !Array.isArray(json?.models))
    return { kind: 'foreign', status, detail: `${status}, but not a list of models` }
  const detail = describeAnswer(status, json, isModelList ? '' : body)
  const others = isModelList ? listOthers(json, expected) : []
  if (others.length === 0) return { kind: 'ready', status, detail }
  return {
    kind: 'ready',
    status,
    detail: formatLine(`${status}, but it serves other models: ${others.join(', ')}`),
  }
}

/** The listed models, if none of the expected ones is among them; Ollama adds a tag to their names. */
function listOthers(
  json: Record<string, unknown> | undefined,
  expected: readonly string[],
): readonly string[] {
  const listed = [json?.data, json?.models].find((one) => Array.isArray(one)) ?? []
  const ids = (listed as readonly unknown[]).flatMap((one) =>
    typeof one === 'object' && one !== null && 'id' in one && typeof one.id === 'string' ? [one.id] : [],
  )
  const isExpected = (id: string) => expected.some((one) => id === one || id.startsWith(`${one}:`))
  return expected.length === 0 || ids.some(isExpected) ? [] : ids
}

/**
 * The verdict when no answer came. A listener that does not answer in time may still be loading; one that does not
 * speak HTTP is another program. A system error (`ECONNREFUSED`, `EHOSTUNREACH`) means that no connection was made.
 */
export function judgeError(code: string, timeoutMs: number): Verdict {
  if (code === 'ECONNREFUSED') return { kind: 'refused', detail: NO_LISTENER }
  if (code === 'ETIMEOUT') return { kind: 'loading', detail: `no answer within ${timeoutMs} ms` }
  if (code === 'ECONNRESET' || code === 'EPIPE' || code === 'UND_ERR_SOCKET')
    return { kind: 'loading', detail: 'the connection was closed without an answer' }
  if (PLAIN_TO_TLS.test(code))
    return { kind: 'foreign', detail: `its URL says https, but the server does not speak TLS (${code})` }
  if (CERTIFICATE.test(code)) return { kind: 'foreign', detail: `its certificate is not accepted (${code})` }
  if (/^E[A-Z]/.test(code) || code === 'UND_ERR_CONNECT_TIMEOUT') return { kind: 'refused', detail: code }
  return { kind: 'foreign', detail: `the answer is not HTTP (${formatLine(code)})` }
}

/** What is seen where the host answers, and nothing listens. */
export const NO_LISTENER = 'connection refused'

/** The error's code; undici leaves it empty for most unreadable answers. */
export function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return 'code' in error && typeof error.code === 'string' ? error.code : error.message
}

/** OpenSSL's error codes for an answer that is not TLS. */
const PLAIN_TO_TLS = /^ERR_SSL_(WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|UNKNOWN_PROTOCOL|HTTP_REQUEST)$/
/** Error codes of OpenSSL and Node for a certificate that is not trusted. */
const CERTIFICATE = /CERT|UNABLE_TO_|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE/

/**
 * The verdict on an answer of the process that we started ourselves. Any 2xx is readiness. A verdict that would be
 * `foreign` for another server is a `mismatch` here: the health URL is wrong. An answer may still change until
 * the deadline; the wrong scheme cannot.
 */
export function toOwnVerdict(verdict: Verdict, url: string): Verdict {
  if (verdict.kind !== 'foreign') return verdict
  const { status, detail } = verdict
  if (status !== undefined && status >= 200 && status < 300)
    return { ...verdict, kind: 'ready', detail: formatLine(detail) }
  if (status === undefined) {
    const isScheme = url.startsWith('https:')
    const cure = isScheme
      ? 'write http:// in baseUrl and healthUrl, or give the server a certificate that is trusted'
      : 'healthUrl must lead to an HTTP server'
    return {
      ...verdict,
      kind: isScheme ? 'failed' : 'loading',
      mismatch: `cannot be asked at ${url}: ${detail}: ${cure}`,
    }
  }
  const answered = status < 400 ? `${status} (a redirect)` : String(status)
  const cure =
    status === 401 || status === 403
      ? 'set the key that it expects as apiKey, or a localService.healthUrl that needs none'
      : 'set localService.healthUrl'
  return { ...verdict, kind: 'loading', mismatch: `answers ${answered} at ${url}: ${cure}` }
}

/** Whether two verdicts read the same; a repeated one is not reported. */
export function isSameVerdict(a: Verdict, b: Verdict): boolean {
  return a.kind === b.kind && a.detail === b.detail
}

function parseObject(body: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(body)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

/** `503 Loading model`: the status, and the message in the body. */
function describeAnswer(status: number, json: Record<string, unknown> | undefined, body: string): string {
  const error = json?.error
  const message =
    typeof error === 'string'
      ? error
      : typeof error === 'object' && error !== null && 'message' in error
        ? error.message
        : json?.status
  const words = typeof message === 'string' ? message : body
  return formatLine(`${status} ${words}`)
}

/** One short line without control or direction characters: the text is untrusted, and it is displayed. */
function formatLine(text: string): string {
  return text
    .slice(0, 1000)
    .replace(/[\s\p{C}]+/gu, ' ')
    .trim()
    .slice(0, 124)
}

import { isSecretHeader } from '../config/secret-values.ts'
import type { LeaseholdError } from '../errors.ts'
import { MASK } from '../text/scrubber.ts'
import type { AnswerHandler } from '../transport/answer-handler.ts'
import { type Headers, toMediaType } from '../transport/headers.ts'
import type { ModelRequest } from './exchange.ts'

/** Requests whose bodies are kept, and how much of each body, in bytes. */
const MAX_CAPTURED = 50
const MAX_BODY_BYTES = 65_536
/** How many headers of a message are kept, and how many characters of them. */
const MAX_HEADERS = 100
const MAX_HEADER_CHARACTERS = 16_384
/** What is kept beyond these limits, so that a secret at the cut is found and masked. */
const OVERLAP = 8_192
/** Media types whose bodies are texts. */
const TEXT = /^(text\/|application\/(.*\+)?(json|x-ndjson|xml)$)/

/** Lower-case name and value. A header with several values has several of these. */
export type CapturedHeader = readonly [name: string, value: string]

/** A message as it is shown. */
export interface CapturedBody {
  /** The first 100, with 16 KiB of text at most; a value that is cut ends in `…`. A credential is `***`. */
  readonly headers: readonly CapturedHeader[]
  /** Media type; `null`: not told. */
  readonly type: string | null
  /** Size of the whole body, in bytes. */
  readonly bytes: number
  /** Its first 64 KiB at most, without secrets; `null`: it is not text, or it is compressed. */
  readonly text: string | null
}

/** What one request sent, and what its client got. */
export interface CapturedBodies {
  readonly id: string
  readonly request: CapturedBody & {
    readonly method: string
    /** With its query. */
    readonly path: string
  }
  /** `null`: there is no answer yet, or it was an error of leasehold's own. */
  readonly answer: (CapturedBody & { readonly status: number }) | null
}

/** Heads and bodies of the last requests, where `leasehold.captureBodies` asks for them. */
export interface BodyCapture {
  /** Takes note of a request; returns the client that its answer goes to. */
  watch(
    id: string,
    request: ModelRequest,
    client: AnswerHandler<LeaseholdError>,
  ): AnswerHandler<LeaseholdError>
  find(id: string): CapturedBodies | undefined
}

interface Kept {
  readonly headers: readonly CapturedHeader[]
  readonly type: string | null
  readonly isText: boolean
  bytes: number
  keptBytes: number
  readonly chunks: Buffer[]
}

/** Creates an empty capture. `scrub` masks secrets. Switched off it keeps nothing, and an answer goes its usual way. */
export function createBodyCapture(isOn: () => boolean, scrub: (text: string) => string): BodyCapture {
  const kept = new Map<string, KeptCall>()
  return {
    watch: (id, { method, path, headers, body }, client) => {
      if (!isOn()) {
        if (kept.size > 0) kept.clear()
        return client
      }
      const asked = { method, path: maskQuery(path) }
      const one: KeptCall = { request: { ...open(headers), ...asked }, answer: null }
      add(one.request, body)
      kept.set(id, one)
      const [oldest] = kept.keys()
      if (kept.size > MAX_CAPTURED && oldest !== undefined) kept.delete(oldest)
      return {
        onEarly: (head) => client.onEarly?.(head),
        onHead: (status, head) => {
          one.answer = { ...open(head), status }
          client.onHead(status, head)
        },
        onData: (chunk) => {
          if (one.answer !== null) add(one.answer, chunk)
          return client.onData(chunk)
        },
        onEnd: () => client.onEnd(),
        onError: (error) => client.onError(error),
      }
    },
    find: (id) => {
      if (!isOn()) kept.clear()
      const one = kept.get(id)
      if (one === undefined) return undefined
      const { request, answer } = one
      return {
        id,
        request: {
          method: request.method,
          path: scrub(request.path).slice(0, MAX_HEADER_CHARACTERS),
          ...show(request, scrub),
        },
        answer: answer && { status: answer.status, ...show(answer, scrub) },
      }
    },
  }
}

interface KeptCall {
  readonly request: Kept & { readonly method: string; readonly path: string }
  answer: (Kept & { readonly status: number }) | null
}

function open(headers: Headers): Kept {
  const type = toMediaType(headers) || null
  const isPlain = ['identity', ''].includes(String(headers['content-encoding'] ?? ''))
  const isText = isPlain && TEXT.test(type ?? '')
  return { headers: listHeaders(headers), type, isText, bytes: 0, keptBytes: 0, chunks: [] }
}

function add(body: Kept, chunk: Buffer): void {
  body.bytes += chunk.length
  const left = MAX_BODY_BYTES + OVERLAP - body.keptBytes
  if (!body.isText || left <= 0) return
  // A copy: a part of a large body would keep all of it in memory.
  const part = Buffer.from(chunk.subarray(0, left))
  body.keptBytes += part.length
  body.chunks.push(part)
}

/** The parameters of a query that hold a credential are masked by their names. */
function maskQuery(path: string): string {
  return path.replace(/([?&]([^=&#]+)=)[^&#]*/g, (whole, head: string, name: string) =>
    isSecretHeader(name) ? head + MASK : whole,
  )
}

/** Credentials are not even kept. */
function listHeaders(headers: Headers): readonly CapturedHeader[] {
  const list = Object.entries(headers)
    .flatMap(([name, values = []]) => [values].flat().map((value) => [name.toLowerCase(), value] as const))
    .slice(0, MAX_HEADERS)
    .map(([name, value]): CapturedHeader => [name, isSecretHeader(name) ? MASK : value])
  return cutHeaders(list, MAX_HEADER_CHARACTERS + OVERLAP)
}

/** Cuts the header at which `max` characters are reached, and drops the ones after it. */
function cutHeaders(headers: readonly CapturedHeader[], max: number): readonly CapturedHeader[] {
  const list: CapturedHeader[] = []
  let left = max
  for (const [name, value] of headers) {
    left -= name.length
    if (left <= 0) break
    list.push([name, value.length > left ? `${value.slice(0, left)}…` : value])
    left -= value.length
  }
  return list
}

function show({ headers, type, bytes, isText, chunks }: Kept, scrub: (text: string) => string): CapturedBody {
  const clean = headers.map(([name, value]): CapturedHeader => [scrub(name), scrub(value)])
  return {
    headers: cutHeaders(clean, MAX_HEADER_CHARACTERS),
    type,
    bytes,
    text: isText ? scrub(Buffer.concat(chunks).toString()).slice(0, MAX_BODY_BYTES) : null,
  }
}

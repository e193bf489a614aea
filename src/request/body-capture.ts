import type { LeaseholdError } from '../errors.ts'
import type { AnswerHandler } from '../transport/answer-handler.ts'
import { type Headers, toMediaType } from '../transport/headers.ts'
import type { ModelRequest } from './exchange.ts'

/** Requests whose bodies are kept, and how much of each body, in bytes. */
const MAX_CAPTURED = 50
const MAX_BODY_BYTES = 65_536
/** What is kept beyond that, so that a secret at the cut is found and masked. */
const OVERLAP_BYTES = 8_192
/** Media types whose bodies are texts. */
const TEXT = /^(text\/|application\/(.*\+)?(json|x-ndjson|xml)$)/

/** A body as it is shown. */
export interface CapturedBody {
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
  readonly request: CapturedBody
  /** `null`: there is no answer yet, or it was an error of leasehold's own. */
  readonly answer: CapturedBody | null
}

/** The bodies of the last requests, where `leasehold.captureBodies` asks for them. */
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
  readonly type: string | null
  readonly isText: boolean
  bytes: number
  keptBytes: number
  readonly chunks: Buffer[]
}

/** Creates an empty capture. `scrub` masks secrets. Switched off it keeps nothing, and an answer goes its usual way. */
export function createBodyCapture(isOn: () => boolean, scrub: (text: string) => string): BodyCapture {
  const kept = new Map<string, { readonly request: Kept; answer: Kept | null }>()
  return {
    watch: (id, { headers, body }, client) => {
      if (!isOn()) {
        if (kept.size > 0) kept.clear()
        return client
      }
      const one = { request: open(headers), answer: null as Kept | null }
      add(one.request, body)
      kept.set(id, one)
      const [oldest] = kept.keys()
      if (kept.size > MAX_CAPTURED && oldest !== undefined) kept.delete(oldest)
      return {
        onEarly: (head) => client.onEarly?.(head),
        onHead: (status, head) => {
          one.answer = open(head)
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
      return { id, request: show(one.request, scrub), answer: one.answer && show(one.answer, scrub) }
    },
  }
}

function open(headers: Headers): Kept {
  const type = toMediaType(headers) || null
  const isPlain = ['identity', ''].includes(String(headers['content-encoding'] ?? ''))
  return { type, isText: isPlain && TEXT.test(type ?? ''), bytes: 0, keptBytes: 0, chunks: [] }
}

function add(body: Kept, chunk: Buffer): void {
  body.bytes += chunk.length
  const left = MAX_BODY_BYTES + OVERLAP_BYTES - body.keptBytes
  if (!body.isText || left <= 0) return
  // A copy: a part of a large body would keep all of it in memory.
  const part = Buffer.from(chunk.subarray(0, left))
  body.keptBytes += part.length
  body.chunks.push(part)
}

function show({ type, bytes, isText, chunks }: Kept, scrub: (text: string) => string): CapturedBody {
  if (!isText) return { type, bytes, text: null }
  return { type, bytes, text: scrub(Buffer.concat(chunks).toString()).slice(0, MAX_BODY_BYTES) }
}

import { brotliDecompressSync, unzipSync } from 'node:zlib'
import type { RequestEvent } from '../../machines/messages.ts'
import type { Clock } from '../clock.ts'
import { type AnswerRewriter, createAnswerRewriter } from '../compat/answer-rewriter.ts'
import { type Advice, advise } from '../compat/error-advice.ts'
import { hasAnswerRules } from '../compat/response.ts'
import { createUsageFilter, type UsageFilter } from '../compat/usage-chunk.ts'
import type { ModelTarget } from '../config/model-ref.ts'
import {
  type LeaseholdError,
  ServiceError,
  UpstreamError,
  UpstreamStallError,
  UpstreamStatusError,
} from '../errors.ts'
import { createUsageTail, type Usage, withPace } from '../events/usage.ts'
import { toPlainText } from '../text/plain-text.ts'
import type { AnswerHandler } from '../transport/answer-handler.ts'
import { createLinesEnding, createStreamEnding, type StreamEnding } from '../transport/completeness.ts'
import { forbidBuffering, type Headers, toClientHeaders, toMediaType } from '../transport/headers.ts'
import { GRANTED_HEADER, QUEUED_HEADER } from '../transport/hops.ts'
import { UnsentError } from '../transport/upstream.ts'
import type { AnswerSecrets, BodyMask } from './answer-mask.ts'

/** What a relay tells: the events of the request chart. */
export interface RelayListener {
  /** `failure`: why, where the event is not good news. */
  tell(event: RequestEvent, failure?: LeaseholdError): void
  /** Whether the chart would follow this event now. */
  can(event: RequestEvent): boolean
  /** Whether there is another candidate. */
  hasNext(): boolean
  /** The member of the cluster that was asked lets the request wait. */
  queuedAt(position: number): void
  /** The connection to a member of the cluster broke. */
  suspect(member: string): void
  /** A known error of a backend: the setting that cures it. */
  advise(advice: Advice): void
}

export interface RelayOptions {
  readonly clock: Clock
  readonly listener: RelayListener
  /** Gets the answer. */
  readonly client: AnswerHandler<LeaseholdError>
  readonly target: ModelTarget
  /** Whether a stream's usage chunk is for us alone: see `createUsageFilter`. */
  readonly hidesUsage: boolean
  /** Whether the client asked for a web page. */
  readonly acceptsPage: boolean
  /** The path of the client. */
  readonly path: string
  /** Removes secrets from a text: servers quote the key they refuse. */
  readonly scrub: (text: string) => string
  /** What the server was given and must not show in an answer that is no refusal. Absent: nothing. */
  readonly secrets: AnswerSecrets | undefined
}

/** A refusal up to this size is read whole before it goes on, in bytes: it may want to be explained. */
const MAX_REFUSAL_BYTES = 65_536
/** How long a server that another program started may say that it is loading, in milliseconds. */
const REMOTE_LOADING_MS = 120_000
/** No byte has come yet. */
const NEVER = Number.NEGATIVE_INFINITY

interface Head {
  readonly status: number
  readonly headers: Record<string, string | string[]>
}

interface Refusal {
  readonly status: number
  readonly headers: Headers
  readonly chunks: Buffer[]
  bytes: number
}

/**
 * Passes one answer from its server to the client. It reads the answer for what it means, and passes its bytes on
 * untouched wherever nothing must change. A class, because one is made for each attempt of each request.
 */
export class Relay implements AnswerHandler {
  /** Status and headers for the client, once the server has begun an answer that is one. */
  head: Head | undefined
  /** Whether the server has ended the answer or the connection. */
  isOver = false
  /** When the first byte of the body went to the client; minus infinity: none did. */
  firstByteMs = NEVER
  /** Size of the body so far, and in how many pieces it went to the client. */
  bytes = 0
  chunks = 0
  readonly #options: RelayOptions
  readonly #tail = createUsageTail()
  #isClosed = false
  /** The head is invalid: the rest is ignored. */
  #isRejected = false
  #refusal: Refusal | undefined
  #ending: StreamEnding | undefined
  #isEventStream = false
  #isOpenEnded = false
  #lastByte = 0
  #rewriter: AnswerRewriter | undefined
  #usageFilter: UsageFilter | undefined
  #bodyMask: BodyMask | undefined
  /** When the last byte came, and whether the client has asked for a pause. */
  #lastByteMs = NEVER
  #isPaused = false
  #stall: unknown

  constructor(options: RelayOptions) {
    this.#options = options
  }

  /** A member of the cluster says that the request waits there, or that it has its lease after a wait. */
  onEarly(headers: Headers): void {
    const { listener, target } = this.#options
    if (this.#isClosed || target.provider.memberOf === undefined) return
    if (headers[QUEUED_HEADER] !== undefined) listener.queuedAt(Number(headers[QUEUED_HEADER]) || 1)
    else if (headers[GRANTED_HEADER] !== undefined) listener.tell({ type: 'member.granted' })
  }

  onHead(status: number, headers: Headers): void {
    if (this.#isClosed) return
    const { target, acceptsPage, listener } = this.#options
    const { provider } = target
    if (status > 599) {
      this.#isRejected = true
      return this.#breakOff(new UpstreamError(provider.id, `it answered with the status ${status}`))
    }
    // Not an answer, but the word of a member that it is not the one to ask.
    if (status === 421 && provider.memberOf !== undefined)
      return this.#refuse(toRedirect(provider.memberOf.member, headers))
    const fault = findHeadFault(status, headers, provider.baseUrl, acceptsPage)
    if (fault !== undefined) return this.#refuse(new UpstreamError(provider.id, fault))
    // A 503 may only mean that the server is still loading, which its body says.
    if (isRetryableStatus(status) && status !== 503 && listener.hasNext())
      this.#refuse(new UpstreamStatusError(provider.id, status))
    else if (status >= 400) this.#refusal = { status, headers, chunks: [], bytes: 0 }
    else this.#begin(status, headers)
  }

  onData(chunk: Buffer): boolean {
    if (this.#isClosed || this.#isRejected) return true
    const refusal = this.#refusal
    if (refusal !== undefined) {
      refusal.chunks.push(chunk)
      refusal.bytes += chunk.length
      if (refusal.bytes > MAX_REFUSAL_BYTES) this.#passRefusal(refusal)
      return true
    }
    this.#tail.add(chunk)
    this.#ending?.add(chunk)
    if (this.#isOpenEnded) this.#lastByte = findLastVisible(chunk) ?? this.#lastByte
    const rewritten = this.#rewriter === undefined ? chunk : this.#rewrite(this.#rewriter, chunk)
    if (rewritten === undefined) return true
    return this.#pass(this.#usageFilter === undefined ? rewritten : this.#usageFilter.push(rewritten))
  }

  onEnd(): void {
    this.isOver = true
    if (this.#isClosed || this.#isRejected) return
    if (this.#refusal !== undefined) return this.#answerRefusal(this.#refusal)
    const isTruncated =
      this.#ending?.isComplete() === false || (this.#isOpenEnded && !CLOSERS.has(this.#lastByte))
    // An incomplete event must not be completed by our own.
    if (this.#rewriter !== undefined && !(isTruncated && this.#isEventStream)) {
      const rest = this.#rewriter.end()
      this.#pass(this.#usageFilter === undefined ? rest : this.#usageFilter.push(rest))
    }
    if (this.#usageFilter !== undefined) this.#pass(this.#usageFilter.end())
    if (this.#bodyMask !== undefined) this.#deliver(this.#bodyMask.end())
    if (!isTruncated) return this.#options.listener.tell({ type: 'response.ended' })
    const { provider } = this.#options.target
    this.#breakOff(
      new UpstreamError(provider.id, 'the answer ended without its proper ending', { isTruncated: true }),
    )
  }

  onError(given: Error): void {
    this.isOver = true
    if (this.#isClosed || this.#isRejected) return
    const isUnsent = given instanceof UnsentError
    const cause = isUnsent ? given.cause : given
    const code = 'code' in cause ? ` (${cause.code})` : ''
    const message = `the connection to the server broke: ${cause.message}${code}`
    const error = new UpstreamError(this.#options.target.provider.id, message, { cause })
    this.cut()
    const isOfMember = this.#options.target.provider.memberOf !== undefined
    if (isUnsent && !isOfMember)
      this.#options.listener.tell({ type: 'connection.refused', code: error.code }, error)
    else this.#breakOff(error)
  }

  /** When the last byte came, on the clock. A client that reads again after a pause counts as one. */
  get lastByteMs(): number {
    return this.#lastByteMs
  }

  /** What the answer said of itself, once it is over. */
  usage(): Usage | null {
    const usage = this.#tail.read()
    return this.#isEventStream ? withPace(usage, this.#options.clock.now() - this.firstByteMs) : usage
  }

  /** The client wants more. */
  resume(): void {
    this.#isPaused = false
    if (this.#lastByteMs !== NEVER) this.#lastByteMs = this.#options.clock.now()
  }

  /** Passes on the complete events that are held back: no more will come. */
  cut(): void {
    if (this.#isClosed) return
    const rest = this.#usageFilter?.cut()
    if (rest !== undefined && rest.length > 0) this.#pass(rest)
  }

  /** Ends the relay: what the server still says, for one of its abort, changes nothing. */
  close(): void {
    this.#isClosed = true
    if (this.#stall !== undefined) this.#options.clock.clearTimeout(this.#stall)
  }

  #begin(status: number, headers: Headers): void {
    const { target, hidesUsage, secrets } = this.#options
    const compat = target.model?.compat ?? {}
    const isEncoded = headers['content-encoding'] !== undefined && headers['content-encoding'] !== 'identity'
    const type = toMediaType(headers)
    const isPlain = status === 200 && !isEncoded
    const isLines = isPlain && LINES.has(type)
    this.#isEventStream = isPlain && type === 'text/event-stream'
    if (this.#isEventStream) this.#ending = createStreamEnding()
    else if (isLines) this.#ending = createLinesEnding()
    this.#isOpenEnded =
      (isLines || (!isEncoded && type === 'application/json')) &&
      headers['content-length'] === undefined &&
      headers['transfer-encoding'] === undefined
    const sent = toClientHeaders(headers)
    // An answer without a length is made while it is sent: events, lines, speech.
    if (headers['content-length'] === undefined && status !== 204) forbidBuffering(sent)
    if (status === 200 && !isEncoded && hasAnswerRules(compat)) {
      this.#rewriter = createAnswerRewriter(compat, this.#isEventStream)
      delete sent['content-length']
    }
    if (this.#isEventStream && hidesUsage) {
      this.#usageFilter = createUsageFilter()
      delete sent['content-length']
    }
    if (secrets !== undefined) {
      scrubHeaders(sent, secrets.header)
      if (!isEncoded) this.#bodyMask = secrets.openBody()
    }
    this.#start(status, sent)
  }

  #start(status: number, headers: Head['headers']): void {
    this.head = { status, headers }
    this.#options.listener.tell({ type: 'response.started', status })
  }

  #pass(bytes: Buffer): boolean {
    return this.#deliver(this.#bodyMask === undefined ? bytes : this.#bodyMask.push(bytes))
  }

  #deliver(bytes: Buffer): boolean {
    if (this.#isClosed) return true
    const nowMs = this.#options.clock.now()
    if (this.firstByteMs === NEVER) {
      this.firstByteMs = nowMs
      this.#watchStall(this.#options.target.provider.stallTimeoutMs)
    }
    this.#lastByteMs = nowMs
    this.bytes += bytes.length
    this.chunks += 1
    const isHungry = this.#options.client.onData(bytes)
    this.#isPaused = !isHungry
    return isHungry
  }

  /** Breaks the answer off when no byte of it comes for too long. While the client does not read, none can. */
  #watchStall(afterMs: number): void {
    const { clock, listener, target } = this.#options
    const { id, stallTimeoutMs } = target.provider
    if (stallTimeoutMs === 0) return
    this.#stall = clock.setTimeout(() => {
      const leftMs = this.#isPaused ? stallTimeoutMs : this.#lastByteMs + stallTimeoutMs - clock.now()
      if (leftMs > 0) return this.#watchStall(leftMs)
      const error = new UpstreamStallError(id, stallTimeoutMs)
      listener.tell({ type: 'request.failed', code: error.code, retryable: true }, error)
    }, afterMs)
  }

  #breakOff(error: UpstreamError): void {
    const { listener, target } = this.#options
    const { memberOf } = target.provider
    if (memberOf === undefined) return listener.tell({ type: 'connection.broken' }, error)
    // No exit of a process on this host can explain it, so there is nothing to wait for.
    listener.suspect(memberOf.member)
    listener.tell({ type: 'request.failed', code: error.code, retryable: true, isOfMember: true }, error)
  }

  /** The head is none of an answer, or another candidate may better the status. */
  #refuse(error: LeaseholdError): void {
    this.#options.listener.tell({ type: 'request.failed', code: error.code, retryable: true }, error)
  }

  /** A refusal that turned out to be large goes on as it is. */
  #passRefusal({ status, headers, chunks }: Refusal): void {
    this.#refusal = undefined
    this.#begin(status, headers)
    for (const chunk of chunks) this.#pass(chunk)
  }

  #answerRefusal({ status, headers, chunks, bytes }: Refusal): void {
    const { listener, path, scrub, target } = this.#options
    const { provider, ref } = target
    const body = Buffer.concat(chunks, bytes)
    const plain = decompress(body, headers)
    // Another leasehold quotes what its server printed while it loaded, and says that asking again is of no use.
    const isFinal = headers['x-should-retry'] === 'false'
    if (status === 503 && !isFinal && isLoadingText(plain.toString('utf8'))) {
      const limitMs = provider.localService?.readyTimeoutMs ?? REMOTE_LOADING_MS
      const loading = { type: 'server.loading', limitMs } as const
      if (listener.can(loading)) return listener.tell(loading)
    }
    if (isRetryableStatus(status) && listener.hasNext())
      return this.#refuse(new UpstreamStatusError(provider.id, status))
    const told = plain.toString('utf8')
    const scrubbed = scrub(told)
    const clean = scrubbed === told ? undefined : Buffer.from(scrubbed)
    const advised = advise(status, clean ?? plain, { ref, path, baseUrl: provider.baseUrl })
    if (advised !== undefined) listener.advise(advised.advice)
    const sent = advised?.body ?? clean ?? body
    const { 'content-length': _, 'content-encoding': encoding, ...rest } = toClientHeaders(headers)
    // A refusal may quote the key in `www-authenticate`, for one.
    scrubHeaders(rest, scrub)
    this.#start(status, {
      ...rest,
      ...(encoding !== undefined && sent === body && { 'content-encoding': encoding }),
      ...(advised && { 'content-type': 'application/json' }),
      'content-length': String(sent.length),
    })
    this.#deliver(sent)
    listener.tell({ type: 'response.ended' })
  }

  #rewrite({ push }: AnswerRewriter, chunk: Buffer): Buffer | undefined {
    try {
      return push(chunk)
    } catch (cause) {
      this.#isRejected = true
      const { id } = this.#options.target.provider
      this.#breakOff(new UpstreamError(id, 'an event of its stream has no end', { cause }))
      return undefined
    }
  }
}

/** Longest name of a member, in characters. */
const MAX_MEMBER = 32

/** `x-leasehold-elsewhere` names the member to ask; without it the proof was refused. */
function toRedirect(
  member: string,
  { 'x-leasehold-elsewhere': named }: Headers,
): ServiceError | UpstreamStatusError {
  if (typeof named !== 'string') return new UpstreamStatusError(member, 421)
  const other = toPlainText(named).slice(0, MAX_MEMBER)
  return new ServiceError(member, {
    code: 'LEASEHOLD_ELSEWHERE',
    message: `${other} has it, or starts it`,
    member: other,
  })
}

/** Media types of one JSON document per line. */
const LINES: ReadonlySet<string> = new Set([
  'application/x-ndjson',
  'application/ndjson',
  'application/jsonl',
  'application/x-jsonlines',
  'application/json-lines',
])
const PAGES: ReadonlySet<string> = new Set(['text/html', 'application/xhtml+xml'])

/** Why an answer with this head cannot be one of a model server; `undefined`: it can. */
function findHeadFault(
  status: number,
  headers: Headers,
  baseUrl: string,
  acceptsPage: boolean,
): string | undefined {
  const coding = headers['transfer-encoding']
  if (coding !== undefined && !/^(?:chunked|identity)$/i.test(String(coding)))
    return `it sent the transfer coding "${String(coding).slice(0, 50)}", which was not asked for`
  if (status >= 300 && status < 400)
    return `it answered ${status}, a redirect to ${toPlace(headers.location, baseUrl)}, which is not followed; set baseUrl to where the server is`
  if (status >= 400 || acceptsPage || !PAGES.has(toMediaType(headers))) return undefined
  const isVersioned = /\/v\d\w*$/.test(new URL(baseUrl).pathname)
  return `a web page answered at ${baseUrl}: ${isVersioned ? 'is that the address of a model server?' : 'is /v1 missing in baseUrl?'}`
}

/** Without its query, which may hold a key. */
function toPlace(location: Headers[string], baseUrl: string): string {
  if (location === undefined) return 'nowhere'
  try {
    const { origin, pathname } = new URL(String(location), baseUrl)
    return `${origin === 'null' ? '' : origin}${pathname}`.slice(0, 200)
  } catch {
    return 'no valid address'
  }
}

function scrubHeaders(headers: Record<string, string | string[]>, scrub: (value: string) => string): void {
  for (const name in headers) {
    const value = headers[name] ?? ''
    headers[name] = typeof value === 'string' ? scrub(value) : value.map(scrub)
  }
}

/** Statuses that another candidate may better. */
function isRetryableStatus(status: number): boolean {
  return status === 408 || status === 429 || status >= 500
}

/** A refusal without its compression; as it is when it has none, or one that is not known. */
function decompress(body: Buffer, { 'content-encoding': encoding }: Headers): Buffer {
  if (encoding === undefined) return body
  const unpack = encoding === 'br' ? brotliDecompressSync : unzipSync
  try {
    return unpack(body, { maxOutputLength: MAX_REFUSAL_BYTES })
  } catch {
    return body
  }
}

/** llama.cpp: `Loading model`; inferrs: `{"status":"loading"}`. */
function isLoadingText(text: string): boolean {
  return /loading model|model is loading|"status"\s*:\s*"loading"/i.test(text)
}

/** `}` and `]`: how a JSON document of an answer without length ends, if it came whole. */
const CLOSERS = new Set([0x7d, 0x5d])

function findLastVisible(chunk: Buffer): number | undefined {
  return chunk.findLast((byte) => byte > 0x20)
}

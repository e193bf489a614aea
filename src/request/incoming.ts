import { brotliDecompressSync, unzipSync } from 'node:zlib'
import { type Advice, advise } from '../compat/advice.ts'
import { type AnswerRewriter, createAnswerRewriter } from '../compat/answer.ts'
import { hasAnswerRules } from '../compat/response.ts'
import { createUsageFilter, type UsageFilter } from '../compat/usage-chunk.ts'
import type { ModelTarget } from '../config/model-ref.ts'
import { UpstreamError, UpstreamStatusError } from '../errors.ts'
import { createUsageTail, type Usage, withPace } from '../events/usage.ts'
import { createLinesEnding, createStreamEnding, type StreamEnding } from '../transport/completeness.ts'
import { forbidBuffering, type Headers, toClientHeaders, toMediaType } from '../transport/headers.ts'
import type { UpstreamHandler } from '../transport/upstream.ts'
import type { AnswerSecrets, BodyMask } from './answer-mask.ts'

/** What an answer turns out to be. `onBegin` precedes `onBytes`; one of the others comes last, exactly once. */
export interface IncomingHandler {
  onBegin(status: number, headers: Record<string, string | string[]>): void
  /** Answers `false` to be left alone until the call is resumed. */
  onBytes(chunk: Buffer): boolean
  onEnd(): void
  /** The connection broke, or closed before the answer was complete; `hasMore`: or what comes on it is no answer. */
  onBroken(error: UpstreamError, hasMore?: boolean): void
  /** Nobody listened: no server has seen the request. */
  onUnheard(error: UpstreamError): void
  /** A head that is no answer, or a status that another candidate may better while `hasNext` says that there is one. */
  onRefused(error: UpstreamError | UpstreamStatusError): void
  /** The server says that it is still loading, although its health said otherwise. */
  onStillLoading(): void
  /** A known complaint of a backend: what cures it. */
  onAdvice(advice: Advice): void
}

export interface IncomingOptions {
  readonly target: ModelTarget
  /** Whether a stream's usage chunk is for us alone: see `createUsageFilter`. */
  readonly hidesUsage: boolean
  /** Whether the client asked for a web page. */
  readonly acceptsPage: boolean
  /** The path of the client. */
  readonly path: string
  readonly hasNext: () => boolean
  /** Whether it is still early enough to wait for a server that says it is loading. */
  readonly canWait: () => boolean
  /** Takes out of a text what nobody may read: servers quote the key they refuse. */
  readonly scrub: (text: string) => string
  /** What the server was given and must not show in an answer that is no refusal. Absent: nothing. */
  readonly secrets: AnswerSecrets | undefined
}

/** A refusal up to this size is read whole before it goes on, in bytes: it may want to be explained. */
const MAX_REFUSAL_BYTES = 65_536

interface Refusal {
  readonly status: number
  readonly headers: Headers
  readonly chunks: Buffer[]
  bytes: number
}

/** An answer as it comes in. */
export interface Incoming extends UpstreamHandler {
  /** What it said of itself, once it is over; `elapsedMs`: how long it took, from its first byte to its last. */
  usage(elapsedMs: number): Usage | null
  /** Passes on the complete events that wait for more: no more will come. */
  cut(): void
}

/** Reads an upstream's answer for what it means, and passes its bytes on untouched wherever nothing must change. */
export function createIncoming(
  { target, acceptsPage, hidesUsage, path, hasNext, canWait, scrub, secrets }: IncomingOptions,
  handler: IncomingHandler,
): Incoming {
  const { provider, model } = target
  const compat = model?.compat ?? {}
  let ending: StreamEnding | undefined
  const tail = createUsageTail()
  let refusal: Refusal | undefined
  /** Its head made no sense: what comes after it is nobody's answer. */
  let isRejected = false
  let isEventStream = false
  let isOpenEnded = false
  let lastByte = 0
  let rewriter: AnswerRewriter | undefined
  let usageFilter: UsageFilter | undefined
  let bodyMask: BodyMask | undefined

  const pass = (bytes: Buffer) => handler.onBytes(bodyMask === undefined ? bytes : bodyMask.push(bytes))
  const begin = (status: number, headers: Headers) => {
    const isEncoded = headers['content-encoding'] !== undefined && headers['content-encoding'] !== 'identity'
    const type = toMediaType(headers)
    const isPlain = status === 200 && !isEncoded
    const isLines = isPlain && LINES.has(type)
    isEventStream = isPlain && type === 'text/event-stream'
    if (isEventStream) ending = createStreamEnding()
    else if (isLines) ending = createLinesEnding()
    isOpenEnded =
      (isLines || (!isEncoded && type === 'application/json')) &&
      headers['content-length'] === undefined &&
      headers['transfer-encoding'] === undefined
    const sent = toClientHeaders(headers)
    // What has no length is made while it is sent: events, lines, speech.
    if (headers['content-length'] === undefined && status !== 204) forbidBuffering(sent)
    if (status === 200 && !isEncoded && hasAnswerRules(compat)) {
      rewriter = createAnswerRewriter(compat, isEventStream)
      delete sent['content-length']
    }
    if (isEventStream && hidesUsage) {
      usageFilter = createUsageFilter()
      delete sent['content-length']
    }
    if (secrets !== undefined) {
      scrubHeaders(sent, secrets.header)
      if (!isEncoded) bodyMask = secrets.openBody()
    }
    handler.onBegin(status, sent)
  }
  /** What was held back turned out to be large: it goes on as it is. */
  const letPass = ({ status, headers, chunks }: Refusal) => {
    refusal = undefined
    begin(status, headers)
    for (const chunk of chunks) pass(chunk)
  }
  const answerRefusal = ({ status, headers, chunks, bytes }: Refusal) => {
    const body = Buffer.concat(chunks, bytes)
    const plain = toPlain(body, headers)
    // Another leasehold quotes what its server printed while it loaded, and says that asking again is of no use.
    const isFinal = headers['x-should-retry'] === 'false'
    if (status === 503 && !isFinal && isLoadingText(plain.toString('utf8')) && canWait())
      return handler.onStillLoading()
    if (isRetryableStatus(status) && hasNext())
      return handler.onRefused(new UpstreamStatusError(provider.id, status))
    const told = plain.toString('utf8')
    const scrubbed = scrub(told)
    const clean = scrubbed === told ? undefined : Buffer.from(scrubbed)
    const advised = advise(status, clean ?? plain, { ref: target.ref, path, baseUrl: provider.baseUrl })
    if (advised !== undefined) handler.onAdvice(advised.advice)
    const sent = advised?.body ?? clean ?? body
    const { 'content-length': _, 'content-encoding': encoding, ...rest } = toClientHeaders(headers)
    // A refusal may quote the key in `www-authenticate`, for one.
    scrubHeaders(rest, scrub)
    handler.onBegin(status, {
      ...rest,
      ...(encoding !== undefined && sent === body && { 'content-encoding': encoding }),
      ...(advised && { 'content-type': 'application/json' }),
      'content-length': String(sent.length),
    })
    handler.onBytes(sent)
    handler.onEnd()
  }

  const cut = () => {
    const rest = usageFilter?.cut()
    if (rest !== undefined && rest.length > 0) pass(rest)
  }

  const rewrite = ({ push }: AnswerRewriter, chunk: Buffer) => {
    try {
      return push(chunk)
    } catch (cause) {
      isRejected = true
      handler.onBroken(new UpstreamError(provider.id, 'an event of its stream has no end', { cause }), true)
      return undefined
    }
  }

  return {
    cut,
    usage: (elapsedMs) => (isEventStream ? withPace(tail.read(), elapsedMs) : tail.read()),
    onHead: (status, headers) => {
      if (status > 599) {
        isRejected = true
        const error = new UpstreamError(provider.id, `it answered with the status ${status}`)
        return handler.onBroken(error, true)
      }
      const fault = findHeadFault(status, headers, provider.baseUrl, acceptsPage)
      if (fault !== undefined) return handler.onRefused(new UpstreamError(provider.id, fault))
      // A 503 may only mean that the server is still loading, which its body says.
      if (isRetryableStatus(status) && status !== 503 && hasNext())
        handler.onRefused(new UpstreamStatusError(provider.id, status))
      else if (status >= 400) refusal = { status, headers, chunks: [], bytes: 0 }
      else begin(status, headers)
    },
    onData: (chunk) => {
      if (isRejected) return true
      if (refusal !== undefined) {
        refusal.chunks.push(chunk)
        refusal.bytes += chunk.length
        if (refusal.bytes > MAX_REFUSAL_BYTES) letPass(refusal)
        return true
      }
      tail.add(chunk)
      ending?.add(chunk)
      if (isOpenEnded) lastByte = lastVisible(chunk) ?? lastByte
      const rewritten = rewriter === undefined ? chunk : rewrite(rewriter, chunk)
      if (rewritten === undefined) return true
      return pass(usageFilter === undefined ? rewritten : usageFilter.push(rewritten))
    },
    onEnd: () => {
      if (isRejected) return
      if (refusal !== undefined) return answerRefusal(refusal)
      const isTruncated = ending?.isComplete() === false || (isOpenEnded && !CLOSERS.has(lastByte))
      // Half an event must not become a whole one.
      if (rewriter !== undefined && !(isTruncated && isEventStream)) {
        const rest = rewriter.end()
        pass(usageFilter === undefined ? rest : usageFilter.push(rest))
      }
      if (usageFilter !== undefined) pass(usageFilter.end())
      if (bodyMask !== undefined) handler.onBytes(bodyMask.end())
      if (!isTruncated) return handler.onEnd()
      handler.onBroken(
        new UpstreamError(provider.id, 'the answer ended without its proper ending', { isTruncated: true }),
      )
    },
    onError: (cause, wasSent) => {
      if (isRejected) return
      const code = 'code' in cause ? ` (${cause.code})` : ''
      const message = `the connection to the server broke: ${cause.message}${code}`
      const error = new UpstreamError(provider.id, message, { cause })
      cut()
      if (wasSent) handler.onBroken(error)
      else handler.onUnheard(error)
    },
  }
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
function toPlain(body: Buffer, { 'content-encoding': encoding }: Headers): Buffer {
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

function lastVisible(chunk: Buffer): number | undefined {
  return chunk.findLast((byte) => byte > 0x20)
}

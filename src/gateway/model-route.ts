import type { IncomingMessage, ServerResponse } from 'node:http'
import { hasTag } from '../../machines/provider/tags.ts'
import type { Clock } from '../clock.ts'
import { buildErrorEnding, toErrorApi } from '../compat/error-shapes.ts'
import { toOpenAiError } from '../compat/openai-error.ts'
import type { LeaseholdError } from '../errors.ts'
import type { QueuedRequest } from '../lease/queue.ts'
import { toPlaceHeaders } from '../request/answer-headers.ts'
import type { ModelCall } from '../request/exchange.ts'
import { toPreferences } from '../request/preferences.ts'
import type { SupervisorInternals } from '../supervisor/internals.ts'
import type { AnswerHandler } from '../transport/answer-handler.ts'
import { type Headers, toMediaType, UNBUFFERED } from '../transport/headers.ts'
import { WAITED_HEADER } from '../transport/hops.ts'
import type { ProvenHop } from '../transport/member-proof.ts'
import { writeChunk } from './chunk.ts'
import { withOwnVary } from './cors.ts'
import { sendError } from './respond.ts'
import { createStallWatch } from './stall.ts'
import type { WaitBoard, WaitView } from './wait-board.ts'

export interface ModelRouteOptions {
  readonly dispatch: SupervisorInternals['dispatch']
  readonly clock: Clock
  readonly waits: WaitBoard
  /** How long a streaming request waits in silence before comments tell what is going on; `0`: for ever. */
  readonly coldStartCommentsMs: number
  /** A client that takes nothing for this long, in milliseconds, is cut off: it must not hold a lease for ever. */
  readonly writeStallMs: number
  /** Path and query at the root of the server, for a route of llama.cpp's own. @default those of the client, below `/v1` */
  readonly rootPath?: string
  /** The member of the cluster that sent it. Absent: a client. */
  readonly hop?: ProvenHop | undefined
  /** Called when the answer begins: the request waits no more. */
  readonly onAnswer: () => void
}

/** Time between two comments of a stream that waits, in milliseconds: well below a client's idle limit. */
const COMMENT_EVERY_MS = 5_000

const SILENCE_COMMENT = Buffer.from(': leasehold waits for more of the answer\n')

/** An error is short: of a late answer that is longer, the rest is not kept. */
const MAX_LATE_CHUNKS = 16

/** Sends a model request on its way and its answer back, at the client's pace. The lease ends with the answer. */
export function answerModelRequest(
  request: IncomingMessage,
  response: ServerResponse,
  body: Buffer,
  options: ModelRouteOptions,
): void {
  const { dispatch, hop, rootPath } = options
  // The first byte for a member is that of the answer: until then it may ask another one.
  const coldStartCommentsMs = hop === undefined ? options.coldStartCommentsMs : 0
  const answer = new ModelAnswer(response, options)
  response.on('drain', () => answer.call?.resume())
  response.once('close', () => answer.leave())
  answer.call = dispatch(
    {
      method: request.method ?? 'GET',
      path: rootPath ?? request.url ?? '/',
      ...(rootPath === undefined ? {} : { isAtRoot: true }),
      headers: request.headers,
      body,
      ...(hop === undefined ? {} : { hop, waitedMs: toWaitedMs(request.headers) }),
      ...toPreferences(request.headers),
    },
    answer,
  )
  if (answer.call.isStream && coldStartCommentsMs > 0 && !response.headersSent && !response.writableEnded)
    answer.comment(coldStartCommentsMs)
}

/** Longest wait that a member may claim for a request, in milliseconds. */
const MAX_WAITED_MS = 3_600_000

function toWaitedMs({ [WAITED_HEADER]: waited }: IncomingMessage['headers']): number {
  const ms = Number(waited)
  return Number.isInteger(ms) ? Math.max(0, Math.min(MAX_WAITED_MS, ms)) : 0
}

/** The answer to one client. A class, because one is made for each request. */
class ModelAnswer implements AnswerHandler<LeaseholdError> {
  call: ModelCall | undefined
  readonly #response: ServerResponse
  readonly #options: ModelRouteOptions
  /** Comments were sent, and then no stream came: the answer goes into the error that ends the stream. */
  #isStatusLate = false
  #lateAnswer: Buffer[] | undefined
  #isEventStream = false
  #timer: unknown
  #watchStall: (() => void) | undefined
  /** The last four bytes of the stream, by which a comment finds out whether it would stand between two events. */
  #lastSent = NOTHING_SENT
  #hasSent = false
  #hasBody = false

  constructor(response: ServerResponse, options: ModelRouteOptions) {
    this.#response = response
    this.#options = options
  }

  /** To the member that sent the request; a client gets none. */
  onEarly(headers: Parameters<AnswerHandler['onHead']>[1]): void {
    const response = this.#response
    // Node sends no early hints without a link.
    if (!response.headersSent && !response.destroyed)
      response.writeEarlyHints({ link: '</>; rel=self', ...(headers as Record<string, string>) })
  }

  onHead(status: number, headers: Parameters<AnswerHandler['onHead']>[1]): void {
    const response = this.#response
    const { coldStartCommentsMs, onAnswer } = this.#options
    this.#quiet()
    onAnswer()
    if (response.headersSent) this.#isStatusLate = status !== 200 || !isEvents(headers)
    else {
      this.#isEventStream = isEvents(headers)
      response.writeHead(status, withOwnVary(response, headers))
      process.nextTick(sendHead, this)
    }
    if (this.#isEventStream && !this.#isStatusLate && coldStartCommentsMs > 0 && canGrow(headers))
      this.#commentInSilence()
  }

  onData(chunk: Buffer): boolean {
    if (this.#isStatusLate) {
      this.#lateAnswer ??= []
      if (this.#lateAnswer.length < MAX_LATE_CHUNKS) this.#lateAnswer.push(chunk)
      return true
    }
    this.#hasBody = true
    if (this.#isEventStream && chunk.length > 0) {
      this.#hasSent = true
      this.#lastSent = toLastBytes(this.#lastSent, chunk)
    }
    const isHungry = writeChunk(this.#response, chunk)
    if (!isHungry) {
      const { clock, writeStallMs } = this.#options
      this.#watchStall ??= createStallWatch(this.#response, clock, writeStallMs)
      this.#watchStall()
    }
    return isHungry
  }

  onEnd(): void {
    this.#quiet()
    if (this.#isStatusLate) this.#breakOff(toLateRefusal(Buffer.concat(this.#lateAnswer ?? [])))
    else this.#response.end()
  }

  onError(error: LeaseholdError): void {
    const response = this.#response
    this.#quiet()
    if (response.destroyed) return
    if (!response.headersSent) response.setHeader('x-leasehold-request-id', error.requestId ?? '')
    if (!response.headersSent) sendError(response, error)
    else this.#breakOff(toOpenAiError(error).body)
  }

  /** A head that comes without a first chunk is sent at once: the first token may be far away. */
  sendHead(): void {
    if (!this.#hasBody && !this.#response.writableEnded) this.#response.flushHeaders()
  }

  /** The client left, or has its answer. */
  leave(): void {
    this.#quiet()
    if (!this.#response.writableFinished) this.call?.abort()
  }

  /** After a while of waiting, tells the client its situation in comments, which every SSE reader skips. */
  comment(afterMs: number): void {
    const { clock, coldStartCommentsMs, waits } = this.#options
    this.#timer = clock.setTimeout(() => {
      const { call } = this
      const response = this.#response
      if (call === undefined) return
      // A look-up that is no older than the wait knows of this request.
      const { service, place } = waits.find(call, coldStartCommentsMs)
      if (!response.headersSent) {
        this.#isEventStream = true
        response.writeHead(200, {
          'content-type': 'text/event-stream',
          ...UNBUFFERED,
          'x-leasehold-request-id': call.id,
          ...(place === undefined ? {} : toPlaceHeaders(place)),
        })
      }
      // One line end, not two: openai-go up to 3.30 takes the empty line after a comment for an event without data.
      writeChunk(response, Buffer.from(`: leasehold ${describeWait({ service, place })}\n`))
      this.comment(COMMENT_EVERY_MS)
    }, afterMs)
  }

  /** A server that has begun its answer may still think for long: comments go on wherever they part no event. */
  #commentInSilence(): void {
    this.#timer = this.#options.clock.setTimeout(() => {
      if (!this.#hasSent && !this.#response.writableNeedDrain && isEventBorder(this.#lastSent))
        writeChunk(this.#response, SILENCE_COMMENT)
      this.#hasSent = false
      this.#commentInSilence()
    }, COMMENT_EVERY_MS)
  }

  #quiet(): void {
    if (this.#timer !== undefined) this.#options.clock.clearTimeout(this.#timer)
  }

  /** Ends a stream that must not look complete: an error event, then in most APIs a cut connection. */
  #breakOff(error: unknown): void {
    const response = this.#response
    if (!this.#isEventStream) return void response.destroy()
    const isFirst = this.#lastSent === NOTHING_SENT
    const api = toErrorApi(response.req.url ?? '')
    const { text, isClean } = buildErrorEnding(api, error, { requestId: this.call?.id ?? '', isFirst })
    // What the server sent of its last event must not become part of ours.
    writeChunk(response, Buffer.from(isEventBorder(this.#lastSent) ? text : `\n\n${text}`), () => {
      if (isClean) response.end()
      else response.destroy()
    })
  }
}

function sendHead(answer: ModelAnswer): void {
  answer.sendHead()
}

function isEvents(headers: Headers): boolean {
  return toMediaType(headers) === 'text/event-stream'
}

/** Whether something of ours may stand in a stream: its length is open, and its bytes are plain text. */
function canGrow(headers: Headers): boolean {
  const encoding = headers['content-encoding'] ?? 'identity'
  return headers['content-length'] === undefined && encoding === 'identity'
}

const NOTHING_SENT = 0

/** The last four bytes of a stream as one number. */
function toLastBytes(before: number, chunk: Buffer): number {
  let last = before
  for (let at = Math.max(0, chunk.length - 4); at < chunk.length; at += 1)
    last = (last << 8) | (chunk[at] ?? 0)
  return last
}

/** Whether an event stream stands between two events: at its beginning, or after an empty line. */
function isEventBorder(last: number): boolean {
  const lastTwo = last & 0xffff
  return last === NOTHING_SENT || lastTwo === 0x0a0a || lastTwo === 0x0d0d || last === 0x0d0a0d0a
}

/** The server's own error, where it is one; otherwise that there was no stream. */
function toLateRefusal(answer: Buffer): unknown {
  try {
    const value: unknown = JSON.parse(answer.toString('utf8'))
    if (typeof value === 'object' && value !== null && 'error' in value) return value
  } catch {
    // Not JSON: nothing in it that an event could hold.
  }
  return {
    error: {
      message:
        'The server did not answer with a stream when it had become ready; send the request again to see its answer.',
      type: 'upstream_error',
      code: 'LEASEHOLD_UPSTREAM_FAILED',
      param: null,
    },
  }
}

function describeWait({ service, place }: WaitView): string {
  if (service === undefined) return 'waiting'
  const { state, inStateMs, verdict, explanation } = service
  const inState = `${service.service} is ${state} for ${toSeconds(inStateMs)}`
  const seen = verdict === null ? '' : `, ${verdict.detail}`
  // Before it is spawned there is nothing of it that a health check could have found.
  const detail = hasTag(state, 'claiming') ? `: ${explanation.title}` : seen
  return `${inState}${detail}${describePlace(place, service.queue.length)}`.replace(/[\r\n]+/g, ' ')
}

/** Absent while a request has its lease and waits for the first byte. */
function describePlace(place: QueuedRequest | undefined, length: number): string {
  if (place === undefined) return ''
  const estimate = place.estimatedMs === null ? '' : `, about ${toSeconds(place.estimatedMs)} to go`
  return `; number ${place.position} of ${length} in the queue for ${toSeconds(place.waitedMs)}${estimate}`
}

function toSeconds(ms: number): string {
  return `${Math.round(ms / 1000)} s`
}

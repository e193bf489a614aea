import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Clock } from '../clock.ts'
import { toOpenAiError } from '../openai-error.ts'
import type { ModelCall, ModelResponseHandler } from '../supervisor/exchange.ts'
import type { Supervisor } from '../supervisor/supervisor.ts'
import { sendError, toSseEvent } from './respond.ts'

export interface ModelRouteOptions {
  readonly supervisor: Supervisor
  readonly clock: Clock
  /** How long a streaming request waits in silence before comments tell what is going on; `0`: for ever. */
  readonly coldStartCommentsMs: number
}

/** Time between two comments of a stream that waits, in milliseconds: well below a client's idle limit. */
const COMMENT_EVERY_MS = 5_000

/** Sends a model request on its way and its answer back, at the client's pace. The lease ends with the answer. */
export function answerModelRequest(
  request: IncomingMessage,
  response: ServerResponse,
  body: Buffer,
  { supervisor, clock, coldStartCommentsMs }: ModelRouteOptions,
): void {
  let call: ModelCall | undefined
  let isGathering = false
  let isStatusLate = false
  let timer: unknown
  const quiet = () => clock.clearTimeout(timer)
  /** What arrives in one read leaves in one write; a head alone leaves too, long before the first token. */
  const gather = () => {
    if (isGathering) return
    isGathering = true
    response.cork()
    process.nextTick(() => {
      isGathering = false
      if (!response.writableEnded) response.flushHeaders()
      response.uncork()
    })
  }

  const handler: ModelResponseHandler = {
    onHead: (status, headers) => {
      quiet()
      if (response.headersSent) isStatusLate = status !== 200
      else {
        gather()
        response.writeHead(status, headers)
      }
    },
    onData: (chunk) => {
      if (isStatusLate) return true
      gather()
      return response.write(chunk)
    },
    onEnd: () => {
      if (isStatusLate) breakStream(response, LATE_REFUSAL)
      else response.end()
    },
    onError: (error) => {
      quiet()
      if (response.destroyed) return
      if (!response.headersSent) sendError(response, error)
      else breakStream(response, toOpenAiError(error).body)
    },
  }

  response.on('drain', () => call?.resume())
  response.once('close', () => {
    quiet()
    if (!response.writableFinished) call?.abort()
  })
  call = supervisor.dispatch(
    {
      method: request.method ?? 'GET',
      path: request.url ?? '/',
      headers: request.headers,
      body,
      ...toPreferences(request),
    },
    handler,
  )
  if (call.isStream && coldStartCommentsMs > 0 && !response.headersSent && !response.writableEnded)
    comment(coldStartCommentsMs)

  /** After a while of waiting, tells the client true facts in comments, which every SSE reader skips. */
  function comment(afterMs: number): void {
    timer = clock.setTimeout(() => {
      if (!response.headersSent)
        response.writeHead(200, {
          'content-type': 'text/event-stream',
          'cache-control': 'no-cache',
          'x-leasehold-request-id': call?.id ?? '',
        })
      response.write(`: leasehold ${describeWait(supervisor, call)}\n\n`)
      comment(COMMENT_EVERY_MS)
    }, afterMs)
  }
}

const LATE_REFUSAL = {
  error: {
    message: 'The server refused the request after it had become ready; send it again to see its answer.',
    type: 'upstream_error',
    code: 'LEASEHOLD_UPSTREAM_FAILED',
    param: null,
  },
}

/** Ends a stream that must not look whole: an error event, then a connection that is cut. */
function breakStream(response: ServerResponse, error: unknown): void {
  const isEventStream = String(response.getHeader('content-type')).startsWith('text/event-stream')
  if (!isEventStream) return void response.destroy()
  response.write(toSseEvent('error', error), () => response.destroy())
}

function describeWait(supervisor: Supervisor, call: ModelCall | undefined): string {
  const service = supervisor.snapshot().services.find(({ key }) => key === call?.serviceKey)
  if (service === undefined) return 'waiting'
  const seconds = Math.round(service.inStateMs / 1000)
  const detail = service.verdict === null ? '' : `, ${service.verdict.detail}`
  return `${service.service} is ${service.state} for ${seconds} s${detail}`.replace(/[\r\n]+/g, ' ')
}

/** Queue priority and failover as request headers ask for them. */
function toPreferences({ headers }: IncomingMessage): { priority?: number; failover?: boolean } {
  const priority = Number(headers['x-leasehold-priority'])
  return {
    ...(Number.isInteger(priority) ? { priority: Math.max(-100, Math.min(100, priority)) } : {}),
    ...(headers['x-leasehold-failover'] === 'true' ? { failover: true } : {}),
  }
}

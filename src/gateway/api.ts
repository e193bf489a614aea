import type { IncomingMessage, ServerResponse } from 'node:http'
import { EMPTY, type Observable, takeUntil } from 'rxjs'
import { hasTag } from '../../machines/provider/tags.ts'
import type { Clock } from '../clock.ts'
import { BadRequestError } from '../errors.ts'
import type { InspectionHub } from '../inspector/hub.ts'
import { joinLogs } from '../observe/joint-log.ts'
import type { Supervisor } from '../supervisor/interface.ts'
import { internalsOf } from '../supervisor/internals.ts'
import { UNBUFFERED } from '../transport/headers.ts'
import { decodePath } from '../transport/path.ts'
import { readJsonBody } from './body.ts'
import { answerDrain, answerMembers } from './cluster-routes.ts'
import { sendEvents, toCount } from './event-route.ts'
import { sendJson, sendLargeJson } from './respond.ts'
import { stopAll } from './running.ts'

/** Requests that one answer lists: the oldest. */
const MAX_REQUESTS = 200
/** A reader that falls this far behind is cut off, in bytes: a slow reader slows no other. */
const MAX_BEHIND_BYTES = 1_048_576

export interface ApiOptions {
  /** Ends the streams among the answers. */
  readonly closing$: Observable<void>
  readonly inspection: InspectionHub
  /** The supervisor's. */
  readonly clock: Clock
}

/**
 * The control surface that the command line and the page use: `/api/…`.
 * @throws {@link BadRequestError} 404
 */
export async function answerApi(
  supervisor: Supervisor,
  request: IncomingMessage,
  response: ServerResponse,
  url: URL,
  { closing$, inspection, clock }: ApiOptions,
): Promise<void> {
  const [, , resource = '', rawId, verb] = url.pathname.split('/')
  const id = rawId === undefined ? undefined : decodePath(rawId)
  const method = request.method === 'HEAD' ? 'GET' : request.method
  const route = `${method} ${resource}${id === undefined ? '' : '/:id'}${verb === undefined ? '' : `/${verb}`}`
  switch (route) {
    case 'GET services':
      return sendLargeJson(response, supervisor.snapshot())
    case 'GET services/:id':
      return sendJson(response, 200, supervisor.service(id ?? ''))
    case 'POST services/:id/start': {
      const { wait } = await readJsonBody(response)
      if (wait === false) {
        const before = supervisor.service(id ?? '')
        // How it ends is told by its state and its events.
        const starting = supervisor.start(id ?? '')
        starting.catch(() => {})
        // The start of a service that is up only holds a lease for a moment, which would show as in use.
        const isUp = hasTag(before.state, 'up')
        return sendJson(response, 202, isUp ? before : supervisor.service(id ?? ''))
      }
      const leaving = new AbortController()
      response.once('close', () => leaving.abort())
      return sendJson(response, 200, await supervisor.start(id ?? '', { signal: leaving.signal }))
    }
    case 'POST services/:id/stop': {
      const { force } = await readJsonBody(response)
      return sendJson(response, 200, await supervisor.stop(id ?? '', { force: force === true }))
    }
    case 'POST stop': {
      const { force } = await readJsonBody(response)
      return sendJson(response, 200, await stopAll(supervisor, force === true))
    }
    case 'GET members':
      return answerMembers(supervisor, response)
    case 'POST drain': {
      const { undo } = await readJsonBody(response)
      return answerDrain(supervisor, response, undo !== true)
    }
    case 'GET logs': {
      const own = internalsOf(supervisor).ownLog
      const { nowMs } = own
      if (!url.searchParams.has('servers'))
        return sendLines(response, { tail: own.lines, lines$: own.lines$, nowMs }, toEnd(url, closing$))
      const services = () => supervisor.snapshot().services.map(({ service }) => service)
      const joint = joinLogs({ own, services, output: supervisor.output, events$: supervisor.events$, clock })
      return sendLines(response, { ...joint, nowMs }, toEnd(url, closing$))
    }
    case 'GET logs/:id': {
      const { tail = () => [], lines$ = EMPTY } = supervisor.output(id ?? '') ?? {}
      return sendLines(response, { tail, lines$, nowMs: clock.now() }, toEnd(url, closing$))
    }
    case 'GET events':
      return sendEvents(supervisor, request, response, url, { closing$, clock })
    case 'GET requests':
      return sendLargeJson(response, listRequests(supervisor, url))
    case 'GET requests/:id/bodies': {
      const bodies = internalsOf(supervisor).bodiesOf(id ?? '')
      if (bodies !== undefined) return sendLargeJson(response, bodies)
      throw new BadRequestError(
        `The bodies of "${id}" are not kept: leasehold.captureBodies keeps those of the last requests.`,
        { status: 404 },
      )
    }
    case 'GET timeline':
      return sendLargeJson(response, supervisor.timeline())
    case 'GET hardware':
      return sendLargeJson(response, await internalsOf(supervisor).lookAtHardware(toMoment('after', url)))
    case 'DELETE requests/:id': {
      if (supervisor.cancel(id ?? '')) return sendJson(response, 200, { id, cancelled: true })
      throw new BadRequestError(`There is no request "${id}" under way.`, { status: 404 })
    }
    case 'GET inspect':
      return sendInspection(inspection, response, closing$)
    default:
      throw new BadRequestError(`${request.method} ${url.pathname} is not served here.`, { status: 404 })
  }
}

/** The requests under way; with `ended=N` the last N that ended, too. */
function listRequests(supervisor: Supervisor, url: URL): unknown {
  const requests = supervisor.requests(MAX_REQUESTS)
  const count = toCount('ended', url)
  return count === undefined ? { requests } : { requests, ended: supervisor.endedRequests(count) }
}

/** A time on the clock of the events; `undefined`: it is not there. @throws {@link BadRequestError} it is no number */
function toMoment(param: string, { searchParams }: URL): number | undefined {
  const text = searchParams.get(param)
  if (text === null) return undefined
  if (/^\d{1,12}(\.\d{1,6})?$/.test(text)) return Number(text)
  throw new BadRequestError(`${param}=${text} is not a number of milliseconds.`, { param })
}

/** When the lines that follow end; `undefined`: the query asks for none. */
function toEnd(url: URL, closing$: Observable<void>): Observable<void> | undefined {
  return url.searchParams.has('follow') ? closing$ : undefined
}

interface Lines {
  /** The kept lines, oldest first. */
  tail(): readonly object[]
  readonly lines$: Observable<object>
  /** What the clock of the lines says now. */
  readonly nowMs: number
}

/** The kept lines as one document; with `end$` as NDJSON that goes on until the reader leaves or we close. */
function sendLines(
  response: ServerResponse,
  { tail, lines$, nowMs }: Lines,
  end$: Observable<void> | undefined,
): void {
  if (end$ === undefined) return sendLargeJson(response, { lines: tail() })
  response.writeHead(200, {
    'content-type': 'application/x-ndjson; charset=utf-8',
    ...UNBUFFERED,
    'x-leasehold-clock-ms': String(nowMs),
  })
  if (response.req.method === 'HEAD') return void response.end()
  response.flushHeaders()
  for (const line of tail()) response.write(`${JSON.stringify(line)}\n`)
  const watch = lines$.pipe(takeUntil(end$)).subscribe({
    next: (line) => writeBounded(response, `${JSON.stringify(line)}\n`),
    complete: () => response.end(),
  })
  response.once('close', () => watch.unsubscribe())
}

/** The machines at work, in the wire format of `@statelyai/inspect`, until the reader leaves or we close. */
function sendInspection(
  inspection: InspectionHub,
  response: ServerResponse,
  closing$: Observable<void>,
): void {
  response.writeHead(200, {
    'content-type': 'text/event-stream',
    ...UNBUFFERED,
  })
  if (response.req.method === 'HEAD') return void response.end()
  response.flushHeaders()
  const letGo = inspection.watch((message) => writeBounded(response, `data: ${JSON.stringify(message)}\n\n`))
  const closing = closing$.subscribe(() => response.end())
  response.once('close', () => {
    letGo()
    closing.unsubscribe()
  })
}

function writeBounded(response: ServerResponse, text: string): void {
  response.write(text)
  if (response.writableLength > MAX_BEHIND_BYTES) response.destroy()
}

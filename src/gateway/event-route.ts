import type { IncomingMessage, ServerResponse } from 'node:http'
import { auditTime, type Observable, takeUntil } from 'rxjs'
import { type Clock, toScheduler } from '../clock.ts'
import { BadRequestError } from '../errors.ts'
import type { ChooseEvents, KeptEvent } from '../events/event-hub.ts'
import type { SupervisorEvent } from '../events/events.ts'
import type { Supervisor } from '../supervisor/interface.ts'
import { internalsOf } from '../supervisor/internals.ts'
import { UNBUFFERED } from '../transport/headers.ts'
import { createEventSampler } from './event-sample.ts'
import { toSseEvent } from './respond.ts'

/** Events that are built and written in one turn: a reader that is far behind must not block the event loop. */
const BATCH = 64
/** Events of this many milliseconds are written together: a busy gateway must not pay for each event and reader. */
const GATHER_MS = { all: 20, sample: 100 } as const

/**
 * Server-sent events until the reader leaves or we close. They are written as fast as the reader takes them: there is no
 * buffer besides the kept events of the supervisor. A reader that falls behind those is disconnected; when it returns
 * with its `Last-Event-ID`, it is told what it missed.
 * @throws {@link BadRequestError} for a query that means nothing
 */
export function sendEvents(
  supervisor: Supervisor,
  request: IncomingMessage,
  response: ServerResponse,
  url: URL,
  { closing$, clock }: { readonly closing$: Observable<void>; readonly clock: Clock },
): void {
  const { instance, seq: lastSeq } = supervisor.snapshot()
  const { seq$, pastEvents } = internalsOf(supervisor)
  const isWanted = toFilter(url.searchParams.get('types'))
  const last = toCount('last', url) ?? 0
  const requestsPerSecond = toCount('requestsPerSecond', url)
  const sample = requestsPerSecond === undefined ? tellAll : createEventSampler(requestsPerSecond)
  const resumed = toResumed(request.headers['last-event-id'])
  let cursor = resumed === undefined ? Math.max(0, lastSeq - last) : 0
  let isOver = false

  response.writeHead(200, {
    'content-type': 'text/event-stream',
    ...UNBUFFERED,
  })
  if (request.method === 'HEAD') return void response.end()
  response.flushHeaders()
  const toText = (event: SupervisorEvent) => `id: ${instance}.${event.seq}\n${toSseEvent(event.type, event)}`
  const tellMissed = (from: number, to: number | null) => {
    const at = { seq: to ?? 0, atMs: 0, time: new Date().toISOString() }
    response.write(toText({ ...at, type: 'events.missed', from, to }))
  }
  if (resumed !== undefined) {
    const [first] = pastEvents(0, 1)
    const oldest = first?.seq ?? lastSeq + 1
    if (resumed.instance !== instance) tellMissed(resumed.seq + 1, null)
    else cursor = Math.min(resumed.seq, lastSeq)
    if (cursor + 1 < oldest) {
      tellMissed(cursor + 1, oldest - 1)
      cursor = oldest - 1
    }
  }

  /** Writes what is due until there is no more of it, or the reader has enough for now. */
  const pump = () => {
    while (!response.writableNeedDrain && !response.destroyed) {
      let batch: readonly KeptEvent[] = []
      const told = pastEvents(cursor, BATCH, (kept) => {
        batch = kept
        return sample(kept).filter(isWanted)
      })
      const [first] = batch
      if (first === undefined) break
      if (first.seq !== cursor + 1) return void response.destroy()
      cursor += batch.length
      // The last events may be filtered out; the reader still gets the number of the last one.
      const mark = told.at(-1)?.seq === cursor ? '' : `id: ${instance}.${cursor}\n\n`
      response.write(told.map(toText).join('') + mark)
    }
    if (isOver && !response.writableNeedDrain) response.end()
  }
  response.on('drain', pump)
  isOver = url.searchParams.get('follow') === '0'
  pump()
  if (isOver) return
  const close = () => {
    isOver = true
    pump()
    // A reader that takes nothing now must not delay the shutdown.
    if (response.writableNeedDrain) response.destroy()
  }
  const watch = seq$
    .pipe(
      takeUntil(closing$),
      auditTime(sample === tellAll ? GATHER_MS.all : GATHER_MS.sample, toScheduler(clock)),
    )
    .subscribe({ next: pump, complete: close })
  response.once('close', () => watch.unsubscribe())
}

/** `INSTANCE.SEQ`, as we wrote it; any other text is ignored. */
function toResumed(id: string | string[] | undefined): { instance: string; seq: number } | undefined {
  const [, instance = '', seq] = /^([0-9a-f]{1,64})\.(\d{1,15})$/.exec(String(id)) ?? []
  return seq === undefined ? undefined : { instance, seq: Number(seq) }
}

const tellAll: ChooseEvents = (kept) => kept

/** Types by name, or all that begin with a name that ends in a dot. */
function toFilter(types: string | null): (kept: KeptEvent) => boolean {
  if (types === null) return () => true
  const names = types.split(',')
  const isNamed = (type: string) =>
    names.some((name) => type === name || (name.endsWith('.') && type.startsWith(name)))
  // There are few types, and a reader may name thousands.
  const known = new Map<string, boolean>()
  return ({ body: { type } }) => {
    const isWanted = known.get(type) ?? isNamed(type)
    known.set(type, isWanted)
    return isWanted
  }
}

/** A number in the query; `undefined`: it is not there. @throws {@link BadRequestError} it is no number */
export function toCount(param: string, { searchParams }: URL): number | undefined {
  const text = searchParams.get(param)
  if (text === null) return undefined
  if (/^\d{1,9}$/.test(text)) return Number(text)
  throw new BadRequestError(
    `${param}=${text} is not a number of ${param === 'last' ? 'events' : 'requests'}.`,
    { param },
  )
}

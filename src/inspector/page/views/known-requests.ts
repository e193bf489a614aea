import { useEffect, useRef } from 'preact/hooks'
import { hasTag } from '../../../../machines/provider/tags.ts'
import type { RequestSnapshot } from '../../../request/open-requests.ts'
import type { EndedRequest } from '../../../request/request-log.ts'
import type { App } from '../app.ts'
import type { ViewProps } from '../frame/view-frame.tsx'
import { createRequestStore, MAX_LISTED, type RequestRow, type RequestStore } from '../request-rows.ts'
import { ask } from '../stream.ts'

/** Time between two looks at the requests that ended, and between two lists, in milliseconds. */
const LOOK_MS = 2_000
const LIST_MS = 250
/** Additional requests per look: some end while it is taken. */
const SPARE = 10

/** What a list of requests is made of, and how far it has come. */
interface Source {
  readonly of: unknown
  readonly store: RequestStore
  /** The number of the last event that the store has heard. */
  seq: number
  /** Requests that had ended at the last look; `null`: it has not looked. */
  ended: number | null
}

/** It outlives the view: a list that is opened again is there at once. */
let live: Source | null = null

/** The requests at the moment that is shown, the newest first. Events tell of them, and looks of those they left out. */
export function useRequests({ app, model, atMs }: ViewProps): readonly RequestRow[] {
  const { recording, history, status, connection } = app.state
  const of = recording === null ? (status?.instance ?? null) : history.moments
  const own = useRef<Source | null>(recording === null ? live : null)
  if (own.current === null || own.current.of !== of)
    own.current = { of, store: createRequestStore(), seq: 0, ended: null }
  const source = own.current
  if (recording === null) live = source
  hearNews(source, app)

  const canLook = recording === null && connection === 'open' && of !== null
  useEffect(() => {
    if (!canLook) return
    const look = () => void lookAgain(source, app).catch(() => {})
    look()
    const timer = setInterval(look, LOOK_MS)
    return () => clearInterval(timer)
  }, [canLook, source])

  const listed = useRef({ at: Number.NEGATIVE_INFINITY, key: '', rows: [] as readonly RequestRow[] })
  const key = `${history.cursor} ${history.heldAtMs ?? ''} ${recording}`
  const now = performance.now()
  if (listed.current.key !== key || now - listed.current.at >= LIST_MS) {
    const isLoading = (service: string) => hasTag(model.services[service]?.state ?? '', 'loading')
    listed.current = { at: now, key, rows: source.store.list(atMs, isLoading) }
  }
  return listed.current.rows
}

/** Events that came since the last time. */
function hearNews(source: Source, { state }: App): void {
  const { moments } = state.history
  let first = moments.length
  while (first > 0 && (moments[first - 1]?.event.seq ?? 0) > source.seq) first -= 1
  for (let index = first; index < moments.length; index += 1) {
    const event = moments[index]?.event
    if (event === undefined) continue
    source.store.hear(event)
    source.seq = event.seq
  }
}

async function lookAgain(source: Source, app: App): Promise<void> {
  if (document.hidden) return
  const total = app.state.status?.totals.requests ?? 0
  const count = source.ended === null ? MAX_LISTED : Math.min(MAX_LISTED, total - source.ended + SPARE)
  const answer = await ask(`/api/requests?ended=${Math.max(SPARE, count)}`)
  const { requests, ended } = (await answer.json()) as {
    readonly requests: readonly RequestSnapshot[]
    readonly ended: readonly EndedRequest[]
  }
  source.ended = total
  source.store.learn(requests, ended, app.nowMs())
}

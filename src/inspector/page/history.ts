import type { SupervisorEvent } from '../../events/events.ts'
import { applyEvent, emptyModel, type PageModel } from './model.ts'

/** One event and everything as it was just after it. */
export interface Moment {
  readonly event: SupervisorEvent
  readonly model: PageModel
}

/** What was told so far, and which moment of it is looked at. */
export interface History {
  readonly moments: readonly Moment[]
  /** The newest state: after the last event and the last snapshot. */
  readonly latest: PageModel
  /** Index of the moment that is shown; `null`: the newest, as it changes. */
  readonly cursor: number | null
}

/** Moments that are kept; the oldest go first. A recording is kept whole up to its own limit. */
export const MAX_MOMENTS = 4_096
export const MAX_RECORDED = 100_000

export const emptyHistory: History = { moments: [], latest: emptyModel, cursor: null }

/** One more event. The moment that is looked at stays. */
export function record(history: History, event: SupervisorEvent): History {
  const model = applyEvent(history.latest, event)
  const all = [...history.moments, { event, model }]
  const dropped = Math.max(0, all.length - MAX_MOMENTS)
  return {
    moments: dropped === 0 ? all : all.slice(dropped),
    latest: model,
    cursor: history.cursor === null ? null : Math.max(0, history.cursor - dropped),
  }
}

/** Another newest state, from a snapshot. */
export function renew(history: History, latest: PageModel): History {
  return { ...history, latest }
}

/** Looks at one moment: `null` is the newest. Beyond either end is that end. */
export function seek(history: History, cursor: number | null): History {
  const last = history.moments.length - 1
  if (cursor === null || last < 0) return { ...history, cursor: null }
  return { ...history, cursor: Math.max(0, Math.min(last, cursor)) }
}

/** Goes on or back by a number of events; stepping on from the last one is the newest state again. */
export function step(history: History, by: number, isRecording: boolean): History {
  const last = history.moments.length - 1
  const from = history.cursor ?? last + (by < 0 && !isRecording ? 1 : 0)
  const to = from + by
  return to > last && !isRecording ? seek(history, null) : seek(history, to)
}

/** What is shown, and the time of it on the clock of the events; `nowMs` is what it is there now. */
export function findShown(
  history: History,
  nowMs: number,
): { readonly model: PageModel; readonly atMs: number } {
  const moment = history.cursor === null ? undefined : history.moments[history.cursor]
  return moment === undefined
    ? { model: history.latest, atMs: Math.max(nowMs, history.latest.atMs) }
    : { model: moment.model, atMs: moment.event.atMs }
}

/** A recording: a header, then one event per line. Lines that are neither are counted, not hidden. */
export function parseRecording(text: string): { readonly history: History; readonly skipped: number } {
  const moments: Moment[] = []
  let model = emptyModel
  let skipped = 0
  for (const [index, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue
    const event = parseEvent(line)
    // The header, and a last line that says why nothing follows, are no events.
    if (event === undefined && (index === 0 || line.startsWith('{"type":"recording.'))) continue
    if (event === undefined || moments.length >= MAX_RECORDED) {
      skipped += 1
      continue
    }
    model = applyEvent(model, event)
    moments.push({ event, model })
  }
  return { history: { moments, latest: model, cursor: moments.length === 0 ? null : 0 }, skipped }
}

function parseEvent(line: string): SupervisorEvent | undefined {
  try {
    const value = JSON.parse(line)
    const isEvent =
      typeof value?.type === 'string' && typeof value.seq === 'number' && typeof value.atMs === 'number'
    return isEvent ? value : undefined
  } catch {
    return undefined
  }
}

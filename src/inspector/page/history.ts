import type { SupervisorEvent } from '../../events/events.ts'
import type { Timeline } from '../../observe/timeline.ts'
import { applyEvent, emptyModel, type PageModel } from './model.ts'
import { buildPast, findPastChange, findStart, listPastTimes } from './past.ts'

/** One event, and everything as it was just after it where that is kept; `findModel` replays it elsewhere. */
export interface Moment {
  readonly event: SupervisorEvent
  readonly model: PageModel | null
}

/** What was told so far, and which moment of it is looked at. */
export interface History {
  /** Grows in place: only the newest history is in use. */
  readonly moments: readonly Moment[]
  /** The newest state: after the last event and the last snapshot. */
  readonly latest: PageModel
  /** Index of the moment that is shown; `null`: the newest, as it changes; `BEFORE`: a time before the first. */
  readonly cursor: number | null
  /** The time that is shown, at or after that moment; absent: that of its event. */
  readonly heldAtMs?: number | undefined
  /** Whether a snapshot has changed `latest` since the last event: no replay would find that again. */
  readonly isRenewed: boolean
  /** The last minutes, also those before the first moment; `null`: not told, or a recording. */
  readonly past: Timeline | null
}

/** The place of a time before the first moment. `heldAtMs` tells which. */
const BEFORE = -1

/** Moments that are kept; the oldest go first. A recording is kept whole up to its own limit. */
export const MAX_MOMENTS = 4_096
export const MAX_RECORDED = 100_000
/** The model of every so many moments is kept; those between are replayed from it. */
const KEPT_EVERY = 64

export const emptyHistory: History = {
  moments: [],
  latest: emptyModel,
  cursor: null,
  isRenewed: false,
  past: null,
}

/** One more event. The moment that is looked at stays. */
export function record(history: History, event: SupervisorEvent): History {
  const model = applyEvent(history.latest, event)
  const moments = history.moments.length === 0 ? [] : (history.moments as Moment[])
  const isKept = history.isRenewed || event.seq % KEPT_EVERY === 0 || moments.length === 0
  moments.push({ event, model: isKept ? model : null })
  const isFull = moments.length > MAX_MOMENTS
  const leftAtMs = (moments[0] as Moment).event.atMs
  if (isFull) {
    const second = moments[1] as Moment
    moments[1] = { ...second, model: findModel(moments, 1) }
    moments.shift()
  }
  const { cursor, heldAtMs, past } = history
  const next = { moments, latest: model, cursor, heldAtMs, isRenewed: false, past }
  if (!isFull || cursor === null || cursor === BEFORE) return next
  // The moment that is looked at goes on as a time of the timeline.
  if (cursor === 0 && past !== null) return { ...next, cursor: BEFORE, heldAtMs: heldAtMs ?? leftAtMs }
  return { ...next, cursor: Math.max(0, cursor - 1) }
}

/** Another newest state, from a snapshot. */
export function renew(history: History, latest: PageModel): History {
  const isRenewed =
    history.isRenewed ||
    latest.services !== history.latest.services ||
    latest.budgets !== history.latest.budgets
  return { ...history, latest, isRenewed }
}

/** Everything as it was just after the event of an index. */
export function findModel(moments: readonly Moment[], index: number): PageModel {
  let kept = index
  while (kept > 0 && moments[kept]?.model == null) kept -= 1
  let model = moments[kept]?.model ?? emptyModel
  for (let at = kept + 1; at <= index; at += 1) model = applyEvent(model, (moments[at] as Moment).event)
  return model
}

/** Looks at one moment: `null` is the newest. Beyond either end is that end. */
export function seek(history: History, cursor: number | null): History {
  const last = history.moments.length - 1
  if (cursor === null || last < 0) return { ...history, cursor: null, heldAtMs: undefined }
  return { ...history, cursor: Math.max(0, Math.min(last, cursor)), heldAtMs: undefined }
}

/** Looks at a time of the events' clock: what the last event until then left. */
export function seekTime(history: History, atMs: number): History {
  const { moments } = history
  let [low, high] = [0, moments.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if ((moments[middle] as Moment).event.atMs <= atMs) low = middle + 1
    else high = middle
  }
  const { past } = history
  if (low === 0 && past !== null && findStart(past) < findFirst(moments))
    return { ...history, cursor: BEFORE, heldAtMs: Math.max(atMs, findStart(past)) }
  const held = seek(history, low - 1)
  return low === 0 || held.cursor === null ? held : { ...held, heldAtMs: atMs }
}

/** The timeline counts before this time, the moments after it. A millisecond less: the timeline rounds its times. */
function findFirst(moments: readonly Moment[]): number {
  return (moments[0]?.event.atMs ?? Number.POSITIVE_INFINITY) - 1
}

/** Events that change what a view shows at a glance: the steps of the arrow keys. */
export const CHANGES: ReadonlySet<SupervisorEvent['type']> = new Set([
  'service.added',
  'service.state',
  'service.failed',
  'service.retired',
  'scheduler.decided',
  'health.verdict',
  'process.exited',
  'stop.incomplete',
  'config.replaced',
  'config.refused',
  'watchdog.lost',
  'watchdog.restored',
  'supervisor.closed',
])

/** The last of them up to a time that is shown. */
export function findLastChange(
  { moments, cursor, past }: History,
  atMs: number,
): SupervisorEvent | undefined {
  for (let at = cursor ?? moments.length - 1; at >= 0; at -= 1) {
    const event = moments[at]?.event
    if (event !== undefined && CHANGES.has(event.type)) return event
  }
  return past === null ? undefined : findPastChange(past, Math.min(atMs, moments[0]?.event.atMs ?? atMs))
}

/** Goes on or back by a number of changes; stepping on from the last one is the newest state again. */
export function step(history: History, by: number, isRecording: boolean): History {
  const { moments, past, heldAtMs = 0 } = history
  const direction = Math.sign(by)
  // The changes before the first moment have the places below zero.
  const times = listPastTimes(past, findFirst(moments))
  const passed = times.filter((ms) => ms <= heldAtMs).length
  let at =
    history.cursor === BEFORE
      ? passed - 1 - times.length
      : (history.cursor ?? moments.length - (isRecording ? 1 : 0))
  let found = at
  for (let left = Math.abs(by); left > 0; left -= 1) {
    do at += direction
    while (at >= 0 && at < moments.length && !CHANGES.has((moments[at] as Moment).event.type))
    if (at < -times.length || at >= moments.length) break
    found = at
  }
  const timeMs = times[found + times.length]
  if (found < 0 && at < moments.length && timeMs !== undefined)
    return { ...history, cursor: BEFORE, heldAtMs: timeMs }
  if (at >= moments.length) return isRecording ? seek(history, moments.length - 1) : seek(history, null)
  return seek(history, at < 0 ? 0 : found)
}

/** The last moment that was asked for: every part of the page asks for the same. */
let asked: { readonly moment: Moment; readonly model: PageModel } | null = null
let askedPast: { readonly past: Timeline; readonly atMs: number; readonly model: PageModel } | null = null

/** What is shown, and the time of it on the clock of the events; `nowMs` is what it is there now. */
export function findShown(
  { moments, cursor, latest, heldAtMs, past }: History,
  nowMs: number,
): { readonly model: PageModel; readonly atMs: number } {
  if (cursor === BEFORE && past !== null) {
    const atMs = heldAtMs ?? past.sinceMs
    if (askedPast?.past !== past || askedPast.atMs !== atMs)
      askedPast = { past, atMs, model: buildPast(past, latest, atMs) }
    return { model: askedPast.model, atMs }
  }
  const moment = cursor === null ? undefined : moments[cursor]
  if (cursor === null || moment === undefined) return { model: latest, atMs: Math.max(nowMs, latest.atMs) }
  if (asked?.moment !== moment) asked = { moment, model: findModel(moments, cursor) }
  return { model: asked.model, atMs: heldAtMs ?? moment.event.atMs }
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
    moments.push({ event, model: moments.length % KEPT_EVERY === 0 ? model : null })
  }
  const cursor = moments.length === 0 ? null : 0
  return { history: { moments, latest: model, cursor, isRenewed: false, past: null }, skipped }
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

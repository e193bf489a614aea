import { hasTag } from '../../../machines/provider/tags.ts'
import type { Decision } from '../../../machines/scheduler.ts'
import type { SupervisorEvent } from '../../events/events.ts'
import { toDecisionText } from '../../explanation/decision-text.ts'
import type { Timeline, TimelineChange, TimelineDecision, TimelineStep } from '../../observe/timeline.ts'

/** How a part of a lane looks. `idle`: an outline, for all the time that a service is up; `use` lies upon it. */
export const spanLooks = [
  'idle',
  'use',
  'asleep',
  'loading',
  'waiting',
  'stopping',
  'tripped',
  'backoff',
] as const
export type SpanLook = (typeof spanLooks)[number]

/** A part of a lane, on the clock of the events. */
export interface Span {
  readonly look: SpanLook
  readonly fromMs: number
  readonly toMs: number
}

export interface Lane {
  readonly key: string
  readonly service: string
  readonly changes: readonly TimelineChange[]
}

/** Everything that the picture of a time shows. */
export interface TimelineData {
  readonly lanes: readonly Lane[]
  readonly decisions: readonly TimelineDecision[]
  readonly room: readonly TimelineStep[]
}

/** What the gateway told of the last minutes, and what has happened since. */
export function extendTimeline(base: Timeline | null, events: readonly SupervisorEvent[]): TimelineData {
  const sinceMs = base?.atMs ?? Number.NEGATIVE_INFINITY
  const lanes = new Map<string, { readonly service: string; readonly changes: TimelineChange[] }>()
  for (const { key, service, changes } of base?.lanes ?? [])
    lanes.set(key, { service, changes: [...changes] })
  const decisions = [...(base?.decisions ?? [])]
  for (const event of events) {
    if (event.atMs <= sinceMs) continue
    if (event.type === 'scheduler.decided' && event.choice.type === 'evict')
      decisions.push(toMark(event.atMs, event))
    const change = readChange(event)
    if (change === undefined || !('key' in event)) continue
    const lane = lanes.get(event.key) ?? { service: event.service, changes: [] }
    lanes.set(event.key, lane)
    lane.changes.push(change)
  }
  return {
    lanes: [...lanes].map(([key, lane]) => ({ key, ...lane })),
    decisions,
    room: base?.room ?? [],
  }
}

function readChange(event: SupervisorEvent): TimelineChange | undefined {
  if (event.type === 'service.state') return [event.atMs, event.to, event.reason]
  return event.type === 'service.added' ? [event.atMs, 'down.cold', null] : undefined
}

function toMark(atMs: number, { choice, because, rejected }: Decision): TimelineDecision {
  const { key, service, taken } = choice
  return {
    atMs,
    key,
    service,
    cause: because.cause,
    taken: taken.map((one) => ({ key: one.key, service: one.service, how: one.how })),
    text: toDecisionText({ choice, because, rejected }),
  }
}

/** The parts of a lane that are drawn. */
export function listSpans(changes: readonly TimelineChange[], fromMs: number, toMs: number): readonly Span[] {
  const up: Span[] = []
  const spans: Span[] = []
  const add = (list: Span[], look: SpanLook, start: number, end: number) => {
    const last = list.at(-1)
    if (last?.look === look && last.toMs >= start) list[list.length - 1] = { ...last, toMs: end }
    else list.push({ look, fromMs: start, toMs: end })
  }
  for (const [index, [atMs, state]] of changes.entries()) {
    const start = Math.max(fromMs, atMs)
    const end = Math.min(toMs, changes[index + 1]?.[0] ?? toMs)
    if (end <= start && !(end === start && start > fromMs)) continue
    if (hasTag(state, 'up')) add(up, 'idle', start, end)
    const look = findSpanLook(state)
    if (look !== null) add(spans, look, start, end)
  }
  return [...up, ...spans]
}

function findSpanLook(state: string): SpanLook | null {
  if (hasTag(state, 'busy')) return 'use'
  if (hasTag(state, 'waking')) return 'loading'
  if (hasTag(state, 'sleeping')) return 'asleep'
  if (hasTag(state, 'claiming')) return 'waiting'
  if (hasTag(state, 'loading') || hasTag(state, 'probing')) return 'loading'
  if (hasTag(state, 'stopping')) return 'stopping'
  if (hasTag(state, 'tripped')) return 'tripped'
  return hasTag(state, 'backoff') ? 'backoff' : null
}

/** Parts of one look in one path at most. */
const MAX_PARTS = 120

/** Parts whose gap is not seen become one; of very many also those with a larger gap. */
export function mergeSpans(spans: readonly Span[], gapMs: number): readonly Span[] {
  let [merged, gap] = [spans, gapMs]
  do {
    merged = mergeOnce(merged, gap)
    gap *= 2
  } while (merged.length > MAX_PARTS)
  return merged
}

function mergeOnce(spans: readonly Span[], gapMs: number): readonly Span[] {
  const merged: Span[] = []
  for (const span of spans) {
    const last = merged.at(-1)
    if (last?.look === span.look && span.fromMs - last.toMs <= gapMs)
      merged[merged.length - 1] = { ...last, toMs: span.toMs }
    else merged.push(span)
  }
  return merged
}

/** When a start or a run failed. */
export function listFailures(
  changes: readonly TimelineChange[],
  fromMs: number,
  toMs: number,
): readonly number[] {
  return changes.flatMap(([atMs, state, reason]) =>
    atMs >= fromMs &&
    atMs <= toMs &&
    reason !== null &&
    (hasTag(state, 'backoff') || hasTag(state, 'tripped'))
      ? [atMs]
      : [],
  )
}

/** How much of a budget was held at a moment. */
export function findHeld(room: readonly TimelineStep[], budget: string, atMs: number): number {
  return room.findLast((step) => step.atMs <= atMs)?.held[budget] ?? 0
}

/** Round times within a span: about so many, the same distance apart. */
export function listTicks(fromWallMs: number, toWallMs: number, about: number): readonly number[] {
  const step = STEPS.find((one) => (toWallMs - fromWallMs) / one <= about) ?? (STEPS.at(-1) as number)
  const ticks: number[] = []
  for (let at = Math.ceil(fromWallMs / step) * step; at <= toWallMs; at += step) ticks.push(at)
  return ticks
}

const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 180, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 86_400].map(
  (seconds) => seconds * 1_000,
)

import { hasTag, type ProviderState } from '../../machines/provider/tags.ts'
import type { Amounts, Decision, DecisionCause, Taken } from '../../machines/scheduler.ts'
import { toDecisionText } from '../explanation/decision-text.ts'

/** How far back a timeline goes, in milliseconds. */
const SPAN_MS = 15 * 60_000
/** Changes of one service, decisions, and steps of room that are kept. */
const MAX_CHANGES = 500
const MAX_DECISIONS = 200
const MAX_STEPS = 500
/** Services that are kept, removed ones included. */
const MAX_LANES = 300
/** Two uses with a shorter time between them are one, in milliseconds. */
const TOUCHING_MS = 1_000

/** A service changed its state: when, to which, and why in one word (the code of a failure, the reason of a stop). */
export type TimelineChange = readonly [atMs: number, state: ProviderState, reason: string | null]

/** The last minutes of one service. */
export interface TimelineLane {
  readonly key: string
  readonly service: string
  /** Oldest first; the first may be older than `sinceMs`: it is the state at that time. */
  readonly changes: readonly TimelineChange[]
}

/** A decision that took room from services for another one. */
export interface TimelineDecision {
  readonly atMs: number
  readonly key: string
  readonly service: string
  readonly cause: DecisionCause
  readonly taken: readonly Pick<Taken, 'key' | 'service' | 'how'>[]
  readonly text: string
}

/** How much of each budget was held from a moment on. */
export interface TimelineStep {
  readonly atMs: number
  readonly held: Amounts
}

/** The last 15 minutes, on the clock of the events. Short pauses between uses are left out. */
export interface Timeline {
  readonly sinceMs: number
  readonly atMs: number
  readonly lanes: readonly TimelineLane[]
  readonly decisions: readonly TimelineDecision[]
  readonly room: readonly TimelineStep[]
}

/** Keeps what a timeline shows. Times are on the clock of the supervisor. */
export interface TimelineKeeper {
  noteState(key: string, service: string, atMs: number, state: ProviderState, reason: string | null): void
  noteDecision(atMs: number, decision: Decision): void
  noteRoom(atMs: number, held: Amounts): void
  /** `offsetMs`: what the clock of the events is ahead. */
  read(nowMs: number, offsetMs: number): Timeline
}

interface Lane {
  readonly service: string
  readonly changes: TimelineChange[]
}

/** Creates an empty timeline. Its size has a limit, whatever happens. */
export function createTimeline(): TimelineKeeper {
  const lanes = new Map<string, Lane>()
  const decisions: TimelineDecision[] = []
  const room: TimelineStep[] = []
  const laneOf = (key: string, service: string): Lane => {
    const known = lanes.get(key)
    if (known !== undefined) return known
    const [oldest] = lanes.keys()
    if (oldest !== undefined && lanes.size >= MAX_LANES) lanes.delete(oldest)
    const lane = { service, changes: [] }
    lanes.set(key, lane)
    return lane
  }
  return {
    noteState: (key, service, atMs, state, reason) => {
      const { changes } = laneOf(key, service)
      const last = changes.at(-1)
      // A use after a short pause goes on with the one before.
      const isSameUse =
        hasTag(state, 'busy') &&
        last !== undefined &&
        hasTag(last[1], 'idle') &&
        atMs - last[0] < TOUCHING_MS &&
        changes.at(-2)?.[1] === state
      if (isSameUse) changes.pop()
      else push(changes, [atMs, state, reason], MAX_CHANGES)
    },
    noteDecision: (atMs, decision) => {
      const { choice, because } = decision
      if (choice.type !== 'evict') return
      const { key, service } = choice
      const taken = choice.taken.map((one) => ({ key: one.key, service: one.service, how: one.how }))
      const last = decisions.at(-1)
      // The same services may be named again, when their number of waiting requests changes for one.
      const isSame =
        last?.key === key &&
        last.cause === because.cause &&
        last.taken.length === taken.length &&
        taken.every((one, index) => one.key === last.taken[index]?.key) &&
        atMs - last.atMs < TOUCHING_MS
      if (isSame) return
      const text = toDecisionText(decision)
      push(decisions, { atMs, key, service, cause: because.cause, taken, text }, MAX_DECISIONS)
    },
    noteRoom: (atMs, held) => {
      if (!isSameAmount(room.at(-1)?.held ?? {}, held)) push(room, { atMs, held }, MAX_STEPS)
    },
    read: (nowMs, offsetMs) => {
      const sinceMs = nowMs - SPAN_MS
      const shift = (ms: number) => Math.round(ms + offsetMs)
      for (const [key, { changes }] of lanes) {
        const last = changes.at(-1)
        if (last !== undefined && hasTag(last[1], 'retired') && last[0] < sinceMs) lanes.delete(key)
      }
      return {
        sinceMs: Math.max(0, shift(sinceMs)),
        atMs: shift(nowMs),
        lanes: [...lanes].map(([key, { service, changes }]) => ({
          key,
          service,
          changes: sliceFrom(changes, sinceMs, ([ms]) => ms).map(
            ([ms, state, reason]): TimelineChange => [shift(ms), state, reason],
          ),
        })),
        decisions: decisions
          .filter(({ atMs }) => atMs >= sinceMs)
          .map((one) => ({ ...one, atMs: shift(one.atMs) })),
        room: sliceFrom(room, sinceMs, ({ atMs }) => atMs).map((one) => ({ ...one, atMs: shift(one.atMs) })),
      }
    },
  }
}

function push<Item>(items: Item[], item: Item, max: number): void {
  items.push(item)
  // In one go, so that a full list is not moved for each item.
  if (items.length > max * 1.2) items.splice(0, items.length - max)
}

/** What is not older than a moment, and what was in force then. */
function sliceFrom<Item>(items: readonly Item[], sinceMs: number, timeOf: (item: Item) => number): Item[] {
  const first = items.findLastIndex((item) => timeOf(item) <= sinceMs)
  return items.slice(Math.max(0, first))
}

function isSameAmount(one: Amounts, other: Amounts): boolean {
  const names = Object.keys(other)
  return names.length === Object.keys(one).length && names.every((name) => one[name] === other[name])
}

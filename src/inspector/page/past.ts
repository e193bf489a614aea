import type { Failure, StopReason } from '../../../machines/messages.ts'
import { hasTag, type ProviderState } from '../../../machines/provider/tags.ts'
import type { Reason } from '../../../machines/reasons.ts'
import type { SupervisorEvent } from '../../events/events.ts'
import type { Timeline, TimelineChange, TimelineLane } from '../../observe/timeline.ts'
import { describeCode } from './display-text.ts'
import { applyEvent, emptyModel, type PageModel } from './model.ts'

type StateEvent = Extract<SupervisorEvent, { readonly type: 'service.state' }>

/**
 * Everything as it was at a time before the events that are kept: the timeline tells the states and their reasons, and
 * what is known now tells what does not change. Leases, queues and processes of that time are not known.
 */
export function buildPast({ lanes }: Timeline, latest: PageModel, atMs: number): PageModel {
  let model = emptyModel
  for (const lane of lanes) {
    const { key, service, changes } = lane
    const known = latest.services[key]
    const passed = changes.filter(([ms]) => ms <= atMs)
    const state = passed.at(-1)?.[1]
    if (state === undefined || hasTag(state, 'retired')) continue
    const policy = known?.policy
    const at = { key, service, seq: 0, atMs: passed[0]?.[0] ?? atMs, time: '' }
    if (policy != null) model = applyEvent(model, { ...at, type: 'service.added', policy } as SupervisorEvent)
    for (const index of passed.keys()) model = applyEvent(model, toEvent(lane, index))
    const told = model.services[key]
    if (told === undefined || known === undefined) continue
    const { models, baseUrl, startTimes, starts } = known
    model = {
      ...model,
      services: { ...model.services, [key]: { ...told, models, baseUrl, startTimes, starts } },
    }
  }
  return { ...model, atMs }
}

/** The first time that is known. */
export function findStart({ lanes, sinceMs }: Timeline): number {
  return Math.max(sinceMs, Math.min(...lanes.map(({ changes }) => changes[0]?.[0] ?? sinceMs)))
}

/** The last change of any service until a time. */
export function findPastChange({ lanes }: Timeline, atMs: number): StateEvent | undefined {
  return lanes
    .flatMap((lane) => {
      const index = lane.changes.findLastIndex(([ms]) => ms <= atMs)
      return index < 0 ? [] : [toEvent(lane, index)]
    })
    .toSorted((a, b) => a.atMs - b.atMs)
    .at(-1)
}

/** When any service changed before a time, the oldest first. */
export function listPastTimes(past: Timeline | null, beforeMs: number): readonly number[] {
  const times = (past?.lanes ?? []).flatMap(({ changes }) => changes.map(([ms]) => ms))
  const sinceMs = past?.sinceMs ?? 0
  return [...new Set(times)].filter((ms) => ms >= sinceMs && ms < beforeMs).sort((a, b) => a - b)
}

/** A change of the timeline as the event that told of it. */
function toEvent({ key, service, changes }: TimelineLane, index: number): StateEvent {
  const [atMs, to, reason] = changes[index] as TimelineChange
  const from = changes[index - 1]?.[1] ?? 'down.cold'
  // Its number tells it from the other changes; those of real events are positive.
  const seq = -1_000_000 + index
  const event = { type: 'service.state', key, service, seq, atMs, time: '', from, to, reason }
  return { ...event, why: findWhy(from, to, reason) } as StateEvent
}

function findWhy(from: ProviderState, to: ProviderState, reason: string | null): Reason | null {
  if (hasTag(to, 'stopping') && reason !== null)
    return { kind: 'stop', reason: reason as StopReason, force: false }
  if ((hasTag(to, 'backoff') || hasTag(to, 'tripped')) && reason !== null) {
    const message = `it failed: ${describeCode(reason)}`
    return { kind: 'failed', failure: { code: reason, message } as Failure, failures: 1 }
  }
  if (hasTag(to, 'busy')) return { kind: 'leased', id: '' }
  if (hasTag(to, 'idle'))
    return hasTag(from, 'busy') ? { kind: 'released' } : { kind: 'became-ready', verdict: null }
  if (hasTag(to, 'probing') || hasTag(to, 'claiming')) return { kind: 'requested', id: '' }
  if (hasTag(to, 'starting')) return { kind: 'spawning', waiting: 0 }
  return hasTag(to, 'cold') && hasTag(from, 'stopping')
    ? { kind: 'stop', reason: 'idle', force: false }
    : null
}

import type { SupervisorEvent } from '../../events/events.ts'
import type { ActorMessage, InspectionMessage } from '../message.ts'

/** One message from one actor to another. */
export interface SequenceRow {
  readonly id: string
  /** Wall clock, in milliseconds. */
  readonly wallMs: number
  readonly from: string
  readonly to: string
  readonly text: string
}

/** Messages that are kept. */
export const MAX_ROWS = 400

/** Names of actors by session; a name is kept after the end of its actor, while a row may need it. */
export type ActorNames = ReadonlyMap<string, string>

/** The name of an actor in rows: requests share one lifeline; a provider actor is named by its key. */
export function findActorName(message: ActorMessage): string {
  return message.parentId === undefined && message.name !== 'supervisor'
    ? 'request'
    : (message.key ?? message.name)
}

/** A message from one actor to another, as the inspector reports it; `null` for other messages. */
export function buildRow(message: InspectionMessage, names: ActorNames, number: number): SequenceRow | null {
  if (message.type !== '@xstate.event') return null
  const { type } = message.event
  if (type === 'xstate.init' || type === 'xstate.stop') return null
  const to = names.get(message.sessionId)
  if (to === undefined) return null
  const from = (message.sourceId === undefined ? undefined : names.get(message.sourceId)) ?? findSource(type)
  if (from === to && !type.startsWith('xstate.after')) return null
  return { id: `m${number}`, wallMs: Number(message.createdAt), from, to, text: formatType(type) }
}

/** The source of an event from outside the machines. */
function findSource(type: string): string {
  if (type.startsWith('lease.')) return 'request'
  if (type.startsWith('xstate.after')) return 'clock'
  if (type.startsWith('health.')) return 'health'
  if (type.startsWith('process.')) return 'process'
  if (type.startsWith('response.') || type.startsWith('request.')) return 'transport'
  return 'outside'
}

/** xstate's own names in words. */
function formatType(type: string): string {
  const [, delay] = /^xstate\.after\.([^.]+)/.exec(type) ?? []
  if (delay !== undefined) return `after ${delay}`
  const [, how, who] = /^xstate\.(done|error)\.actor\.(.+)$/.exec(type) ?? []
  if (how !== undefined)
    return `${who?.includes(':') || (who?.length ?? 0) > 24 ? 'actor' : who} ${how === 'done' ? 'done' : 'failed'}`
  return type.replace(/^xstate\./, '')
}

/** Derives messages from the public events: a recording has nothing else. */
const eventEnds: Partial<
  Record<
    SupervisorEvent['type'],
    readonly ['request' | 'process' | 'health' | 'outside' | 'service', 'request' | 'service']
  >
> = {
  'lease.requested': ['request', 'service'],
  'lease.granted': ['service', 'request'],
  'lease.refused': ['service', 'request'],
  'lease.cancelled': ['request', 'service'],
  'lease.released': ['request', 'service'],
  'leases.revoked': ['service', 'request'],
  'service.stop': ['outside', 'service'],
  'health.verdict': ['health', 'service'],
  'process.spawned': ['process', 'service'],
  'process.failed': ['process', 'service'],
  'process.signalled': ['process', 'service'],
  'process.exited': ['process', 'service'],
  'process.settled': ['process', 'service'],
}

export function buildEventRow(event: SupervisorEvent): SequenceRow | null {
  const ends = eventEnds[event.type]
  if (ends === undefined || !('key' in event)) return null
  const name = (end: string) => (end === 'service' ? event.key : end)
  const detail = event.type === 'health.verdict' ? ` ${event.verdict.kind}` : ''
  return {
    id: `e${event.seq}`,
    wallMs: Date.parse(event.time),
    from: name(ends[0]),
    to: name(ends[1]),
    text: event.type + detail,
  }
}

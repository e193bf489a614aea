import type { AnyActorRef, AnyEventObject, AnyStateMachine, InspectionEvent, SnapshotFrom } from 'xstate'
import { originalOf } from '../observe/inspection.ts'
import { buildDefinition } from '../statechart/definition.ts'
import { findParent } from '../statechart/system.ts'

/** What every message of `@statelyai/inspect` carries; its viewers take whatever has a `type` and a `_version`. */
interface MessageBase {
  readonly _version: string
  /** Wall clock, in milliseconds. */
  readonly createdAt: string
  readonly id: null
  readonly rootId: string
  readonly sessionId: string
}

/** A snapshot as it is sent. `value` and `context` are of machines only. */
export interface InspectedSnapshot {
  readonly status: string
  readonly value?: unknown
  readonly context?: unknown
  readonly tags?: readonly string[]
  readonly children?: Readonly<Record<string, { readonly sessionId: string }>>
}

/** The registration of one actor. */
export interface ActorMessage extends MessageBase {
  readonly type: '@xstate.actor'
  readonly parentId?: string
  /** Of a service's machine the name of the service. */
  readonly name: string
  /** Of a service's machine the key of the service, which names no other actor. */
  readonly key?: string
  /** JSON of the machine's definition, from which a viewer draws it. */
  readonly definition?: string
  readonly snapshot: InspectedSnapshot
}

/** One message in the wire format of `@statelyai/inspect` 0.7. */
export type InspectionMessage =
  | ActorMessage
  | (MessageBase & {
      readonly type: '@xstate.event'
      readonly sourceId?: string
      readonly event: AnyEventObject
    })
  | (MessageBase & {
      readonly type: '@xstate.snapshot'
      readonly event: AnyEventObject
      readonly snapshot: InspectedSnapshot
    })

/** Version of the official package whose wire format this is. */
const VERSION = '0.7.2'
/** A longer text inside an event or a context is cut, in characters. */
const MAX_TEXT = 300
/** Fields that hold what a process printed: the page has a place for it, a message has not. */
const OUTPUT_FIELDS: ReadonlySet<string> = new Set(['tail'])

/** Without a snapshot, which an actor does not have yet when it is announced from within its constructor. */
export function buildActorMessage(actor: AnyActorRef, rootId: string): ActorMessage {
  const definition = findDefinition(actor)
  const parent = findParent(actor)
  return {
    ...buildBase('@xstate.actor', actor, rootId),
    ...(parent === undefined ? {} : { parentId: parent.sessionId }),
    name: actor.id,
    ...(originalOf(actor).id === actor.id ? {} : { key: originalOf(actor).id }),
    ...(definition === undefined ? {} : { definition }),
    snapshot: { status: 'active' },
  }
}

export function buildEventMessage(
  event: Extract<InspectionEvent, { type: '@xstate.event' }>,
): InspectionMessage {
  const { actorRef, rootId, sourceRef } = event
  return {
    ...buildBase('@xstate.event', actorRef as AnyActorRef, rootId),
    ...(sourceRef === undefined ? {} : { sourceId: sourceRef.sessionId }),
    event: copyEvent(event.event),
  }
}

export function buildSnapshotMessage(
  actor: AnyActorRef,
  rootId: string,
  event: AnyEventObject,
  snapshot: unknown,
): InspectionMessage {
  return {
    ...buildBase('@xstate.snapshot', actor, rootId),
    event: copyEvent(event),
    snapshot: buildInspected(snapshot),
  }
}

function buildBase<const Type extends string>(type: Type, { sessionId }: AnyActorRef, rootId: string) {
  return { type, _version: VERSION, createdAt: String(Date.now()), id: null, rootId, sessionId }
}

export function buildInspected(snapshot: unknown): InspectedSnapshot {
  const { status, value, context, tags, children } = snapshot as Partial<SnapshotFrom<AnyStateMachine>>
  return {
    status: status ?? 'active',
    ...(value === undefined ? {} : { value }),
    ...(context === undefined ? {} : { context: copyPlain(context) }),
    ...(tags === undefined ? {} : { tags: [...tags] }),
    ...(children === undefined ? {} : { children: listSessions(children) }),
  }
}

function listSessions(children: Readonly<Record<string, AnyActorRef | undefined>>) {
  return Object.fromEntries(
    Object.entries(children).flatMap(([id, child]) =>
      child === undefined ? [] : [[id, { sessionId: child.sessionId }]],
    ),
  )
}

function copyEvent(event: AnyEventObject): AnyEventObject {
  return copyPlain(event) as AnyEventObject
}

/** JSON without what is not for a viewer: output of processes, and texts beyond any use. */
function copyPlain(value: unknown): unknown {
  if (typeof value === 'string') return value.length > MAX_TEXT ? `${value.slice(0, MAX_TEXT)}…` : value
  if (typeof value === 'function' || typeof value === 'symbol') return undefined
  if (value instanceof Error) return { name: value.name, message: copyPlain(value.message) }
  if (Array.isArray(value)) return value.map(copyPlain)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).flatMap(([name, inner]) =>
      OUTPUT_FIELDS.has(name) ? [] : [[name, copyPlain(inner)]],
    ),
  )
}

/** The same definition is asked for by every actor of a machine. */
const definitions = new WeakMap<object, string>()

/** The machine's own configuration, its functions as their names; `undefined` for what is no machine. */
function findDefinition(actor: AnyActorRef): string | undefined {
  // Every actor has its logic; the type of a reference does not say so.
  const { logic } = originalOf(actor) as { readonly logic?: Partial<AnyStateMachine> }
  const config: unknown = logic?.config
  if (typeof config !== 'object' || config === null) return undefined
  const known = definitions.get(config)
  if (known !== undefined) return known
  const text = JSON.stringify(buildDefinition(logic as AnyStateMachine))
  definitions.set(config, text)
  return text
}

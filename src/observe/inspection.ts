import type { AnyActorRef, AnyStateMachine, InspectionEvent, Observer, Subscription } from 'xstate'
import { buildFlatDefinition } from '../statechart/definition.ts'
import { findParent } from '../statechart/system.ts'

/**
 * An inspector of the machines: a function, an observer, or anything with an `inspect` that is one of the two, as what
 * `createBrowserInspector` and `createWebSocketInspector` of `@statelyai/inspect` return.
 */
export type Inspector =
  | Observer<InspectionEvent>
  | ((event: InspectionEvent) => void)
  | { readonly inspect: Observer<InspectionEvent> | ((event: InspectionEvent) => void) }

/** The inspectors of one supervisor. */
export interface Inspections {
  /** Announces every living actor to the inspector, then tells it everything until it is let go. */
  attach(inspector: Inspector): Subscription
  /** How a request's machine is to be created: with an observer only while there is an inspector. */
  optionsOf(): { readonly inspect?: (event: InspectionEvent) => void }
}

export interface InspectionsOptions {
  readonly root: () => AnyActorRef
  /** Machines of the requests that have not ended. Each is the root of a system of its own. */
  readonly requests: () => Iterable<AnyActorRef>
  /** The name of the service of this key; any other id as it is. */
  readonly nameOf: (id: string) => string
}

/**
 * Inspection that costs nothing without an inspector: xstate announces an actor only when it is created, so living
 * actors are announced again to an inspector that comes later. An inspector that throws is let go, and nothing else
 * happens.
 */
export function createInspections({ root, requests, nameOf }: InspectionsOptions): Inspections {
  const tells = new Set<(event: InspectionEvent) => void>()
  let watched: readonly Subscription[] = []

  const tellAll = (event: InspectionEvent) => {
    const seen = toRegistration(event, nameOf)
    for (const tell of tells) tellOne(seen, tell)
  }
  const tellOne = (event: InspectionEvent, tell: (event: InspectionEvent) => void) => {
    try {
      tell(event)
    } catch {
      letGo(tell)
    }
  }
  const letGo = (tell: (event: InspectionEvent) => void) => {
    if (!tells.delete(tell) || tells.size > 0) return
    for (const subscription of watched) subscription.unsubscribe()
    watched = []
  }

  return {
    attach: (inspector) => {
      const tell = toTell(inspector)
      tells.add(tell)
      for (const actor of [...listActors(root()), ...requests()])
        for (const event of toAnnouncement(actor))
          if (tells.has(tell)) tellOne(toRegistration(event, nameOf), tell)
      if (tells.size === 1) watched = [root(), ...requests()].map(({ system }) => system.inspect(tellAll))
      return { unsubscribe: () => letGo(tell) }
    },
    optionsOf: () => {
      if (tells.size === 0) return {}
      // A later inspector watches every machine that lives by then, and would be told twice.
      const current = watched
      return { inspect: (event) => (watched === current ? tellAll(event) : undefined) }
    },
  }
}

/** An actor as it would have been announced at its creation, with its current state. */
function toAnnouncement(actor: AnyActorRef): InspectionEvent[] {
  const { sessionId: rootId } = rootOf(actor)
  const event = { type: 'xstate.init' }
  return [
    { type: '@xstate.actor', actorRef: actor, rootId },
    { type: '@xstate.snapshot', actorRef: actor, rootId, event, snapshot: actor.getSnapshot() },
  ]
}

function rootOf(actor: AnyActorRef): AnyActorRef {
  const parent = findParent(actor)
  return parent === undefined ? actor : rootOf(parent)
}

/** An actor and everything below it, each parent before its children. */
function listActors(actor: AnyActorRef): AnyActorRef[] {
  const { children = {} } = actor.getSnapshot() as { children?: Readonly<Record<string, AnyActorRef>> }
  return [actor, ...Object.values(children).flatMap(listActors)]
}

const originals = new WeakMap<object, AnyActorRef>()
const definitions = new WeakMap<object, object>()

/** The actor that an inspector was told of under another name. */
export function originalOf(actor: AnyActorRef): AnyActorRef {
  return originals.get(actor) ?? actor
}

/**
 * The registration of a machine as inspectors are to see it: a service under its name, and a definition that survives
 * the depth limit of `@statelyai/inspect`. Other events stay as they are.
 */
function toRegistration(event: InspectionEvent, nameOf: InspectionsOptions['nameOf']): InspectionEvent {
  if (event.type !== '@xstate.actor') return event
  const actor = event.actorRef as AnyActorRef
  // Every actor has its logic; the type of a reference does not say so.
  const { logic } = actor as { readonly logic?: AnyStateMachine }
  const config: unknown = logic?.config
  if (logic === undefined || typeof config !== 'object' || config === null) return event
  const definition = definitions.get(config) ?? buildFlatDefinition(logic)
  definitions.set(config, definition)
  const shown = Object.create(actor, {
    id: { value: nameOf(actor.id), enumerable: true },
    logic: {
      value: Object.create(logic, { config: { value: definition, enumerable: true } }),
      enumerable: true,
    },
  }) as AnyActorRef
  originals.set(shown, actor)
  return { ...event, actorRef: shown }
}

function toTell(inspector: Inspector): (event: InspectionEvent) => void {
  if (typeof inspector === 'function') return (event) => inspector(event)
  if ('inspect' in inspector) return toTell(inspector.inspect)
  return (event) => inspector.next?.(event)
}

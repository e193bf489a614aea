import type { AnyActorRef, InspectionEvent, Observer, Subscription } from 'xstate'
import { findParent } from '../statechart/system.ts'

/**
 * Whoever wants to see the machines at work: a function, an observer, or anything with an `inspect` that is one of
 * the two, as what `createBrowserInspector` and `createWebSocketInspector` of `@statelyai/inspect` return.
 */
export type Inspector =
  | Observer<InspectionEvent>
  | ((event: InspectionEvent) => void)
  | { readonly inspect: Observer<InspectionEvent> | ((event: InspectionEvent) => void) }

/** Who inspects the machines of one supervisor. */
export interface Inspections {
  /** Announces every living actor to the inspector, then tells it everything until it is let go. */
  attach(inspector: Inspector): Subscription
  /** How a request's machine is to be created: with an observer only while somebody inspects. */
  optionsOf(): { readonly inspect?: (event: InspectionEvent) => void }
}

export interface InspectionsOptions {
  readonly root: () => AnyActorRef
  /** Machines of the requests that have not ended. Each is the root of a system of its own. */
  readonly requests: () => Iterable<AnyActorRef>
}

/**
 * Inspection that costs nothing while nobody inspects: xstate announces an actor only at its birth, so those that
 * live are announced again to whoever comes late. An inspector that throws is let go, and nothing else happens.
 */
export function createInspections({ root, requests }: InspectionsOptions): Inspections {
  const tells = new Set<(event: InspectionEvent) => void>()
  let watched: readonly Subscription[] = []

  const tellAll = (event: InspectionEvent) => {
    for (const tell of tells) tellOne(event, tell)
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
        for (const event of toAnnouncement(actor)) if (tells.has(tell)) tellOne(event, tell)
      if (tells.size === 1) watched = [root(), ...requests()].map(({ system }) => system.inspect(tellAll))
      return { unsubscribe: () => letGo(tell) }
    },
    optionsOf: () => {
      if (tells.size === 0) return {}
      // Whoever begins to inspect later watches what lives by then, and would be told twice.
      const current = watched
      return { inspect: (event) => (watched === current ? tellAll(event) : undefined) }
    },
  }
}

/** An actor as its birth would have been told, and what it is now. */
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

function toTell(inspector: Inspector): (event: InspectionEvent) => void {
  if (typeof inspector === 'function') return (event) => inspector(event)
  if ('inspect' in inspector) return toTell(inspector.inspect)
  return (event) => inspector.next?.(event)
}

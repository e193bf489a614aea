import type { AnyActorRef, AnyEventObject, InspectionEvent, Subscription } from 'xstate'
import type { Clock } from '../clock.ts'
import type { Inspector } from '../observe/inspection.ts'
import {
  type ActorMessage,
  buildActorMessage,
  buildEventMessage,
  buildInspected,
  buildSnapshotMessage,
  type InspectionMessage,
} from './message.ts'

/** Time in which the snapshots of one actor become one message, and after which everything is sent, in milliseconds. */
const COALESCE_MS = 100
/**
 * Events and new requests that are sent in that time: at once, and in a flood. A viewer cannot read more, and a flood
 * of requests must not pay for it: after this many the hub stops listening until they are sent, and then compares.
 */
const MAX_TOLD = { atOnce: 30, goingOn: 10 } as const
/** Events kept for viewers that come later. */
const MAX_EVENTS = 500
/** Actors shown at the same time; a flood of requests beyond that is not shown. */
const MAX_ACTORS = 1_000

/**
 * Turns xstate inspection into the wire format of the official inspector, for any number of viewers. Beyond 100
 * events or requests a second a sample is sent; the states of services are always exact.
 */
export interface InspectionHub {
  /**
   * Sends a viewer everything: registrations of all living actors, the last events, the latest snapshots, and then
   * new messages. Returns a function that detaches it.
   */
  watch(viewer: (message: InspectionMessage) => void): () => void
}

export interface InspectionHubOptions {
  /** What `supervisor.inspect` is. */
  readonly inspect: (inspector: Inspector) => Subscription
  readonly clock: Clock
}

interface Known {
  readonly actor: AnyActorRef
  readonly rootId: string
  readonly message: ActorMessage
}

interface Latest {
  readonly actor: AnyActorRef
  readonly rootId: string
  readonly event: AnyEventObject
  readonly snapshot: unknown
}

/** Creates a hub. It inspects from its first viewer to its last, and costs nothing in between. */
export function createInspectionHub({ inspect, clock }: InspectionHubOptions): InspectionHub {
  const viewers = new Set<(message: InspectionMessage) => void>()
  const actors = new Map<string, Known>()
  const latest = new Map<string, Latest>()
  const dirty = new Set<string>()
  const events: InspectionMessage[] = []
  const heard: InspectionMessage[] = []
  let inspection: Subscription | undefined
  /** Sessions announced in the current registration of all living actors. */
  let announced: Set<string> | undefined
  let timer: unknown
  let left: number = MAX_TOLD.atOnce

  const send = (message: InspectionMessage) => {
    for (const viewer of viewers) viewer(message)
  }
  /** Sends the collected messages later, because a request would have to wait for it. */
  const deliver = () => {
    for (const message of heard.splice(0)) send(message)
  }
  const buildLatestMessage = ({ actor, rootId, event, snapshot }: Latest) =>
    buildSnapshotMessage(actor, rootId, event, snapshot)
  const flush = () => {
    timer = undefined
    left = Math.min(MAX_TOLD.atOnce, left + MAX_TOLD.goingOn)
    if (inspection === undefined) listen()
    deliver()
    for (const session of dirty) {
      const last = latest.get(session)
      if (last === undefined) continue
      send(buildLatestMessage(last))
      if (isOver(last.snapshot)) forget(session)
    }
    dirty.clear()
    if (left < MAX_TOLD.atOnce) timer ??= clock.setTimeout(flush, COALESCE_MS)
  }
  /** Every living actor is announced to a new listener; a known actor that is not announced has ended. */
  const listen = () => {
    const living = new Set<string>()
    announced = living
    inspection = inspect(hear)
    announced = undefined
    for (const [session, { actor, rootId }] of actors)
      if (!living.has(session)) {
        const event = latest.get(session)?.event ?? { type: 'xstate.init' }
        note({ actor, rootId, event, snapshot: actor.getSnapshot() })
      }
  }
  /** Whether one more may be told. */
  const spend = (): boolean => {
    if (left <= 0) return false
    left -= 1
    if (left === 0) {
      inspection?.unsubscribe()
      inspection = undefined
    }
    return true
  }
  const note = (last: Latest) => {
    const { sessionId } = last.actor
    if (latest.get(sessionId)?.snapshot === last.snapshot) return
    latest.set(sessionId, last)
    dirty.add(sessionId)
  }
  const isTold = (actor: AnyActorRef): boolean => {
    if (actors.size >= MAX_ACTORS) return false
    // A request that began without a listener is not in the sample; a new viewer gets all of them at first.
    return !isRoot(actor) || (announced === undefined ? spend() : viewers.size === 0)
  }
  const forget = (session: string) => {
    actors.delete(session)
    latest.delete(session)
  }
  const hear = (event: InspectionEvent) => {
    const actor = event.actorRef as AnyActorRef
    const { sessionId } = actor
    timer ??= clock.setTimeout(flush, COALESCE_MS)
    if (event.type === '@xstate.actor') {
      announced?.add(sessionId)
      if (actors.has(sessionId) || !isTold(actor)) return
      const message = buildActorMessage(actor, event.rootId)
      actors.set(sessionId, { actor, rootId: event.rootId, message })
      heard.push(message)
    } else if (!actors.has(sessionId)) {
      return
    } else if (event.type === '@xstate.event') {
      if (!spend()) return
      const message = buildEventMessage(event)
      events.push(message)
      if (events.length > MAX_EVENTS) events.shift()
      heard.push(message)
    } else if (event.type === '@xstate.snapshot') {
      note({ actor, rootId: event.rootId, event: event.event, snapshot: event.snapshot })
    }
  }
  const rest = () => {
    inspection?.unsubscribe()
    inspection = undefined
    clock.clearTimeout(timer)
    timer = undefined
    left = MAX_TOLD.atOnce
    for (const kept of [actors, latest, dirty]) kept.clear()
    events.length = 0
    heard.length = 0
  }

  return {
    watch: (viewer) => {
      if (viewers.size === 0) listen()
      deliver()
      for (const [session, { message }] of actors) {
        const last = latest.get(session)
        viewer(last === undefined ? message : { ...message, snapshot: buildInspected(last.snapshot) })
      }
      for (const message of events) if (actors.has(message.sessionId)) viewer(message)
      for (const last of latest.values()) viewer(buildLatestMessage(last))
      viewers.add(viewer)
      return () => {
        if (viewers.delete(viewer) && viewers.size === 0) rest()
      }
    },
  }
}

/** Whether it is a request's: the supervisor's, which is a root too, is there before any viewer. */
function isRoot({ _parent }: AnyActorRef): boolean {
  return _parent === undefined
}

function isOver(snapshot: unknown): boolean {
  return (snapshot as { readonly status?: string }).status !== 'active'
}

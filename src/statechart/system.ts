import type { AnyActorRef } from 'xstate'

// xstate 5.33.3 keeps these in fields that it does not document; nothing outside this folder reads such a field.

/** An event that a system sends later. */
export type ScheduledEvent = ReturnType<AnyActorRef['system']['getSnapshot']>['_scheduledEvents'][string]

/** The actor that started this one; `undefined` for a root. */
export function findParent(actor: AnyActorRef): AnyActorRef | undefined {
  return actor._parent
}

/** Every event that the system of an actor sends later: armed delays of states and delayed sends. */
export function listScheduledEvents({ system }: AnyActorRef): readonly ScheduledEvent[] {
  return Object.values(system.getSnapshot()._scheduledEvents)
}

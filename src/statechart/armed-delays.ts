import type { AnyActorRef } from 'xstate'
import type { Clock } from '../clock.ts'

/** What xstate keeps of its delays; its `getSnapshot` copies them all for each look. */
interface Internals {
  readonly _snapshot?: {
    readonly _scheduledEvents: Readonly<Record<string, { startedAt: number; delay: number }>>
  }
}

/**
 * Notes on our own clock when each delay of an actor system is armed. xstate notes the wall clock, which jumps, and a
 * state that is entered again arms its delays anew without a change that could be seen from outside.
 */
export function stampDelays({ system }: AnyActorRef, clock: Clock): void {
  const { scheduler } = system
  const { schedule } = scheduler
  scheduler.schedule = (source, target, event, delay, id) => {
    schedule(source, target, event, delay, id)
    // Without an id xstate makes one up; nothing asks for such a delay.
    const { _snapshot } = system as Internals
    const armed = _snapshot?._scheduledEvents[`${source.sessionId}.${id}`]
    if (armed !== undefined) armed.startedAt = clock.now()
  }
}

/** One delay that an actor has armed, by its id, without a look at the others. Absent: it is not armed. */
export function findDelay(
  { system, sessionId }: AnyActorRef,
  id: string,
): { readonly armedAtMs: number; readonly delayMs: number } | undefined {
  const { _snapshot } = system as Internals
  const armed = _snapshot?._scheduledEvents[`${sessionId}.${id}`]
  return armed && { armedAtMs: armed.startedAt, delayMs: armed.delay }
}

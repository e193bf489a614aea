import { type Observable, Subject } from 'rxjs'
import type { Clock } from '../clock.ts'
import type { RequestEventBody, ServiceEventBody, SupervisorEvent, SupervisorEventBody } from '../events.ts'

/** What an event says before it is numbered and timed. */
export type EventBody =
  | ({ readonly service: string; readonly key: string } & ServiceEventBody)
  | ({ readonly requestId: string } & RequestEventBody)
  | SupervisorEventBody

/** Where every event of a supervisor passes. */
export interface EventHub {
  readonly events$: Observable<SupervisorEvent>
  publish(body: EventBody): void
  /** Completes `events$`. */
  close(): void
}

/** Creates a hub. An event that nobody reads costs a number and nothing else. */
export function createEventHub(clock: Clock): EventHub {
  const subject = new Subject<SupervisorEvent>()
  const startedAtMs = clock.now()
  let seq = 0
  return {
    events$: subject.asObservable(),
    publish: (body) => {
      seq += 1
      if (!subject.observed) return
      const atMs = Math.round((clock.now() - startedAtMs) * 1000) / 1000
      subject.next({ seq, atMs, time: new Date().toISOString(), ...body })
    },
    close: () => subject.complete(),
  }
}

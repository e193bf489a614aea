import { defer, type Observable, Subject } from 'rxjs'
import type { LeaseEvent } from '../../machines/messages.ts'

/** `requests$` of every service: lease requests, cancellations and releases on their way to its chart. */
export interface LeaseRequests {
  /** The stream of one service, which its chart invokes. A new actor of the service takes it over from the old one. */
  requests$(key: string): Observable<LeaseEvent>
  /** Puts an event into the stream; `false`: no actor listens to it. */
  send(key: string, event: LeaseEvent): boolean
  /** Ends the stream of a service whose actor died: its subscription may still be there. */
  close(key: string): void
}

/** Creates the streams. An event is handled by the chart before `send` returns: a ready service grants in that step. */
export function createLeaseRequests(): LeaseRequests {
  const streams = new Map<string, Subject<LeaseEvent>>()
  const close = (key: string) => {
    streams.get(key)?.complete()
    streams.delete(key)
  }
  return {
    requests$: (key) =>
      defer(() => {
        close(key)
        const stream$ = new Subject<LeaseEvent>()
        streams.set(key, stream$)
        return stream$
      }),
    send: (key, event) => {
      const stream$ = streams.get(key)
      if (stream$?.observed !== true) return false
      stream$.next(event)
      return true
    },
    close,
  }
}

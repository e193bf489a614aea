import { auditTime, interval, merge, type Observable, throttleTime } from 'rxjs'
import { type Clock, toScheduler } from '../clock.ts'

/** A change is told after this time, in milliseconds: several that happen together are one card. */
const GATHER_MS = 20
/** Least time between two cards, in milliseconds. */
const LEAST_MS = 100

/** The moments to say what this member is: regularly, and soon after a change. */
export function toCardBeat(clock: Clock, beatMs: number, changed$: Observable<unknown>): Observable<unknown> {
  const scheduler = toScheduler(clock)
  return merge(interval(beatMs, scheduler), changed$.pipe(auditTime(GATHER_MS, scheduler))).pipe(
    throttleTime(LEAST_MS, scheduler, { leading: true, trailing: true }),
  )
}

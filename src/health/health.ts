import {
  catchError,
  defer,
  EMPTY,
  exhaustMap,
  from,
  merge,
  type Observable,
  of,
  repeat,
  tap,
  throttleTime,
  timer,
} from 'rxjs'
import type { Verdict } from '../../machines/messages.ts'
import { type Clock, toScheduler } from '../clock.ts'

/**
 * First and longest pause between two probes of a warming service, in milliseconds, and how much longer each is than
 * the one before: a pause is at most 20 ms and a twentieth of the load time so far.
 */
export const WARM_POLL_MS = { first: 20, longest: 500, growth: 1.05 } as const
/** The pause after so many probes, in milliseconds. */
export function toWarmPauseMs(count: number): number {
  return Math.min(WARM_POLL_MS.first * WARM_POLL_MS.growth ** count, WARM_POLL_MS.longest)
}

/** A burst of output lines causes one probe at its start and one at its end, this long apart, in milliseconds. */
const OUTPUT_THROTTLE_MS = 10

export interface HealthOptions {
  /** Rejects if the probe could not run: then there is no verdict. */
  readonly probe: () => Promise<Verdict>
  readonly clock: Clock
}

/**
 * Verdicts of a warming service: polled at growing intervals, and at once when the child prints a line, so that
 * readiness is detected within milliseconds. At most one probe runs at a time; a line that is printed
 * during a probe causes another one right after it.
 */
export function createWarmHealth$({
  probe,
  clock,
  output$,
}: HealthOptions & { readonly output$: Observable<unknown> }): Observable<Verdict> {
  const scheduler = toScheduler(clock)
  let isAskedAgain = false
  const polls$ = of(0).pipe(repeat({ delay: (count) => timer(toWarmPauseMs(count), scheduler) }))
  const lines$ = output$.pipe(
    throttleTime(OUTPUT_THROTTLE_MS, scheduler, { leading: true, trailing: true }),
    tap(() => {
      isAskedAgain = true
    }),
  )
  return merge(polls$, lines$).pipe(
    exhaustMap(() =>
      defer(() => {
        isAskedAgain = false
        return probe()
      }).pipe(
        catchError(() => EMPTY),
        repeat({ delay: () => (isAskedAgain ? of(true) : EMPTY) }),
      ),
    ),
  )
}

/** Verdicts of a service that is up: one slow heartbeat, never a probe on the request path. */
export function createHeartbeat$({
  probe,
  clock,
  everyMs,
}: HealthOptions & { readonly everyMs: number }): Observable<Verdict> {
  return timer(everyMs, everyMs, toScheduler(clock)).pipe(
    exhaustMap(() => from(probe()).pipe(catchError(() => EMPTY))),
  )
}

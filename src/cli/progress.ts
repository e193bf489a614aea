import { interval, type Observable } from 'rxjs'
import { systemClock, toScheduler } from '../clock.ts'
import { toDurationText } from '../duration.ts'
import type { SupervisorEvent } from '../events.ts'
import type { Terminal } from './print.ts'
import type { StartTimes } from './start-times.ts'

/** How often the line of a cold start is drawn again, in milliseconds. */
const REDRAW_MS = 100
const CLEAR_LINE = '\r\x1b[2K'

/** One line that tells how long the services that start have been starting. */
export interface Progress {
  /** Takes the line away while something else is printed. It comes back by itself. */
  aside(print: () => void): void
  /** Takes the line away for good. */
  close(): void
}

/**
 * Watches the cold starts among events: shows each on the diagnostics side of a terminal, `starting demo, 1.2 s
 * (last starts took about 2.6 s)`, and remembers how long it took. Where nobody looks it only remembers.
 */
export function createProgress(
  events$: Observable<SupervisorEvent>,
  { terminal, times }: { readonly terminal: Terminal; readonly times: StartTimes },
): Progress {
  const starts = new Map<
    string,
    { readonly service: string; readonly sinceMs: number; readonly atMs: number }
  >()
  let isShown = false

  const clear = () => {
    if (isShown) terminal.err(CLEAR_LINE)
    isShown = false
  }
  const draw = () => {
    if (starts.size === 0) return clear()
    const texts = [...starts].map(([key, { service, sinceMs }]) =>
      toProgressText(service, systemClock.now() - sinceMs, times.medianMs(key)),
    )
    terminal.err(`${CLEAR_LINE}${texts.join('; ')}`)
    isShown = true
  }
  const watch = events$.subscribe((event) => {
    if (event.type !== 'service.state') return
    const { key, service, to, atMs } = event
    const start = starts.get(key)
    if (to.startsWith('starting.')) {
      if (start === undefined) starts.set(key, { service, sinceMs: systemClock.now(), atMs })
    } else if (start !== undefined) {
      starts.delete(key)
      if (to === 'ready' || to.startsWith('leased.')) times.add(key, atMs - start.atMs)
    }
    if (starts.size === 0) clear()
  })
  const drawing = terminal.isErrInteractive
    ? interval(REDRAW_MS, toScheduler(systemClock)).subscribe(draw)
    : undefined
  return {
    aside: (print) => {
      clear()
      print()
    },
    close: () => {
      watch.unsubscribe()
      drawing?.unsubscribe()
      clear()
    },
  }
}

/** `starting demo, 1.2 s (last starts took about 2.6 s)`. */
export function toProgressText(service: string, elapsedMs: number, medianMs: number | undefined): string {
  const before = medianMs === undefined ? '' : ` (last starts took about ${toDurationText(medianMs)})`
  return `starting ${service}, ${toDurationText(elapsedMs)}${before}`
}

import { interval, type Observable } from 'rxjs'
import { hasTag } from '../../machines/provider/tags.ts'
import { systemClock, toScheduler } from '../clock.ts'
import type { SupervisorEvent } from '../events/events.ts'
import { toStateDirectoryPath } from '../process/state-directory.ts'
import { openHistory } from '../service/past-runs.ts'
import { toDurationText } from '../text/duration.ts'
import type { Terminal } from './terminal.ts'

/** How often the line of a cold start is drawn again, in milliseconds. */
const REDRAW_MS = 100
const CLEAR_LINE = '\r\x1b[2K'

/** One line with the elapsed time of every start in progress. */
export interface Progress {
  /** Hides the line while other output is printed. It returns by itself. */
  aside(print: () => void): void
  /** Removes the line. */
  close(): void
}

/**
 * Watches the cold starts among events: shows each on the diagnostics side of a terminal, `starting demo, 1.2 s
 * (last starts took about 2.6 s)`. The past durations come from the state directory of this user.
 */
export function createProgress(events$: Observable<SupervisorEvent>, terminal: Terminal): Progress {
  if (!terminal.isErrInteractive) return { aside: (print) => print(), close: () => {} }
  const starts = new Map<string, Start>()
  let isShown = false

  const clear = () => {
    if (isShown) terminal.err(CLEAR_LINE)
    isShown = false
  }
  const draw = () => {
    if (starts.size === 0) return clear()
    const texts = [...starts.values()].map(({ service, sinceMs, medianMs }) =>
      describeProgress(service, systemClock.now() - sinceMs, medianMs),
    )
    terminal.err(`${CLEAR_LINE}${texts.join('; ')}`)
    isShown = true
  }
  const watch = events$.subscribe((event) => {
    if (event.type !== 'service.state') return
    const { key, service, to } = event
    if (!hasTag(to, 'starting')) starts.delete(key)
    else if (!starts.has(key)) {
      // Reopened each time: another supervisor may have written meanwhile.
      const history = openHistory({ path: () => toStateDirectoryPath(terminal.env), ensure: () => {} })
      starts.set(key, { service, sinceMs: systemClock.now(), medianMs: history.startsOf(key)?.medianMs })
    }
    if (starts.size === 0) clear()
  })
  const drawing = interval(REDRAW_MS, toScheduler(systemClock)).subscribe(draw)
  return {
    aside: (print) => {
      clear()
      print()
    },
    close: () => {
      watch.unsubscribe()
      drawing.unsubscribe()
      clear()
    },
  }
}

interface Start {
  readonly service: string
  readonly sinceMs: number
  readonly medianMs: number | undefined
}

/** `starting demo, 1.2 s (last starts took about 2.6 s)`. */
function describeProgress(service: string, elapsedMs: number, medianMs: number | undefined): string {
  const before = medianMs === undefined ? '' : ` (last starts took about ${toDurationText(medianMs)})`
  return `starting ${service}, ${toDurationText(elapsedMs)}${before}`
}

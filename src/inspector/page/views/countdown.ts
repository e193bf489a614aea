import { hasTag } from '../../../../machines/provider/tags.ts'
import { describeNextBriefly, findMainTimer } from '../../../explanation/next.ts'
import type { Situation } from '../../../explanation/situation.ts'
import { formatLeft } from '../display-text.ts'
import type { ServiceView } from '../model.ts'

/** A start against the usual, or the countdown that runs; `null`: neither does. */
export function measureDial(service: ServiceView, atMs: number) {
  const { state, startTimes, startedAtMs, ownership } = service
  if (hasTag(state, 'starting') && startTimes !== null && startedAtMs !== null) {
    const leftMs = startedAtMs + startTimes.medianMs - atMs
    return {
      label: 'Start, against the median of past starts',
      caption: leftMs > 0 ? 'usually ready in' : 'longer than usual by',
      text: formatLeft(Math.abs(leftMs)),
      left: Math.min(1, Math.max(0, leftMs / Math.max(1, startTimes.medianMs))),
    }
  }
  const timer = findMainTimer(service.timers.map((one) => ({ ...one, remainingMs: one.endsAtMs - atMs })))
  if (timer === undefined || timer.totalMs <= 0) return null
  return {
    label: timer.name,
    caption: formatBrief(timer.name, ownership),
    text: formatLeft(timer.remainingMs),
    left: Math.min(1, Math.max(0, timer.remainingMs / timer.totalMs)),
  }
}

/** What a delay leads to, without its time: `stops in`. */
function formatBrief(name: string, ownership: Situation['ownership']): string {
  return describeNextBriefly({ timers: [{ name, remainingMs: 0 }], ownership }).replace(/ 0\.0 s$/, '')
}

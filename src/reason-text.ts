import type { Failure, StopReason, Verdict } from '../machines/messages.ts'
import type { Reason } from '../machines/reasons.ts'
import { toDurationText } from './duration.ts'
import { toSentence } from './errors.ts'

/**
 * Why a service is as it is, as one clause about "it", without a full stop: what a terminal, a log, the page and the
 * API all say. `null`: nothing has happened yet. It may quote a server's words: text of others, to be shown as such.
 */
export function toReasonText(reason: Reason | null): string {
  switch (reason?.kind) {
    case undefined:
      return 'nobody has asked for it yet'
    case 'requested':
      return 'a request asked for it'
    case 'retried':
      return `the wait after a failure is over, and ${toCount(reason.waiting)}`
    case 'wanted-again':
      return `${toCount(reason.waiting)} that came while it was going down`
    case 'absent':
      return `nothing answered at its address (${reason.verdict.detail}), so it is started${toFor(reason.waiting)}`
    case 'spawning':
      return `its process is being started${toFor(reason.waiting)}`
    case 'loading':
      return `its process ${reason.pid} runs and is not ready yet`
    case 'loading-elsewhere':
      return `a server that somebody else started is loading${toSeen(reason.verdict)}`
    case 'held':
      return reason.holder === null
        ? 'another leasehold of this user runs it'
        : `leasehold ${reason.holder.name} (process ${reason.holder.pid}) runs it and lends it`
    case 'left':
      return 'nobody here waits for it any more'
    case 'adopted':
      return 'a server was running at its address already: it is used, and never stopped'
    case 'became-ready':
      return 'its server said that it is ready'
    case 'leased':
      return 'a request uses it'
    case 'released':
      return 'its last request ended'
    case 'idle':
      return `nobody used it for ${toDurationText(reason.idleStopMs)}`
    case 'abandoned':
      return `nobody waited for its start any more for ${toDurationText(reason.abandonStartMs)}`
    case 'called-off':
      return 'a request came just before it would have been stopped'
    case 'stayed':
      return 'the service that had waited for its room does not wait any more'
    case 'stop':
      return `${stopTexts[reason.reason]}${reason.force ? ', without waiting for its requests' : ''}`
    case 'failed':
      return toFailureClause(reason.failure, reason.failures)
    case 'gone':
      return `the server that somebody else runs does not answer any more${toSeen(reason.verdict)}`
    case 'cooled-down':
      return `it failed ${reason.failures} times in a row and was left alone for a while: the next request may try once`
    case 'unwanted':
      return 'the wait after a failure is over, and nobody waits'
    case 'declined':
      return 'nobody waited for its start any more, and others would have had to leave for it'
    case 'reset':
      return 'somebody allowed it to start again'
  }
}

const stopTexts: Readonly<Record<StopReason, string>> = {
  idle: 'nobody used it',
  evicted: 'another service needed its room',
  yielded: 'another service had waited too long for its room',
  asked: 'somebody asked for it to stop',
  unhealthy: 'it did not answer its health checks',
  'start-failed': 'its start failed',
  abandoned: 'nobody waited for its start any more',
  removed: 'it was removed from the configuration',
  shutdown: 'leasehold is shutting down',
}

/** What failed, the last thing seen, and how often in a row. */
function toFailureClause({ message, verdict, tail }: Failure, failures: number): string {
  const last = tail?.at(-1)
  return [
    message,
    ...(failures > 1 ? [`${failures} failures in a row`] : []),
    ...(verdict === undefined ? [] : [`Last health check: ${verdict.kind} (${verdict.detail})`]),
    ...(last === undefined ? [] : [`Last output: ${last}`]),
  ]
    .map((part, index, { length }) => (index < length - 1 ? toSentence(part) : part))
    .join(' ')
}

function toSeen(verdict: Verdict | null): string {
  return verdict === null ? '' : ` (${verdict.detail})`
}

function toCount(waiting: number): string {
  return waiting === 1 ? '1 request waits' : `${waiting} requests wait`
}

function toFor(waiting: number): string {
  if (waiting === 0) return ''
  return ` for ${waiting === 1 ? '1 request' : `${waiting} requests`}`
}

import type { Failure, StartCause, StopReason, Verdict } from '../../machines/messages.ts'
import type { Reason } from '../../machines/reasons.ts'
import { toSentence } from '../errors.ts'
import { toDurationText } from '../text/duration.ts'

/**
 * The reason for the state of a service, as one clause about "it" without a full stop. Terminal, log, page and API use
 * it. `null`: nothing has happened yet. It may quote output of a server, so callers escape it.
 */
export function toReasonText(reason: Reason | null): string {
  switch (reason?.kind) {
    case undefined:
      return 'it has not been used yet'
    case 'requested':
      return reason.cause === undefined ? 'a request asked for it' : causeTexts[reason.cause]
    case 'retried':
      return reason.waiting === 0
        ? 'the wait after a failure is over, and its start is still wanted'
        : `the wait after a failure is over, and ${describeWaiting(reason.waiting)}`
    case 'wanted-again':
      return reason.waiting === 0
        ? 'its start was asked for while it was stopping'
        : `${describeWaiting(reason.waiting)} that came while it was stopping`
    case 'absent':
      return `${describeAbsence(reason.verdict)}, so it is started${describeRequests(reason.waiting)}`
    case 'spawning':
      return `its process is being started${describeRequests(reason.waiting)}`
    case 'loading':
      return `its process ${reason.pid} runs and is not ready yet`
    case 'loading-elsewhere':
      return `a server that leasehold did not start is loading${describeVerdict(reason.verdict)}`
    case 'held':
      return reason.holder === null
        ? 'another leasehold of this user runs it'
        : `leasehold ${reason.holder.name} (process ${reason.holder.pid}) runs it and lends it`
    case 'elsewhere':
      return `${reason.member} has it, or starts it: the requests go there`
    case 'left':
      return 'no request waits for it any more'
    case 'adopted':
      if (reason.member !== undefined)
        return `the gateway of ${reason.member} answers: it starts and stops its servers itself`
      return 'a server was already running at its address: leasehold uses it and never stops it'
    case 'became-ready':
      return 'its server is ready'
    case 'leased':
      return reason.cause === undefined ? 'a request uses it' : causeTexts[reason.cause]
    case 'released':
      return 'nothing uses it any more'
    case 'falling-asleep':
      return reason.afterMs === undefined
        ? 'another service needs the room that it frees when it sleeps'
        : `it was not used for ${toDurationText(reason.afterMs)}, so it was told to sleep`
    case 'asleep':
      return reason.isSelf
        ? 'its check says that it sleeps, and its next request wakes it'
        : 'its check says that it sleeps'
    case 'waking':
      return `there is room for it, so it is woken${describeRequests(reason.waiting)}`
    case 'awake':
      return reason.isSelf ? 'its check says that it is awake' : 'it was woken, and is healthy'
    case 'sleep-failed':
      return `${doubtTexts[reason.during]}, so it is stopped: ${reason.detail}`
    case 'idle':
      return describeIdle(reason)
    case 'abandoned':
      return `no request has waited for its start for ${toDurationText(reason.abandonStartMs)}`
    case 'called-off':
      return `${reason.cause === undefined ? 'a request came' : 'its start was asked for'} just before its stop began`
    case 'stayed':
      return 'the service that needed its room does not need it any more'
    case 'stop':
      return `${stopTexts[reason.reason]}${reason.force ? ', without waiting for its requests' : ''}`
    case 'failed':
      return describeFailure(reason.failure, reason.failures)
    case 'gone':
      return `the server, which leasehold did not start, does not answer any more${describeVerdict(reason.verdict)}`
    case 'unloaded':
      return 'its daemon has unloaded the model by itself, or has ended'
    case 'cooled-down':
      return `${reason.failures === 0 ? 'its last stop left processes behind' : `it failed ${reason.failures} times in a row`}; the wait after that is over, and the next request may start it once`
    case 'unwanted':
      return 'the wait after a failure is over, and no request waits'
    case 'declined':
      return 'no request waits for its start, and another service would have to stop for it'
    case 'reset':
      return 'it may start again, because its start was asked for'
  }
}

const causeTexts: Readonly<Record<StartCause, string>> = {
  start: 'its start was asked for',
  preload: 'it is preloaded',
  default: 'it is the default service, and comes back when there is room',
}

const doubtTexts: Readonly<Record<Extract<Reason, { kind: 'sleep-failed' }>['during'], string>> = {
  sleep: 'it was told to sleep, and whether it does is not certain',
  asleep: 'whether it sleeps is not certain',
  wake: 'it could not be woken',
}

const stopTexts: Readonly<Record<StopReason, string>> = {
  idle: 'it was not used',
  evicted: 'another service needed its room',
  yielded: 'another service had waited too long for its room',
  asked: 'its stop was asked for',
  unhealthy: 'it did not answer its health checks',
  'start-failed': 'its start failed',
  'sleep-failed': 'it was not certain whether it sleeps',
  abandoned: 'no request waited for its start any more',
  revoked: 'another machine has it',
  removed: 'it was removed from the configuration',
  shutdown: 'leasehold is shutting down',
}

function describeIdle({ idleStopMs, isAsked }: Extract<Reason, { kind: 'idle' }>): string {
  if (idleStopMs === 0) return 'a request asked that it stop when idle (keep_alive: 0)'
  const asked = isAsked ? ', the time that a request had asked for (keep_alive)' : ''
  return `it was not used for ${toDurationText(idleStopMs)}${asked}`
}

function describeFailure({ message, verdict, tail, telling }: Failure, failures: number): string {
  // The message already quotes the relevant line.
  const last = telling === undefined ? tail?.at(-1) : undefined
  return [
    message,
    ...(failures > 1 ? [`${failures} failures in a row`] : []),
    ...(verdict === undefined ? [] : [`Last health check: ${verdict.kind} (${verdict.detail})`]),
    ...(last === undefined ? [] : [`Last output: ${last}`]),
  ]
    .map((part, index, { length }) => (index < length - 1 ? toSentence(part) : part))
    .join(' ')
}

/** Where a daemon answered, its answer says that the model is absent. */
function describeAbsence({ status, detail }: Verdict): string {
  return status === undefined ? `nothing answered at its address (${detail})` : detail
}

function describeVerdict(verdict: Verdict | null): string {
  return verdict === null ? '' : ` (${verdict.detail})`
}

function describeWaiting(waiting: number): string {
  return waiting === 1 ? '1 request waits' : `${waiting} requests wait`
}

function describeRequests(waiting: number): string {
  if (waiting === 0) return ''
  return ` for ${waiting === 1 ? '1 request' : `${waiting} requests`}`
}

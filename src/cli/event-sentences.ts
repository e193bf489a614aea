import { isServerLeft } from '../../machines/messages.ts'
import { eventMeanings, type SupervisorEvent } from '../events/events.ts'
import type { Usage } from '../events/usage.ts'
import { toDecisionText } from '../explanation/decision-text.ts'
import { describeRefusal, describeWatchdog } from '../explanation/phrases.ts'
import { toReasonText } from '../explanation/reason-text.ts'
import { toDurationText } from '../text/duration.ts'
import { describeChange, describeClusterEvent, describeEnd, describeFailure } from './lifecycle.ts'
import { escapeText } from './terminal.ts'
import { describeCode, describePeer, describeState } from './words.ts'

/** Types that are not shown to users: events that only a statechart receives. */
const SILENT: ReadonlySet<string> = new Set(['machine.event'])

/** The types that have a sentence, for `?types=`. */
export const toldTypes: readonly string[] = Object.keys(eventMeanings).filter((type) => !SILENT.has(type))

/** An event as a line for users: time, service, sentence. */
export function describeEvent(event: SupervisorEvent): string {
  const whom = 'service' in event ? event.service : 'requestId' in event ? `request ${event.requestId}` : ''
  const parts = [event.time.slice(11, 23), whom || 'leasehold', describeFact(event)]
  return escapeText(parts.join('  ')).replaceAll('\n', ' ')
}

function describeFact(event: SupervisorEvent): string {
  switch (event.type) {
    case 'service.added':
      return 'is configured; no process of it runs yet'
    case 'service.state':
      return `${describeState(event.to)}: ${toReasonText(event.why)}`
    case 'service.stop':
      return `is told to stop${event.force ? ' without waiting for its requests' : ''}: ${toReasonText({ kind: 'stop', reason: event.reason, force: false })}`
    case 'machine.event':
      return `its statechart hears ${event.event.type}`
    case 'service.failed':
      return `its supervision failed and begins anew: ${event.message}`
    case 'service.retired':
      return 'is removed; no process of it runs'
    case 'scheduler.decided':
      return toDecisionText(event)
    case 'lease.requested':
      return event.cause === undefined
        ? `request ${event.id} asks for a lease`
        : toReasonText({ kind: 'requested', id: event.id, cause: event.cause })
    case 'lease.queued':
      return `request ${event.id} waits at place ${event.position}${event.estimatedMs === null ? '' : `, for about ${toDurationText(event.estimatedMs)}`}`
    case 'lease.granted':
      return `request ${event.id} has a lease`
    case 'lease.refused':
      return `request ${event.id} gets no lease: ${describeFailure(event.failure)}`
    case 'lease.cancelled':
      return `request ${event.id} does not wait any more`
    case 'lease.released':
      return `request ${event.id} ends its lease`
    case 'lease.overdue':
      return `request ${event.id} has held its lease for ${toDurationText(event.heldMs)}`
    case 'leases.revoked':
      return `its leases end: ${describeFailure(event.failure)}`
    case 'health.verdict':
      return `health check: ${event.verdict.kind} (${event.verdict.detail})`
    case 'process.spawned':
      return `process ${event.pid} runs`
    case 'process.failed':
      return `its process cannot be started: ${describeFailure(event.failure)}`
    case 'process.signalled':
      return event.signal === 'stopCommand'
        ? 'its stopCommand is run'
        : `${event.signal} is sent to its processes`
    case 'process.detached':
      return 'its process ended, and its server runs on'
    case 'process.exited':
      return `its process ended: ${describeEnd(event)}`
    case 'process.settled':
      if (isServerLeft(event.receipt)) return 'its processes have ended, and its server may still be there'
      return event.receipt.survivors.length === 0
        ? `none of its processes is left, after ${toDurationText(event.receipt.durationMs)}`
        : `processes are left: ${event.receipt.survivors.join(', ')}`
    case 'guest.joined':
      return `${describePeer(event.guest)} uses it too`
    case 'guest.left':
      return `${describePeer(event.guest)} does not use it any more`
    case 'stop.incomplete':
      return `ALARM: ${describeFailure(event.failure)}`
    case 'request.started':
      return `${event.client ?? ''} asks for ${event.ref || 'the default model'} (${event.route})`.trimStart()
    case 'request.sent':
      return `is sent to ${event.ref}${event.choice === undefined ? '' : `, ${event.choice}`}${event.rewrites.length === 0 ? '' : `, rewritten: ${event.rewrites.join(', ')}`}`
    case 'request.attempted':
      return `${event.ref} could not answer: ${describeCode(event.code)}`
    case 'request.responded':
      return `${event.ref} answers with status ${event.status}, after ${toDurationText(event.waitedMs)}`
    case 'request.advised':
      return `${event.ref}: ${event.text}`
    case 'request.ended':
      return `${event.outcome}${event.code === null ? '' : `: ${describeCode(event.code)}`}${describeUsage(event.usage)}`
    case 'events.missed':
      return `events ${event.from} to ${event.to ?? 'the last of an earlier leasehold'} are not kept any more`
    case 'config.replaced':
      return describeChange(event)
    case 'config.refused':
      return `the configuration is refused, the old one stays: ${describeRefusal(event)}`
    case 'orphans.reaped':
      return `ended what a dead leasehold (process ${event.supervisorPid}) had left: ${[...event.pids, ...(event.servers ?? [])].join(', ')}`
    case 'orphans.refused':
      return `left by a dead leasehold, in ${event.file}: ${event.problem}`
    case 'watchdog.lost':
      return describeWatchdog(event.problem)
    case 'watchdog.restored':
      return 'a watchdog runs again'
    case 'cluster.connected':
    case 'cluster.disconnected':
    case 'cluster.refused':
    case 'member.joined':
    case 'member.changed':
    case 'member.lost':
      return describeClusterEvent(event).text
    case 'supervisor.closed':
      return 'everything is stopped'
  }
}

function describeUsage(usage: Usage | null): string {
  const { promptTokens = null, completionTokens = null, tokensPerSecond = null } = usage ?? {}
  const parts = [
    ...(promptTokens === null ? [] : [`${promptTokens} tokens in`]),
    ...(completionTokens === null ? [] : [`${completionTokens} tokens out`]),
    ...(tokensPerSecond === null ? [] : [`${tokensPerSecond.toFixed(1)} a second`]),
  ]
  return parts.length === 0 ? '' : `, ${parts.join(', ')}`
}

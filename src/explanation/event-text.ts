import { type Failure, isServerLeft } from '../../machines/messages.ts'
import { toSentence } from '../errors.ts'
import type { ClusterEventBody, ConfigChange, SupervisorEvent } from '../events/events.ts'
import type { Usage } from '../events/usage.ts'
import { toDurationText } from '../text/duration.ts'
import { toPlainLines } from '../text/plain-text.ts'
import { toDecisionText } from './decision-text.ts'
import { describeCode, describePeer, describeState } from './naming.ts'
import { describeRefusal, describeWatchdog } from './phrases.ts'
import { toReasonText } from './reason-text.ts'

/** An event in one line, without whom it is about and when. */
export function toEventText(event: SupervisorEvent): string {
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

/** A fact about the cluster in one line. */
export function describeClusterEvent(event: ClusterEventBody): {
  readonly text: string
  readonly style: 'green' | 'yellow' | 'red'
} {
  switch (event.type) {
    case 'cluster.connected':
      return { text: `connected to NATS at ${event.server}`, style: 'green' }
    case 'cluster.disconnected':
      return { text: 'NATS is not reached; members are asked over HTTP', style: 'yellow' }
    case 'cluster.refused':
      return { text: `cannot be joined: ${event.message}`, style: 'red' }
    case 'member.joined':
      return {
        text: `member ${event.member} (${event.version}) is there${event.address === null ? '' : `: ${event.address}`}`,
        style: 'green',
      }
    case 'member.changed':
      return {
        text: `member ${event.member} is ${event.state}`,
        style: event.state === 'open' ? 'green' : 'yellow',
      }
    case 'member.lost':
      return { text: `member ${event.member} is lost: ${event.reason}`, style: 'red' }
  }
}

/** A configuration change in one line: `another configuration is in force: added b; restarting a`. */
export function describeChange({
  added,
  removed,
  changed,
  restarted,
  settings,
  ignored,
}: ConfigChange): string {
  const others = changed.filter((id) => !restarted.includes(id))
  const parts = [
    ['added', added],
    ['removed', removed],
    ['restarting', restarted],
    ['changed', [...others, ...settings.filter((path) => !ignored.includes(path))]],
    ['not before leasehold is started again:', ignored],
  ] as const
  const texts = parts.flatMap(([word, names]) => (names.length === 0 ? [] : [`${word} ${names.join(', ')}`]))
  return texts.length === 0
    ? 'the configuration was read again: nothing is different'
    : `another configuration is in force: ${texts.join('; ')}`
}

/** A failure in one line: its sentence, and the last line the process printed. */
export function describeFailure({ message, tail, telling }: Failure): string {
  const last = telling === undefined ? tail?.at(-1) : undefined
  const text = last === undefined ? message : `${toSentence(message)} Last output: ${last}`
  return toPlainLines(text).replaceAll('\n', ' ')
}

/** How a process ended: `code 1`, `SIGKILL`. */
export function describeEnd({
  exitCode,
  signal,
}: {
  readonly exitCode: number | null
  readonly signal: string | null
}): string {
  return signal ?? `code ${exitCode ?? 'unknown'}`
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

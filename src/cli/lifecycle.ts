import { isServerLeft } from '../../machines/messages.ts'
import { hasTag } from '../../machines/provider/tags.ts'
import type { Reason } from '../../machines/reasons.ts'
import { isServing, type SupervisorEvent } from '../events/events.ts'
import {
  describeChange,
  describeClusterEvent,
  describeEnd,
  describeFailure,
} from '../explanation/event-text.ts'
import { describeCode, describeState } from '../explanation/naming.ts'
import { describeRefusal, describeWatchdog } from '../explanation/phrases.ts'
import { toReasonText } from '../explanation/reason-text.ts'
import { toDurationText } from '../text/duration.ts'
import { escapeText, type Style, type Terminal } from './terminal.ts'
import { formatTimeOfDay } from './words.ts'

/** The events of a supervisor that users should see, one line each. */
export interface Lifecycle {
  /** The event as a line; absent for one that is not shown. */
  toLine(event: SupervisorEvent): string | undefined
}

/** Creates a formatter of lifecycle events. It remembers the last line of each service and does not repeat it. */
export function createLifecycle(terminal: Terminal): Lifecycle {
  const said = new Map<string, string>()
  const reasons = new Map<string, string>()
  const tell = ({ time }: SupervisorEvent, service: string, text: string, style?: Style) => {
    const line = `${formatTimeOfDay(new Date(time))}  ${escapeText(service)}  ${escapeText(text)}`
    return style === undefined ? line : terminal.paint(style, line)
  }
  return {
    toLine: (event) => {
      switch (event.type) {
        case 'service.state': {
          // Single requests are not shown.
          const words = isServing(event.to) ? 'ready' : describeState(event.to)
          if (said.get(event.key) === words) return undefined
          said.set(event.key, words)
          const why = findReason(event)
          const isNews = why !== undefined && reasons.get(event.key) !== why
          if (why !== undefined) reasons.set(event.key, why)
          return tell(event, event.service, isNews ? `${words}: ${why}` : words, findStyle(event.to))
        }
        case 'process.spawned':
          return tell(event, event.service, `process ${event.pid} runs`, 'dim')
        case 'process.exited':
          return tell(event, event.service, `its process ended: ${describeEnd(event)}`, 'dim')
        case 'process.failed':
          return tell(event, event.service, event.failure.message, 'red')
        case 'process.settled':
          return event.receipt.survivors.length > 0 || event.receipt.isPortHeld || isServerLeft(event.receipt)
            ? undefined
            : tell(
                event,
                event.service,
                `none of its processes is left, after ${toDurationText(event.receipt.durationMs)}`,
                'dim',
              )
        case 'lease.refused':
        case 'leases.revoked':
          return tell(event, event.service, describeFailure(event.failure), 'red')
        case 'stop.incomplete':
          return tell(event, event.service, `ALARM: ${describeFailure(event.failure)}`, 'red')
        case 'service.failed':
          return tell(event, event.service, `its supervision failed: ${event.message}`, 'red')
        case 'request.attempted':
          return tell(event, event.ref, `could not answer: ${describeCode(event.code)}`, 'yellow')
        case 'config.replaced':
          return tell(event, 'leasehold', describeChange(event))
        case 'config.refused':
          return tell(
            event,
            'leasehold',
            `the configuration is refused, the old one stays: ${describeRefusal(event)}`,
            'red',
          )
        case 'orphans.reaped':
          return tell(
            event,
            'leasehold',
            `ended what a dead leasehold (process ${event.supervisorPid}) had left: ${[...event.pids, ...(event.servers ?? [])].join(', ')}`,
            'yellow',
          )
        case 'orphans.refused':
          return tell(
            event,
            'leasehold',
            `left by a dead leasehold, in ${event.file}: ${event.problem}`,
            'yellow',
          )
        case 'watchdog.lost':
          return tell(event, 'leasehold', describeWatchdog(event.problem), 'red')
        case 'watchdog.restored':
          return tell(event, 'leasehold', 'a watchdog runs again', 'green')
        case 'cluster.connected':
        case 'cluster.disconnected':
        case 'cluster.refused':
        case 'member.joined':
        case 'member.changed':
        case 'member.lost': {
          const { text, style } = describeClusterEvent(event)
          return tell(event, 'cluster', text, style)
        }
        case 'supervisor.closed':
          return tell(event, 'leasehold', 'everything is stopped')
        default:
          return undefined
      }
    },
  }
}

/** Reasons that the state already implies. */
const QUIET: ReadonlySet<string> = new Set([
  'requested',
  'spawning',
  'loading',
  'became-ready',
  'leased',
  'released',
  'unwanted',
])

function findReason({ why }: { readonly why: Reason | null }): string | undefined {
  return why === null || QUIET.has(why.kind) ? undefined : toReasonText(why)
}

function findStyle(state: string): Style | undefined {
  if (hasTag(state, 'up')) return 'green'
  if (hasTag(state, 'tripped')) return 'red'
  return hasTag(state, 'backoff') ? 'yellow' : undefined
}

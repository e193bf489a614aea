import type { Failure } from '../../machines/messages.ts'
import { hasTag } from '../../machines/provider/tags.ts'
import type { Reason } from '../../machines/reasons.ts'
import { toProblemText, toSentence } from '../errors.ts'
import { type ConfigChange, type ConfigRefusal, isServing, type SupervisorEvent } from '../events/events.ts'
import { toReasonText } from '../explanation/reason-text.ts'
import { toWatchdogText } from '../explanation/words.ts'
import { toDurationText } from '../text/duration.ts'
import { type Style, type Terminal, toSafeText } from './print.ts'
import { toClock, toCodeText, toStateText } from './words.ts'

/** What people should see of a supervisor's life, one line per event. */
export interface Lifecycle {
  /** The event as a line; absent for one that only machines want to know. */
  toLine(event: SupervisorEvent): string | undefined
}

/** Creates a teller of lifecycle events. It remembers what it said last of each service, so as not to repeat it. */
export function createLifecycle(terminal: Terminal): Lifecycle {
  const said = new Map<string, string>()
  const reasons = new Map<string, string>()
  const tell = ({ time }: SupervisorEvent, service: string, text: string, style?: Style) => {
    const line = `${toClock(new Date(time))}  ${toSafeText(service)}  ${toSafeText(text)}`
    return style === undefined ? line : terminal.paint(style, line)
  }
  return {
    toLine: (event) => {
      switch (event.type) {
        case 'service.state': {
          // That requests come and go is no news.
          const words = isServing(event.to) ? 'ready' : toStateText(event.to)
          if (said.get(event.key) === words) return undefined
          said.set(event.key, words)
          const why = toLoudReason(event)
          const isNews = why !== undefined && reasons.get(event.key) !== why
          if (why !== undefined) reasons.set(event.key, why)
          return tell(event, event.service, isNews ? `${words}: ${why}` : words, toStyle(event.to))
        }
        case 'process.spawned':
          return tell(event, event.service, `process ${event.pid} runs`, 'dim')
        case 'process.exited':
          return tell(event, event.service, `its process ended: ${toEndText(event)}`, 'dim')
        case 'process.failed':
          return tell(event, event.service, event.failure.message, 'red')
        case 'process.settled':
          return event.receipt.survivors.length > 0 || event.receipt.isPortHeld
            ? undefined
            : tell(
                event,
                event.service,
                `none of its processes is left, after ${toDurationText(event.receipt.durationMs)}`,
                'dim',
              )
        case 'lease.refused':
        case 'leases.revoked':
          return tell(event, event.service, toFailureLine(event.failure), 'red')
        case 'alarm':
          return tell(event, event.service, `ALARM: ${toFailureLine(event.failure)}`, 'red')
        case 'service.failed':
          return tell(event, event.service, `its supervision failed: ${event.message}`, 'red')
        case 'request.attempted':
          return tell(event, event.ref, `could not answer: ${toCodeText(event.code)}`, 'yellow')
        case 'config.replaced':
          return tell(event, 'leasehold', toChangeText(event))
        case 'config.refused':
          return tell(
            event,
            'leasehold',
            `the configuration is refused, the old one stays: ${toRefusalText(event)}`,
            'red',
          )
        case 'orphans.reaped':
          return tell(
            event,
            'leasehold',
            `ended processes that a dead leasehold (process ${event.supervisorPid}) had left: ${event.pids.join(', ')}`,
            'yellow',
          )
        case 'orphans.refused':
          return tell(event, 'leasehold', `put aside ${event.file}: ${event.problem}`, 'yellow')
        case 'watchdog.lost':
          return tell(event, 'leasehold', toWatchdogText(event.problem), 'red')
        case 'watchdog.restored':
          return tell(event, 'leasehold', 'a watchdog runs again', 'green')
        case 'supervisor.closed':
          return tell(event, 'leasehold', 'everything is stopped')
        default:
          return undefined
      }
    },
  }
}

/** Reasons that the state itself says already. */
const QUIET: ReadonlySet<string> = new Set([
  'requested',
  'spawning',
  'loading',
  'became-ready',
  'leased',
  'released',
  'unwanted',
])

function toLoudReason({ why }: { readonly why: Reason | null }): string | undefined {
  return why === null || QUIET.has(why.kind) ? undefined : toReasonText(why)
}

/** A configuration change in one line: `another configuration is in force: added b; restarting a`. */
export function toChangeText({
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

/** Why a configuration was refused, in one line: its first problem with its place, and how many there are. */
export function toRefusalText({ message, problems }: Pick<ConfigRefusal, 'message' | 'problems'>): string {
  const errors = problems.filter(({ severity }) => severity === 'error')
  const [first] = errors
  if (first === undefined) return message
  const more = errors.length > 1 ? ` (and ${errors.length - 1} more)` : ''
  return `${toProblemText(first)}${more}`
}

/** A failure in one line: its sentence, and the last line the process printed. */
export function toFailureLine({ message, tail, telling }: Failure): string {
  const last = telling === undefined ? tail?.at(-1) : undefined
  const text = last === undefined ? message : `${toSentence(message)} Last output: ${last}`
  return toSafeText(text).replaceAll('\n', ' ')
}

/** How a process ended: `code 1`, `SIGKILL`. */
export function toEndText({
  exitCode,
  signal,
}: {
  readonly exitCode: number | null
  readonly signal: string | null
}): string {
  return signal ?? `code ${exitCode ?? 'unknown'}`
}

function toStyle(state: string): Style | undefined {
  if (hasTag(state, 'up')) return 'green'
  if (hasTag(state, 'tripped')) return 'red'
  return hasTag(state, 'backoff') ? 'yellow' : undefined
}

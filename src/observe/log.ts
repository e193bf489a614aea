import type { Logger } from 'pino'
import type { Observable } from 'rxjs'
import { toInertFlags } from '../compat/flags.ts'
import type { Config } from '../config/config.ts'
import type { EventBody } from '../events/event-hub.ts'
import { eventMeanings, isServing, type SupervisorEvent } from '../events/events.ts'
import { toReasonText } from '../explanation/reason-text.ts'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

/** What an operator should see without asking: lifecycle changes; the rest is for `debug`. */
const levels: Partial<Record<SupervisorEvent['type'], LogLevel>> = {
  'service.state': 'info',
  'service.failed': 'error',
  'process.spawned': 'info',
  'process.failed': 'error',
  'process.detached': 'info',
  'process.exited': 'info',
  'process.settled': 'debug',
  'lease.refused': 'warn',
  'lease.overdue': 'warn',
  'leases.revoked': 'warn',
  'stop.incomplete': 'error',
  'request.attempted': 'warn',
  'config.replaced': 'info',
  'config.refused': 'error',
  'orphans.reaped': 'warn',
  'orphans.refused': 'warn',
  'watchdog.lost': 'error',
  'watchdog.restored': 'info',
  'cluster.connected': 'info',
  'cluster.disconnected': 'warn',
  'cluster.refused': 'error',
  'member.joined': 'info',
  'member.changed': 'info',
  'member.lost': 'warn',
  'supervisor.closed': 'info',
}

/** A service that is used and rests again has not changed its life: each request does that. */
export function findLevel(event: EventBody): LogLevel {
  const isTurn = event.type === 'service.state' && isServing(event.from) && isServing(event.to)
  return isTurn ? 'debug' : (levels[event.type] ?? 'debug')
}

/** Models are the clients' choice where a provider lists none, so what is remembered of them has a limit. */
const MAX_ADVICE = 1000

const WARNING = { type: 'LeaseholdLoggerWarning' }

/**
 * Writes events to children of a logger, which carry whom it is about: `{ service, key }`, or `{ requestId }`. Facts
 * first, a constant message second. An advice warns once per model. A logger that throws loses its line, and the first
 * time a process warning says so.
 */
export function logEvents(events$: Observable<SupervisorEvent>, logger: Logger): void {
  const isNewAdvice = rememberAdvice()
  let hasFailed = false
  const services = new Map<string, Logger>()
  const toServiceLogger = (service: string, key: string) => {
    const known = services.get(key) ?? logger.child({ service, key })
    services.set(key, known)
    return known
  }
  const write = (event: SupervisorEvent) => {
    const level = isNewAdvice(event) ? 'warn' : findLevel(event)
    if (!logger.isLevelEnabled(level)) return
    const { type, seq, time, ...body } = event
    const said = event.type === 'service.state' ? { whyText: toReasonText(event.why) } : {}
    if ('key' in body) {
      const { service, key, ...facts } = body
      toServiceLogger(service, key)[level]({ event: type, ...facts, ...said }, eventMeanings[type])
      if (type === 'service.retired') services.delete(key)
    } else if ('requestId' in body) {
      const { requestId, ...facts } = body
      logger.child({ requestId })[level]({ event: type, ...facts }, eventMeanings[type])
    } else logger[level]({ event: type, ...body }, eventMeanings[type])
  }
  events$.subscribe((event) => {
    try {
      write(event)
    } catch (error) {
      // Not caught here, it would end the process.
      if (!hasFailed) process.emitWarning(`The logger failed, and a line is lost: ${error}`, WARNING)
      hasFailed = true
    }
  })
}

/** Tells whether an event is an advice that was not given before for its model. */
export function rememberAdvice(): (event: EventBody) => boolean {
  const advised = new Set<string>()
  return (event) => {
    if (event.type !== 'request.advised') return false
    const key = `${event.advice} ${event.ref}`
    return !advised.has(key) && advised.size < MAX_ADVICE && advised.add(key).size > 0
  }
}

/** Logs once which sections of a configuration were ignored, and which of its flags have no effect. */
export function logConfig({ file, ignoredSections, providers }: Config, logger: Logger): void {
  if (ignoredSections.length > 0)
    logger.debug({ file, ignoredSections }, 'sections that belong to others are ignored')
  for (const { id: provider, models } of providers)
    for (const { id: model, compat } of models) {
      const flags = toInertFlags(compat)
      if (flags.length > 0) logger.debug({ provider, model, flags }, 'compat flags that have no effect here')
    }
}

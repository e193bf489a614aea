import type { Logger } from 'pino'
import type { Observable } from 'rxjs'
import { toInertFlags } from '../compat/flags.ts'
import type { Config } from '../config/config.ts'
import { eventMeanings, type SupervisorEvent } from '../events.ts'
import { toReasonText } from '../reason-text.ts'

type Level = 'debug' | 'info' | 'warn' | 'error'

/** What an operator should see without asking: lifecycle changes; the rest is for `debug`. */
const levels: Partial<Record<SupervisorEvent['type'], Level>> = {
  'service.state': 'info',
  'service.failed': 'error',
  'process.spawned': 'info',
  'process.failed': 'error',
  'process.exited': 'info',
  'process.settled': 'debug',
  'lease.refused': 'warn',
  'lease.overdue': 'warn',
  'leases.revoked': 'warn',
  alarm: 'error',
  'request.attempted': 'warn',
  'config.replaced': 'info',
  'config.refused': 'error',
  'orphans.reaped': 'warn',
  'orphans.refused': 'warn',
  'supervisor.closed': 'info',
}

/** Models are the clients' choice where a provider lists none, so what is remembered of them has a limit. */
const MAX_ADVICE = 1000

const WARNING = { type: 'LeaseholdLoggerWarning' }

/**
 * Writes events to a logger: facts first, a constant message second. An advice warns once per model. A logger that
 * throws loses its line, and the first time a process warning says so.
 */
export function logEvents(events$: Observable<SupervisorEvent>, logger: Logger): void {
  const advised = new Set<string>()
  let hasFailed = false
  const isFirst = (key: string) => !advised.has(key) && advised.size < MAX_ADVICE && advised.add(key).size > 0
  events$.subscribe((event) => {
    const { type, seq, time, ...facts } = event
    const isNews = event.type === 'request.advised' && isFirst(`${event.advice} ${event.ref}`)
    const said = event.type === 'service.state' ? { whyText: toReasonText(event.why) } : {}
    const level = isNews ? 'warn' : (levels[type] ?? 'debug')
    try {
      logger[level]({ event: type, ...facts, ...said }, eventMeanings[type])
    } catch (error) {
      // Thrown on, it would end the process: nobody else is there to catch it.
      if (!hasFailed) process.emitWarning(`The logger failed, and a line is lost: ${error}`, WARNING)
      hasFailed = true
    }
  })
}

/** Says once what of a configuration was left alone, and which flags of it change nothing here. */
export function logConfig({ file, ignoredSections, providers }: Config, logger: Logger): void {
  if (ignoredSections.length > 0)
    logger.debug({ file, ignoredSections }, 'sections that belong to others are ignored')
  for (const { id: provider, models } of providers)
    for (const { id: model, compat } of models) {
      const flags = toInertFlags(compat)
      if (flags.length > 0) logger.debug({ provider, model, flags }, 'compat flags that have no effect here')
    }
}

import type { Logger } from 'pino'
import type { Observable } from 'rxjs'
import { eventMeanings, type SupervisorEvent } from '../events.ts'

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
  'leases.revoked': 'warn',
  alarm: 'error',
  'request.attempted': 'warn',
  'config.replaced': 'info',
  'supervisor.closed': 'info',
}

/** Writes events to a logger: facts first, a constant message second. */
export function logEvents(events$: Observable<SupervisorEvent>, logger: Logger): void {
  events$.subscribe(({ type, seq, time, ...facts }) => {
    logger[levels[type] ?? 'debug']({ event: type, ...facts }, eventMeanings[type])
  })
}

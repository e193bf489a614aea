import { eventMeanings, type SupervisorEvent } from '../events/events.ts'
import { toEventText } from '../explanation/event-text.ts'
import { escapeText } from './terminal.ts'

/** Types that are not shown to users: events that only a statechart receives. */
const SILENT: ReadonlySet<string> = new Set(['machine.event'])

/** The types that have a sentence, for `?types=`. */
export const toldTypes: readonly string[] = Object.keys(eventMeanings).filter((type) => !SILENT.has(type))

/** An event as a line for users: time, service, sentence. */
export function describeEvent(event: SupervisorEvent): string {
  const whom = 'service' in event ? event.service : 'requestId' in event ? `request ${event.requestId}` : ''
  const parts = [event.time.slice(11, 23), whom || 'leasehold', toEventText(event)]
  return escapeText(parts.join('  ')).replaceAll('\n', ' ')
}

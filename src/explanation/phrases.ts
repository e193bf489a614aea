import { toProblemText, toSentence } from '../errors.ts'
import type { ConfigRefusal } from '../events/events.ts'

/** `1 request`, `2 requests`. */
export function toCount(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`
}

/** A clause as a sentence of its own. */
export function formatSentence(clause: string): string {
  return toSentence(clause.charAt(0).toUpperCase() + clause.slice(1))
}

/** What it means that no watchdog runs. */
export function describeWatchdog(problem: string): string {
  return `no watchdog runs (${problem}): if leasehold is killed, its servers may stay; it is tried again`
}

/** Why a configuration was refused, in one line: its first problem with its place, and how many there are. */
export function describeRefusal({ message, problems }: Pick<ConfigRefusal, 'message' | 'problems'>): string {
  const errors = problems.filter(({ severity }) => severity === 'error')
  const [first] = errors
  if (first === undefined) return message
  const more = errors.length > 1 ? ` (and ${errors.length - 1} more)` : ''
  return `${toProblemText(first)}${more}`
}

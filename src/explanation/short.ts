import { hasTag } from '../../machines/provider/tags.ts'
import type { TellingCause } from '../../machines/telling-line.ts'
import { toDurationText } from '../text/duration.ts'
import { isPrinted } from './advice.ts'
import { toCount } from './phrases.ts'
import { toReasonText } from './reason-text.ts'
import type { Explanation, Situation, Surroundings } from './situation.ts'

/** Longest text for a table row, in characters. */
const MAX_SHORT = 60

const causeNames: Readonly<Record<TellingCause, string | undefined>> = {
  memory: 'Out of memory',
  library: 'A shared library is missing',
  port: 'Its port is taken',
  'port-permission': 'Its port is not permitted',
  format: 'The model file is not readable',
  argument: 'The server rejects an argument',
  module: 'A module is missing',
  program: 'A program is missing',
  file: 'A file is missing',
  permission: 'A permission is missing',
  other: undefined,
}

/** What a service does now, or why it does nothing, for one row of a table: at most 60 characters, without a full stop. */
export function describeShort(situation: Situation, title: string): string {
  return cutText(findShort(situation, title))
}

function findShort(situation: Situation, title: string): string {
  const { state, leases, queue, failure, failures, startTimes, inStateMs, why } = situation
  const failed = hasTag(state, 'down') ? failure : null
  if (failed !== null) {
    const cause = findTelling(failed)
    const text = (cause && causeNames[cause]) ?? capitalize(failed.message)
    const times = failures > 1 ? `, ${failures} times in a row` : ''
    return `${cutText(text, MAX_SHORT - times.length)}${times}`
  }
  if (hasTag(state, 'loading')) {
    const usual = startTimes === null ? '' : `, usually ${toDurationText(startTimes.medianMs)}`
    return `Loads for ${toDurationText(inStateMs)}${usual}`
  }
  if (hasTag(state, 'busy')) {
    const waiting = queue.length === 0 ? '' : `, ${queue.length} ${queue.length === 1 ? 'waits' : 'wait'}`
    const verb = hasTag(state, 'draining') ? 'may finish' : leases === 1 ? 'uses it' : 'use it'
    return `${toCount(leases, 'request')} ${verb}${waiting}`
  }
  if (hasTag(state, 'down') || hasTag(state, 'stopping')) return capitalize(toReasonText(why))
  return title
}

function findTelling({ telling, cause }: NonNullable<Situation['failure']>): TellingCause | undefined {
  return (telling ?? cause?.telling)?.cause
}

function capitalize(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}

/** Cuts at a space where one is near; the text may quote output without any. */
function cutText(text: string, max = MAX_SHORT): string {
  const line = text.replaceAll(/\s+/g, ' ').trim()
  if (line.length <= max) return line
  const part = line.slice(0, max - 1)
  const space = part.lastIndexOf(' ')
  return `${space > max / 2 ? part.slice(0, space) : part}…`
}

/** The line of its output that says why a service that is down failed; `null`: there is none. */
export function findCauseLine(
  { state, failure }: Pick<Situation, 'state' | 'failure'>,
  { findCause }: Pick<Surroundings, 'findCause'>,
): Explanation['cause'] {
  if (failure === null || !hasTag(state, 'down')) return null
  const telling = failure.telling ?? failure.cause?.telling
  // A failure of a process that was still alive does not carry its output.
  const isUnread = telling === undefined && failure.tail === undefined && isPrinted(failure)
  return (isUnread ? findCause?.() : telling?.line) ?? null
}

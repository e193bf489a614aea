import type { Failure } from '../../machines/messages.ts'
import { NEVER_MS } from '../../machines/provider/delays.ts'
import { hasTag } from '../../machines/provider/tags.ts'
import { toSentence } from '../errors.ts'
import { toDurationText } from '../text/duration.ts'
import { type Advice, listCures, suggest } from './advice.ts'
import { toDecisionText } from './decision-text.ts'
import { describeNext } from './next.ts'
import { formatSentence, toCount } from './phrases.ts'
import { toReasonText } from './reason-text.ts'
import { explainRoom } from './room.ts'
import { describeShort, findCauseLine } from './short.ts'
import {
  type Explanation,
  type Neighbour,
  type Situation,
  type Surroundings,
  type Told,
  toAwaited,
} from './situation.ts'
import { explainStart } from './start.ts'

/** Explains a service as it stands. */
export function explain(situation: Situation, surroundings: Surroundings): Explanation {
  const told = tell(situation, surroundings)
  return {
    ...told,
    short: describeShort(situation, told.title),
    cause: findCauseLine(situation, surroundings),
  }
}

function tell(situation: Situation, surroundings: Surroundings): Told {
  const { state } = situation
  if (hasTag(state, 'starting')) return explainStart(situation, surroundings)
  const next = describeNext(situation)
  if (hasTag(state, 'busy')) return { next, ...explainUse(situation, surroundings) }
  if (hasTag(state, 'stopping')) return { next, ...explainStop(situation) }
  if (hasTag(state, 'down')) return { next, ...explainDown(situation) }
  if (hasTag(state, 'sleeping')) return { next, ...explainSleep(situation) }
  const sentence = describeWhy(situation)
  if (hasTag(state, 'idle') && situation.queue.length > 0) return { next, ...explainUnreachable(situation) }
  if (hasTag(state, 'idle'))
    return {
      tone: 'good',
      title: 'Ready, not in use',
      sentence: sentence + describeKeepAlive(situation),
      next,
      advice: [],
    }
  if (hasTag(state, 'probing'))
    return { tone: 'busy', title: 'Looking for a running server', sentence, next, advice: [] }
  return { tone: 'rest', title: 'Ended', sentence, next, advice: [] }
}

/**
 * The reason for the state, as one clause, with the scheduler's decision if the service waited for room, was
 * evicted, or evicted others.
 */
export function toWhyText(situation: Situation): string {
  const { key, state, why, stopReason, decision } = situation
  const hadToLeave = [stopReason, why?.kind === 'stop' ? why.reason : null].some(
    (reason) => reason === 'evicted' || reason === 'yielded',
  )
  const mustSleep = why?.kind === 'falling-asleep' && why.afterMs === undefined
  const tookIt = decision?.because.cause === 'room-made' && decision.choice.key === key && isUp(state)
  const isAboutRoom =
    decision !== null && (hadToLeave || mustSleep || tookIt || toAwaited(situation) !== null)
  return isAboutRoom ? `${toReasonText(why)}; ${toDecisionText(decision)}` : toReasonText(why)
}

function isUp(state: string): boolean {
  return hasTag(state, 'starting') || hasTag(state, 'up')
}

/** The same as a sentence of its own. */
function describeWhy(situation: Situation): string {
  return formatSentence(toWhyText(situation))
}

/** How long a request asked to keep it; empty where none did. */
function describeKeepAlive({ keepAliveMs }: Situation): string {
  if (keepAliveMs === null) return ''
  if (keepAliveMs >= NEVER_MS) return ' A request asked that it stay until it is stopped (keep_alive).'
  if (keepAliveMs === 0) return ' A request asked that it stop when it is idle (keep_alive: 0).'
  return ` A request asked that it stop after ${toDurationText(keepAliveMs)} without use (keep_alive).`
}

/** Its process runs, and a request was refused the connection. */
function explainUnreachable({ queue, verdict }: Situation): Omit<Told, 'next'> {
  const seen = verdict === null ? '' : ` (${verdict.detail})`
  return {
    tone: 'warn',
    title: 'Not listening',
    sentence: `Its process runs, but nothing listens at its address${seen}. ${toCount(queue.length, 'request')} ${queue.length === 1 ? 'waits' : 'wait'} for its next good health check.`,
    advice: [],
  }
}

/** Its process runs without its memory, gives it back, or takes it again. */
function explainSleep(situation: Situation): Omit<Told, 'next'> {
  const { state, queue, decision } = situation
  const count = toCount(queue.length, 'request')
  const waiting =
    queue.length === 0 ? '' : ` ${count} ${queue.length === 1 ? 'waits' : 'wait'} until it is awake.`
  const awaited = toAwaited(situation)
  if (awaited !== null && awaited.because.cause !== 'start-places') return explainRoom(awaited, waiting)
  const sentence = `${describeWhy(situation)}${waiting}`
  if (hasTag(state, 'falling-asleep')) return { tone: 'busy', title: 'Falling asleep', sentence, advice: [] }
  if (hasTag(state, 'waking')) return { tone: 'busy', title: 'Waking', sentence, advice: [] }
  return queue.length > 0 && decision !== null
    ? { tone: 'busy', title: 'Asleep, waits for its turn to wake', sentence, advice: [] }
    : { tone: 'rest', title: 'Asleep', sentence, advice: [] }
}

function explainUse(situation: Situation, { all }: Surroundings): Omit<Told, 'next'> {
  const { state, service, leases, queue, policy } = situation
  const sentence = describeWhy(situation)
  if (hasTag(state, 'draining'))
    return {
      tone: 'warn',
      title: `Draining: ${toCount(leases, 'request')} may finish`,
      sentence,
      advice: [{ text: 'Cut off its open requests, if they may fail.', command: { verb: 'cut', service } }],
    }
  const isFull = policy !== null && queue.length >= policy.maxQueue && queue.length > 0
  const waiting =
    queue.length === 0
      ? ''
      : ` ${queue.length} more ${queue.length === 1 ? 'waits' : 'wait'} for a free place.`
  const refused = isFull ? ` The queue has reached maxQueue: further requests are refused.` : ''
  const kept = all.filter((other) => isKeptOut(other, situation)).map((other) => other.service)
  const others =
    kept.length === 0 ? '' : ` ${kept.join(' and ')} ${kept.length === 1 ? 'waits' : 'wait'} for its room.`
  return {
    tone: isFull ? 'warn' : 'good',
    title: `In use by ${toCount(leases, 'request')}${isFull ? ', and its queue is full' : ''}`,
    sentence: `${sentence}${waiting}${refused}${others}${describeKeepAlive(situation)}`,
    advice:
      queue.length === 0
        ? []
        : [
            {
              text: 'If the server can serve more requests at the same time, raise maxConcurrent.',
              command: null,
              ...suggest('maxConcurrent', policy?.maxConcurrent),
            },
          ],
  }
}

/** Whether one waits for room that the other holds. */
function isKeptOut(one: Neighbour, holder: Neighbour): boolean {
  return toAwaited(one)?.rejected.some(({ key }) => key === holder.key) ?? false
}

function explainStop(situation: Situation): Omit<Told, 'next'> {
  const { state, queue, policy } = situation
  const isKilled = state.endsWith('killing')
  const sentence = describeWhy(situation)
  return {
    tone: 'busy',
    title: isKilled ? 'Stopping: killed' : 'Stopping',
    sentence:
      queue.length > 0
        ? `${sentence} ${toCount(queue.length, 'request')} ${queue.length === 1 ? 'waits' : 'wait'} for the next start.`
        : sentence,
    advice: isKilled
      ? [
          {
            text: 'It did not end within stopGraceMs after SIGTERM; if the server needs longer to save its state, raise stopGraceMs.',
            command: null,
            ...suggest('stopGraceMs', policy?.stopGraceMs),
          },
        ]
      : [],
  }
}

function explainDown(situation: Situation): Omit<Told, 'next'> {
  const { state, service, failures, failure, why } = situation
  const sentence = describeWhy(situation)
  const start = (text: string): Advice => ({ text, command: { verb: 'start', service } })
  if (hasTag(state, 'backoff'))
    return {
      tone: 'warn',
      title: failures > 1 ? `Failed ${failures} times in a row` : 'Failed, waits before the next start',
      sentence,
      advice: listCures(situation),
    }
  if (hasTag(state, 'tripped'))
    return {
      tone: 'bad',
      title:
        failures > 1
          ? 'Keeps failing: requests are refused at once'
          : 'Failed, and would fail again: requests are refused at once',
      sentence,
      advice: [...listCures(situation), start('When the cause is fixed, start it.')],
    }
  if (failure !== null)
    return {
      tone: 'warn',
      title: failures > 1 ? `Down, after ${failures} failures in a row` : 'Down, after a failure',
      // The reason already contains this failure.
      sentence:
        why?.kind === 'failed'
          ? sentence
          : `${formatSentence(failure.message)}${describeLastOutput(failure)} ${sentence}`,
      advice: [
        ...listCures(situation),
        failure.code === 'LEASEHOLD_NOT_REACHABLE'
          ? start('The next request looks for it again, and so can you.')
          : start('The next request starts it again, and so can you.'),
      ],
    }
  return {
    tone: 'rest',
    title: 'Down',
    sentence,
    advice: why === null ? [start('A request for one of its models starts it, and so can you.')] : [],
  }
}

function describeLastOutput({ tail, telling }: Failure): string {
  // The message already quotes the relevant line.
  const last = telling === undefined ? tail?.at(-1) : undefined
  return last === undefined ? '' : ` It last printed: ${toSentence(last)}`
}

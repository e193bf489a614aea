import { hasTag } from '../../machines/provider/tags.ts'
import { toDurationText } from '../text/duration.ts'
import { suggest } from './advice.ts'
import { describeNext } from './next.ts'
import { formatSentence, toCount } from './phrases.ts'
import { toReasonText } from './reason-text.ts'
import { explainRoom } from './room.ts'
import { type Situation, type Surroundings, type Told, toAwaited } from './situation.ts'

/** A start is slow beyond this multiple of its usual time, or this share of its deadline. */
const SLOW_FACTOR = 2
const SLOW_SHARE = 0.4
/** A shorter start is never slow, in milliseconds. */
const SLOW_MS = 2_000

/** Explains a start: one that waits for its turn or for room, and one that loads. */
export function explainStart(situation: Situation, surroundings: Surroundings): Told {
  const { state, queue } = situation
  const waiting =
    queue.length === 0
      ? ''
      : ` ${toCount(queue.length, 'request')} ${queue.length === 1 ? 'waits' : 'wait'} for it.`
  const awaited = toAwaited(situation)
  if (awaited !== null && awaited.because.cause !== 'start-places') return explainRoom(awaited, waiting)
  if (hasTag(state, 'claiming')) return explainTurn(situation, surroundings, waiting)
  return explainLoading(situation, surroundings, waiting)
}

/** `maxConcurrentStarts` is reached, or its claim is not answered yet. */
function explainTurn(situation: Situation, { all }: Surroundings, waiting: string): Told {
  const { key, service, why } = situation
  const others = all.filter(
    (other) => other.key !== key && (hasTag(other.state, 'loading') || hasTag(other.state, 'stopping')),
  )
  const ahead = others.map(
    (other) => `${other.service} (${hasTag(other.state, 'starting') ? 'starting' : 'stopping'})`,
  )
  const before = ahead.length === 0 ? '' : ` Ahead of it: ${ahead.join(', ')}.`
  return {
    tone: 'busy',
    title: 'Waits for its turn to start',
    sentence: `${formatSentence(toReasonText(why))}${before}${waiting}`,
    next: describeNext(situation),
    advice: [
      ...others
        .filter(({ state }) => hasTag(state, 'starting'))
        .map((other) => ({
          text: `It starts as soon as ${other.service} is ready. If ${service} matters more, stop ${other.service}.`,
          command: { verb: 'stop' as const, service: other.service },
        })),
      ...(others.length === 0
        ? []
        : [
            {
              text: 'If there is memory for more starts at the same time, raise leasehold.maxConcurrentStarts.',
              command: null,
            },
          ]),
    ],
  }
}

/** It is being spawned, or runs and is not ready. */
function explainLoading(situation: Situation, { lastLine }: Surroundings, waiting: string): Told {
  const { service, inStateMs, verdict, startTimes, pid, why, timers, ownership, policy } = situation
  const next = describeNext(situation)
  const usual = startTimes === null ? '' : ` It usually takes ${toDurationText(startTimes.medianMs)}.`
  const deadline = timers.find(({ name }) => name === 'readyTimeout')
  const allowedMs = deadline === undefined ? Number.POSITIVE_INFINITY : deadline.remainingMs + inStateMs
  const isSlow =
    startTimes === null
      ? inStateMs > SLOW_SHARE * allowedMs
      : inStateMs > Math.max(SLOW_MS, SLOW_FACTOR * startTimes.medianMs)
  const title = `Loading for ${toDurationText(inStateMs)}`
  if (!isSlow)
    return {
      tone: 'busy',
      title,
      sentence: `${formatSentence(toReasonText(why))}${usual}${waiting}`,
      next,
      advice: [],
    }
  const seen = verdict === null ? '' : ` Its last health check said: ${verdict.kind} (${verdict.detail}).`
  const printed = lastLine === undefined ? '' : ` It last printed: ${lastLine}`
  return {
    tone: 'warn',
    title: startTimes === null ? `${title} of ${toDurationText(allowedMs)}` : `${title}, longer than usual`,
    sentence: `It runs${pid === null ? '' : ` (pid ${pid})`} but is not ready.${usual}${seen}${waiting}${printed}`,
    next,
    advice: [
      {
        text: 'Read its output. If it makes progress, wait.',
        command: { verb: 'logs', service },
      },
      ...(ownership === 'owned'
        ? [{ text: 'If it makes no progress, stop it.', command: { verb: 'stop' as const, service } }]
        : []),
      {
        text: 'If the model needs longer to load, raise readyTimeoutMs. If the server is ready already, correct healthUrl.',
        command: null,
        ...suggest('readyTimeoutMs', policy?.readyTimeoutMs),
      },
    ],
  }
}

import { toDurationText } from '../duration.ts'
import type { Situation } from './situation.ts'

/** What the end of a delay brings: in two words for a table, and as a sentence. */
interface Words {
  /** `stops in`. */
  readonly brief: string
  readonly full: (left: string, situation: Pick<Situation, 'queue'>) => string
}

/** Delays that say something to people, by name. */
const words: Readonly<Record<string, Words>> = {
  idleStop: {
    brief: 'stops in',
    full: (left) => `It stops in ${left}, if nobody uses it until then.`,
  },
  backoff: {
    brief: 'may start again in',
    full: (left, { queue }) =>
      queue.length > 0
        ? `The next start is in ${left}.`
        : `It may start again in ${left}, for the next request.`,
  },
  breakerCooldown: {
    brief: 'one more try in',
    full: (left) => `One trial start is allowed in ${left}.`,
  },
  readyTimeout: { brief: 'is given up in', full: (left) => `It is given up in ${left}.` },
  drainTimeout: {
    brief: 'cuts its leases in',
    full: (left) => `What is still open then is cut in ${left}.`,
  },
  stopGrace: {
    brief: 'is killed in',
    full: (left) => `It is killed in ${left}, if it has not ended.`,
  },
}

/** We only stop using an adopted server: it goes on running. */
const letGo: Words = {
  brief: 'is let go in',
  full: (left) => `It is let go in ${left}, and goes on running.`,
}

/** The first of the running delays that says something to people. */
export function toMainTimer<Timer extends { readonly name: string; readonly remainingMs: number }>(
  timers: readonly Timer[],
): Timer | undefined {
  return timers
    .filter(({ name }) => words[name] !== undefined)
    .toSorted((a, b) => a.remainingMs - b.remainingMs)[0]
}

/** What happens next, and when, as a sentence; `null`: nothing is planned. */
export function toNextSentence(situation: Pick<Situation, 'timers' | 'ownership' | 'queue'>): string | null {
  const timer = toMainTimer(situation.timers)
  if (timer === undefined) return null
  return toWords(timer.name, situation.ownership).full(toDurationText(timer.remainingMs), situation)
}

/** The same for a table: `stops in 12 s`. Empty: nothing is planned. */
export function toNextText({ timers, ownership }: Pick<Situation, 'timers' | 'ownership'>): string {
  const timer = toMainTimer(timers)
  if (timer === undefined) return ''
  return `${toWords(timer.name, ownership).brief} ${toDurationText(timer.remainingMs)}`
}

function toWords(name: string, ownership: Situation['ownership']): Words {
  return (name === 'idleStop' && ownership === 'adopted' ? undefined : words[name]) ?? letGo
}

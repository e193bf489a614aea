import type { ServicePolicy } from '../../machines/messages.ts'
import { NEVER_MS, toIdleStopMs } from '../../machines/provider/delays.ts'
import { hasTag } from '../../machines/provider/tags.ts'
import { toDurationText } from '../text/duration.ts'
import type { Situation } from './situation.ts'

/** What happens at the end of a delay: briefly for a table, and as a sentence. */
interface Words {
  /** `stops in`. */
  readonly brief: string
  readonly full: (left: string, situation: Pick<Situation, 'queue'>) => string
}

/** Delays that are shown to users, by name. */
const words: Readonly<Record<string, Words>> = {
  idleStop: {
    brief: 'stops in',
    full: (left) => `It stops in ${left}, unless a request comes.`,
  },
  sleepAfter: {
    brief: 'sleeps in',
    full: (left) => `It sleeps in ${left}, unless a request comes.`,
  },
  wakeTimeout: {
    brief: 'wake fails in',
    full: (left) => `Unless it is awake in ${left}, it is stopped and started again.`,
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
  readyTimeout: { brief: 'start fails in', full: (left) => `Its start fails in ${left} unless it is ready.` },
  drainTimeout: {
    brief: 'cuts off requests in',
    full: (left) => `Requests that are still open are cut off in ${left}.`,
  },
  stopGrace: {
    brief: 'is killed in',
    full: (left) => `It is killed in ${left}, if it has not ended.`,
  },
}

/** We only stop using an adopted server: it goes on running. */
const letGo: Words = {
  brief: 'released in',
  full: (left) => `leasehold stops using it in ${left}; it keeps running.`,
}

/** The running delay that ends first, among those shown to users. */
export function findMainTimer<Timer extends { readonly name: string; readonly remainingMs: number }>(
  timers: readonly Timer[],
): Timer | undefined {
  return timers
    .filter(({ name }) => words[name] !== undefined)
    .toSorted((a, b) => a.remainingMs - b.remainingMs)[0]
}

/** What happens next, and when, as a sentence; `null`: nothing is planned. */
export function describeNext(situation: Pick<Situation, 'timers' | 'ownership' | 'queue'>): string | null {
  const timer = findMainTimer(situation.timers)
  if (timer === undefined) return null
  return findWords(timer.name, situation.ownership).full(toDurationText(timer.remainingMs), situation)
}

/** The same for a table: `stops in 12 s`. Empty: nothing is planned. */
export function describeNextBriefly({ timers, ownership }: Pick<Situation, 'timers' | 'ownership'>): string {
  const timer = findMainTimer(timers)
  if (timer === undefined) return ''
  return `${findWords(timer.name, ownership).brief} ${toDurationText(timer.remainingMs)}`
}

/**
 * What ends a service that is up and has no running delay, for a table: `stops after 10 min 0 s idle`. Empty: it is not
 * up, or leasehold does not stop it.
 */
export function describeEndBriefly({
  state,
  ownership,
  keepAliveMs,
  policy,
}: Pick<Situation, 'state' | 'ownership' | 'keepAliveMs'> & {
  readonly policy: Pick<ServicePolicy, 'idleStopMs'>
}): string {
  if (ownership !== 'owned' || !(hasTag(state, 'up') || hasTag(state, 'asleep')) || hasTag(state, 'draining'))
    return ''
  const idleMs = toIdleStopMs({ keepAliveMs, policy })
  if (idleMs >= NEVER_MS) return 'stays until it is stopped'
  return idleMs === 0 ? 'stops when idle' : `stops after ${toDurationText(idleMs)} idle`
}

function findWords(name: string, ownership: Situation['ownership']): Words {
  return (name === 'idleStop' && ownership === 'adopted' ? undefined : words[name]) ?? letGo
}

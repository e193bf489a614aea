import type { Peer } from '../../machines/messages.ts'
import { toDurationText } from '../duration.ts'
import type { ServiceSnapshot } from '../supervisor/snapshot.ts'
import { toSafeText } from './print.ts'

/** States of a service, the longest name that fits first, in words for people. */
const stateWords: readonly (readonly [string, string])[] = [
  ['down.cold', 'down'],
  ['down.backoff', 'waits before the next start'],
  ['down.tripped', 'failing: requests are refused'],
  ['probing', 'looking for a running server'],
  ['starting.warming', 'loading'],
  ['starting', 'starting'],
  ['ready', 'ready, not in use'],
  ['leased.draining', 'draining'],
  ['leased', 'in use'],
  ['idle-stopping.killing', 'stopping (killed)'],
  ['idle-stopping', 'stopping'],
  ['retired', 'ended'],
  ['unavailable', 'unavailable'],
]

/** What the end of a delay brings, in words. Delays that say nothing to people are not here. */
const timerWords: Readonly<Record<string, string>> = {
  idleStop: 'stops in',
  backoff: 'may start again in',
  breakerCooldown: 'one more try in',
  readyTimeout: 'is given up in',
  drainTimeout: 'cuts its leases in',
  stopGrace: 'is killed in',
}

/** The state of a service in words. A state unknown here is told as it is. */
export function toStateText(state: string): string {
  return stateWords.find(([name]) => state === name || state.startsWith(`${name}.`))?.[1] ?? state
}

/** What happens next, and when: `stops in 12 s`. Empty: nothing is planned. */
export function toNextText({ timers, ownership }: Pick<ServiceSnapshot, 'timers' | 'ownership'>): string {
  const [next] = timers
    .filter(({ name }) => timerWords[name] !== undefined)
    .toSorted((a, b) => a.remainingMs - b.remainingMs)
  if (next === undefined) return ''
  // We only stop using an adopted server: it goes on running.
  const words = next.name === 'idleStop' && ownership === 'adopted' ? 'is let go in' : timerWords[next.name]
  return `${words} ${toDurationText(next.remainingMs)}`
}

/** Who may stop a service, in words. */
export function toOwnerText({ ownership, holder }: Pick<ServiceSnapshot, 'ownership' | 'holder'>): string {
  if (ownership === 'borrowed') return holder === null ? 'another leasehold' : toPeerText(holder)
  return { owned: 'leasehold', adopted: 'somebody else', none: '' }[ownership]
}

/** Another supervisor, in words: `leasehold serve (process 123)`. */
export function toPeerText({ name, pid }: Peer): string {
  return `leasehold ${toSafeText(name)} (process ${pid})`
}

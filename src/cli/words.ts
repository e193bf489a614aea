import type { Peer } from '../../machines/messages.ts'
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

/** The state of a service in words. A state unknown here is told as it is. */
export function toStateText(state: string): string {
  return stateWords.find(([name]) => state === name || state.startsWith(`${name}.`))?.[1] ?? state
}

/** The time of day: `14:03:59`. */
export function toClock(time: Date): string {
  return time.toTimeString().slice(0, 8)
}

/** Who may stop a service, in words. */
export function toOwnerText({ ownership, holder }: Pick<ServiceSnapshot, 'ownership' | 'holder'>): string {
  if (ownership === 'borrowed') return holder === null ? 'another leasehold' : toPeerText(holder)
  return { owned: 'leasehold', adopted: 'another program', none: '' }[ownership]
}

/** Another supervisor, in words: `leasehold serve (process 123)`. */
export function toPeerText({ name, pid }: Peer): string {
  return `leasehold ${toSafeText(name)} (process ${pid})`
}

/** The code of an error in words: `LEASEHOLD_READY_TIMEOUT` is `ready timeout`. */
export function toCodeText(code: string): string {
  return code
    .replace(/^LEASEHOLD_/, '')
    .toLowerCase()
    .replaceAll('_', ' ')
}

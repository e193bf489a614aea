import { describePeer } from '../explanation/naming.ts'
import type { ServiceSnapshot } from '../service/snapshot.ts'

/** The time of day: `14:03:59`. */
export function formatTimeOfDay(time: Date): string {
  return time.toTimeString().slice(0, 8)
}

/** The owner of a service, in words. */
export function describeOwner({ ownership, holder }: Pick<ServiceSnapshot, 'ownership' | 'holder'>): string {
  if (ownership === 'borrowed') return holder === null ? 'another leasehold' : describePeer(holder)
  return { owned: 'leasehold', adopted: 'another program', none: '' }[ownership]
}

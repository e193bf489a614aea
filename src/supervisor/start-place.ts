import type { ClaimOutcome, Waiter } from '../../machines/messages.ts'
import type { Exchange } from '../request/exchange.ts'
import type { ClusterSeat } from './cluster-seat.ts'

/** Where the services of this machine start. */
export interface StartPlace {
  /** Whether a service may be started on this machine. Rejects with the signal's reason. */
  place(key: string, signal: AbortSignal): Promise<ClaimOutcome>
  /** Another member has a service that is being started here. */
  revoke(key: string, member: string): void
}

export interface StartPlaceOptions {
  readonly seat: Pick<ClusterSeat, 'isConfigured' | 'place' | 'usesOthers'>
  readonly waitersOf: (key: string) => readonly Pick<Waiter, 'id' | 'cause'>[]
  /** An open request; `undefined`: the lease is not of a request. */
  readonly requestOf: (id: string) => Pick<Exchange, 'isForHere'> | undefined
  /** Gives up a start: its requests go to the member. */
  readonly giveUp: (key: string, member: string) => void
}

/** What waits for this machine and for no other is started here, whatever the other members have. */
export function createStartPlace({ seat, waitersOf, requestOf, giveUp }: StartPlaceOptions): StartPlace {
  /** A start by hand, `preload`, a lease that the host asks for, a request that names this member. */
  const isForHere = (key: string) => {
    const usesOthers = seat.usesOthers(key)
    return waitersOf(key).some(
      ({ id, cause }) => cause !== undefined || (requestOf(id)?.isForHere(usesOthers) ?? true),
    )
  }
  return {
    place: async (key, signal) => {
      if (!seat.isConfigured || isForHere(key)) return { outcome: 'claimed' }
      const outcome = await seat.place(key, signal)
      // A request that is for this machine may have come meanwhile.
      return outcome.outcome === 'elsewhere' && isForHere(key) ? { outcome: 'claimed' } : outcome
    },
    revoke: (key, member) => {
      if (!isForHere(key)) giveUp(key, member)
    },
  }
}

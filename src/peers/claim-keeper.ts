import type { ClaimOutcome, Failure } from '../../machines/messages.ts'
import type { Claim, Claims } from './claim.ts'
import type { PeerConnection } from './peer-wire.ts'

/** The claims of a supervisor's services: each is kept from the first look until nothing of the service is left. */
export interface ClaimKeeper {
  /** Never rejects but with the signal's reason. A claim that is still kept is ours at once. */
  take(key: string, signal: AbortSignal): Promise<ClaimOutcome>
  /** The service needs its claim no more. One that still runs keeps it until its receipt. */
  release(key: string): void
  /** A process of the service begins, or the receipt of one came. */
  noteBegin(key: string): void
  noteEnd(key: string): void
  /** The service whose claim on an address is ours. */
  keyOf(address: string): string | undefined
  /** Speaks with the supervisor that has a service's claim. */
  meet(key: string): Promise<PeerConnection>
}

interface Kept {
  readonly claim: Claim
  isUnneeded: boolean
}

export function createClaimKeeper(claims: Claims, addressOf: (key: string) => string): ClaimKeeper {
  const kept = new Map<string, Kept>()
  const running = new Map<string, number>()

  const settle = (key: string) => {
    const mine = kept.get(key)
    if (mine === undefined || !mine.isUnneeded || (running.get(key) ?? 0) > 0) return
    kept.delete(key)
    mine.claim.release()
  }
  const count = (key: string, change: number) => {
    const now = (running.get(key) ?? 0) + change
    if (now === 0) running.delete(key)
    else running.set(key, now)
  }
  return {
    take: async (key, signal) => {
      const mine = kept.get(key)
      if (mine !== undefined) {
        mine.isUnneeded = false
        return { outcome: 'claimed' }
      }
      try {
        const result = await claims.claim(addressOf(key), signal)
        if (result.outcome === 'held') return result
        if (signal.aborted) result.claim.release()
        else kept.set(key, { claim: result.claim, isUnneeded: false })
        return { outcome: 'claimed' }
      } catch (error) {
        signal.throwIfAborted()
        return { outcome: 'impossible', failure: toClaimFailure(error) }
      }
    },
    release: (key) => {
      const mine = kept.get(key)
      if (mine !== undefined) mine.isUnneeded = true
      settle(key)
    },
    noteBegin: (key) => count(key, 1),
    noteEnd: (key) => {
      count(key, -1)
      settle(key)
    },
    keyOf: (address) => [...kept].find(([, { claim }]) => claim.key === address)?.[0],
    meet: (key) => claims.meet(addressOf(key)),
  }
}

function toClaimFailure(error: unknown): Failure {
  const message = error instanceof Error ? error.message : String(error)
  if (error instanceof Error && 'code' in error && error.code === 'LEASEHOLD_STATE_UNUSABLE')
    return { code: 'LEASEHOLD_STATE_UNUSABLE', message: `not started without a claim: ${message}` }
  return { code: 'LEASEHOLD_CLAIM_FAILED', message: `not started, because its claim failed: ${message}` }
}

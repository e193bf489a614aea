import { type Actor, createActor, fromPromise } from 'xstate'
import { claimMachine } from '../../machines/claim.ts'
import type { Failure, HostClaimOutcome } from '../../machines/messages.ts'
import { LeftServerError } from '../process/reaping.ts'
import type { Claim, Claims } from './host-claims.ts'
import type { PeerConnection } from './peer-wire.ts'

/** The claims of a supervisor's services. The chart `machines/claim.ts` says how long each is kept. */
export interface ClaimKeeper {
  /** Never rejects but with the signal's reason. A claim that is still kept is ours at once. */
  take(key: string, signal: AbortSignal): Promise<HostClaimOutcome>
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

export function createClaimKeeper(claims: Claims, addressOf: (key: string) => string): ClaimKeeper {
  const actors = new Map<string, Actor<typeof claimMachine>>()
  const held = new Map<string, Claim>()

  const take = async (key: string, signal: AbortSignal): Promise<HostClaimOutcome> => {
    try {
      const result = await claims.claim(addressOf(key), signal)
      if (result.outcome === 'held') return result
      if (signal.aborted) result.claim.release()
      else held.set(key, result.claim)
      return { outcome: 'claimed' }
    } catch (error) {
      return { outcome: 'impossible', failure: buildClaimFailure(error) }
    }
  }
  const release = (key: string) => {
    held.get(key)?.release()
    held.delete(key)
  }
  const begin = (key: string) => {
    const actor = createActor(
      claimMachine.provide({
        actors: { take: fromPromise(({ signal }) => take(key, signal)) },
        actions: { release: () => release(key) },
      }),
    ).start()
    actors.set(key, actor)
    // A service may be removed: nothing is kept of a claim that is free.
    actor.subscribe(({ value, context: { runs } }) => {
      if (value === 'free' && runs === 0) actors.delete(key)
    })
    return actor
  }
  const actorOf = (key: string) => actors.get(key) ?? begin(key)

  return {
    take: (key, signal) =>
      new Promise((resolve, reject) => {
        if (signal.aborted) return reject(signal.reason)
        const actor = actorOf(key)
        actor.send({ type: 'claim.wanted' })
        if (actor.getSnapshot().hasTag('ours')) return resolve({ outcome: 'claimed' })
        const abandon = () => {
          answer.unsubscribe()
          actor.send({ type: 'claim.abandoned' })
          reject(signal.reason)
        }
        const answer = actor.subscribe(({ context: { outcome } }) => {
          if (outcome === null) return
          answer.unsubscribe()
          signal.removeEventListener('abort', abandon)
          resolve(outcome)
        })
        signal.addEventListener('abort', abandon, { once: true })
      }),
    release: (key) => actors.get(key)?.send({ type: 'claim.unneeded' }),
    noteBegin: (key) => actorOf(key).send({ type: 'run.begun' }),
    noteEnd: (key) => actors.get(key)?.send({ type: 'run.ended' }),
    keyOf: (address) => [...held].find(([, claim]) => claim.key === address)?.[0],
    meet: (key) => claims.meet(addressOf(key)),
  }
}

function buildClaimFailure(error: unknown): Failure {
  const message = error instanceof Error ? error.message : String(error)
  if (error instanceof Error && 'code' in error && error.code === 'LEASEHOLD_STATE_UNUSABLE')
    return { code: 'LEASEHOLD_STATE_UNUSABLE', message: `not started without a claim: ${message}` }
  if (error instanceof LeftServerError)
    return {
      code: 'LEASEHOLD_CLAIM_FAILED',
      message: `not started, because a server of an earlier leasehold may still be there: ${message}`,
      retry: 'later',
    }
  return { code: 'LEASEHOLD_CLAIM_FAILED', message: `not started, because its claim failed: ${message}` }
}

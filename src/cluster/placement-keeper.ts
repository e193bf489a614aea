import { type Actor, createActor, fromPromise, type SnapshotFrom } from 'xstate'
import type { CardServiceState, StartClaim } from '../../machines/cluster/messages.ts'
import {
  type ClaimReply,
  type HolderProbe,
  type HolderReply,
  type PlacementContext,
  type PlacementOutcome,
  type PlacementPolicy,
  placementMachine,
  type ServiceSight,
} from '../../machines/cluster/placement.ts'
import type { Clock } from '../clock.ts'
import type { ClaimAttempt, StartClaims } from './start-claims.ts'

/** What the placements of all services work with. */
export interface PlacementOptions {
  readonly clock: Clock
  readonly self: StartClaim
  readonly policy: PlacementPolicy
  readonly claims: StartClaims
  /** The service at the members that are not lost. */
  readonly look: (provider: string) => Promise<readonly ServiceSight[]>
  /** The same, each member asked over HTTP now. */
  readonly askMembers: (provider: string) => Promise<readonly ServiceSight[]>
  readonly askHolder: (holder: StartClaim, provider: string) => Promise<HolderReply>
  readonly probeHolder: (holder: StartClaim, provider: string) => Promise<HolderProbe>
  /** A start that was permitted must be given up, because `member` has it. */
  readonly onRevoked: (provider: string, member: string) => void
  /** A service is asked for, or is not any longer: the card tells it. */
  readonly onChange: () => void
}

/** Where services start, by the id of their provider. */
export interface PlacementKeeper {
  /** Whether the start may be made here. Rejects with the signal's reason alone. */
  place(provider: string, signal: AbortSignal): Promise<PlacementOutcome>
  /** The server is ready; its start failed, or it is gone. */
  noteReady(provider: string): void
  noteEnded(provider: string): void
  /** The state of the service on the card, where a placement is under way. */
  stateOf(provider: string): CardServiceState | undefined
  /** This process stood still. */
  noteStandstill(): void
  /** NATS is reached again. */
  noteBack(): void
  close(): Promise<void>
}

type PlacementSnapshot = SnapshotFrom<typeof placementMachine>

export function createPlacementKeeper(options: PlacementOptions): PlacementKeeper {
  const { clock, self, policy, claims, onChange } = options
  const actors = new Map<string, Actor<typeof placementMachine>>()
  const releases = new Set<Promise<unknown>>()

  const release = ({ service, revision }: PlacementContext) => {
    if (revision === null) return
    const released = claims.release(service, revision).finally(() => releases.delete(released))
    releases.add(released)
  }
  const provided = placementMachine.provide({
    actors: {
      look: ask(({ service }) => options.look(service)),
      askMembers: ask(({ service }) => options.askMembers(service)),
      claim: askStore(({ service }) => claims.take(service), claims),
      takeOver: askStore(async ({ service, held }) => {
        return held === null ? claims.take(service) : claims.replace(service, held.revision)
      }, claims),
      confirm: ask<ClaimReply>(({ service }) => claims.look(service)),
      renew: ask<ClaimReply>(async ({ service, revision }) =>
        revision === null ? { outcome: 'free' } : toReply(await claims.renew(service, revision)),
      ),
      askHolder: ask<HolderReply>(async ({ held, service }) =>
        held === null ? { outcome: 'silent' } : options.askHolder(held.holder, service),
      ),
      probeHolder: ask<HolderProbe>(async ({ held, service }) =>
        held === null ? { outcome: 'silent' } : options.probeHolder(held.holder, service),
      ),
    },
    actions: { release: ({ context }) => release(context) },
  })
  const begin = (provider: string) => {
    const actor = createActor(provided, { clock, input: { service: provider, self, policy } })
    actors.set(provider, actor)
    actor.on('start.revoked', ({ member }) => options.onRevoked(provider, member))
    let tags = ''
    actor.subscribe((snapshot) => {
      if (snapshot.hasTag('free') && snapshot.context.outcome !== null) actors.delete(provider)
      const now = [...snapshot.tags].join()
      if (now === tags) return
      tags = now
      onChange()
    })
    return actor.start()
  }
  const toKey = (provider: string) => provider.toLowerCase()
  const send = (provider: string, type: 'start.ready' | 'start.ended') =>
    actors.get(toKey(provider))?.send({ type })
  const tell = (type: 'stood.still' | 'nats.back') => {
    for (const actor of actors.values()) actor.send({ type })
  }

  return {
    place: (provider, signal) =>
      new Promise((resolve, reject) => {
        if (signal.aborted) return reject(signal.reason)
        const actor = actors.get(toKey(provider)) ?? begin(toKey(provider))
        const abandon = () => {
          answer.unsubscribe()
          actor.send({ type: 'start.abandoned' })
          reject(signal.reason)
        }
        const settle = ({ context: { outcome } }: PlacementSnapshot) => {
          if (outcome === null) return false
          answer.unsubscribe()
          signal.removeEventListener('abort', abandon)
          resolve(outcome)
          return true
        }
        const answer = actor.subscribe(settle)
        signal.addEventListener('abort', abandon, { once: true })
        actor.send({ type: 'start.wanted' })
        // One that is permitted already says it again.
        if (actor.getSnapshot().hasTag('permitted')) settle(actor.getSnapshot())
      }),
    noteReady: (provider) => send(provider, 'start.ready'),
    noteEnded: (provider) => send(provider, 'start.ended'),
    stateOf: (provider) => {
      const actor = actors.get(toKey(provider))
      if (actor === undefined) return undefined
      const snapshot = actor.getSnapshot()
      if (snapshot.hasTag('asking')) return 'asking'
      return snapshot.hasTag('permitted') ? 'starting' : undefined
    },
    noteStandstill: () => tell('stood.still'),
    noteBack: () => tell('nats.back'),
    close: async () => {
      for (const actor of actors.values()) actor.send({ type: 'start.ended' })
      await Promise.all(releases)
      for (const actor of actors.values()) actor.stop()
      actors.clear()
    },
  }
}

function ask<Output>(work: (context: PlacementContext) => Promise<Output>) {
  return fromPromise<Output, PlacementContext>(({ input }) => work(input))
}

/** A claim that comes after its actor was stopped belongs to no start. */
function askStore(work: (context: PlacementContext) => Promise<ClaimAttempt>, claims: StartClaims) {
  return fromPromise<ClaimReply, PlacementContext>(async ({ input, signal }) => {
    const attempt = await work(input)
    if (signal.aborted && attempt.outcome === 'won') await claims.release(input.service, attempt.revision)
    return toReply(attempt)
  })
}

function toReply(attempt: ClaimAttempt | { readonly outcome: 'free' }): ClaimReply {
  if (attempt.outcome === 'won') return { outcome: 'ours', revision: attempt.revision }
  return attempt.outcome === 'unavailable' ? { outcome: 'unavailable' } : attempt
}

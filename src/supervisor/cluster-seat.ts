import type { ClaimOutcome } from '../../machines/messages.ts'
import { hasTag } from '../../machines/provider/tags.ts'
import type { Clock } from '../clock.ts'
import type { JoinedCluster } from '../cluster/joined-cluster.ts'
import type { ClusterConfig } from '../config/cluster.ts'
import { ServiceError } from '../errors.ts'
import type { ClusterEventBody } from '../events/events.ts'
import type { Membership } from '../request/membership.ts'
import { findClaimed, isOffered, listOwnOffers, type OfferFacts } from '../service/own-offers.ts'
import type { Service } from '../service/services.ts'

/** Joins a supervisor to its cluster. Without `leasehold.cluster` every call does nothing, and the cluster code is not loaded. */
export interface ClusterSeat {
  /** The cluster that was joined; `undefined`: none is configured, or it is not loaded yet. */
  readonly joined: JoinedCluster | undefined
  /** Begins to join. A fault is an event: this machine serves its own models. */
  begin(): void
  /** Whether a cluster is configured. */
  readonly isConfigured: boolean
  /** Whether this machine uses what other members offer in the place of a service. */
  usesOthers(key: string): boolean
  /** Why a model that is unknown now may be there soon; `undefined`: it may not. */
  findAway(ref: string): ServiceError | undefined
  /** Whether a service may be started on this machine. Rejects with the signal's reason. */
  place(key: string, signal: AbortSignal): Promise<ClaimOutcome>
  noteState(key: string, from: string, to: string): void
  /** The state or the load of a service has changed. */
  noteChange(): void
  noteStandstill(): void
  /** Takes no new requests, and says so. */
  leave(): void
  close(): Promise<void>
}

export interface ClusterSeatOptions {
  readonly config: ClusterConfig | undefined
  readonly clock: Clock
  readonly membership: Membership
  readonly facts: Omit<OfferFacts, 'config' | 'isOfMember' | 'isShared' | 'scheduling'> & {
    readonly scheduling: () => OfferFacts['scheduling']
  }
  readonly serviceOf: (key: string) => Service
  /** When a byte of a member came last, on the clock. */
  readonly lastByteOf: (member: string) => number
  readonly publish: (event: ClusterEventBody) => void
  /** A start that goes on must be given up, because another member has it. */
  readonly revoke: (key: string, member: string) => void
}

/** When to ask again for a model of a member that is away, and before the members have met, in milliseconds. */
const AWAY_RETRY_MS = 5_000
const MEETING_RETRY_MS = 1_000

export function createClusterSeat({
  config,
  clock,
  membership,
  facts,
  serviceOf,
  lastByteOf,
  publish,
  revoke,
}: ClusterSeatOptions): ClusterSeat {
  let joined: JoinedCluster | undefined
  let joining: Promise<JoinedCluster | undefined> | undefined
  let isRefused = false
  /** By the id of the provider that its start is claimed under. */
  const placed = new Map<string, string>()

  const join = async (settings: ClusterConfig): Promise<JoinedCluster | undefined> => {
    try {
      const { joinCluster } = await import('../cluster/joined-cluster.ts')
      joined = await joinCluster({
        config: settings,
        clock,
        describe: (isShared, isOfMember) =>
          listOwnOffers({
            ...facts,
            config: membership.own,
            isShared,
            isOfMember,
            scheduling: facts.scheduling(),
          }),
        onOffers: membership.offer,
        lastByteOf,
        publish,
        onRevoked: (providerId, member) => {
          const key = placed.get(providerId)
          if (key !== undefined) revoke(key, member)
        },
      })
      const { isShared } = joined
      membership.join(
        joined.neighbourhood,
        (provider) => provider.unavailable === undefined && isOffered(provider, isShared),
      )
      return joined
    } catch (error) {
      isRefused = true
      publish({ type: 'cluster.refused', message: error instanceof Error ? error.message : String(error) })
      return undefined
    }
  }
  const claimedAs = ({ isShared }: JoinedCluster, key: string) =>
    findClaimed(serviceOf(key).providers, isShared)

  return {
    get joined() {
      return joined
    },
    isConfigured: config !== undefined,
    usesOthers: (key) =>
      joined === undefined || serviceOf(key).providers.some(({ id }) => joined?.isUsed(id)),
    findAway: (ref) => {
      if (config === undefined || isRefused) return undefined
      const code = 'LEASEHOLD_MEMBER_AWAY'
      if (joined === undefined || joined.isMeeting) {
        const message = `the model "${ref}" is not here, and the other members of the cluster are not known yet`
        return new ServiceError(config.member, { code, message }, { retryAfterMs: MEETING_RETRY_MS })
      }
      const member = joined.findAway(ref)
      const message = `this member of the cluster has the model "${ref}", and is not there at the moment`
      return member === undefined
        ? undefined
        : new ServiceError(member, { code, message, member }, { retryAfterMs: AWAY_RETRY_MS })
    },
    begin: () => {
      if (config !== undefined) joining ??= join(config)
    },
    place: async (key, signal) => {
      await joining
      const providerId = joined === undefined ? undefined : claimedAs(joined, key)
      if (joined === undefined || providerId === undefined) return { outcome: 'claimed' }
      placed.set(providerId, key)
      const outcome = await joined.place(providerId, signal)
      return outcome.outcome === 'permitted'
        ? { outcome: 'claimed' }
        : { outcome: 'elsewhere', member: outcome.member }
    },
    noteState: (key, from, to) => {
      if (joined === undefined) return
      if (!hasTag(from, 'starting') && !hasTag(from, 'probing') && !hasTag(from, 'up')) return
      const providerId = claimedAs(joined, key)
      if (providerId === undefined) return
      if (hasTag(to, 'up')) joined.noteReady(providerId)
      else if (!hasTag(to, 'starting') && !hasTag(to, 'probing')) joined.noteEnded(providerId)
    },
    noteChange: () => joined?.noteChange(),
    noteStandstill: () => joined?.noteStandstill(),
    leave: () => joined?.leave(),
    close: async () => {
      await joining
      await joined?.close()
    },
  }
}

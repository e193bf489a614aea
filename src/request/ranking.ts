import {
  explainRanks,
  type RankOptions,
  type ReplicaLoad,
  type ReplicaStanding,
  rankReplicas,
} from '../../machines/replicas.ts'
import type { ProviderConfig } from '../config/config.ts'
import type { ModelTarget } from '../config/model-ref.ts'
import { toChoiceText } from '../explanation/choice-text.ts'
import type { Membership } from './membership.ts'
import type { Neighbourhood } from './neighbourhood.ts'

/** Servers of one model in the order in which they are tried. */
export function rankTargets(
  targets: readonly ModelTarget[],
  loadOf: (provider: ProviderConfig) => ReplicaLoad,
  { neighbourhood }: Pick<Membership, 'neighbourhood'>,
): readonly ModelTarget[] {
  const pick = (order: readonly number[]) => order.flatMap((index) => targets[index] ?? [])
  if (neighbourhood === undefined) return pick(rankReplicas(targets.map(({ provider }) => loadOf(provider))))
  const order = rankReplicas(
    targets.map(({ provider }) => toLoad(provider, loadOf(provider), neighbourhood)),
    toOptions(targets, neighbourhood),
  )
  // Where all of them drain, the first says so.
  return order.length === 0 ? targets.slice(0, 1) : pick(order)
}

/** The member that would serve at once, if one would: the first by the same order. */
export function findRoom(
  targets: readonly ModelTarget[],
  loadOf: (provider: ProviderConfig) => ReplicaLoad,
  { neighbourhood }: Pick<Membership, 'neighbourhood'>,
): string | undefined {
  if (neighbourhood === undefined) return undefined
  const [first] = explainRanks(
    targets.map(({ provider }) => toLoad(provider, loadOf(provider), neighbourhood)),
    toOptions(targets, neighbourhood),
  )
  if (first?.group !== 'ready') return undefined
  return targets[first.index]?.provider.memberOf?.member ?? neighbourhood.self
}

/** Why the first of some targets is a member of the cluster, in words; `undefined`: it is none. */
export function explainChoice(
  replicas: readonly ModelTarget[],
  chosen: ModelTarget,
  loadOf: (provider: ProviderConfig) => ReplicaLoad,
  { neighbourhood }: Pick<Membership, 'neighbourhood'>,
): string | undefined {
  const member = chosen.provider.memberOf?.member
  if (member === undefined || neighbourhood === undefined) return undefined
  if (chosen.isPinned === true) return toChoiceText({ member, cause: 'named' })
  const others = replicas.filter((target) => target !== chosen)
  const [other] = [
    ...others.filter(({ provider }) => provider.memberOf === undefined),
    ...rankTargets(others, loadOf, { neighbourhood }),
  ]
  if (other === undefined) return toChoiceText({ member, cause: 'only' })
  const pair = [chosen, other].map(({ provider }) => toLoad(provider, loadOf(provider), neighbourhood))
  // One that drains has no rank.
  const { group = 'draining', because = 'group' } =
    explainRanks(pair, toOptions(replicas, neighbourhood)).find(({ index }) => index === 1) ?? {}
  return toChoiceText({
    member,
    cause: 'ranked',
    model: chosen.ref.slice(chosen.ref.indexOf('/') + 1),
    other: other.provider.memberOf?.member ?? neighbourhood.self,
    group,
    because: because ?? 'order',
  })
}

function toOptions(targets: readonly ModelTarget[], { self, prefer }: Neighbourhood): RankOptions {
  return { self, prefer, service: nameOf(targets[0]) }
}

/** What the members call the provider, so that all of them rank alike. */
function nameOf(target: ModelTarget | undefined): string {
  return target === undefined ? '' : (target.provider.memberOf?.provider ?? target.provider.id)
}

function toLoad(provider: ProviderConfig, load: ReplicaLoad, neighbourhood: Neighbourhood): ReplicaLoad {
  const { memberOf } = provider
  if (memberOf === undefined) return neighbourhood.isDraining() ? { ...load, isDraining: true } : load
  return { ...load, standing: toStanding(memberOf, load, neighbourhood) }
}

/** A member that is lost ranks last until its offer is taken back. */
function toStanding(
  { member, provider }: NonNullable<ProviderConfig['memberOf']>,
  { queue }: ReplicaLoad,
  { standingOf }: Neighbourhood,
): ReplicaStanding {
  const standing = standingOf(member, provider) ?? LOST
  // Requests that come together are ranked before the first of them departs.
  return { member, ...standing, uncounted: standing.uncounted + queue }
}

const LOST = {
  state: 'failed',
  leases: 0,
  waiting: 0,
  room: null,
  startMs: null,
  fit: 'never',
  isMuted: true,
  isSettling: true,
  uncounted: 0,
} as const

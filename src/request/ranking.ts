import {
  explainRanks,
  type RankOptions,
  type ReplicaGroup,
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

/** Where a request waits. */
export interface WaitPlace {
  /** Position of its server in the list. */
  readonly index: number
  /** Its position in the line there: the first has 1. */
  readonly position: number
  readonly waitedMs: number
}

/**
 * The member that would serve a waiting request sooner: the first by the same order, if its server is up. One that starts,
 * wakes or would start without the end of another service is taken from a full line, after a wait as long as the start: a
 * line that moves fast keeps its requests.
 */
export function findRoom(
  targets: readonly ModelTarget[],
  loadOf: (provider: ProviderConfig) => ReplicaLoad,
  { neighbourhood }: Pick<Membership, 'neighbourhood'>,
  from: WaitPlace,
): string | undefined {
  if (neighbourhood === undefined) return undefined
  const loads = targets.map(({ provider }, index) => {
    const load = toLoad(provider, loadOf(provider), neighbourhood)
    return index === from.index ? toLoadAhead(load, from.position) : load
  })
  const ranks = explainRanks(loads, toOptions(targets, neighbourhood))
  const [first] = ranks
  const load = first && loads[first.index]
  if (load === undefined || first === undefined || first.index === from.index) return undefined
  const here = ranks.find(({ index }) => index === from.index)
  const { startMs } = load.standing ?? load
  const isDue = STARTABLE.includes(first.group) && from.waitedMs >= (startMs ?? 0)
  if (first.group !== 'ready' && !(isDue && isStuck(here?.group))) return undefined
  return targets[first.index]?.provider.memberOf?.member ?? neighbourhood.self
}

/** A server that is not up and can be, without the end of another service. */
const STARTABLE: readonly ReplicaGroup[] = ['starting', 'asleep', 'fits']
/** The server of a request there is up, or comes up for it. */
const COMING: readonly ReplicaGroup[] = ['ready', ...STARTABLE, 'evicts']

/** Whether a request in a line has to wait for the end of other requests, or for what may never come. */
function isStuck(group: ReplicaGroup | undefined): boolean {
  return group === undefined || !COMING.includes(group)
}

/** The load without the waiting request itself and those behind it. */
function toLoadAhead(load: ReplicaLoad, position: number): ReplicaLoad {
  const { standing } = load
  const toAhead = (waiting: number) => Math.max(0, Math.min(waiting, position) - 1)
  if (standing === undefined) return { ...load, queue: toAhead(load.queue) }
  return {
    ...load,
    standing: { ...standing, waiting: toAhead(standing.waiting + standing.uncounted), uncounted: 0 },
  }
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

import type { ServicePolicy } from './messages.ts'
import { hasTag } from './provider/tags.ts'

/** What a choice among servers of the same model looks at. All JSON. */
export interface ReplicaLoad {
  /** The state of its service; `null`: it cannot be used on this host. */
  readonly state: string | null
  readonly leases: number
  /** How many wait for it. */
  readonly queue: number
  readonly maxConcurrent: ServicePolicy['maxConcurrent']
}

/**
 * The order in which servers of the same model are tried: positions in the list, the best first. One that is up and has
 * room comes before one that is coming up with room to come, that before one that must be started, that before one whose
 * room is taken; what has failed comes last. Among equals the least busy is first, then the one that was named first.
 */
export function rankReplicas(replicas: readonly ReplicaLoad[]): number[] {
  return replicas
    .map((replica, index) => ({ index, rank: toRank(replica), load: replica.leases + replica.queue }))
    .sort((a, b) => a.rank - b.rank || a.load - b.load || a.index - b.index)
    .map(({ index }) => index)
}

function toRank({ state, leases, queue, maxConcurrent }: ReplicaLoad): number {
  if (state === null || hasTag(state, 'retired')) return 6
  if (hasTag(state, 'tripped')) return 5
  if (hasTag(state, 'backoff')) return 4
  if (leases + queue >= maxConcurrent) return 3
  if (hasTag(state, 'serving')) return 0
  if (hasTag(state, 'probing') || hasTag(state, 'starting')) return 1
  return 2
}

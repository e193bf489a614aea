import { compareMembers } from './cluster/home.ts'
import { type CardFit, type CardServiceState, hasRoomSoon } from './cluster/messages.ts'
import type { ServicePolicy } from './messages.ts'
import { hasTag } from './provider/tags.ts'

/** What a choice among servers of the same model looks at. All JSON. */
export interface ReplicaLoad {
  /** The state of its service here; `null`: it cannot be used on this host. */
  readonly state: string | null
  readonly leases: number
  /** How many wait for it. */
  readonly queue: number
  readonly maxConcurrent: ServicePolicy['maxConcurrent']
  /** What a start on this host would need. Absent: it fits. */
  readonly fit?: CardFit
  /** How long a start on this host takes, in milliseconds. Absent or `null`: not known. */
  readonly startMs?: number | null
  /** This host takes no new leases. */
  readonly isDraining?: boolean
  /** It runs on another member of the cluster; then its load is told by this alone. */
  readonly standing?: ReplicaStanding
}

/** What another member says of a service, and what this gateway knows beyond that. */
export interface ReplicaStanding {
  readonly member: string
  readonly state: CardServiceState | 'draining'
  /** Its server sleeps. @default false */
  readonly isAsleep?: boolean
  readonly leases: number
  readonly waiting: number
  /** Maximum number of leases at once; `null`: no limit. */
  readonly room: number | null
  readonly startMs: number | null
  readonly fit: CardFit
  /** Only HTTP reaches it. */
  readonly isMuted: boolean
  /** It was lost and is back. */
  readonly isSettling: boolean
  /** Requests from here that `leases` and `waiting` do not include yet. */
  readonly uncounted: number
}

/** What is the same for all servers of a choice. */
export interface RankOptions {
  /** The name of this member. Absent: no cluster is configured. */
  readonly self?: string
  /** What the servers are of: each service has another order of equal members. */
  readonly service?: string
  /** `local`: this host comes first, even if its server has to be started. */
  readonly prefer?: 'warm' | 'local'
}

/** What a request would meet there, from the best to the worst. `draining` is not tried at all. */
export type ReplicaGroup =
  | 'ready'
  | 'starting'
  | 'asleep'
  | 'fits'
  | 'evicts'
  | 'full'
  | 'waits'
  | 'settling'
  | 'muted'
  | 'backoff'
  | 'failed'
  | 'never'
  | 'draining'

/** What puts a server behind the one before it. */
export type RankCause = 'local' | 'group' | 'load' | 'here' | 'startMs' | 'hash' | 'order'

export interface RankedReplica {
  /** Its position in the list that was given. */
  readonly index: number
  readonly group: ReplicaGroup
  /** How many requests it has or is about to have. */
  readonly load: number
  /** `null` for the first. */
  readonly because: RankCause | null
}

const GROUPS: readonly ReplicaGroup[] = [
  'ready',
  'starting',
  'asleep',
  'fits',
  'evicts',
  'full',
  'waits',
  'settling',
  'muted',
  'backoff',
  'failed',
  'never',
]
/** The server is to be started or woken: every gateway must choose the same one, so load and place do not count. */
const COLD: readonly ReplicaGroup[] = ['asleep', 'fits', 'evicts', 'waits', 'settling']
/** With `prefer: 'local'` this host is first while a request there is served, or starts or wakes the server. */
const LOCAL: readonly ReplicaGroup[] = ['ready', 'starting', 'asleep', 'fits', 'evicts']

/**
 * The order in which servers of the same model are tried: positions in the list, the best first. One that is up and has
 * room comes before one that is coming up with room to come, that before one that sleeps, that before one that must be
 * started, that before one whose room is taken; what has failed comes last, and a member that drains is left out. Among
 * equals the least busy is first, then this host, then the one that starts faster; what is still equal has an order of its
 * own for each service.
 */
export function rankReplicas(replicas: readonly ReplicaLoad[], options: RankOptions = {}): number[] {
  return explainRanks(replicas, options).map(({ index }) => index)
}

/** The same with what decided: what each server offers, and why it does not come earlier. */
export function explainRanks(replicas: readonly ReplicaLoad[], options: RankOptions = {}): RankedReplica[] {
  const entries = replicas
    .map((replica, index) => toEntry(replica, index))
    .filter(({ group }) => group !== 'draining')
    .sort((a, b) => compare(a, b, options).difference)
  return entries.map((entry, at) => {
    const before = entries[at - 1]
    const { index, group, load } = entry
    return {
      index,
      group,
      load,
      because: before === undefined ? null : compare(before, entry, options).because,
    }
  })
}

interface Entry extends Omit<RankedReplica, 'because'> {
  readonly member: string | undefined
  readonly startMs: number
}

function toEntry(replica: ReplicaLoad, index: number): Entry {
  const { standing, leases, queue } = replica
  const load =
    standing === undefined ? leases + queue : standing.leases + standing.waiting + standing.uncounted
  const startMs = (standing ?? replica).startMs ?? Number.POSITIVE_INFINITY
  const group = standing === undefined ? toGroup(replica, load) : toMemberGroup(replica, standing, load)
  return { index, group, load, startMs, member: standing?.member }
}

function compare(
  a: Entry,
  b: Entry,
  { self = '', service = '', prefer = 'warm' }: RankOptions,
): { readonly difference: number; readonly because: RankCause } {
  const isCold = COLD.includes(a.group)
  const isHere = (entry: Entry) => Number(entry.member === undefined)
  const isLocal = (entry: Entry) =>
    Number(prefer === 'local' && entry.member === undefined && LOCAL.includes(entry.group))
  const parts: readonly (readonly [RankCause, number])[] = [
    ['local', isLocal(b) - isLocal(a)],
    ['group', GROUPS.indexOf(a.group) - GROUPS.indexOf(b.group)],
    ['load', isCold ? 0 : a.load - b.load],
    ['here', isCold ? 0 : isHere(b) - isHere(a)],
    ['startMs', a.startMs === b.startMs ? 0 : a.startMs - b.startMs],
    // Servers that this host names have the order of its configuration.
    ['hash', a.member === b.member ? 0 : compareMembers(service, a.member ?? self, b.member ?? self)],
    ['order', a.index - b.index],
  ]
  const [because, difference] = parts.find(([, part]) => part !== 0) ?? ['order', 0]
  return { difference, because }
}

function toGroup(replica: ReplicaLoad, load: number): ReplicaGroup {
  const { state, maxConcurrent, fit = 'fits', isDraining = false } = replica
  if (isDraining) return 'draining'
  if (state === null || hasTag(state, 'retired')) return 'never'
  if (hasTag(state, 'tripped')) return 'failed'
  if (hasTag(state, 'backoff')) return 'backoff'
  if (load >= maxConcurrent) return 'full'
  if (hasTag(state, 'serving')) return 'ready'
  if (hasTag(state, 'asleep') || hasTag(state, 'falling-asleep')) return toWakeGroup(fit)
  const isComing = hasTag(state, 'probing') || hasTag(state, 'starting') || hasTag(state, 'waking')
  return isComing ? 'starting' : fit
}

/** The provider of this host that stands for the member may have failed on its own: no connection, a wrong secret. */
function toMemberGroup({ state }: ReplicaLoad, standing: ReplicaStanding, load: number): ReplicaGroup {
  if (standing.state === 'draining') return 'draining'
  if (state === null || hasTag(state, 'retired')) return 'never'
  if (hasTag(state, 'tripped') || standing.state === 'failed') return 'failed'
  if (hasTag(state, 'backoff')) return 'backoff'
  if (standing.isMuted) return 'muted'
  if (standing.room !== null && load >= standing.room) return 'full'
  if (standing.state === 'ready' || standing.state === 'starting') return standing.state
  if (standing.fit === 'never') return 'never'
  if (standing.isSettling) return 'settling'
  return standing.isAsleep === true ? toWakeGroup(standing.fit) : standing.fit
}

/** One that sleeps takes no start, if there is room for it awake. */
function toWakeGroup(fit: CardFit): ReplicaGroup {
  return hasRoomSoon(fit) ? 'asleep' : fit
}

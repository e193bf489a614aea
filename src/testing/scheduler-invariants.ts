import type { StopReason } from '../../machines/messages.ts'
import type { Amounts, Decision, Share } from '../../machines/scheduler.ts'
import { toNeeds } from '../../machines/scheduler.ts'
import type { SupervisorContext } from '../../machines/supervisor-context.ts'
import type { ServiceEventBody } from '../events.ts'

/** What must hold of services that share one machine after every step, whatever happened, in words. */
export const schedulerInvariants = {
  withinLimits:
    'What lives, counted from its spawn to its receipt, never needs more of a limit than there is.',
  leasedStays: 'Nothing is signalled for the sake of another while a lease of it is held.',
  pinnedStays: 'A pinned service is never stopped for the sake of another.',
  residencyKept: 'Nothing is stopped for the sake of another before its minimum residency is over.',
  starvationBounded: 'No request waits for room longer than its bound.',
  decisionsExplained: 'Every start, every stop for the sake of another and every wait has its decision.',
  yieldsForSomebody: 'A service makes room only while somebody has waited too long for it.',
  roomIsUsed: 'Nobody waits alone for room that is there.',
} as const

export type SchedulerInvariant = keyof typeof schedulerInvariants

/** What the books are kept with. */
export interface SchedulerLedgerOptions {
  readonly limits: Amounts
  readonly shares: Readonly<Record<string, Share>>
  /** The longest that anybody may wait for room, in milliseconds. */
  readonly starveBoundMs: number
  readonly nowMs: () => number
  /** Why a service is being stopped now, as its own chart has it. */
  readonly stopOf: (key: string) => StopReason | null
}

/** Keeps the books of services that share limits, from facts alone, and says which invariants are broken. */
export interface SchedulerLedger {
  /** Enters a fact about a service; answers with what it breaks by itself. */
  record(key: string, fact: ServiceEventBody): readonly SchedulerInvariant[]
  decide(decision: Decision): void
  /** Compares the books with the root between two events. */
  check(context: SupervisorContext): readonly SchedulerInvariant[]
}

/** Opens empty books. */
export function createSchedulerLedger({
  limits,
  shares,
  starveBoundMs,
  nowMs,
  stopOf,
}: SchedulerLedgerOptions): SchedulerLedger {
  /** Runs from spawn to receipt: their generation, and whose they are. */
  const living = new Map<string, string>()
  const leases = new Map<string, Set<string>>()
  const upSinceMs = new Map<string, number>()
  const permitted = new Set<string>()
  const condemned = new Set<string>()
  const waitingSinceMs = new Map<string, number>()

  const leasesOf = (key: string) => {
    const found = leases.get(key) ?? new Set<string>()
    leases.set(key, found)
    return found
  }
  const isForAnother = (key: string) => ['evicted', 'yielded'].includes(stopOf(key) ?? '')
  const isTooMuch = () =>
    Object.entries(limits).some(([limit, capacity]) => {
      const used = [...living.values()].reduce((sum, key) => sum + (shares[key]?.needs[limit] ?? 0), 0)
      return used > capacity
    })
  const toBroken = (pairs: readonly (readonly [SchedulerInvariant, boolean])[]) =>
    pairs.filter(([, isBroken]) => isBroken).map(([name]) => name)

  /** A stop begins: where it is for another, it must be allowed, and explained. */
  const recordStop = (key: string) => {
    if (!isForAnother(key)) return []
    const upMs = nowMs() - (upSinceMs.get(key) ?? nowMs())
    return toBroken([
      ['pinnedStays', shares[key]?.isPinned ?? false],
      ['residencyKept', upMs < (shares[key]?.minResidencyMs ?? 0)],
      ['decisionsExplained', !condemned.has(key)],
    ])
  }

  return {
    record: (key, fact) => {
      switch (fact.type) {
        case 'lease.granted':
          leasesOf(key).add(fact.id)
          return []
        case 'lease.released':
          leasesOf(key).delete(fact.id)
          return []
        case 'leases.revoked':
          leasesOf(key).clear()
          return []
        case 'process.spawned': {
          living.set(fact.generation, key)
          const isUnexplained = !permitted.delete(key)
          return toBroken([
            ['withinLimits', isTooMuch()],
            ['decisionsExplained', isUnexplained],
          ])
        }
        case 'process.signalled':
          return isForAnother(key) && leasesOf(key).size > 0 ? ['leasedStays'] : []
        case 'process.settled':
          living.delete(fact.generation)
          return []
        case 'service.state':
          if (fact.from.startsWith('starting.') && /^(ready|leased)/.test(fact.to))
            upSinceMs.set(key, nowMs())
          if (fact.to === 'leased.draining' || fact.to === 'idle-stopping.terminating') return recordStop(key)
          return []
        default:
          return []
      }
    },
    decide: ({ choice: { type, key, taken } }) => {
      if (type === 'start') {
        permitted.add(key)
        condemned.delete(key)
      }
      for (const victim of type === 'evict' ? taken : []) condemned.add(victim.key)
    },
    check: (context) => {
      const { asking, residents } = context
      for (const generation of waitingSinceMs.keys())
        if (!asking.some((one) => one.generation === generation && one.waiting > 0))
          waitingSinceMs.delete(generation)
      for (const { generation, waiting } of asking)
        if (waiting > 0 && !waitingSinceMs.has(generation)) waitingSinceMs.set(generation, nowMs())
      const [only] = asking
      const starting = residents.filter(({ phase }) => phase === 'starting').length
      const isRoomThere =
        only !== undefined &&
        starting < context.maxConcurrentStarts &&
        Object.entries(toNeeds(context, only.key)).every(([limit, amount]) => {
          const held = residents.reduce((sum, { holds }) => sum + (holds[limit] ?? 0), 0)
          return held + amount <= (context.limits[limit] ?? 0)
        })
      return toBroken([
        ['withinLimits', isTooMuch()],
        ['decisionsExplained', asking.some(({ decision }) => decision === null)],
        ['starvationBounded', [...waitingSinceMs.values()].some((since) => nowMs() - since > starveBoundMs)],
        [
          'yieldsForSomebody',
          residents.some(({ phase }) => phase === 'yielding') &&
            !asking.some(({ isOverdue, waiting }) => isOverdue && waiting > 0),
        ],
        ['roomIsUsed', asking.length === 1 && isRoomThere],
      ])
    },
  }
}

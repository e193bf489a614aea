import type { StopReason } from '../../machines/messages.ts'
import { hasTag } from '../../machines/provider/tags.ts'
import type { Amounts, Decision, QueuedStart, Share } from '../../machines/scheduler.ts'
import { toNeeds } from '../../machines/scheduler.ts'
import type { SupervisorContext } from '../../machines/supervisor-context.ts'
import { AGEING_MS } from '../../machines/waiting-line.ts'
import type { ServiceEventBody } from '../events/events.ts'

/** What must hold of services that share one machine after every step, whatever happened, in words. */
export const schedulerInvariants = {
  withinLimits:
    'What lives, counted from its spawn to its receipt, never needs more of a limit than there is.',
  sleepIsBooked: 'The books never count less for a run than what it needs, awake or asleep.',
  leasedStays: 'Nothing is signalled for the sake of another while a lease of it is held.',
  pinnedStays: 'A pinned service is never stopped for the sake of another.',
  residencyKept:
    'While a service that gave way to a start wants its room back, nothing that holds it is stopped before its minimum residency is over.',
  idleGivesWay:
    'A request that waits alone is not kept out by idle services, unless its service gave way to the one that is up.',
  starvationBounded: 'No request waits for room longer than its bound.',
  decisionsExplained: 'Every start, every stop for the sake of another and every wait has its decision.',
  yieldsForWaiter: 'A service makes room only while a request has waited too long for it.',
  preloadTakesNothing: 'Nothing leaves for a service that only preload waits for.',
  roomIsUsed: 'No service waits alone for room that is free.',
} as const

export type SchedulerInvariant = keyof typeof schedulerInvariants

/** What the books are kept with. */
export interface SchedulerLedgerOptions {
  /** What is configured now. */
  readonly sharing: () => { readonly limits: Amounts; readonly shares: Readonly<Record<string, Share>> }
  /** Longest wait for room, in milliseconds; for low priority, after the time that raises it. */
  readonly starveBoundMs: number
  readonly nowMs: () => number
  /** Why a service is being stopped now, as its own chart has it. */
  readonly stopOf: (key: string) => StopReason | null
  /** Whether its server sleeps, and has not been told to wake. @default never */
  readonly isAsleep?: (key: string) => boolean
  /** Whether nothing but `preload` waits for it. */
  readonly isPreload?: (key: string) => boolean
}

/** Keeps the books of services that share limits, from facts alone, and says which invariants are broken. */
export interface SchedulerLedger {
  /** Enters a fact about a service; answers with what it breaks by itself. */
  record(key: string, fact: ServiceEventBody): readonly SchedulerInvariant[]
  /** Enters a decision; answers with what it breaks by itself. */
  decide(decision: Decision): readonly SchedulerInvariant[]
  /** Compares the books with the root between two events. */
  check(context: SupervisorContext): readonly SchedulerInvariant[]
}

/** Opens empty books. */
export function createSchedulerLedger({
  sharing,
  starveBoundMs,
  nowMs,
  stopOf,
  isPreload = () => false,
  isAsleep = () => false,
}: SchedulerLedgerOptions): SchedulerLedger {
  /** Runs from spawn to receipt: their generation, and whose they are. */
  const living = new Map<string, string>()
  /** Those of them that have exited. Such a run holds its room, and its service may start again beside it. */
  const exited = new Set<string>()
  const leases = new Map<string, Set<string>>()
  /** Requests without an answer. */
  const unanswered = new Map<string, Set<string>>()
  /** The first use of each run that was used. */
  const usedSinceMs = new Map<string, number>()
  const states = new Map<string, string>()
  /** Services that made room, and for which start, until that start is over. */
  const gaveWayTo = new Map<string, string>()
  /** Services that asked for their room back before that start was over, until they have it. */
  const returning = new Set<string>()
  /** Services that slept, waited to be woken, and made room all the same: they may or may not take turns. */
  const displaced = new Set<string>()
  /** Permitted, and not spawned yet. */
  const permitted = new Set<string>()
  /** From the permit to the end of the start. */
  const starting = new Set<string>()
  /** A spawn is under way: it ends in a process or a failure, even where its start is given up meanwhile. */
  const spawning = new Set<string>()
  const condemned = new Set<string>()
  /** Since the first decision about a start that has not come. */
  const askingSinceMs = new Map<string, number>()
  const waitingSince = new Map<string, { readonly ms: number; readonly raiseMs: number }>()
  /** Services that were taken before their minimum residency was over, and who wants their room back. */
  let takenEarly: { readonly ms: number; readonly wanting: Set<string> }[] = []

  const leasesOf = (key: string) => idsOf(leases, key)
  const isForAnother = (key: string) => ['evicted', 'yielded'].includes(stopOf(key) ?? '')
  const shareOf = (key: string) => sharing().shares[key]
  /** What a run needs: of one that sleeps, no place in an exclusive group. */
  const needOf = (key: string, limit: string) => {
    const { needs = {}, asleepNeeds } = shareOf(key) ?? {}
    const awake = needs[limit] ?? 0
    if (!isAsleep(key) || asleepNeeds === undefined) return awake
    return limit.startsWith('group:') ? 0 : Math.min(awake, asleepNeeds[limit] ?? awake)
  }
  /** What must be kept for it: all, from the wake request on and while it ends. */
  const claimOf = (key: string, limit: string) =>
    hasTag(states.get(key) ?? '', 'asleep') ? needOf(key, limit) : (shareOf(key)?.needs?.[limit] ?? 0)
  const hasRoom = (needs: Amounts, holders: readonly string[], amountOf = needOf) =>
    Object.entries(needs).every(([limit, amount]) => {
      const held = holders.reduce((sum, key) => sum + amountOf(key, limit), 0)
      return held + amount <= (sharing().limits[limit] ?? 0)
    })
  const isTooMuch = () => {
    const nothing = Object.fromEntries(Object.keys(sharing().limits).map((limit) => [limit, 0]))
    return !hasRoom(nothing, [...living.values()])
  }
  /** By these books, not by the root's, which may count room as held that is free. */
  const isRoomFor = ({ key }: QueuedStart, context: SupervisorContext) => {
    // A run that is woken gives what it holds asleep for what it needs awake. One that has died is not woken.
    const alive = [...living].flatMap(([generation, other]) =>
      other === key && isAsleep(key) && !exited.has(generation) ? [] : [other],
    )
    const running = [...living].flatMap(([generation, other]) => (exited.has(generation) ? [] : [other]))
    const permits = [...new Set([...starting, ...spawning])].filter((other) => !running.includes(other))
    return (
      starting.size < context.maxConcurrentStarts &&
      hasRoom(toNeeds(context, key), [...alive, ...permits], claimOf)
    )
  }
  const noteWaiting = (queuedStarts: readonly QueuedStart[]) => {
    const waiting = new Map(queuedStarts.filter((one) => one.waiting > 0).map((one) => [one.generation, one]))
    for (const generation of waitingSince.keys())
      if (!waiting.has(generation)) waitingSince.delete(generation)
    for (const [generation, { priority }] of waiting) {
      const raiseMs = AGEING_MS * Math.max(0, -priority)
      const before = waitingSince.get(generation)
      // A more urgent request has come: the waiting time of the others does not count for it.
      if (before === undefined || raiseMs < before.raiseMs)
        waitingSince.set(generation, { ms: nowMs(), raiseMs })
    }
  }
  const hasStarved = (key: string) => {
    const sinceMs = askingSinceMs.get(key)
    return sinceMs !== undefined && nowMs() - sinceMs >= (shareOf(key)?.maxStarveMs ?? 0)
  }
  /** Who wants back what it holds. Asleep it may hold nothing of what is wanted. */
  const listWanting = (key: string) =>
    [...returning].filter((other) =>
      Object.keys(toNeeds(sharing(), other)).some((limit) => needOf(key, limit) > 0),
    )
  const isResident = (key: string) =>
    nowMs() - (usedSinceMs.get(key) ?? Number.NEGATIVE_INFINITY) < (shareOf(key)?.minResidencyMs ?? 0)
  /** Whether a wait would end if idle services left, and none is about to. */
  const isKeptOutByIdle = ({ key, waiting, decision }: QueuedStart, context: SupervisorContext) => {
    const alive = [...new Set([...living.values(), ...starting, ...spawning])]
    const isUp = (other: string) =>
      ['up', 'asleep'].some((tag) => hasTag(states.get(other) ?? '', tag as 'up'))
    const isStarting = (other: string) => starting.has(other) || spawning.has(other)
    if (exited.size > 0 || alive.some((other) => !isUp(other) && !isStarting(other))) return false
    const staying = alive.filter(
      (other) => isStarting(other) || leasesOf(other).size > 0 || (shareOf(other)?.isPinned ?? false),
    )
    return (
      decision?.choice.type === 'wait' &&
      waiting > 0 &&
      !returning.has(key) &&
      !displaced.has(key) &&
      starting.size < context.maxConcurrentStarts &&
      hasRoom(toNeeds(context, key), staying)
    )
  }
  const listBroken = (pairs: readonly (readonly [SchedulerInvariant, boolean])[]) =>
    pairs.filter(([, isBroken]) => isBroken).map(([name]) => name)

  /** A start is over, or given up: who asks from now on does not take turns with it. */
  const endAsking = (key: string) => {
    returning.delete(key)
    // The decision that its leaving caused is told before it.
    for (const { ms, wanting } of takenEarly) if (ms === nowMs()) wanting.delete(key)
    displaced.delete(key)
    for (const [victim, other] of gaveWayTo) if (other === key) gaveWayTo.delete(victim)
  }

  /** A service that sleeps, or is being stopped, asks for room only while a request waits for it. */
  const recordAnswer = (key: string, id: string) => {
    if (!idsOf(unanswered, key).delete(id) || idsOf(unanswered, key).size > 0) return
    const state = states.get(key) ?? ''
    if (!hasTag(state, 'asleep') && !hasTag(state, 'stopping')) return
    askingSinceMs.delete(key)
    endAsking(key)
  }

  /** A stop begins: where it is for another, it must be allowed, and explained. */
  const recordStop = (key: string) => {
    if (!isForAnother(key)) return []
    return listBroken([
      ['pinnedStays', shareOf(key)?.isPinned ?? false],
      ['decisionsExplained', !condemned.has(key)],
    ])
  }

  return {
    record: (key, fact) => {
      switch (fact.type) {
        case 'lease.requested':
          idsOf(unanswered, key).add(fact.id)
          return []
        case 'lease.refused':
        case 'lease.cancelled':
          recordAnswer(key, fact.id)
          return []
        case 'lease.granted':
          recordAnswer(key, fact.id)
          leasesOf(key).add(fact.id)
          if (!usedSinceMs.has(key)) usedSinceMs.set(key, nowMs())
          return []
        case 'lease.released':
          leasesOf(key).delete(fact.id)
          return []
        case 'leases.revoked':
          leasesOf(key).clear()
          return []
        case 'process.spawned': {
          living.set(fact.generation, key)
          usedSinceMs.delete(key)
          spawning.delete(key)
          const isUnexplained = !permitted.delete(key)
          return listBroken([
            ['withinLimits', isTooMuch()],
            ['decisionsExplained', isUnexplained],
          ])
        }
        case 'process.signalled':
          return isForAnother(key) && leasesOf(key).size > 0 ? ['leasedStays'] : []
        case 'process.failed':
          spawning.delete(key)
          permitted.delete(key)
          return []
        case 'process.exited':
          if (living.has(fact.generation)) exited.add(fact.generation)
          // A run that has died is not woken: its service will ask anew. The state is told after the next decision.
          if (hasTag(states.get(key) ?? '', 'asleep')) {
            askingSinceMs.delete(key)
            endAsking(key)
          }
          return []
        case 'process.settled':
          exited.delete(fact.generation)
          living.delete(fact.generation)
          return []
        case 'service.state':
          states.set(key, fact.to)
          if (hasTag(fact.to, 'spawning')) spawning.add(key)
          if (hasTag(fact.from, 'starting') && !hasTag(fact.to, 'starting')) {
            if (!spawning.has(key)) permitted.delete(key)
            starting.delete(key)
            askingSinceMs.delete(key)
            endAsking(key)
          }
          if (hasTag(fact.from, 'waking')) {
            starting.delete(key)
            permitted.delete(key)
            endAsking(key)
          }
          // Its run ended before it was woken. Where its room is taken, it keeps its place in the queue.
          if (
            hasTag(fact.from, 'asleep') &&
            !hasTag(fact.to, 'waking') &&
            !(hasTag(fact.to, 'stopping') && isForAnother(key))
          ) {
            askingSinceMs.delete(key)
            endAsking(key)
          }
          // Its stop was called off.
          if (isOpen(fact.to) && (hasTag(fact.from, 'stopping') || hasTag(fact.from, 'busy')))
            gaveWayTo.delete(key)
          // A wake is asked for before the state says that it sleeps.
          if (hasTag(fact.to, 'falling-asleep') || hasTag(fact.to, 'waking')) askingSinceMs.delete(key)
          if (hasTag(fact.to, 'draining') || hasTag(fact.to, 'terminating')) return recordStop(key)
          return []
        default:
          return []
      }
    },
    decide: ({ choice: { type, key, taken } }) => {
      if (!askingSinceMs.has(key)) {
        askingSinceMs.set(key, nowMs())
        if (gaveWayTo.has(key)) returning.add(key)
      }
      // Looked at when it is decided: a service in use leaves later, and another may want its room back by then.
      for (const { key: victim } of type === 'evict' ? taken : [])
        if (isResident(victim)) takenEarly.push({ ms: nowMs(), wanting: new Set(listWanting(victim)) })
      const isEarly = type === 'evict' && taken.some(({ how }) => how === 'yield') && !hasStarved(key)
      if (type === 'start') {
        permitted.add(key)
        starting.add(key)
        condemned.delete(key)
      }
      if (type === 'start' || type === 'decline') {
        askingSinceMs.delete(key)
        returning.delete(key)
        gaveWayTo.delete(key)
      }
      if (type === 'decline') endAsking(key)
      for (const victim of type === 'evict' ? taken : []) {
        condemned.add(victim.key)
        gaveWayTo.set(victim.key, key)
        if (askingSinceMs.has(victim.key)) displaced.add(victim.key)
      }
      return listBroken([
        ['yieldsForWaiter', isEarly],
        ['preloadTakesNothing', type === 'evict' && isPreload(key)],
      ])
    },
    check: (context) => {
      const { queuedStarts, residents } = context
      // Nothing is decided about a start that is only foreseen.
      const present = queuedStarts.filter(({ isForeseen }) => !isForeseen)
      noteWaiting(present)
      const [first, ...others] = queuedStarts
      const isResidentTaken = takenEarly.some(({ wanting }) => wanting.size > 0)
      takenEarly = []
      return listBroken([
        ['residencyKept', isResidentTaken],
        ['withinLimits', isTooMuch()],
        [
          'sleepIsBooked',
          residents.some(
            ({ key, generation, holds }) =>
              living.has(generation) &&
              Object.keys(sharing().limits).some((limit) => (holds[limit] ?? 0) < needOf(key, limit)),
          ),
        ],
        ['decisionsExplained', present.some(({ decision }) => decision === null)],
        [
          'starvationBounded',
          [...waitingSince.values()].some(({ ms, raiseMs }) => nowMs() - ms > starveBoundMs + raiseMs),
        ],
        [
          'yieldsForWaiter',
          residents.some(
            ({ key, phase }) => phase === 'yielding' || (phase === 'leased' && stopOf(key) === 'yielded'),
          ) && !queuedStarts.some(({ isOverdue, waiting }) => isOverdue && waiting > 0),
        ],
        ['idleGivesWay', first !== undefined && others.length === 0 && isKeptOutByIdle(first, context)],
        [
          'roomIsUsed',
          first !== undefined && !first.isForeseen && others.length === 0 && isRoomFor(first, context),
        ],
      ])
    },
  }
}

function idsOf(ids: Map<string, Set<string>>, key: string): Set<string> {
  const found = ids.get(key) ?? new Set<string>()
  ids.set(key, found)
  return found
}

/** Whether leases are held and more are granted. */
function isOpen(state: string): boolean {
  return hasTag(state, 'busy') && hasTag(state, 'serving')
}

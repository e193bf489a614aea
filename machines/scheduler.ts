/** Amounts by limit: of a budget in its own unit, of an exclusive group one place. */
export type Amounts = Readonly<Record<string, number>>

/** What one service takes of the limits, and what taking it away costs. */
export interface Share {
  /** Its name for people. */
  readonly service: string
  /** Its address, when services share it: the next one starts when the one before has ended. Absent: not shared. */
  readonly address?: string
  /** What it needs, from its spawn to its receipt. A limit that is not there is not needed. */
  readonly needs: Amounts
  /** Budgets of which it takes everything, because its need is not measured yet. */
  readonly unmeasured: readonly string[]
  /** What it needs while it sleeps. Absent: it cannot sleep, or its use was not measured while it slept. */
  readonly asleepNeeds?: Amounts
  /** It can be told to sleep. @default false */
  readonly canSleep?: boolean
  /** Never evicted. */
  readonly isPinned: boolean
  /** It stops by itself when it is not used, pinned or not, so a start may wait for that. @default false */
  readonly stopsIdle?: boolean
  /** What bringing it back costs, in any unit that all share; with time without use it counts for less. */
  readonly evictCost: number
  /** Time from its first use in which the service that gave up the room does not get it back, in milliseconds. */
  readonly minResidencyMs: number
  /** Waiting time after which services in use must make room, in milliseconds. */
  readonly maxStarveMs: number
}

/**
 * `starting`: permitted, not up yet; of a run that slept: being woken. `falling-asleep`: told to sleep, and not known to
 * sleep yet. `asleep`: its check says that it sleeps. `yielding`: takes no new leases, and when its last one ends it stops, or rests if it can sleep. `leaving`: its
 * stop or its end is under way, the receipt is to come. `survivor`: it outlived its stop or its actor, and counts until it
 * is known to be gone.
 */
export type ResidentPhase =
  | 'starting'
  | 'idle'
  | 'leased'
  | 'falling-asleep'
  | 'asleep'
  | 'yielding'
  | 'leaving'
  | 'survivor'

/** One run that counts: from its permit, which comes before its spawn, until its receipt. */
export interface Resident {
  readonly key: string
  readonly generation: string
  readonly holds: Amounts
  readonly phase: ResidentPhase
  /** It slept when that was last looked at, so it holds what it needs asleep, also while it is being stopped. @default false */
  readonly isAsleep?: boolean
  /** Of a `survivor`: the pids of its processes, when they are known. */
  readonly pids?: readonly number[]
  /** Whether its minimum residency has not begun, is running, or is over. It begins with the first use. */
  readonly residency: 'ahead' | 'running' | 'over'
  /** Counts up with every service that comes to rest: the lowest was used the longest time ago. */
  readonly lastUse: number
  /** The {@link SchedulerState.level} at its last use. */
  readonly level: number
}

/** A service that wants to start. Every request for it is in this one entry. */
export interface QueuedStart {
  readonly key: string
  /** The generation that its start will have. */
  readonly generation: string
  /** Requests that wait for it. */
  readonly waiting: number
  /** The highest priority among them. */
  readonly priority: number
  /** Only `preload` waits for it: nothing leaves for it, for it would only undo what was preloaded before it. */
  readonly isPreload: boolean
  /** Its predecessor runs, or has just ended: it has its place in the queue, and does not ask for room yet. */
  readonly isForeseen: boolean
  /** The run of this generation sleeps and is to be woken. @default false */
  readonly isWake?: boolean
  /** Levels of priority that it has gained by waiting. */
  readonly age: number
  /** Whether it is wanted back before the start that it gave way to is over: two take turns with one place. */
  readonly isReturning: boolean
  /** Whether it has waited for its `maxStarveMs`. */
  readonly isOverdue: boolean
  /** What was decided about it last. */
  readonly decision: Decision | null
}

/** Everything a decision is made from. No clock: time has its say through `isOverdue`, `age` and `residency`. */
export interface SchedulerState {
  /** Capacity by limit. */
  readonly limits: Amounts
  readonly maxConcurrentStarts: number
  readonly shares: Readonly<Record<string, Share>>
  /** In the order of their coming. */
  readonly queuedStarts: readonly QueuedStart[]
  readonly residents: readonly Resident[]
  /** How far costs have aged: the worth of the dearest service that was evicted so far. */
  readonly level: number
}

/** A limit that a start needs a part of. */
export interface Need {
  readonly limit: string
  readonly amount: number
  readonly capacity: number
  /** What is not held; below zero after a reload with a smaller capacity. */
  readonly free: number
  /** The whole capacity is needed, because the service's need is not measured yet. */
  readonly isUnmeasured: boolean
}

/**
 * A service that makes room for another. `evict`: it stops. `yield`: it is in use, so it stops when its last lease ends,
 * or sleeps where that `sleeps` is enough. `sleep`: it is told to sleep.
 */
export interface Taken {
  readonly key: string
  readonly service: string
  readonly how: 'evict' | 'yield' | 'sleep'
  /** Of one that yields: its sleep makes room enough. @default false */
  readonly sleeps?: boolean
  readonly evictCost: number
  readonly frees: Amounts
}

/** Why a service stays. `sleeping`: it is being told to sleep. `needless`: the others make room enough. */
export type SpareCause =
  | 'pinned'
  | 'survivor'
  | 'starting'
  | 'settling'
  | 'leased'
  | 'leaving'
  | 'sleeping'
  | 'needless'

/** A service that holds part of a needed limit, and stays. */
export interface Spared {
  readonly key: string
  readonly service: string
  readonly because: SpareCause
  readonly holds: Amounts
  /** Of one that is `settling`: the whole of its minimum residency, in milliseconds. */
  readonly minResidencyMs?: number
  /** What is left of it, in milliseconds, where a snapshot tells the decision. */
  readonly residencyLeftMs?: number
  /** Of a `survivor`: the pids of its processes, when they are known. */
  readonly pids?: readonly number[]
}

/**
 * `fits`: there is room. `room-made`: there is room because the taken services have left. `idle-cheapest`: the taken
 * services are idle and the cheapest to bring back. `starved`: it has waited for its `maxStarveMs`. `start-places`:
 * `maxConcurrentStarts` services are starting. `receipts`: room comes with the receipts of services that are leaving.
 * `promised`: the room is kept for the services `ahead`. `no-room`: no holder of the room can be taken. `pinned`: pinned
 * services that never stop by themselves hold it. `nobody-waits`: the start would take the room of others, and no request
 * waits for it. `preload`: the same, only `preload` waits.
 */
export type DecisionCause =
  | 'fits'
  | 'room-made'
  | 'idle-cheapest'
  | 'starved'
  | 'start-places'
  | 'receipts'
  | 'promised'
  | 'no-room'
  | 'pinned'
  | 'nobody-waits'
  | 'preload'

/** What happens to one service that wants to start, and why nothing else does. All JSON. */
export interface Decision {
  readonly choice: {
    readonly type: 'start' | 'evict' | 'wait' | 'decline'
    readonly key: string
    readonly service: string
    /** The services that leave or sleep for it. */
    readonly taken: readonly Taken[]
    /** Its run sleeps, and is woken instead of started. Absent: it is started. */
    readonly isWake?: true
  }
  readonly because: {
    readonly cause: DecisionCause
    readonly needed: readonly Need[]
    /** Names of the services whose turn is before. */
    readonly ahead: readonly string[]
  }
  readonly rejected: readonly Spared[]
}

/** Room that is kept for a service that is ahead in the queue. */
interface Promise {
  readonly service: string
  readonly needs: Amounts
}

/**
 * The next decision about a service that wants to start; `null` when nothing has changed for any of them.
 *
 * Starved services come first, then higher priorities, then the order of arrival. A later one may go ahead when it takes
 * nothing of the room that is kept for the services before it.
 */
export function schedule(state: SchedulerState): Decision | null {
  const promises: Promise[] = []
  for (const start of toTurns(state.queuedStarts)) {
    if (isAbandonedWake(state, start)) continue
    if (start.isForeseen) {
      if (isPromisedAhead(state, start))
        promises.push({ service: nameOf(state, start.key), needs: toNeeds(state, start.key) })
      continue
    }
    const { decision, isPromised } = decide(state, start, promises)
    if (start.decision === null || !isSame(decision, start.decision)) return decision
    if (isPromised) promises.push({ service: nameOf(state, start.key), needs: toNeeds(state, start.key) })
  }
  return null
}

/** The run that was to be woken is being stopped: its service asks again when that is over. */
function isAbandonedWake({ residents }: SchedulerState, { isWake, generation }: QueuedStart): boolean {
  return isWake === true && !residents.some((one) => one.generation === generation && one.phase === 'asleep')
}

/** The run that a start follows: an earlier one of the service, or another service's at the same address. */
export function findPredecessor(
  { residents, shares }: Pick<SchedulerState, 'residents' | 'shares'>,
  key: string,
): Resident | undefined {
  const address = shares[key]?.address
  return residents.find(
    (one) =>
      one.phase !== 'survivor' &&
      (one.key === key || (address !== undefined && shares[one.key]?.address === address)),
  )
}

/**
 * Whether room is kept for a start that is foreseen. While its predecessor stays, that one keeps the room. When it
 * leaves, its room goes to the first in the queue, and not to the first that asks.
 */
function isPromisedAhead(state: SchedulerState, { key, waiting, isPreload }: QueuedStart): boolean {
  const phase = findPredecessor(state, key)?.phase
  return waiting > 0 && !isPreload && (phase === undefined || phase === 'leaving' || phase === 'yielding')
}

/** Services that drain for no starved service any more: it has left the queue, or has found other room. */
export function findStayers(state: SchedulerState): readonly Resident[] {
  const starved = state.queuedStarts.filter(isStarved).map(({ key }) => Object.keys(toNeeds(state, key)))
  return state.residents.filter(
    ({ phase, holds }) =>
      phase === 'yielding' && !starved.some((limits) => limits.some((limit) => (holds[limit] ?? 0) > 0)),
  )
}

/** The other services whose sleep leaves room for a service. */
export function listSleepersBeside(state: SchedulerState, key: string): readonly string[] {
  const limits = Object.keys(toNeeds(state, key))
  return state.residents
    .filter(({ phase }) => phase === 'asleep')
    .filter((one) => limits.some((limit) => (toNeeds(state, one.key)[limit] ?? 0) > (one.holds[limit] ?? 0)))
    .map((one) => one.key)
    .filter((other) => other !== key)
}

/** Whether the services that stay for these reasons alone leave too little room, even if all others left. */
export function isKeptOutBy({ because, rejected }: Decision, causes: readonly SpareCause[]): boolean {
  const holders = rejected.filter((one) => causes.includes(one.because))
  return because.needed.some(
    ({ limit, amount, capacity }) => amount + sum(holders.map(({ holds }) => holds[limit])) > capacity,
  )
}

/** What a service needs of the limits in force. A need above the capacity takes the whole capacity. */
export function toNeeds({ limits, shares }: Pick<SchedulerState, 'limits' | 'shares'>, key: string): Amounts {
  const { needs = {}, unmeasured = [] } = shares[key] ?? {}
  const guesses = unmeasured.map((limit) => [limit, Number.POSITIVE_INFINITY] as const)
  return Object.fromEntries(
    [...Object.entries(needs), ...guesses].flatMap(([limit, amount]) => {
      const capacity = limits[limit]
      return capacity === undefined || amount <= 0 ? [] : [[limit, Math.min(amount, capacity)]]
    }),
  )
}

/**
 * What a service needs while it sleeps: never more than awake, and as much where nothing is known. It gives up its place
 * in exclusive groups.
 */
export function toAsleepNeeds(state: Pick<SchedulerState, 'limits' | 'shares'>, key: string): Amounts {
  const awake = toNeeds(state, key)
  const { asleepNeeds } = state.shares[key] ?? {}
  if (asleepNeeds === undefined) return awake
  return Object.fromEntries(
    Object.entries(awake).flatMap(([limit, amount]) => {
      const asleep = isGroup(limit) ? 0 : Math.min(asleepNeeds[limit] ?? amount, amount)
      return asleep > 0 ? [[limit, asleep]] : []
    }),
  )
}

/** What a run holds by the newest figures. */
export function toHolds(
  state: Pick<SchedulerState, 'limits' | 'shares'>,
  { key, isAsleep = false }: Pick<Resident, 'key' | 'isAsleep'>,
): Amounts {
  return isAsleep ? toAsleepNeeds(state, key) : toNeeds(state, key)
}

function isGroup(limit: string): boolean {
  return limit.startsWith('group:')
}

/** Whether it has waited so long that services in use must make room. Below priority 0 it must have aged as well. */
function isStarved({ isOverdue, waiting, priority, age }: QueuedStart): boolean {
  return isOverdue && waiting > 0 && priority + age >= 0
}

function decide(
  whole: SchedulerState,
  start: QueuedStart,
  promises: readonly Promise[],
): { readonly decision: Decision; readonly isPromised: boolean } {
  const { key } = start
  // A run that is woken gives what it holds asleep for what it needs awake.
  const state: SchedulerState = start.isWake
    ? { ...whole, residents: whole.residents.filter(({ generation }) => generation !== start.generation) }
    : whole
  const needs = toNeeds(state, key)
  const staying = listStaying(state)
  const isFree = (holders: readonly Resident[], kept: readonly Promise[] = promises) =>
    findLacking(state, needs, holders, kept).length === 0
  const conclude = (
    type: Decision['choice']['type'],
    cause: DecisionCause,
    taken: readonly Taken[] = [],
    rejected: readonly Spared[] = [],
  ): Decision => ({
    choice: { type, key, service: nameOf(state, key), taken, ...(start.isWake ? { isWake: true } : {}) },
    because: {
      cause,
      needed: toNeeded(state, key, needs),
      ahead: cause === 'promised' ? promises.map(({ service }) => service) : [],
    },
    rejected,
  })

  const hasStartPlace =
    state.residents.filter(({ phase }) => phase === 'starting').length < state.maxConcurrentStarts
  if (isFree(state.residents, []) && isFree(staying)) {
    if (!hasStartPlace) return { decision: conclude('wait', 'start-places'), isPromised: true }
    const earlier = start.decision?.choice.type === 'evict' ? start.decision : undefined
    return earlier === undefined
      ? { decision: conclude('start', 'fits'), isPromised: false }
      : { decision: toRoomMade(earlier), isPromised: false }
  }
  if (isFree(staying)) {
    const isUnderWay = start.decision?.choice.type === 'evict'
    const spared = toSpared(state, needs, state.residents, [])
    return {
      decision: isUnderWay && start.decision ? start.decision : conclude('wait', 'receipts', [], spared),
      isPromised: true,
    }
  }
  const spared = toSpared(state, needs, state.residents, [])
  if (start.waiting === 0)
    return { decision: conclude('decline', 'nobody-waits', [], spared), isPromised: false }
  if (start.isPreload) return { decision: conclude('decline', 'preload', [], spared), isPromised: false }
  const lasting = state.residents.filter((one) => isLasting(state, one))
  if (!isFree(lasting, []))
    return {
      decision: conclude('decline', 'pinned', [], toSpared(state, needs, lasting, [])),
      isPromised: false,
    }
  if (!hasStartPlace)
    return { decision: conclude('wait', 'start-places', [], spared), isPromised: isStarved(start) }

  const victims = chooseVictims(state, needs, staying, promises, isStarved(start))
  if (victims.length === 0) {
    // Others must not take the room bit by bit as it becomes free, unless this start is impossible anyway.
    const immovable = staying.filter((one) => isPinned(state, one) || one.phase === 'survivor')
    return {
      decision: conclude('wait', isFree(staying, []) ? 'promised' : 'no-room', [], spared),
      isPromised: isStarved(start) && isFree(immovable),
    }
  }
  const taken = victims.map((victim) => toTaken(state, victim))
  const cause = taken.some(({ how }) => how === 'yield') ? 'starved' : 'idle-cheapest'
  const leaving = victims.map(({ resident }) => resident)
  return {
    decision: conclude('evict', cause, taken, toSpared(state, needs, state.residents, leaving)),
    isPromised: true,
  }
}

/** What is held when every stop and every request to sleep that is under way is over. */
function listStaying(state: SchedulerState): Resident[] {
  return state.residents.flatMap((one) => {
    if (one.phase === 'leaving' || one.phase === 'yielding') return []
    return one.phase === 'falling-asleep' ? [{ ...one, holds: toAsleepNeeds(state, one.key) }] : [one]
  })
}

/** The start after an eviction, with the figures of before: they say why services had to leave. */
function toRoomMade({ choice, because, rejected }: Decision): Decision {
  return { choice: { ...choice, type: 'start' }, because: { ...because, cause: 'room-made' }, rejected }
}

/** Starved services in the order of arrival, then by priority and age, then in the order of arrival. */
function toTurns(starts: readonly QueuedStart[]): QueuedStart[] {
  const rank = (one: QueuedStart) => (isStarved(one) ? Number.POSITIVE_INFINITY : one.priority + one.age)
  return starts.toSorted((a, b) => (rank(a) === rank(b) ? 0 : rank(b) - rank(a)))
}

/** The limits that lack room while these holders stay and the promises are kept. */
function findLacking(
  { limits }: SchedulerState,
  needs: Amounts,
  holders: readonly Resident[],
  promises: readonly Promise[],
): string[] {
  return Object.entries(needs).flatMap(([limit, amount]) => {
    const held = sum(holders.map(({ holds }) => holds[limit]))
    const kept = sum(promises.map((promise) => promise.needs[limit]))
    return held + kept + amount > (limits[limit] ?? 0) ? [limit] : []
  })
}

/** A service that could make room, and how. */
interface Victim {
  readonly resident: Resident
  readonly how: Taken['how']
  readonly sleeps?: boolean
}

/**
 * The services that have to leave or sleep: idle ones first, then the least worth. Sleep goes before every stop. Empty when
 * even all of them would not make room enough.
 */
function chooseVictims(
  state: SchedulerState,
  needs: Amounts,
  staying: readonly Resident[],
  promises: readonly Promise[],
  isUrgent: boolean,
): Victim[] {
  const available = staying.filter((one) => {
    const cause = toSpareCause(state, one)
    return cause === 'needless' || (isUrgent && cause === 'leased')
  })
  const idle = toLeavingOrder(
    state,
    available.filter(({ phase }) => phase !== 'leased'),
  )
  const leased = toLeavingOrder(
    state,
    available.filter(({ phase }) => phase === 'leased'),
  )
  const candidates: Victim[] = [
    ...idle
      .filter((one) => isSleepKnown(state, one))
      .map((resident) => ({ resident, how: 'sleep' as const })),
    ...idle.map((resident) => ({ resident, how: 'evict' as const })),
    ...leased.map((resident) => ({ resident, how: 'yield' as const })),
  ]
  const lackingAfter = (victims: readonly Victim[]) =>
    findLacking(
      state,
      needs,
      staying.map((one) => toRest(state, one, victims)),
      promises,
    )
  let chosen: Victim[] = []
  for (const candidate of candidates) {
    const lacking = lackingAfter(chosen)
    if (lacking.length === 0) break
    const frees = freedBy(state, candidate)
    // A stop frees more than the sleep of the same service: it takes its place.
    const others = chosen.filter(({ resident }) => resident !== candidate.resident)
    const isMore =
      candidate.how !== 'evict' || lacking.some((limit) => heldAfter(state, candidate, chosen, limit))
    if (isMore && lacking.some((limit) => (frees[limit] ?? 0) > 0)) chosen = [...others, candidate]
  }
  if (lackingAfter(chosen).length > 0) return []
  // A cheap service may be needless now that a larger one leaves as well.
  for (const victim of chosen.toReversed()) {
    const rest = chosen.filter((one) => one !== victim)
    if (lackingAfter(rest).length === 0) chosen = rest
  }
  // With requests that wait for it, the sleep of one that yields saves it a start.
  for (const victim of chosen) {
    if (victim.how !== 'yield' || !isSleepKnown(state, victim.resident)) continue
    const asleep = chosen.map((one) => (one === victim ? { ...one, sleeps: true } : one))
    if (lackingAfter(asleep).length === 0) chosen = asleep
  }
  return chosen
}

/** Whether it can be told to sleep once it is idle, and what that frees is known. */
function isSleepKnown({ shares }: SchedulerState, { key, phase }: Resident): boolean {
  const share = shares[key]
  return phase !== 'asleep' && share?.canSleep === true && share.asleepNeeds !== undefined
}

function endsAsleep({ how, sleeps = false }: Victim): boolean {
  return how === 'sleep' || sleeps
}

/** A holder as it is when these have left or sleep. */
function toRest(state: SchedulerState, one: Resident, victims: readonly Victim[]): Resident {
  const victim = victims.find(({ resident }) => resident === one)
  if (victim === undefined) return one
  return { ...one, holds: endsAsleep(victim) ? toAsleepNeeds(state, one.key) : {} }
}

/** Whether a service still holds a part of a limit when these have left or sleep. */
function heldAfter(state: SchedulerState, { resident }: Victim, victims: readonly Victim[], limit: string) {
  return (toRest(state, resident, victims).holds[limit] ?? 0) > 0
}

/** What a victim frees. */
function freedBy(state: SchedulerState, victim: Victim): Amounts {
  const { resident } = victim
  if (!endsAsleep(victim)) return resident.holds
  const asleep = toAsleepNeeds(state, resident.key)
  return Object.fromEntries(
    Object.entries(resident.holds).map(([limit, amount]) => [limit, amount - (asleep[limit] ?? 0)]),
  )
}

/** Start times of one service vary by this part: closer costs count as equal. */
const COST_NOISE = 0.25

/**
 * GreedyDual: the worth of a service is its cost to bring back plus the level at its last use. The service of the least
 * worth leaves, and its worth becomes the new level: each eviction devalues the services that were not used since. Among
 * equals the least recently used one leaves.
 */
function toLeavingOrder(state: SchedulerState, residents: readonly Resident[]): Resident[] {
  const left = residents.toSorted((a, b) => worthOf(state, a) - worthOf(state, b))
  const order: Resident[] = []
  for (let least = left[0]; least !== undefined; least = left[0]) {
    const floor = least
    const equals = left.filter(
      (one) =>
        worthOf(state, one) - worthOf(state, floor) <=
        COST_NOISE * Math.max(costOf(state, one), costOf(state, floor)),
    )
    const next = equals.reduce((a, b) => (b.lastUse < a.lastUse ? b : a))
    order.push(next)
    left.splice(left.indexOf(next), 1)
  }
  return order
}

/** The worth of keeping a service, to compare with others. */
export function worthOf(state: Pick<SchedulerState, 'shares'>, resident: Resident): number {
  return resident.level + costOf(state, resident)
}

/** Why a resident stays; `needless` for one that could be taken. */
function toSpareCause(state: SchedulerState, resident: Resident): SpareCause {
  const { phase, residency } = resident
  if (phase === 'survivor' || phase === 'starting') return phase
  if (phase === 'leaving' || phase === 'yielding') return 'leaving'
  if (phase === 'falling-asleep') return 'sleeping'
  if (isPinned(state, resident)) return 'pinned'
  if (residency === 'running' && isContended(state, resident)) return 'settling'
  return phase === 'leased' ? 'leased' : 'needless'
}

/**
 * Whether two services take turns with what it holds: one that gave up the room wants it back. Only then a minimum
 * residency saves starts; otherwise it would only slow a client that tries one model after another. It keeps all others
 * out as well, so that none overtakes the one that returns.
 */
function isContended(state: SchedulerState, { holds }: Resident): boolean {
  return state.queuedStarts.some(
    ({ key, isReturning }) =>
      isReturning && Object.keys(toNeeds(state, key)).some((limit) => (holds[limit] ?? 0) > 0),
  )
}

function toSpared(
  state: SchedulerState,
  needs: Amounts,
  residents: readonly Resident[],
  victims: readonly Resident[],
): Spared[] {
  return residents
    .filter(
      (one) => !victims.includes(one) && Object.keys(needs).some((limit) => (one.holds[limit] ?? 0) > 0),
    )
    .map((one) => {
      const because = toSpareCause(state, one)
      const minResidencyMs = state.shares[one.key]?.minResidencyMs
      return {
        key: one.key,
        service: nameOf(state, one.key),
        because,
        holds: one.holds,
        ...(because === 'settling' && minResidencyMs !== undefined ? { minResidencyMs } : {}),
        ...(one.pids === undefined ? {} : { pids: one.pids }),
      }
    })
}

function toTaken(state: SchedulerState, victim: Victim): Taken {
  const { resident, how, sleeps } = victim
  return {
    key: resident.key,
    service: nameOf(state, resident.key),
    how,
    ...(sleeps ? { sleeps } : {}),
    evictCost: costOf(state, resident),
    frees: freedBy(state, victim),
  }
}

function toNeeded({ limits, residents, shares }: SchedulerState, key: string, needs: Amounts): Need[] {
  return Object.entries(needs).map(([limit, amount]) => {
    const capacity = limits[limit] ?? 0
    const free = capacity - sum(residents.map(({ holds }) => holds[limit]))
    return { limit, amount, capacity, free, isUnmeasured: shares[key]?.unmeasured.includes(limit) ?? false }
  })
}

/** Whether two decisions are equal but for the free amounts, which change all the time. */
function isSame(a: Decision, b: Decision): boolean {
  const toText = ({ choice, because, rejected }: Decision) =>
    JSON.stringify([choice, because.cause, because.ahead, rejected])
  return a === b || toText(a) === toText(b)
}

function isPinned({ shares }: SchedulerState, { key }: Resident): boolean {
  return shares[key]?.isPinned ?? false
}

/** Whether it keeps its room until a user stops it. */
function isLasting(state: SchedulerState, resident: Resident): boolean {
  return toSpareCause(state, resident) === 'pinned' && state.shares[resident.key]?.stopsIdle !== true
}

function costOf({ shares }: Pick<SchedulerState, 'shares'>, { key }: Resident): number {
  return shares[key]?.evictCost ?? 0
}

function nameOf({ shares }: SchedulerState, key: string): string {
  return shares[key]?.service ?? key
}

function sum(amounts: readonly (number | undefined)[]): number {
  return amounts.reduce<number>((total, amount) => total + (amount ?? 0), 0)
}

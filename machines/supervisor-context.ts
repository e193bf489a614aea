import type { ServicePolicy, SharingEvent } from './messages.ts'
import type { Decision, QueuedStart, Resident, ResidentPhase, SchedulerState } from './scheduler.ts'
import { findPredecessor, toHolds, toNeeds, worthOf } from './scheduler.ts'

/** What the root is created with. `instance` is a random id: generations of two supervisors never meet. */
export interface SupervisorInput {
  readonly instance: string
}

/** The memory of the root: the services, their queue for starts, and the room that each run holds. */
export interface SupervisorContext extends SupervisorInput, SchedulerState {
  /** The services that are configured; one that was removed may still be stopping. */
  readonly services: Readonly<Record<string, ServicePolicy>>
  /** Keys whose provider actor lives. */
  readonly alive: readonly string[]
  /** Provider actors ever made; part of each one's instance id. */
  readonly born: number
  /** Services that came to rest so far. */
  readonly rests: number
  /** The last decision that each service had a part in: its own start, or that of the one it made room for. */
  readonly decisions: Readonly<Record<string, Decision>>
  /** The generation that each service gave its room to, until its own next start. */
  readonly gaveWayTo: Readonly<Record<string, string>>
  /** Keys of the services that are brought up as soon as they have an actor. */
  readonly preload: readonly string[]
  readonly defaultKey: string | null
  readonly returnToDefaultMs: number
  /** Whether another service started since the default one was up, so that it should come back. */
  readonly isDisplaced: boolean
}

/** Nothing is configured yet. */
export const emptyContext: Omit<SupervisorContext, 'instance'> = {
  services: {},
  alive: [],
  born: 0,
  rests: 0,
  decisions: {},
  gaveWayTo: {},
  limits: {},
  maxConcurrentStarts: 0,
  shares: {},
  queuedStarts: [],
  residents: [],
  level: 0,
  preload: [],
  defaultKey: null,
  returnToDefaultMs: 0,
  isDisplaced: false,
}

type Change = Partial<SupervisorContext>

/** A service wants to start or to wake. What still runs of one that starts is on its way out: it asks only when it is down. */
export function noteAsking(
  { queuedStarts, residents, gaveWayTo }: SupervisorContext,
  {
    key,
    generation,
    waiting,
    priority,
    isPreload,
    isWake,
  }: Extract<SharingEvent, { type: 'start.requested' }>,
): Change {
  const successor = gaveWayTo[key]
  const known = queuedStarts.find((one) => one.key === key)
  const entry: QueuedStart = {
    key,
    generation,
    waiting,
    priority,
    isPreload,
    isForeseen: false,
    ...(isWake ? { isWake } : {}),
    age: known?.age ?? 0,
    // A server that waited to be woken, and was stopped meanwhile, goes on taking turns.
    isReturning:
      known?.isReturning === true ||
      queuedStarts.some((one) => one.generation === successor) ||
      residents.some((one) => one.generation === successor && one.phase === 'starting'),
    isOverdue: false,
    decision: null,
  }
  return {
    queuedStarts: enter(queuedStarts, entry),
    residents: residents.map((one) =>
      one.key === key && one.phase !== 'survivor' && !isWake ? { ...one, phase: 'leaving' } : one,
    ),
  }
}

/** A service that will follow another one keeps its place in the queue. Without a predecessor it asks soon enough. */
export function noteForeseen(
  { queuedStarts, residents, shares, gaveWayTo }: SupervisorContext,
  { key, generation, waiting, priority, isPreload }: Extract<SharingEvent, { type: 'start.foreseen' }>,
): Change {
  const known = queuedStarts.find((one) => one.key === key)
  if (known === undefined && findPredecessor({ residents, shares }, key) === undefined) return {}
  const { isWake = false, ...before } = known ?? {}
  const entry: QueuedStart = {
    age: 0,
    isReturning: false,
    isOverdue: false,
    decision: null,
    ...before,
    // The run that was to be woken is being stopped.
    isForeseen: isWake || (known?.isForeseen ?? true),
    key,
    generation,
    waiting,
    priority,
    isPreload,
  }
  return {
    queuedStarts: enter(queuedStarts, entry),
    // What made room for the wake has made room for the start that follows it.
    ...(isWake ? { gaveWayTo: passOn(gaveWayTo, known?.generation, generation) } : {}),
  }
}

/** The record with one generation in the place of another. */
function passOn(
  gaveWayTo: SupervisorContext['gaveWayTo'],
  from: string | undefined,
  to: string,
): SupervisorContext['gaveWayTo'] {
  return Object.fromEntries(
    Object.entries(gaveWayTo).map(([key, successor]) => [key, successor === from ? to : successor]),
  )
}

/** One entry per service: a later one takes the place of the earlier one. */
function enter(queuedStarts: readonly QueuedStart[], entry: QueuedStart): readonly QueuedStart[] {
  return queuedStarts.some(({ key }) => key === entry.key)
    ? queuedStarts.map((one) => (one.key === entry.key ? entry : one))
    : [...queuedStarts, entry]
}

/** A start is over. What became of it is told next; until then it counts as ending. */
export function noteFinished(
  { queuedStarts, residents }: SupervisorContext,
  key: string,
  isRunning: boolean,
): Change {
  return {
    queuedStarts: queuedStarts.filter((one) => one.key !== key),
    residents: residents.flatMap((one) => {
      if (one.key !== key || one.phase !== 'starting') return [one]
      return isRunning ? [{ ...one, phase: 'leaving' }] : []
    }),
  }
}

/** A run is over: what it held is free, unless something of it is still alive. */
export function noteEnded(
  { residents }: SupervisorContext,
  { generation, survivors, pids = [] }: Extract<SharingEvent, { type: 'run.ended' }>,
): Change {
  return {
    residents:
      survivors === 0
        ? residents.filter((one) => one.generation !== generation)
        : changeResident(residents, generation, () => ({
            phase: 'survivor',
            ...(pids.length > 0 ? { pids } : {}),
          })),
  }
}

/**
 * A service that is up is used, rests, or leaves. One that yields does so until it rests or leaves, and a survivor stays
 * one.
 */
export function notePhase(
  { residents, rests, level, gaveWayTo }: SupervisorContext,
  generation: string,
  phase: Extract<ResidentPhase, 'idle' | 'leased' | 'leaving'>,
): Change {
  // Its stop was called off, or it was used before it was told to sleep: it gave way to nothing.
  const spared =
    phase === 'leased' &&
    residents.find(
      (one) => one.generation === generation && (one.phase === 'leaving' || one.phase === 'falling-asleep'),
    )
  const toPhase = (before: ResidentPhase): ResidentPhase =>
    before === 'survivor' || (before === 'yielding' && phase === 'leased') ? before : phase
  return {
    rests: phase === 'idle' ? rests + 1 : rests,
    ...(spared ? { gaveWayTo: without(gaveWayTo, [spared.key]) } : {}),
    residents: changeResident(residents, generation, (one) => ({
      phase: toPhase(one.phase),
      // A reload and a host that wakes up report the same phase again: that is no use.
      ...(phase === 'leaving' || phase === one.phase ? {} : { lastUse: rests, level }),
      residency: one.residency === 'ahead' && phase === 'leased' ? 'running' : one.residency,
    })),
  }
}

/** A service is told to sleep, sleeps, or was taken for asleep and is not: what it holds follows. */
export function noteSleep(
  context: SupervisorContext,
  { type, generation }: Extract<SharingEvent, { generation: string; type: `service.${string}` }>,
): Change {
  const phase = type === 'service.awake' ? 'idle' : type === 'service.asleep' ? 'asleep' : 'falling-asleep'
  return {
    residents: changeResident(context.residents, generation, (one) => {
      if (one.phase === 'survivor') return {}
      const isAsleep = phase === 'asleep'
      return { phase, isAsleep, holds: toHolds(context, { ...one, isAsleep }) }
    }),
  }
}

/** A provider actor has ended. Its runs count as survivors until their end is reported. */
export function forgetProvider(
  { queuedStarts, residents, alive, decisions: before, gaveWayTo: successors }: SupervisorContext,
  key: string,
): Change {
  return {
    alive: alive.filter((other) => other !== key),
    decisions: without(before, [key]),
    gaveWayTo: without(successors, [key]),
    queuedStarts: queuedStarts.filter((one) => one.key !== key),
    residents: residents.map((one) => (one.key === key ? { ...one, phase: 'survivor' } : one)),
  }
}

/** Applies a decision: a start takes its room, and the services that make room begin to leave. */
export function applyDecision(context: SupervisorContext, decision: Decision): SupervisorContext {
  const { key, type, taken } = decision.choice
  const asked = context.queuedStarts.find((one) => one.key === key)
  const decisions = { ...context.decisions, [key]: decision }
  if (asked === undefined) return context
  if (type === 'start') {
    for (const victim of taken)
      if (context.decisions[victim.key] === asked.decision) decisions[victim.key] = decision
    const resident: Resident = {
      key,
      generation: asked.generation,
      holds: toNeeds(context, key),
      phase: 'starting',
      // A run that is woken begins anew.
      residency: 'ahead',
      lastUse: context.rests,
      level: context.level,
    }
    return {
      ...context,
      decisions,
      gaveWayTo: without(context.gaveWayTo, [key]),
      isDisplaced: key !== context.defaultKey && (context.isDisplaced || isDefaultDown(context)),
      queuedStarts: context.queuedStarts.filter((one) => one !== asked),
      residents: [...context.residents.filter(({ generation }) => generation !== asked.generation), resident],
    }
  }
  const gaveWayTo = { ...context.gaveWayTo }
  for (const victim of taken) {
    decisions[victim.key] = decision
    gaveWayTo[victim.key] = asked.generation
  }
  const toPhase = (one: Resident): ResidentPhase => {
    const victim = taken.find((other) => other.key === one.key)
    if (victim === undefined || one.phase === 'leaving') return one.phase
    if (victim.how === 'sleep') return 'falling-asleep'
    return victim.how === 'yield' ? 'yielding' : 'leaving'
  }
  return {
    ...context,
    decisions,
    gaveWayTo,
    level: toLevel(context, decision),
    queuedStarts: context.queuedStarts.map((one) => (one === asked ? { ...one, decision } : one)),
    residents: context.residents.map((one) => ({ ...one, phase: toPhase(one) })),
  }
}

/** The level after an eviction. One that is made to leave while it is in use was not chosen for its worth. */
function toLevel(context: SupervisorContext, { choice: { taken } }: Decision): number {
  const evicted = taken.filter(({ how }) => how !== 'yield').map(({ key }) => key)
  const worths = context.residents
    .filter(({ key, phase }) => evicted.includes(key) && (phase === 'idle' || phase === 'asleep'))
    .map((one) => worthOf(context, one))
  return Math.max(context.level, ...worths)
}

/** Services that yield stay: each is in use until its last lease ends. */
export function letStay(context: SupervisorContext, stayers: readonly Resident[]): SupervisorContext {
  return {
    ...context,
    gaveWayTo: without(
      context.gaveWayTo,
      stayers.map(({ key }) => key),
    ),
    residents: context.residents.map((one) => (stayers.includes(one) ? { ...one, phase: 'leased' } : one)),
  }
}

/** The shares of what still runs: one that is removed has its name and its room until it is gone. */
export function keepShares({ residents, shares }: SupervisorContext): SchedulerState['shares'] {
  return Object.fromEntries(
    residents.flatMap(({ key }) => {
      const share = shares[key]
      return share === undefined ? [] : [[key, { ...share, isPinned: false }]]
    }),
  )
}

/** Whether no service is in use, no start waits, and the default service is down or asleep because of another one. */
export function isDefaultMissed(context: SupervisorContext): boolean {
  const { residents, queuedStarts, isDisplaced, returnToDefaultMs } = context
  return (
    returnToDefaultMs > 0 &&
    isDisplaced &&
    queuedStarts.length === 0 &&
    residents.every(({ phase }) => phase === 'idle' || phase === 'asleep' || phase === 'survivor') &&
    isDefaultDown(context)
  )
}

/** Whether it is down, or sleeps and can be woken. A server that sleeps by itself is woken by its next request alone. */
function isDefaultDown({ residents, shares, defaultKey }: SupervisorContext): boolean {
  if (defaultKey === null) return false
  const isAway = ({ phase }: Resident) =>
    (phase === 'falling-asleep' || phase === 'asleep') && shares[defaultKey]?.canSleep === true
  return residents.filter(({ key }) => key === defaultKey).every(isAway)
}

function without<Value>(
  record: Readonly<Record<string, Value>>,
  keys: readonly string[],
): Readonly<Record<string, Value>> {
  return Object.fromEntries(Object.entries(record).filter(([key]) => !keys.includes(key)))
}

/** The residents with one of them changed. */
export function changeResident(
  residents: readonly Resident[],
  generation: string,
  toChange: (resident: Resident) => Partial<Resident>,
): readonly Resident[] {
  return residents.map((one) => (one.generation === generation ? { ...one, ...toChange(one) } : one))
}

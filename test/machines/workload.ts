import fc from 'fast-check'
import type { SleepPolicy } from '../../machines/messages.ts'
import type { Amounts, Resident, Share } from '../../machines/scheduler.ts'
import type { supervisorMachine } from '../../machines/supervisor.ts'
import type { ServiceEventBody } from '../../src/events/events.ts'
import {
  createSchedulerLedger,
  type SchedulerInvariant,
  schedulerInvariants,
} from '../../src/testing/scheduler-invariants.ts'
import type { WorldOptions } from '../../src/testing/world.ts'
import { build, closeHouses, defaultShare, type House, type HouseOptions } from './house.ts'

export const keys = ['a', 'b', 'c', 'd', 'e', 'f'] as const
type Key = (typeof keys)[number]
export const budgets = { vramMiB: 24, ramMiB: 64, slots: 3 }
/** What a pinned service holds for ever; the others never need what is beside it. */
const pinnedNeeds = { vramMiB: 8, ramMiB: 24, slots: 1 }
/** The service that comes back when nothing else is in use. */
export const DEFAULT_KEY: Key = 'f'
/** What is brought up without a request comes last. */
const BACKGROUND_PRIORITY = -100
/** The longest of everything in the world below, in milliseconds: what the bound of waiting is made of. */
const LONGEST = {
  lease: 4_000,
  start: 6_000,
  stop: 2_500,
  sleep: 500,
  residency: 3_000,
  starve: 8_000,
}
/** All that may come before a service whose patience is over: one turn of each of the others, and its own room. */
const STARVE_BOUND_MS =
  LONGEST.starve +
  keys.length * (LONGEST.start + LONGEST.residency + LONGEST.lease + LONGEST.stop + 2 * LONGEST.sleep)

export const TRAFFIC_EVERY_MS = 2_100
export const TRAFFIC_HOLD_MS = 3_000

interface Needs {
  readonly vramMiB: number
  readonly ramMiB: number
  readonly slots: number
  readonly isExclusive: boolean
}

/** What one service takes, and how its program behaves. */
export interface Character {
  readonly needs: Needs
  readonly evictCost: number
  readonly minResidencyMs: number
  readonly maxStarveMs: number
  readonly idleStopMs: number
  /** After which idle time it sleeps, and what of 24 parts of its need it needs then; `null`: it cannot sleep. */
  readonly sleep: { readonly afterMs: number; readonly parts: number } | null
  readonly world: Partial<WorldOptions>
}

export type Move =
  | { readonly kind: 'wait'; readonly ms: number }
  | {
      readonly kind: 'request'
      readonly pick: number
      readonly priority: number
      readonly holdMs: number
      /** The client leaves after this time if it has no lease by then; `null`: it has all the time. */
      readonly patienceMs: number | null
    }
  /** Requests that overlap, for minutes: their service is never idle. */
  | { readonly kind: 'traffic'; readonly pick: number; readonly count: number }
  | { readonly kind: 'crash' | 'stop'; readonly pick: number }
  | ({ readonly kind: 'reload'; readonly pick: number } & Reload)

/** A new configuration: other needs and costs of one service, other budgets, and something to bring up. */
export interface Reload {
  readonly needs: Needs
  readonly evictCost: number
  readonly vramMiB: number
  readonly preload: boolean
}

/** Six services, three budgets and a group, and what happens to them. */
export interface Workload {
  readonly maxConcurrentStarts: number
  readonly isFirstPinned: boolean
  readonly returnToDefaultMs: number
  readonly characters: readonly Character[]
  readonly moves: readonly Move[]
}

const world: fc.Arbitrary<Partial<WorldOptions>> = fc.record({
  spawnMs: fc.constantFrom(5, 200),
  readyAfterMs: fc.constantFrom(0, 100, 1_000, 4_000, null),
  exitAfterMs: fc.constantFrom(null, null, null, 50, 2_000),
  canSpawn: fc.constantFrom(true, true, true, true, false),
  termMs: fc.constantFrom(0, 10, 1_000, null),
  sweepMs: fc.constantFrom(0, 5, 500),
  closeMs: fc.constantFrom(0, 0, 200),
  probeMs: fc.constantFrom(5, 100),
  sleep: fc.constantFrom('obeys' as const, 'obeys', 'obeys', 'refuses', 'lies', 'dies'),
  wake: fc.constantFrom('obeys' as const, 'obeys', 'obeys', 'refuses', 'lies', 'dies'),
  sleepMs: fc.constantFrom(0, 300),
  wakeMs: fc.constantFrom(0, 300),
})

const needs: fc.Arbitrary<Needs> = fc.record({
  vramMiB: fc.constantFrom(0, 4, 9, 15, 24),
  ramMiB: fc.constantFrom(0, 8, 40),
  slots: fc.constantFrom(0, 0, 1, 2),
  isExclusive: fc.boolean(),
})

const character: fc.Arbitrary<Character> = fc.record({
  needs,
  evictCost: fc.constantFrom(0, 1, 5),
  minResidencyMs: fc.constantFrom(0, 500, LONGEST.residency),
  maxStarveMs: fc.constantFrom(0, 1_000, LONGEST.starve),
  idleStopMs: fc.constantFrom(0, 0, 1_500),
  sleep: fc.option(
    fc.record({ afterMs: fc.constantFrom(0, 0, 200, 1_000), parts: fc.constantFrom(0, 2, 12, 24) }),
    { freq: 2 },
  ),
  world,
})

const pick = fc.nat({ max: keys.length - 1 })
const move: fc.Arbitrary<Move> = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({
      kind: fc.constant('wait' as const),
      ms: fc.constantFrom(0, 1, 10, 100, 300, 1_000, 3_000, 20_000),
    }),
  },
  {
    weight: 20,
    arbitrary: fc.record({
      kind: fc.constant('request' as const),
      pick,
      priority: fc.constantFrom(0, 0, 0, 5, -1),
      holdMs: fc.constantFrom(0, 50, 1_000, LONGEST.lease),
      patienceMs: fc.constantFrom(null, null, 10, 2_000),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('traffic' as const),
      pick,
      count: fc.constantFrom(7, 7, 100),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom('crash' as const, 'stop'), pick }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('reload' as const),
      pick,
      needs,
      evictCost: fc.constantFrom(0, 3),
      vramMiB: fc.constantFrom(budgets.vramMiB, 32),
      preload: fc.boolean(),
    }),
  },
)

/** Random workloads of up to 40 moves. */
export const workloads: fc.Arbitrary<Workload> = fc.record({
  maxConcurrentStarts: fc.constantFrom(1, 2, 6),
  isFirstPinned: fc.constantFrom(false, false, true),
  returnToDefaultMs: fc.constantFrom(0, 0, 5_000),
  characters: fc.array(character, { minLength: keys.length, maxLength: keys.length }),
  moves: fc.array(move, { maxLength: 40, size: 'max' }),
})

/** A broken invariant of the scheduler: the sentence, and when. */
export class SchedulerInvariantError extends Error {
  readonly broken: readonly SchedulerInvariant[]

  constructor(broken: readonly SchedulerInvariant[], where: string) {
    super(`${where}\n${broken.map((name) => `  broken: ${schedulerInvariants[name]}`).join('\n')}`)
    this.name = 'SchedulerInvariantError'
    this.broken = broken
  }
}

/** What is configured: limits, and what each service takes of them. */
export interface Plan {
  readonly limits: Amounts
  readonly shares: Readonly<Record<string, Share>>
  readonly preload: readonly string[]
}

/** The configuration that a workload begins with. */
export function toPlan({ characters, isFirstPinned }: Workload): Plan {
  const shares = keys.map((key, index): [string, Share] => {
    const one = characters[index]
    if (one === undefined) throw new RangeError('a character for each service')
    const isPinned = isFirstPinned && index === 0
    const { evictCost, minResidencyMs, maxStarveMs } = one
    const own = isPinned ? pinnedNeeds : toAmounts(one.needs, isFirstPinned)
    const { sleep } = one
    return [
      key,
      {
        service: key,
        ...defaultShare,
        needs: own,
        isPinned,
        evictCost,
        minResidencyMs,
        maxStarveMs,
        ...(sleep === null ? {} : { canSleep: true, asleepNeeds: toAsleep(own, sleep.parts) }),
      },
    ]
  })
  return { limits: { ...budgets, 'group:gpu': 1 }, shares: Object.fromEntries(shares), preload: [] }
}

/** The configuration after a reload; `null`: the running services would need more than there is, so this is never configured. */
export function toReloaded(
  plan: Plan,
  { pick: picked, needs: wanted, evictCost, vramMiB, preload }: Extract<Move, { kind: 'reload' }>,
  residents: readonly Resident[],
): Plan | null {
  const key = keys[picked] ?? 'a'
  const before = plan.shares[key]
  if (before === undefined) return null
  const hasPinned = Object.values(plan.shares).some(({ isPinned }) => isPinned)
  const share = before.isPinned ? before : { ...before, needs: toAmounts(wanted, hasPinned), evictCost }
  const limits = { ...plan.limits, vramMiB }
  const shares = { ...plan.shares, [key]: share }
  const fits = Object.entries(limits).every(
    ([limit, capacity]) =>
      residents.reduce((sum, one) => sum + (shares[one.key]?.needs[limit] ?? 0), 0) <= capacity,
  )
  return fits ? { limits, shares, preload: preload ? [key] : [] } : null
}

function toSleepPolicy(sleep: Character['sleep']): SleepPolicy | null {
  return sleep === null
    ? null
    : { afterMs: sleep.afterMs, isSelf: false, requestMs: LONGEST.sleep, wakeMs: LONGEST.sleep }
}

/** What is needed asleep of the budgets, in parts of 24. */
function toAsleep(needs: Amounts, parts: number): Amounts {
  return Object.fromEntries(
    Object.keys(budgets).map((budget) => [budget, Math.ceil(((needs[budget] ?? 0) * parts) / 24)]),
  )
}

/** Beside a pinned one there must be room for each of the others: else they wait for ever, which is what pinning means. */
function toAmounts({ isExclusive, ...wanted }: Needs, hasPinned: boolean): Amounts {
  const left = (budget: keyof typeof budgets) => budgets[budget] - (hasPinned ? pinnedNeeds[budget] : 0)
  return {
    vramMiB: Math.min(wanted.vramMiB, left('vramMiB')),
    ramMiB: Math.min(wanted.ramMiB, left('ramMiB')),
    slots: Math.min(wanted.slots, left('slots')),
    ...(isExclusive ? { 'group:gpu': 1 } : {}),
  }
}

/**
 * Plays a workload and checks every invariant after every fact, every timer and every move. In the end every
 * client leaves, and the books must balance: no request waits, and every service is down or idle.
 */
export async function playWorkload(
  workload: Workload,
  machine?: typeof supervisorMachine,
  inspect?: HouseOptions['inspect'],
): Promise<void> {
  const { maxConcurrentStarts, returnToDefaultMs, characters, moves } = workload
  const broken: SchedulerInvariant[] = []
  let plan = toPlan(workload)
  let house: House | undefined
  const ledger = createSchedulerLedger({
    sharing: () => plan,
    starveBoundMs: STARVE_BOUND_MS,
    nowMs: () => house?.clock.now() ?? 0,
    stopOf: (key) => house?.provider(key).getSnapshot().context.stop ?? null,
    isAsleep: (key) => house?.world(key).isAsleep ?? false,
    isPreload: (key) => {
      const waiters = house?.provider(key).getSnapshot().context.waiters ?? []
      return waiters.length > 0 && waiters.every(({ cause }) => cause === 'preload')
    },
  })
  const holds = new Map<string, number>()
  const record = (key: string, fact: ServiceEventBody) => {
    broken.push(...ledger.record(key, fact))
    if (fact.type !== 'lease.granted') return
    house?.clock.setTimeout(() => {
      // A lease that was revoked needs no release; a release of an old generation changes nothing.
      broken.push(...ledger.record(key, { type: 'lease.released', id: fact.id, generation: fact.generation }))
      house?.send(key, { type: 'lease.released', id: fact.id, generation: fact.generation })
    }, holds.get(fact.id) ?? 0)
  }
  house = build({
    keys,
    limits: plan.limits,
    shares: plan.shares,
    sharing: { defaultKey: DEFAULT_KEY, returnToDefaultMs },
    maxConcurrentStarts,
    policy: {
      readyTimeoutMs: LONGEST.start - 1_000,
      stopGraceMs: 1_000,
      maxQueueMs: 2 * STARVE_BOUND_MS,
      backoffMs: 100,
      breakerFailures: 100,
    },
    world: { warmPollMs: 500, heartbeatMs: 600_000 },
    onFact: record,
    onSaid: (said) => {
      if (said.type === 'scheduler.decided') {
        broken.push(...ledger.decide(said))
      }
      if (said.type === 'service.wanted') {
        const id = `${said.cause}-${house?.clock.now()}`
        house?.request(said.key, id, BACKGROUND_PRIORITY, said.cause)
      }
    },
    ...(machine && { machine }),
    inspect,
  })
  const theHouse = house
  keys.forEach((key, index) => {
    theHouse.world(key).set(characters[index]?.world ?? {})
    theHouse.send(key, {
      type: 'policy.replaced',
      policy: {
        ...theHouse.provider(key).getSnapshot().context.policy,
        idleStopMs: characters[index]?.idleStopMs ?? 0,
        sleep: toSleepPolicy(characters[index]?.sleep ?? null),
      },
    })
  })
  const check = (where: string) => {
    const found = [...broken.splice(0), ...ledger.check(theHouse.context())]
    if (found.length > 0) throw new SchedulerInvariantError(found, `${where}, at ${theHouse.clock.now()} ms`)
  }
  try {
    for (const [index, one] of moves.entries()) {
      if (one.kind === 'reload') {
        plan = toReloaded(plan, one, theHouse.context().residents) ?? plan
        theHouse.reshare(plan)
      } else await play(theHouse, one, `r${index}`, holds)
      check(`after ${JSON.stringify(one)}`)
    }
    // Every request is served or gives up in the end: checked often, so that a passed bound is seen.
    for (let round = 0; round < 120 && theHouse.turns().queuedStarts.length > 0; round += 1) {
      await theHouse.advanceTo(theHouse.clock.now() + STARVE_BOUND_MS / 20)
      check('while requests wait')
    }
    if (theHouse.turns().queuedStarts.length > 0)
      throw new Error(`still waiting: ${theHouse.turns().queuedStarts}`)
  } finally {
    closeHouses()
  }
}

async function play(
  house: House,
  move: Exclude<Move, { kind: 'reload' }>,
  id: string,
  holds: Map<string, number>,
): Promise<void> {
  if (move.kind === 'wait') return house.advanceTo(house.clock.now() + move.ms)
  const key = keys[move.pick] ?? 'a'
  if (move.kind === 'traffic') {
    const next = (count: number) => {
      holds.set(`${id}.${count}`, TRAFFIC_HOLD_MS)
      house.request(key, `${id}.${count}`)
      if (count > 1) house.clock.setTimeout(() => next(count - 1), TRAFFIC_EVERY_MS)
    }
    return next(move.count)
  }
  if (move.kind !== 'request')
    return move.kind === 'crash'
      ? house.world(key).crash({ exitCode: 1 })
      : house.send(key, { type: 'service.stop', reason: 'asked' })
  holds.set(id, move.holdMs)
  if (move.patienceMs !== null) house.clock.setTimeout(() => house.cancel(key, id), move.patienceMs)
  house.request(key, id, move.priority)
}

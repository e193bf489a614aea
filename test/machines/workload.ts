import fc from 'fast-check'
import type { supervisorMachine } from '../../machines/supervisor.ts'
import type { ServiceEventBody } from '../../src/events.ts'
import {
  createSchedulerLedger,
  type SchedulerInvariant,
  schedulerInvariants,
} from '../../src/testing/scheduler-invariants.ts'
import type { WorldOptions } from '../../src/testing/world.ts'
import { build, closeHouses, defaultShare, type House } from './house.ts'

const keys = ['a', 'b', 'c', 'd', 'e', 'f'] as const
const limits = { vramMiB: 24, ramMiB: 64, 'group:gpu': 1 }
/** The longest of everything in the world below, in milliseconds: what the bound of waiting is made of. */
const LONGEST = {
  lease: 4_000,
  start: 6_000,
  stop: 2_500,
  residency: 3_000,
  starve: 8_000,
  background: 20_000,
}
/** All that may come before a service whose patience is over: one turn of each of the others, and its own room. */
const STARVE_BOUND_MS =
  LONGEST.starve +
  LONGEST.background +
  keys.length * (LONGEST.start + LONGEST.residency + LONGEST.lease + LONGEST.stop)

const TRAFFIC_EVERY_MS = 700
const TRAFFIC_HOLD_MS = 1_000

/** What one service takes, and how its program behaves. */
interface Character {
  readonly vramMiB: number
  readonly ramMiB: number
  readonly isExclusive: boolean
  readonly evictCost: number
  readonly minResidencyMs: number
  readonly maxStarveMs: number
  readonly idleStopMs: number
  readonly world: Partial<WorldOptions>
}

type Move =
  | { readonly kind: 'wait'; readonly ms: number }
  | {
      readonly kind: 'request'
      readonly pick: number
      readonly priority: number
      readonly holdMs: number
      /** The client leaves after this time if it has no lease by then; `null`: it has all the time. */
      readonly patienceMs: number | null
    }
  /** Requests that overlap, for minutes: whoever serves them never comes to rest. */
  | { readonly kind: 'traffic'; readonly pick: number; readonly count: number }
  | { readonly kind: 'crash' | 'stop'; readonly pick: number }

/** Six services, three limits, and what happens to them. */
export interface Workload {
  readonly maxConcurrentStarts: number
  readonly isFirstPinned: boolean
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
})

const character: fc.Arbitrary<Character> = fc.record({
  vramMiB: fc.constantFrom(0, 4, 9, 15, 24),
  ramMiB: fc.constantFrom(0, 8, 40),
  isExclusive: fc.boolean(),
  evictCost: fc.constantFrom(0, 1, 5),
  minResidencyMs: fc.constantFrom(0, 500, LONGEST.residency),
  maxStarveMs: fc.constantFrom(0, 1_000, LONGEST.starve),
  idleStopMs: fc.constantFrom(0, 0, 1_500),
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
      count: fc.constantFrom(20, 20, 300),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom('crash' as const, 'stop'), pick }) },
)

/** Random workloads of up to 40 moves. */
export const workloads: fc.Arbitrary<Workload> = fc.record({
  maxConcurrentStarts: fc.constantFrom(1, 2, 6),
  isFirstPinned: fc.constantFrom(false, false, true),
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

/**
 * Plays a workload and checks every invariant after every fact, every timer and every move. In the end everybody
 * leaves, and the books must balance: nobody waits, and what nobody needs is down or idle.
 */
export async function playWorkload(
  { maxConcurrentStarts, isFirstPinned, characters, moves }: Workload,
  machine?: typeof supervisorMachine,
): Promise<void> {
  const broken: SchedulerInvariant[] = []
  const shares = Object.fromEntries(
    keys.map((key, index) => {
      const one = characters[index]
      if (one === undefined) throw new RangeError('a character for each service')
      // A pinned one must leave room for the others: else they wait for ever, which is what pinning means.
      const isPinned = isFirstPinned && index === 0
      const needs = isPinned
        ? { ramMiB: 0 }
        : { vramMiB: one.vramMiB, ramMiB: one.ramMiB, ...(one.isExclusive ? { 'group:gpu': 1 } : {}) }
      const { evictCost, minResidencyMs, maxStarveMs } = one
      return [key, { service: key, ...defaultShare, needs, isPinned, evictCost, minResidencyMs, maxStarveMs }]
    }),
  )
  let house: House | undefined
  const ledger = createSchedulerLedger({
    sharing: () => ({ limits, shares }),
    starveBoundMs: STARVE_BOUND_MS,
    nowMs: () => house?.clock.now() ?? 0,
    stopOf: (key) => house?.provider(key).getSnapshot().context.stop ?? null,
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
    limits,
    shares,
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
      if (said.type === 'scheduler.decided') broken.push(...ledger.decide(said))
    },
    ...(machine && { machine }),
  })
  const theHouse = house
  keys.forEach((key, index) => {
    theHouse.world(key).set(characters[index]?.world ?? {})
    theHouse.send(key, {
      type: 'policy.replaced',
      policy: {
        ...theHouse.provider(key).getSnapshot().context.policy,
        idleStopMs: characters[index]?.idleStopMs ?? 0,
      },
    })
  })
  const check = (where: string) => {
    const found = [...broken.splice(0), ...ledger.check(theHouse.context())]
    if (found.length > 0) throw new SchedulerInvariantError(found, `${where}, at ${theHouse.clock.now()} ms`)
  }
  try {
    for (const [index, one] of moves.entries()) {
      await play(theHouse, one, `r${index}`, holds)
      check(`after ${JSON.stringify(one)}`)
    }
    // Everybody is served or gives up in the end: looked at often, so that a bound that passes is seen.
    for (let round = 0; round < 120 && theHouse.turns().asking.length > 0; round += 1) {
      await theHouse.advanceTo(theHouse.clock.now() + STARVE_BOUND_MS / 20)
      check('while everybody is waited for')
    }
    if (theHouse.turns().asking.length > 0) throw new Error(`still waiting: ${theHouse.turns().asking}`)
  } finally {
    closeHouses()
  }
}

async function play(house: House, move: Move, id: string, holds: Map<string, number>): Promise<void> {
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

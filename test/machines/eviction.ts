import type { Amounts } from '../../machines/scheduler.ts'
import { schedule } from '../../machines/scheduler.ts'
import {
  applyDecision,
  emptyContext,
  noteAsking,
  noteEnded,
  notePhase,
  type SupervisorContext,
} from '../../machines/supervisor-context.ts'
import { defaultShare } from './house.ts'

/** Requests in their order, by model; each is answered before the next one comes. */
export interface Trace {
  readonly name: string
  /** How many models are up at a time. */
  readonly places: number
  /** What a cold start of each model takes, in milliseconds. */
  readonly costs: Readonly<Record<string, number>>
  readonly requests: readonly string[]
}

/** What a policy made of a trace. */
export interface Outcome {
  readonly coldStarts: number
  readonly costMs: number
}

/** Chooses which of the models that are up leaves. `index`: of the request that needs its place. */
type Choice = (up: readonly string[], index: number, trace: Trace) => string

/** Plays a trace through the scheduler and the context of the supervisor machine, without processes. */
export function playScheduler({ places, costs, requests }: Trace): Outcome {
  const shares = Object.fromEntries(
    Object.entries(costs).map(([key, evictCost]) => [
      key,
      { ...defaultShare, service: key, needs: { place: 1 } satisfies Amounts, evictCost },
    ]),
  )
  let context: SupervisorContext = {
    instance: 'g',
    ...emptyContext,
    limits: { place: places },
    maxConcurrentStarts: 1,
    shares,
  }
  const change = (changes: Partial<SupervisorContext>) => {
    context = { ...context, ...changes }
  }
  let coldStarts = 0
  let costMs = 0
  for (const [index, key] of requests.entries()) {
    let resident = context.residents.find((one) => one.key === key)
    if (resident === undefined) {
      coldStarts += 1
      costMs += costs[key] ?? 0
      const generation = `g.${index}`
      change(
        noteAsking(context, {
          type: 'start.requested',
          key,
          generation,
          waiting: 1,
          priority: 0,
          isPreload: false,
        }),
      )
      for (let decision = schedule(context); decision !== null; decision = schedule(context)) {
        context = applyDecision(context, decision)
        for (const one of context.residents)
          if (one.phase === 'leaving')
            change(noteEnded(context, { type: 'run.ended', generation: one.generation, survivors: 0 }))
      }
      resident = context.residents.find((one) => one.key === key)
    }
    if (resident === undefined) throw new Error(`${key} was not started`)
    change(notePhase(context, resident.generation, 'leased'))
    change(notePhase(context, resident.generation, 'idle'))
  }
  return { coldStarts, costMs }
}

/** Plays a trace with another choice of who leaves. */
export function playChoice(trace: Trace, choose: Choice): Outcome {
  const up: string[] = []
  let coldStarts = 0
  let costMs = 0
  for (const [index, key] of trace.requests.entries()) {
    if (up.includes(key)) continue
    coldStarts += 1
    costMs += trace.costs[key] ?? 0
    if (up.length === trace.places) up.splice(up.indexOf(choose(up, index, trace)), 1)
    up.push(key)
  }
  return { coldStarts, costMs }
}

const pickBy = (toRank: (key: string, index: number, trace: Trace) => number): Choice => {
  return (up, index, trace) =>
    up.reduce((a, b) => (toRank(b, index, trace) < toRank(a, index, trace) ? b : a))
}

export const leastRecentlyUsed = pickBy((key, index, { requests }) => requests.lastIndexOf(key, index - 1))

/** The cheapest leaves, whenever it was used last: what was done before costs aged. */
export const cheapest = pickBy(
  (key, index, { costs, requests }) => (costs[key] ?? 0) + requests.lastIndexOf(key, index - 1) / 1e9,
)

/** Belady's bound on the number of cold starts: the one that is used again last leaves. It knows the future. */
export const belady = pickBy((key, index, { requests }) => {
  const next = requests.indexOf(key, index)
  return next === -1 ? Number.NEGATIVE_INFINITY : -next
})

/** The least that the cold starts of a trace can take, in milliseconds, over all choices: by dynamic programming. */
export function findLeastCost({ places, costs, requests }: Trace): number {
  let states = new Map<string, number>([['', 0]])
  const toState = (up: readonly string[]) => up.toSorted().join(' ')
  for (const key of requests) {
    const next = new Map<string, number>()
    const note = (state: string, costMs: number) =>
      next.set(state, Math.min(costMs, next.get(state) ?? Number.POSITIVE_INFINITY))
    for (const [state, costMs] of states) {
      const up = state === '' ? [] : state.split(' ')
      const startedMs = costMs + (costs[key] ?? 0)
      if (up.includes(key)) note(state, costMs)
      else if (up.length < places) note(toState([...up, key]), startedMs)
      else for (const victim of up) note(toState([...up.filter((one) => one !== victim), key]), startedMs)
    }
    states = next
  }
  return Math.min(...states.values())
}

/** The same numbers on every machine. */
function createRandom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648
    return state / 2_147_483_648
  }
}

function draw(weights: Readonly<Record<string, number>>, count: number, seed: number): string[] {
  const random = createRandom(seed)
  const total = Object.values(weights).reduce((sum, weight) => sum + weight, 0)
  return Array.from({ length: count }, () => {
    let left = random() * total
    const found = Object.entries(weights).find(([, weight]) => {
      left -= weight
      return left < 0
    })
    return found?.[0] ?? Object.keys(weights)[0] ?? ''
  })
}

const repeat = (text: string, times: number) => Array.from({ length: times }, () => text.split(' ')).flat()

/** Days as people have them. */
export const traces: readonly Trace[] = [
  {
    name: 'a large model used once, then two small ones in turn',
    places: 2,
    costs: { large: 30_000, a: 3_000, b: 3_100 },
    requests: ['large', ...repeat('a b', 50)],
  },
  {
    name: 'chat with an embedding model at its side, another large one now and then',
    places: 2,
    costs: { chat: 25_000, embed: 1_500, coder: 28_000 },
    requests: repeat('chat embed chat chat embed chat chat chat embed coder', 20),
  },
  {
    name: 'eight models by popularity, large and small, three at a time',
    places: 3,
    costs: { a: 4_000, b: 30_000, c: 2_000, d: 12_000, e: 1_000, f: 40_000, g: 6_000, h: 3_000 },
    requests: draw({ a: 60, b: 30, c: 20, d: 15, e: 12, f: 10, g: 9, h: 8 }, 400, 7),
  },
  {
    name: 'six equal models by popularity, start times with noise',
    places: 3,
    costs: { a: 3_000, b: 3_150, c: 2_900, d: 3_080, e: 2_950, f: 3_020 },
    requests: draw({ a: 30, b: 20, c: 12, d: 8, e: 6, f: 4 }, 400, 11),
  },
  {
    name: 'work moves on: other models every hundred requests',
    places: 3,
    costs: { a: 20_000, b: 4_000, c: 8_000, d: 3_000, e: 9_000, f: 5_000, g: 12_000, h: 2_000 },
    requests: [
      ...draw({ a: 5, b: 3, c: 2, h: 1 }, 100, 3),
      ...draw({ d: 5, e: 3, f: 2, h: 1 }, 100, 5),
      ...draw({ g: 5, h: 3, b: 2, d: 1 }, 100, 9),
    ],
  },
  {
    name: 'one more model than there are places, in turn',
    places: 3,
    costs: { a: 3_000, b: 3_100, c: 2_950, d: 3_050 },
    requests: repeat('a b c d', 50),
  },
]

import { describe, expect, test } from 'vitest'
import { listRandomRuns } from '../../random-runs.ts'
import { charts } from './box.ts'
import { type ClusterInvariant, ClusterInvariantError, type Fault, playHistory } from './history.ts'

// A failure prints the seed that replays it, and what happened in the last seconds before.
const first = Number(process.env.SEED ?? 1)

for (const { numRuns, tags } of listRandomRuns(100, 3_000))
  test(`${numRuns} histories of 3 to 7 boxes with faults break no invariant, and every request and every member comes right (T14, T17)`, {
    tags,
    timeout: 30_000 + numRuns * 200,
  }, () => {
    const sums = { requests: 0, complete: 0, spawns: 0, lost: 0, faults: 0 }
    for (let seed = first; seed < first + numRuns; seed += 1) {
      const result = playHistory({ seed })
      for (const key of Object.keys(sums) as (keyof typeof sums)[]) sums[key] += result[key]
    }
    // Histories in which nothing happens would prove nothing.
    for (const sum of Object.values(sums)) expect(sum).toBeGreaterThan(numRuns)
  })

test('without a fault each service starts once for all that ask at once, and no member is lost', () => {
  for (let seed = 1; seed <= 30; seed += 1) {
    const { lost, cut, requests, complete, refused } = playHistory({ seed, faults: [] })
    expect({ lost, cut, ended: complete + refused }).toEqual({ lost: 0, cut: 0, ended: requests })
  }
})

test('the same seed plays the same history', () => {
  expect(playHistory({ seed: 5 })).toEqual(playHistory({ seed: 5 }))
})

const { member, neighbour, placement } = charts
const answers = (name: string, answer: boolean) => ({ guards: { [name]: () => answer } })
const without = (name: string) => ({ actions: { [name]: () => {} } })

/** Each mutant of a chart, the faults that it is played with, and the promise that it breaks. */
const mutants: Record<string, readonly [Partial<typeof charts>, readonly Fault[], ClusterInvariant]> = {
  'a start beside one that holds the claim': [
    { placement: placement.provide(answers('isHeld', false)) },
    [],
    'I1: one start',
  ],
  'a start that takes every answer of the store for its claim': [
    { placement: placement.provide(answers('isOurs', true)) },
    [],
    'I8: no start without its claim',
  ],
  'a placement that always finds the service elsewhere': [
    { placement: placement.provide(answers('isElsewhere', true)) },
    [],
    'every request ends once',
  ],
  'a member that never says that a silent one is gone': [
    { neighbour: neighbour.provide(without('reportSilent')) },
    ['both', 'stop'],
    'a member that is gone is found in time',
  ],
  'a neighbour whose silence is not noticed': [
    { neighbour: neighbour.provide(without('listenAnew')) },
    ['both', 'stop'],
    'a member that is gone is found in time',
  ],
  'a member that does not trust its own echo': [
    { member: member.provide(without('passEcho')) },
    ['both', 'stop'],
    'a member that is gone is found in time',
  ],
  'a member that takes every farewell for one of the current run': [
    { neighbour: neighbour.provide(answers('isCurrentRun', true)) },
    ['kill', 'weather', 'leave'],
    'every member comes back',
  ],
  'a member that does not know an answer over HTTP': [
    { neighbour: neighbour.provide(answers('isAnswered', false)) },
    [],
    'every member comes back',
  ],
  'a member that always takes itself for cut off': [
    { neighbour: neighbour.provide(answers('isFrozen', true)) },
    [],
    'every member comes back',
  ],
}

describe('of charts that are changed, 150 histories catch', { timeout: 300_000 }, () => {
  test.each(Object.entries(mutants))('%s', (_, [changed, faults, broken]) => {
    const caught = new Set<ClusterInvariant>()
    for (let seed = 1; seed <= 150 && !caught.has(broken); seed += 1)
      try {
        playHistory({ seed, charts: changed, faults })
      } catch (error) {
        if (!(error instanceof ClusterInvariantError)) throw error
        caught.add(error.broken)
      }
    expect([...caught]).toContain(broken)
  })
})

import { expect, test } from 'vitest'
import { listRandomRuns } from '../../random-runs.ts'
import { playHistory } from './history.ts'

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

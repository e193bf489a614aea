import { expect, test } from 'vitest'
import { createArrivals } from '../../src/cluster/arrivals.ts'

const path = '/v1/chat/completions'

test('a card tells of the members that sent a request last, of as many as a card may', () => {
  const arrivals = createArrivals()
  for (let at = 0; at < 2_000; at += 1) {
    arrivals.add({ member: 'tower', boot: 'a', number: at + 1 }, path)
    arrivals.add({ member: `m${at}`, boot: 'a', number: 1 }, path)
  }
  const counted = arrivals.counted()
  expect(Object.keys(counted)).toHaveLength(1_024)
  expect(counted).toMatchObject({ tower: 2_000, m1999: 1, m977: 1 })
})

test('a card tells the last request of each run, and no question for a card', () => {
  const arrivals = createArrivals()
  arrivals.add({ member: 'tower', boot: 'a', number: 7 }, path)
  arrivals.add({ member: 'tower', boot: 'a', number: 6 }, path)
  arrivals.add({ member: 'tower', boot: 'a', number: 9 }, '/cluster/card')
  // `leasehold cluster check` on that machine.
  arrivals.add({ member: 'tower', boot: 'check', number: 1 }, '/cluster/card')
  expect(arrivals.counted()).toEqual({ tower: 7 })
  arrivals.add({ member: 'tower', boot: 'b', number: 1 }, path)
  expect(arrivals.counted()).toEqual({ tower: 1 })
})

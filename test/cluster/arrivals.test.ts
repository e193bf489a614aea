import { expect, test } from 'vitest'
import { createArrivals } from '../../src/cluster/arrivals.ts'

const path = '/v1/chat/completions'

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

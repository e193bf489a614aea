import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type ReplicaLoad, rankReplicas } from '../../machines/replicas.ts'

const up: ReplicaLoad = { state: 'ready', leases: 0, queue: 0, maxConcurrent: 4 }
const busy = { ...up, state: 'leased.open' }
const cold = { ...up, state: 'down.cold' }

test.each<[string, readonly ReplicaLoad[], readonly number[]]>([
  [
    'the least busy of the replicas that are up',
    [{ ...busy, leases: 3 }, { ...busy, leases: 1 }, up],
    [2, 1, 0],
  ],
  ['the first named of equals', [up, up, up], [0, 1, 2]],
  ['one that is up before a cold one, however busy', [cold, { ...busy, leases: 3 }], [1, 0]],
  ['a cold one before one without room', [{ ...busy, leases: 4 }, cold], [1, 0]],
  [
    'one that is coming up before one to be started',
    [cold, { ...up, state: 'starting.warming', queue: 2 }],
    [1, 0],
  ],
  [
    'not one whose start is awaited by as many as it takes',
    [{ ...up, state: 'probing', queue: 4 }, cold],
    [1, 0],
  ],
  [
    'the shorter of two queues',
    [
      { ...busy, leases: 4, queue: 2 },
      { ...busy, leases: 4, queue: 1 },
    ],
    [1, 0],
  ],
  [
    'the failed, the tripped and the unusable last',
    [
      { ...up, state: null },
      { ...up, state: 'down.tripped' },
      { ...up, state: 'down.backoff' },
      { ...busy, leases: 4 },
    ],
    [3, 2, 1, 0],
  ],
])('of several servers %s is tried first', (_, replicas, order) => {
  expect(rankReplicas(replicas)).toEqual(order)
})

test('every server of a model is tried once, whatever they are doing', () => {
  const standing = fc.record({
    state: fc.constantFrom(
      null,
      'ready',
      'leased.open',
      'leased.draining',
      'down.cold',
      'down.tripped',
      'retired',
    ),
    leases: fc.nat(5),
    queue: fc.nat(5),
    maxConcurrent: fc.integer({ min: 1, max: 5 }),
  })
  fc.assert(
    fc.property(fc.array(standing, { maxLength: 8 }), (replicas) => {
      expect(rankReplicas(replicas).toSorted((a, b) => a - b)).toEqual(replicas.map((_, index) => index))
    }),
  )
})

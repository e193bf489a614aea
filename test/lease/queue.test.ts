import { expect, test } from 'vitest'
import { type QueueFacts, toQueue, toWaitMs } from '../../src/lease/queue.ts'

const busy: QueueFacts = {
  state: 'leased.open',
  inStateMs: 0,
  leases: 2,
  maxConcurrent: 2,
  backoffMs: 0,
  startMs: 10_000,
  leaseMs: 4_000,
  stopMs: 2_000,
  roomMs: 0,
}
const cold = { ...busy, leases: 0 }

test.each<[string, Partial<QueueFacts>, number, number | null]>([
  ['a place becomes free whenever one of the leases ends', busy, 1, 2_000],
  ['so that the fifth waits for five ends', busy, 5, 10_000],
  ['nothing is known before a lease has ended', { ...busy, leaseMs: null }, 1, null],
  ['a place that is free is had at once', { ...busy, leases: 1 }, 1, 0],
  ['a start has its usual time before it', { ...cold, state: 'starting.spawning' }, 1, 10_000],
  ['less what has passed of it', { ...cold, state: 'starting.warming', inStateMs: 7_000 }, 2, 3_000],
  ['and never less than none', { ...cold, state: 'starting.warming', inStateMs: 70_000 }, 2, 0],
  ['requests that find no room at first wait for a lease, too', { ...cold, state: 'probing' }, 3, 14_000],
  ['for which no time is known', { ...cold, state: 'probing', leaseMs: null }, 3, null],
  ['a start that is put off is waited for', { ...cold, state: 'down.backoff', backoffMs: 500 }, 1, 10_500],
  ['a drain ends with its leases', { ...busy, state: 'leased.draining' }, 1, 16_000],
  [
    'what has never started may take any time',
    { ...cold, state: 'starting.warming', startMs: null },
    1,
    null,
  ],
  [
    'room that others have may come at any time',
    { ...cold, state: 'starting.claiming', roomMs: null },
    1,
    null,
  ],
  ['room comes when others have left', { ...cold, state: 'starting.claiming', roomMs: 5_000 }, 1, 15_000],
  ['a stop that is under way is followed by a start', { ...cold, state: 'idle-stopping.killing' }, 1, 12_000],
  [
    'and may take any time where none was seen',
    { ...cold, state: 'idle-stopping.killing', stopMs: null },
    1,
    null,
  ],
])('%s', (_, facts, position, waitMs) => {
  expect(toWaitMs(position, { ...busy, ...facts })).toBe(waitMs)
})

test('everyone in a queue has a place, a time waited and a time to go', () => {
  const waiters = [
    { id: 'a', priority: 5, sinceMs: 69.6 },
    { id: 'b', priority: 0, sinceMs: 0.4 },
  ]
  expect(toQueue(waiters, busy, 100)).toEqual([
    { id: 'a', position: 1, priority: 5, waitedMs: 30, estimatedMs: 2_000 },
    { id: 'b', position: 2, priority: 0, waitedMs: 100, estimatedMs: 4_000 },
  ])
})

import { expect, test } from 'vitest'
import type { QueuedStart, Resident, SchedulerState, Share } from '../../machines/scheduler.ts'
import { listBudgets, sumHolds } from '../../src/service/budgets.ts'
import type { Service } from '../../src/service/services.ts'

const share = (service: string, needs: Record<string, number>, unmeasured: string[] = []): Share => ({
  service,
  needs,
  unmeasured,
  isPinned: false,
  evictCost: 0,
  minResidencyMs: 0,
  maxStarveMs: 0,
})
const resident = (key: string, holds: Record<string, number>): Resident => ({
  key,
  generation: key,
  holds,
  phase: 'idle',
  residency: 'over',
  lastUse: 0,
  level: 0,
})
const startOf = (key: string, isForeseen = false): QueuedStart => ({
  key,
  generation: key,
  waiting: 2,
  priority: 0,
  isPreload: false,
  isForeseen,
  age: 0,
  isReturning: false,
  isOverdue: false,
  decision: null,
})
const state: SchedulerState = {
  limits: { vramMiB: 24_000, ramMiB: 64_000, 'group:gpu': 1 },
  maxConcurrentStarts: 1,
  shares: {
    a: share('A', { vramMiB: 9_000, 'group:gpu': 1 }),
    b: share('B', { vramMiB: 3_000 }),
    c: share('C', {}, ['vramMiB']),
  },
  queuedStarts: [startOf('c'), startOf('b', true)],
  residents: [resident('a', { vramMiB: 9_000, 'group:gpu': 1 }), resident('b', { vramMiB: 3_000 })],
  level: 0,
}
const services = new Map([['a', { localService: { needs: { vramMiB: 9_000 } } } as unknown as Service]])

test('a budget names the runs that hold a part of it, and the services that wait for one', () => {
  expect(listBudgets(state, services)).toEqual([
    {
      name: 'vramMiB',
      capacity: 24_000,
      holds: [
        { key: 'a', service: 'A', amount: 9_000, isLearned: false, isUnmeasured: false, phase: 'idle' },
        { key: 'b', service: 'B', amount: 3_000, isLearned: true, isUnmeasured: false, phase: 'idle' },
      ],
      wants: [{ key: 'c', service: 'C', amount: 24_000, isUnmeasured: true, waiting: 2 }],
    },
    { name: 'ramMiB', capacity: 64_000, holds: [], wants: [] },
  ])
})

test('the held part of each budget is summed; exclusive groups are no budgets', () => {
  expect(sumHolds(state)).toEqual({ vramMiB: 12_000, ramMiB: 0 })
})

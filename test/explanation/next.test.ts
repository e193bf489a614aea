import { expect, test } from 'vitest'
import { describeNext, describeNextBriefly } from '../../src/explanation/next.ts'

const timers = [
  { name: 'idleStop', remainingMs: 1_800 },
  { name: 'heartbeat', remainingMs: 10 },
]

test('an idle server of ours stops, and an adopted one is let go', () => {
  expect(describeNextBriefly({ timers, ownership: 'owned' })).toBe('stops in 1.8 s')
  expect(describeNextBriefly({ timers, ownership: 'adopted' })).toBe('released in 1.8 s')
  expect(describeNext({ timers, ownership: 'adopted', queue: [] })).toBe(
    'leasehold stops using it in 1.8 s; it keeps running.',
  )
})

test('without a timer that means something to people nothing is planned', () => {
  const nothing = { timers: timers.slice(1), ownership: 'owned', queue: [] } as const
  expect(describeNextBriefly(nothing)).toBe('')
  expect(describeNext(nothing)).toBeNull()
})

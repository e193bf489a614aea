import { expect, test } from 'vitest'
import { NEVER_MS } from '../../machines/provider/delays.ts'
import { describeEndBriefly, describeNext, describeNextBriefly } from '../../src/explanation/next.ts'

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

test('a service in use is ended by its idle time, which a request may have asked for', () => {
  const used = { state: 'leased.open', ownership: 'owned', keepAliveMs: null } as const
  const policy = { idleStopMs: 600_000 }
  expect(describeEndBriefly({ ...used, policy })).toBe('stops after 10 min 0 s idle')
  expect(describeEndBriefly({ ...used, policy, keepAliveMs: 0 })).toBe('stops when idle')
  expect(describeEndBriefly({ ...used, policy, keepAliveMs: NEVER_MS })).toBe('stays until it is stopped')
  expect(describeEndBriefly({ ...used, policy: { idleStopMs: 0 } })).toBe('stays until it is stopped')
  expect(describeEndBriefly({ ...used, policy, state: 'leased.draining' })).toBe('')
  expect(describeEndBriefly({ ...used, policy, ownership: 'adopted' })).toBe('')
  expect(describeEndBriefly({ ...used, policy, state: 'starting.warming' })).toBe('')
})

import { expect, test } from 'vitest'
import { toNextText, toStateText } from '../../src/cli/words.ts'

const timers = [
  { name: 'idleStop', remainingMs: 1_800 },
  { name: 'heartbeat', remainingMs: 10 },
]

test('an idle server of ours stops, and an adopted one is let go', () => {
  expect(toNextText({ timers, ownership: 'owned' })).toBe('stops in 1.8 s')
  expect(toNextText({ timers, ownership: 'adopted' })).toBe('is let go in 1.8 s')
})

test('without a timer that means something to people nothing is planned', () => {
  expect(toNextText({ timers: timers.slice(1), ownership: 'owned' })).toBe('')
})

test('a service that is over has ended, for whatever reason', () => {
  expect(toStateText('retired')).toBe('ended')
})

import { expect, test } from 'vitest'
import { describeService, describeStopped } from '../../src/cli/control.ts'
import type { ServiceSnapshot } from '../../src/service/snapshot.ts'

const holder = { pid: 7, name: 'serve' }
const say = (facts: Partial<ServiceSnapshot>) =>
  describeService({
    service: 'demo',
    state: 'down.cold',
    pid: null,
    ownership: 'none',
    holder: null,
    ...facts,
  } as ServiceSnapshot)

test('a start and a stop say who runs the service', () => {
  expect(say({ state: 'ready', ownership: 'owned', pid: 9 })).toBe('demo is ready, not in use (process 9)')
  expect(say({ state: 'ready', ownership: 'adopted' })).toBe(
    'demo is ready, not in use (run by another program)',
  )
  expect(say({ state: 'leased.open', ownership: 'borrowed', holder })).toBe(
    'demo is in use (run by leasehold serve (process 7))',
  )
  expect(say({ holder })).toBe('demo is down here, and leasehold serve (process 7) goes on running it')
  expect(say({})).toBe('demo is down')
})

test('a stop says that a request has started the service again', () => {
  const snapshot = { service: 'demo', state: 'starting.claiming', holder: null } as ServiceSnapshot
  expect(describeStopped(snapshot)).toMatch(/^demo was stopped, and is .+ for a request that came meanwhile$/)
})

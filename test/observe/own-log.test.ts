import { expect, test } from 'vitest'
import type { SupervisorEvent } from '../../src/events/events.ts'
import { createLogSorter, toOwnLogLine } from '../../src/observe/own-log.ts'

const at = { seq: 7, atMs: 12, time: '2026-01-01T00:00:00.000Z' }
const service = { ...at, service: 'demo', key: 'k' }
const failure = { code: 'LEASEHOLD_QUEUE_FULL', message: 'the queue\nis full' } as const
const advice = (ref: string): SupervisorEvent => ({
  ...at,
  type: 'request.advised',
  requestId: 'r',
  ref,
  advice: 'x',
  text: 'set the flag',
  block: null,
})
const state = { ...service, type: 'service.state', reason: null, why: null } as const

test('the log has what an operator should see: no turn between use and rest, and an advice once', () => {
  const sortOf = createLogSorter()
  expect(sortOf({ ...state, from: 'ready', to: 'leased.open' })).toBeUndefined()
  expect(
    sortOf({ ...at, type: 'request.started', requestId: 'r', route: '/', ref: 'a/m', client: null }),
  ).toBe(undefined)
  expect(sortOf({ ...state, from: 'leased.open', to: 'idle-stopping.terminating' })).toBe('service')
  expect(sortOf({ ...at, type: 'watchdog.restored' })).toBe('service')
  expect(sortOf({ ...service, type: 'lease.refused', id: 'r', failure })).toBe('request')
  expect(['a/m', 'a/m', 'b/m'].map((ref) => sortOf(advice(ref)))).toEqual(['request', undefined, 'request'])
})

test('a line has its level, whom it is about, and a sentence', () => {
  expect(toOwnLogLine({ ...service, type: 'lease.refused', id: 'r', failure })).toEqual({
    ...at,
    level: 'warn',
    type: 'lease.refused',
    service: 'demo',
    requestId: null,
    text: 'request r gets no lease: the queue is full',
  })
  expect(toOwnLogLine(advice('a/m'))).toMatchObject({ level: 'warn', service: null, requestId: 'r' })
  expect(toOwnLogLine({ ...at, type: 'supervisor.closed' })).toMatchObject({
    level: 'info',
    service: null,
    requestId: null,
    text: 'everything is stopped',
  })
})

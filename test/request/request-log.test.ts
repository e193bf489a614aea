import { expect, test } from 'vitest'
import { createRequestLog, type RequestRecord } from '../../src/request/request-log.ts'

const record = (id: string, changes: Partial<RequestRecord> = {}): RequestRecord => ({
  id,
  ref: 'a/m',
  service: 'a',
  route: '/v1/chat/completions',
  client: null,
  startedAtMs: 100.4,
  endedAtMs: 200.6,
  outcome: 'done',
  code: null,
  status: 200,
  timings: { waitMs: 0, loadMs: 0, firstByteMs: 40, streamMs: 60 },
  usage: { promptTokens: 3, completionTokens: 5, tokensPerSecond: null },
  bytes: 1,
  rewrites: [],
  attempts: [],
  ...changes,
})

test('the last 500 requests are kept, and listed with the newest first on the clock of the events', () => {
  const log = createRequestLog()
  expect(log.list(9, 0)).toEqual([])
  for (let id = 1; id <= 700; id += 1) log.add(record(String(id)))
  expect(log.list(3, 0).map(({ id }) => id)).toEqual(['700', '699', '698'])
  const all = log.list(Number.POSITIVE_INFINITY, -50)
  expect([all.length, all.at(-1)?.id]).toEqual([500, '201'])
  expect(all[0]).toMatchObject({ startedAtMs: 50, endedAtMs: 151, time: expect.stringMatching(/Z$/) })
})

test('requests and tokens are counted for all and by service, until the service is forgotten', () => {
  const log = createRequestLog()
  log.add(record('1'))
  log.add(record('2', { service: 'b', outcome: 'failed', usage: null }))
  log.add(record('3', { service: null, outcome: 'cancelled' }))
  expect(log.totals).toEqual({ requests: 3, failed: 1, promptTokens: 6, completionTokens: 10 })
  expect(log.totalsOf('a')).toEqual({ requests: 1, failed: 0, promptTokens: 3, completionTokens: 5 })
  expect(log.totalsOf('b')).toMatchObject({ requests: 1, failed: 1 })
  log.forget('b')
  expect(log.totalsOf('b')).toMatchObject({ requests: 0, failed: 0 })
  expect(log.totals.requests).toBe(3)
})

test('services that come and go are not counted for ever', () => {
  const log = createRequestLog()
  for (let id = 0; id <= 1_000; id += 1) log.add(record('x', { service: `s${id}` }))
  expect([log.totalsOf('s0').requests, log.totalsOf('s1000').requests]).toEqual([0, 1])
})

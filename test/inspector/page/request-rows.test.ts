import { expect, test } from 'vitest'
import type { SupervisorEvent } from '../../../src/events/events.ts'
import { describeCode } from '../../../src/inspector/page/display-text.ts'
import {
  createRequestStore,
  findScale,
  formatCsv,
  formatMarkdown,
  isPicked,
  type RequestRow,
  sortRows,
  sumSpent,
} from '../../../src/inspector/page/request-rows.ts'
import { tellStory } from '../../../src/inspector/page/views/request-story.tsx'
import type { EndedRequest } from '../../../src/request/request-log.ts'

let seq = 0
const at = (atMs: number, body: object) => {
  seq += 1
  return { seq, atMs, time: new Date(atMs).toISOString(), ...body } as SupervisorEvent
}
const id = 'x-1'
const lease = { service: 'A', key: 'a', id }
const timings = { waitMs: 1_000, loadMs: 4_000, firstByteMs: 500, streamMs: 2_000 }
const usage = { promptTokens: 10, completionTokens: 40, tokensPerSecond: 20 }
/** A request that waits for a second, loads for four, reads for half a second, and streams for two. */
const events = [
  at(1_000, {
    type: 'request.started',
    requestId: id,
    route: '/v1/chat/completions',
    ref: 'a/m',
    client: 'curl',
  }),
  at(1_000, { type: 'lease.requested', ...lease }),
  at(1_001, { type: 'lease.queued', ...lease, position: 2, estimatedMs: 7_000 }),
  at(6_000, { type: 'lease.granted', ...lease, generation: 'g', owned: true }),
  at(6_001, { type: 'request.sent', requestId: id, ref: 'a/m', rewrites: ['model'] }),
  at(6_500, { type: 'request.responded', requestId: id, ref: 'a/m', status: 200, waitedMs: 5_500 }),
  at(8_500, { type: 'request.ended', requestId: id, outcome: 'done', code: null, usage, timings }),
]
const isLoading = () => true
/** Its service loads from this time on: what its times tell is rounded, and does not tell when that was. */
const LOADS_FROM_MS = 1_950
const listAt = (atMs: number, heard = events) => {
  const store = createRequestStore()
  for (const event of heard) store.hear(event)
  return store.list(atMs, () => atMs >= LOADS_FROM_MS)
}

test('its story says which member of the cluster serves it, and why that one', () => {
  const choice = 'on attic, because tower is loading m'
  const sent = events.map((event) =>
    event.type === 'request.sent' ? { ...event, rewrites: [], member: 'attic', choice } : event,
  )
  const texts = (heard: typeof events) =>
    listAt(9_000, heard).flatMap((row) => tellStory(row, undefined, null).map(({ text }) => text))
  expect(texts(sent)).toContain(`It is served ${choice}.`)
  expect(texts(events).join()).not.toContain('It is served')
})

test('a request of the past is shown as it was at each moment, although its end is known', () => {
  const [done] = listAt(9_000)
  expect(done).toMatchObject({
    id,
    ref: 'a/m',
    service: 'a',
    client: 'curl',
    startedAtMs: 1_000,
    endedAtMs: 8_500,
    outcome: 'done',
    spent: { wait: 1_000, load: 4_000, first: 500, stream: 2_000 },
    phase: null,
    rewrites: ['model'],
    queued: { position: 2, estimatedMs: 7_000 },
  })
  expect(listAt(999)).toEqual([])
  const shownAt = (atMs: number) => {
    const { spent, phase, outcome, usage: told } = listAt(atMs)[0] as RequestRow
    return [Object.values(spent), phase, outcome, told]
  }
  expect(shownAt(1_500)).toEqual([[500, 0, 0, 0], 'wait', null, null])
  expect(shownAt(4_000)).toEqual([[1_000, 2_000, 0, 0], 'load', null, null])
  expect(shownAt(6_200)).toEqual([[1_000, 4_000, 200, 0], 'first', null, null])
  expect(shownAt(7_500)).toEqual([[1_000, 4_000, 500, 1_000], 'stream', null, null])
  expect(shownAt(8_500)).toEqual([[1_000, 4_000, 500, 2_000], null, 'done', usage])
})

test('a moment shows the same rows as a page that was told only the events until then', () => {
  for (const atMs of [1_200, 1_960, 5_999, 6_300, 7_000, 8_600]) {
    const known = listAt(atMs).map(({ phase, endedAtMs }) => [phase, endedAtMs])
    const told = listAt(
      atMs,
      events.filter((event) => event.atMs <= atMs),
    ).map(({ phase, endedAtMs }) => [phase, endedAtMs])
    expect(known, String(atMs)).toEqual(told)
  }
})

test('a look that comes after a moment is held does not change its rows', () => {
  const store = createRequestStore()
  for (const event of events.slice(0, 3)) store.hear(event)
  const listHeld = () => store.list(4_000, isLoading).map(({ phase, spent }) => [phase, sumSpent(spent)])
  expect(listHeld()).toEqual([['load', 3_000]])
  const open = {
    id,
    ref: 'a/m',
    service: 'a',
    state: 'streaming' as const,
    ageMs: 7_000,
    client: 'curl',
    timings: { ...timings, streamMs: 1_500 },
    bytes: 9,
    chunks: 7,
  }
  store.learn([open], [], 8_000)
  expect(listHeld()).toEqual([['load', 3_000]])
})

test('a request under way spends its time in the phase that it is in', () => {
  const until = (atMs: number) =>
    listAt(
      atMs,
      events.filter((event) => event.atMs <= atMs),
    )[0]
  expect(until(3_000)).toMatchObject({ spent: { load: 2_000 }, phase: 'load' })
  expect(until(6_200)).toMatchObject({ spent: { wait: 5_000, first: 200 }, phase: 'first' })
  expect(until(7_500)).toMatchObject({ spent: { first: 500, stream: 1_000 }, phase: 'stream' })
})

test('a look tells of requests that the events left out, and of their ends', () => {
  const store = createRequestStore()
  const open = {
    id: 'x-2',
    ref: 'a/m',
    service: 'a',
    state: 'streaming' as const,
    ageMs: 3_000,
    client: 'aider',
    timings: { waitMs: 1_000, loadMs: 0, firstByteMs: 1_000, streamMs: 1_000 },
    bytes: 9,
    chunks: 7,
  }
  store.learn([open], [], 10_000)
  expect(store.list(11_000, isLoading)).toMatchObject([
    { id: 'x-2', startedAtMs: 7_000, chunks: 7, phase: 'stream', spent: { wait: 1_000, stream: 2_000 } },
  ])
  const ended: EndedRequest = {
    ...{ id: 'x-2', ref: 'a/m', service: 'a', route: '/v1/x', client: 'aider', startedAtMs: 7_000 },
    ...{ endedAtMs: 11_500, time: '', outcome: 'failed', code: 'LEASEHOLD_UPSTREAM_FAILED', status: 200 },
    timings: { waitMs: 1_000, loadMs: 0, firstByteMs: 1_000, streamMs: 2_500 },
    ...{ usage: null, bytes: 9, rewrites: [], attempts: [] },
  }
  store.learn([], [{ ...ended, startedAtMs: 7_001 }], 12_000)
  expect(store.list(12_000, isLoading)).toMatchObject([
    // A row that is looked at does not move.
    { id: 'x-2', outcome: 'failed', startedAtMs: 7_000, endedAtMs: 11_500 },
  ])
  // One whose end was never told is not under way for ever.
  store.learn([{ ...open, id: 'x-3' }], [], 12_000)
  store.learn([], [], 20_000)
  expect(store.list(20_000, isLoading).map((row) => row.id)).toEqual(['x-2'])
})

test('the newest 500 requests are listed, and memory stays flat', () => {
  const store = createRequestStore()
  for (let n = 0; n < 6_000; n += 1)
    store.hear(
      at(n, { type: 'request.started', requestId: `r${n}`, route: '/v1/x', ref: 'a/m', client: null }),
    )
  const rows = store.list(6_000, isLoading)
  expect([rows.length, rows[0]?.id]).toEqual([500, 'r5999'])
  expect(store.list(500, isLoading)).toEqual([])
})

const row = (changes: Partial<RequestRow>): RequestRow => ({
  ...(listAt(9_000)[0] as RequestRow),
  ...changes,
})

test('rows are picked and sorted; equal ones keep their order', () => {
  const failed = row({ id: 'f', outcome: 'failed', code: 'LEASEHOLD_QUEUE_FULL', usage: null })
  const quick = row({ id: 'q', spent: { wait: 0, load: 0, first: 10, stream: 10 } })
  const open = row({ id: 'o', phase: 'stream', outcome: null })
  const rows = [failed, quick, open]
  const ids = (list: readonly RequestRow[]) => list.map((one) => one.id).join('')
  expect(
    ['all', 'open', 'waited', 'failed'].map((pick) =>
      ids(rows.filter((one) => isPicked(one, pick as 'all'))),
    ),
  ).toEqual(['fqo', 'o', 'fo', 'f'])
  expect(ids(sortRows(rows, 'time', false))).toBe('qfo')
  expect(ids(sortRows(rows, 'tokens', true))).toBe('qof')
  expect(ids(sortRows(rows, 'when', true))).toBe('fqo')
  const cached = row({ id: 'c', usage: { ...usage, cachedTokens: 9, promptTokensPerSecond: 800 } })
  for (const sort of ['cached', 'prefill'] as const)
    expect(ids(sortRows([...rows, cached], sort, true))).toBe('cfqo')
})

test('the scale fits most bars', () => {
  const of = (ms: number) => row({ spent: { wait: 0, load: 0, first: 0, stream: ms } })
  expect(findScale([])).toBe(200)
  expect(findScale([...Array.from({ length: 40 }, () => of(3_000)), of(900_000)])).toBe(4_000)
})

test('the export has a line for each row, and a client cannot put a formula into it', () => {
  const csv = formatCsv([row({ client: '=HYPERLINK("http://x","y")' })], () => 0)
  expect(csv.split('\r\n')).toEqual([
    'time,id,model,client,route,wait_ms,load_ms,first_byte_ms,stream_ms,prompt_tokens,cached_tokens,prompt_tokens_per_second,completion_tokens,tokens_per_second,outcome,code,status',
    `1970-01-01T00:00:00.000Z,x-1,a/m,"'=HYPERLINK(""http://x"",""y"")",/v1/chat/completions,1000,4000,500,2000,10,,,40,20,done,,200`,
    '',
  ])
})

test('one request is told as a table of Markdown, which a name cannot leave', () => {
  const told = formatMarkdown(row({ client: 'a | b\n<img>', code: null }), () => 0)
  expect(told.split('\n').slice(0, 6)).toEqual([
    '| request | |',
    '| --- | --- |',
    '| time | 1970-01-01T00:00:00.000Z |',
    '| id | x-1 |',
    '| model | a/m |',
    '| client | a \\| b \\<img\\> |',
  ])
  expect(told).not.toContain('| code |')
})

test('the story tells how much of the prompt was in a cache, and how fast the rest was read', () => {
  const tell = (more: object) =>
    tellStory(row({ usage: { ...usage, promptTokens: 1_000, ...more } }), undefined, null).find(
      ({ title }) => title === 'First byte',
    )?.text
  expect(tell({})).toBe('1000 prompt tokens were read first, about 2000 a second.')
  expect(tell({ cachedTokens: 900 })).toBe(
    '1000 prompt tokens were read first, 900 from its cache, about 200 a second.',
  )
  expect(tell({ cachedTokens: 900, promptTokensPerSecond: 812.4 })).toContain('from its cache, 812 a second.')
})

test('a code is told in words', () => {
  expect(describeCode('LEASEHOLD_QUEUE_FULL')).toBe('queue full')
})

test('the story of a request has its steps in their order, each with its time', () => {
  const service = { name: 'A', startTimes: { medianMs: 3_000, count: 4 }, policy: null }
  const titles = tellStory(row({}), service, null).map(({ title, atMs }) => `${atMs} ${title}`)
  expect(titles).toEqual([
    '1000 curl asked for a/m',
    '1000 Waited',
    '2000 A loaded',
    '6000 Got its lease',
    '6000 Rewritten and sent',
    '6500 First byte',
    '8500 Answered',
  ])
  const [, waited, loaded] = tellStory(row({}), service, null)
  expect(waited?.text).toBe('It came to place 2 of the queue. ')
  expect(loaded?.text).toBe('Usually 3.0 s.')
})

test('the story of a request that failed over and was refused ends with its code', () => {
  const refused = row({
    outcome: 'failed',
    code: 'LEASEHOLD_CIRCUIT_OPEN',
    status: null,
    spent: { wait: 5, load: 0, first: 0, stream: 0 },
    attempts: [{ ref: 'b/m', code: 'LEASEHOLD_QUEUE_FULL' }],
    rewrites: [],
  })
  expect(tellStory(refused, undefined, null)).toMatchObject([
    { title: 'curl asked for a/m' },
    { title: 'A candidate could not answer', names: ['b/m: queue full'] },
    { title: 'Failed: circuit open', text: 'LEASEHOLD_CIRCUIT_OPEN' },
  ])
})

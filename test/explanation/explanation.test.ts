import { expect, test } from 'vitest'
import type { Decision, SpareCause } from '../../machines/scheduler.ts'
import { explain } from '../../src/explanation/explanation.ts'
import type { Situation } from '../../src/explanation/situation.ts'
import { toSituation } from './situation.ts'

const tell = (changes: Partial<Situation>, all: readonly Situation[] = [], lastLine?: string) => {
  const situation = toSituation(changes)
  return explain(situation, { all: [situation, ...all], lastLine })
}

const decide = (
  cause: Decision['because']['cause'],
  {
    taken = [],
    because = 'leased',
    ahead = [],
  }: { taken?: Decision['choice']['taken']; because?: SpareCause; ahead?: string[] } = {},
): Decision => ({
  choice: { type: taken.length > 0 ? 'evict' : 'wait', key: 'k', service: 'demo', taken },
  because: {
    cause,
    needed: [{ limit: 'ramMiB', amount: 6_000, capacity: 8_000, free: 2_000, isUnmeasured: false }],
    ahead,
  },
  rejected: [{ key: 'o', service: 'other', because, holds: { ramMiB: 6_000 } }],
})
const taken = [{ key: 'o', service: 'other', how: 'evict', evictCost: 1, frees: { ramMiB: 6_000 } }] as const
const claiming = { state: 'starting.claiming', queue: [{}], why: { kind: 'requested', id: 'a' } } as const

test('one that waits for the memory of another says how much, who has it, why that one stays, and what to do', () => {
  const { title, sentence, next, advice } = tell({ ...claiming, decision: decide('no-room') })
  expect(title).toBe('Waits for room that other has')
  expect(sentence).toBe(
    'demo needs 6000 MiB of RAM (2000 of 8000 free), and no other service can make room for it: other holds 6000 MiB of RAM and is in use. 1 request waits for it.',
  )
  expect(next).toMatch(/^It starts when other is done\. If it waits too long, other takes no new requests/)
  expect(advice).toEqual([
    { text: expect.stringContaining('stop other'), command: { verb: 'stop', service: 'other' } },
    {
      text: expect.stringContaining('leasehold.budgets.ramMiB'),
      command: null,
      copy: 'budgets: { ramMiB: 12000 }',
    },
  ])
})

test('a service with unknown needs is advised to state them', () => {
  const { choice, because, rejected } = decide('no-room')
  const needed = because.needed.map((need) => ({ ...need, isUnmeasured: true }))
  const { advice } = tell({ ...claiming, decision: { choice, because: { ...because, needed }, rejected } })
  expect(advice[0]).toEqual({
    text: 'Set needs.ramMiB of demo: until its use is measured, the whole budget is reserved.',
    command: null,
  })
})

test('what can be done about one that holds the room depends on why it stays', () => {
  const advise = (because: SpareCause) =>
    tell({ ...claiming, decision: decide('no-room', { because }) }).advice.map(({ text }) => text)[0]
  expect(advise('pinned')).toMatch(/is pinned and is never evicted: remove pinned/)
  expect(advise('survivor')).toMatch(/are still alive after its stop .*end them/)
  expect(advise('starting')).toMatch(/^If demo matters more, stop other\.$/)
  // It leaves by itself.
  expect(advise('settling')).toMatch(/raise leasehold\.budgets/)
})

test('one that never leaves is in the way only where all the others together could not make room', () => {
  const pinned = { key: 'p', service: 'third', because: 'pinned', holds: { ramMiB: 2_000 } } as const
  const settling = decide('no-room', { because: 'settling' })
  const beside = tell({ ...claiming, decision: { ...settling, rejected: [pinned, ...settling.rejected] } })
  expect(beside.title).toBe('Waits for room that other has')
  expect(beside.advice.map(({ command }) => command)).toEqual([null])
  const larger = { ...pinned, holds: { ramMiB: 2_001 } }
  const before = tell({ ...claiming, decision: { ...settling, rejected: [larger, ...settling.rejected] } })
  expect(before.title).toBe('Waits for room that third and other have')
  expect(before.advice[0]).toMatchObject({ command: { verb: 'stop', service: 'third' } })
})

test('three services that hold the room are a list, and the verb is a plural', () => {
  const { rejected, ...rest } = decide('no-room')
  const more = ['second', 'third'].map((service) => ({
    key: service,
    service,
    because: 'leased' as const,
    holds: { ramMiB: 1 },
  }))
  const { title, next } = tell({ ...claiming, decision: { ...rest, rejected: [...rejected, ...more] } })
  expect(title).toBe('Waits for room that other, second and third have')
  expect(next).toMatch(
    /^It starts when other, second and third are done\. .* take no new requests until it has started\.$/,
  )
})

test.each([
  [decide('idle-cheapest', { taken }), 'Waits until other has left', 'It starts as soon as other is gone.'],
  [
    decide('starved', { taken }),
    'Waits until other has left',
    'other takes no new requests; it starts when the running requests have ended.',
  ],
  [decide('receipts', { because: 'leaving' }), 'Waits until other has left', null],
  [decide('promised', { ahead: ['first'] }), 'Waits for room that first gets first', null],
])('%#: every other wait for room says who is before it', (decision, title, next) => {
  expect(tell({ ...claiming, decision })).toMatchObject({ title, next })
})

test('who holds the room is told, too', () => {
  const waiting = toSituation({ ...claiming, decision: decide('no-room') })
  const holder = tell({ key: 'o', service: 'other', state: 'leased.open', leases: 1 }, [waiting])
  expect(holder.sentence).toMatch(/ demo waits for its room\.$/)
})

test('one that is up says for as long whose room it took, and who was spared', () => {
  const { choice, because, rejected } = decide('room-made', { taken, because: 'pinned' })
  const decision: Decision = { choice: { ...choice, type: 'start' }, because, rejected }
  const why = { kind: 'leased', id: 'a' } as const
  expect(tell({ state: 'leased.open', leases: 1, why, decision }).sentence).toBe(
    'A request uses it; demo needs 6000 MiB of RAM (2000 of 8000 free): other had to stop for it; other holds 6000 MiB of RAM and is pinned.',
  )
  expect(tell({ state: 'down.cold', why, decision }).sentence).toBe('A request uses it.')
  expect(tell({ key: 'other', state: 'ready', why, decision }).sentence).toBe('A request uses it.')
})

test('a decision that is over explains nothing any more', () => {
  expect(tell({ state: 'ready', decision: decide('no-room') }).title).toBe('Ready, not in use')
})

test('one that waits for a place to start in says who starts before it', () => {
  const { sentence, advice } = tell({ ...claiming, decision: decide('start-places') }, [
    toSituation({ key: 'o', service: 'other', state: 'starting.warming' }),
    toSituation({ key: 'p', service: 'third', state: 'starting.claiming' }),
  ])
  expect(sentence).toMatch(/Ahead of it: other \(starting\)\. 1 request waits for it\.$/)
  expect(advice.map(({ command }) => command)).toEqual([{ verb: 'stop', service: 'other' }, null])
})

test('a start that takes much longer than usual says what was seen and printed last', () => {
  const loading = {
    state: 'starting.warming',
    why: { kind: 'loading', pid: 7 },
    verdict: { kind: 'loading', detail: '503 Loading model' },
    startTimes: { medianMs: 2_600 },
  } as const
  expect(tell({ ...loading, inStateMs: 3_000 })).toMatchObject({
    tone: 'busy',
    title: 'Loading for 3.0 s',
    advice: [],
  })
  const late = tell({ ...loading, inStateMs: 60_000 }, [], 'loading tensors: 12 %')
  expect(late.title).toBe('Loading for 1 min 0 s, longer than usual')
  expect(late.sentence).toMatch(/usually takes 2\.6 s.*503 Loading model.*loading tensors: 12 %/)
  expect(late.advice.map(({ command }) => command?.verb)).toEqual(['logs', 'stop', undefined])
  const elsewhere = tell({ ...loading, inStateMs: 60_000, ownership: 'adopted', pid: null })
  expect(elsewhere.advice.map(({ command }) => command?.verb)).toEqual(['logs', undefined])
})

test('without earlier starts one is slow when a good part of its deadline is gone', () => {
  const loading = { state: 'starting.warming', startTimes: null } as const
  const timer = (remainingMs: number) => [{ name: 'readyTimeout', remainingMs }]
  expect(tell({ ...loading, inStateMs: 30_000, timers: timer(90_000) }).tone).toBe('busy')
  expect(tell({ ...loading, inStateMs: 60_000, timers: timer(60_000) })).toMatchObject({
    tone: 'warn',
    // The usual time is not known yet.
    title: 'Loading for 1 min 0 s of 2 min 0 s',
  })
})

test('a queue that is full says that further requests are refused', () => {
  const busy = { state: 'leased.open', leases: 1, policy: { maxQueue: 2 } } as const
  expect(tell({ ...busy, queue: [{}] })).toMatchObject({ tone: 'good', title: 'In use by 1 request' })
  const full = tell({ ...busy, queue: [{}, {}] })
  expect(full).toMatchObject({ tone: 'warn', title: 'In use by 1 request, and its queue is full' })
  expect(full.sentence).toMatch(/2 more wait for a free place\. .*further requests are refused/)
})

test('a failure has its cure, and a drain its end', () => {
  const failure = {
    code: 'LEASEHOLD_EXITED_BEFORE_READY',
    message: 'the process exited with code 1',
    tail: ['out of memory'],
  } as const
  const why = { kind: 'failed', failure, failures: 5 } as const
  const tripped = tell({ state: 'down.tripped', failure, failures: 5, why })
  expect(tripped.sentence).toMatch(/5 failures in a row\. Last output: out of memory\.$/)
  expect(tripped.advice.map(({ command }) => command?.verb)).toEqual(['logs', 'start'])
  expect(tell({ state: 'down.cold', failure, failures: 1 }).title).toBe('Down, after a failure')
  expect(tell({ state: 'leased.draining', leases: 2 }).advice).toMatchObject([{ command: { verb: 'cut' } }])
})

test('a server that others run is not said to be started by a request', () => {
  const failure = { code: 'LEASEHOLD_NOT_REACHABLE', message: 'nothing answers at its address' } as const
  const { advice } = tell({ state: 'down.cold', failure, failures: 1 })
  expect(advice.map(({ text }) => text).join(' ')).toMatch(/The next request looks for it again/)
})

test('a healthy service needs no action', () => {
  for (const state of ['ready', 'leased.open', 'probing', 'idle-stopping.terminating', 'starting.spawning'])
    expect(tell({ state }).advice).toEqual([])
})

const LONG =
  'the process exited with code 1 before it was ready: an unusually long line of output that no table has room for'
const failedOf = (telling?: NonNullable<Situation['failure']>['telling']) =>
  ({
    state: 'down.tripped',
    failures: 5,
    failure: {
      code: 'LEASEHOLD_EXITED_BEFORE_READY',
      message: LONG,
      ...(telling === undefined ? {} : { telling }),
    },
  }) as const

test.each<[Partial<Situation>, string]>([
  [{}, 'Ready, not in use'],
  [{ state: 'leased.open', leases: 2, queue: [{}] }, '2 requests use it, 1 waits'],
  [{ state: 'leased.draining', leases: 1 }, '1 request may finish'],
  [
    { state: 'starting.warming', inStateMs: 12_000, startTimes: { medianMs: 11_000 } },
    'Loads for 12 s, usually 11 s',
  ],
  [{ state: 'down.cold', why: { kind: 'idle', idleStopMs: 30_000 } }, 'It was not used for 30 s'],
  [failedOf({ cause: 'memory', line: 'CUDA error: out of memory' }), 'Out of memory, 5 times in a row'],
  [
    failedOf({ cause: 'other', line: 'error: x' }),
    'The process exited with code 1 before it…, 5 times in a row',
  ],
  [{ ...claiming, decision: decide('no-room') }, 'Waits for room that other has'],
])('the row of a service has a short text: %o', (changes, short) => {
  const told = tell(changes).short
  expect(told).toBe(short)
  expect(told.length).toBeLessThanOrEqual(60)
})

test('a failure names the line of output that says why, also of a process that was still alive', () => {
  const line = 'CUDA error: out of memory'
  const { failure, ...rest } = failedOf({ cause: 'memory', line })
  const findCause = () => 'error: found in the output'
  const causeOf = (changes: Partial<Situation>) => {
    const situation = toSituation(changes)
    return explain(situation, { all: [situation], findCause }).cause
  }
  expect(causeOf({ ...rest, failure })).toBe(line)
  const behind = { code: 'LEASEHOLD_CIRCUIT_OPEN', message: 'not tried again yet', cause: failure } as const
  expect(causeOf({ ...rest, failure: behind })).toBe(line)
  const timeout = { code: 'LEASEHOLD_READY_TIMEOUT', message: 'not ready within 1000 ms' } as const
  expect(causeOf({ ...rest, failure: timeout })).toBe('error: found in the output')
  // The output is that of the next run.
  expect(causeOf({ state: 'ready', failure: timeout })).toBeNull()
  const foreign = { code: 'LEASEHOLD_FOREIGN_SERVER', message: 'another program answers' } as const
  expect(causeOf({ ...rest, failure: foreign })).toBeNull()
})

test('advice to raise a setting has the setting as a line to copy', () => {
  const policy = { maxQueue: 10, readyTimeoutMs: 60_000, maxConcurrent: 4, stopGraceMs: 5_000 }
  const copyOf = (changes: Partial<Situation>) => tell({ policy, ...changes }).advice.map(({ copy }) => copy)
  const failure = { code: 'LEASEHOLD_READY_TIMEOUT', message: 'not ready' } as const
  expect(copyOf({ state: 'down.backoff', failures: 1, failure })).toEqual(['readyTimeoutMs: 120000'])
  expect(copyOf({ state: 'leased.open', leases: 4, queue: [{}] })).toEqual(['maxConcurrent: 8'])
  expect(copyOf({ state: 'idle-stopping.killing' })).toEqual(['stopGraceMs: 10000'])
})

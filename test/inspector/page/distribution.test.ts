import { expect, test } from 'vitest'
import { countValues, listValues } from '../../../src/inspector/page/distribution.ts'
import { createRequestStore } from '../../../src/inspector/page/request-rows.ts'

test('values are counted in steps of equal width, and every value is in one', () => {
  const values = Array.from({ length: 480 }, (_, index) => index / 10)
  const found = countValues(values, 'pace')
  expect(found?.bins.map(({ count }) => count)).toEqual(new Array(24).fill(20))
  expect(found).toMatchObject({ count: 480, median: 24, p90: 43.2 })
  expect(found?.bins[0]?.from).toBe(0)
  expect(found?.bins.at(-1)?.to).toBeCloseTo(47.9)
})

test('the steps of times grow: milliseconds and minutes are both told apart', () => {
  const found = countValues([10, 20, 40, 10_000, 20_000, 40_000], 'time')
  expect(found?.bins.filter(({ count }) => count > 0).length).toBeGreaterThanOrEqual(4)
  expect(found?.bins.reduce((sum, { count }) => sum + count, 0)).toBe(6)
  const [first, last] = [found?.bins[0], found?.bins.at(-1)]
  expect((first?.to ?? 0) / (first?.from ?? 1)).toBeCloseTo((last?.to ?? 0) / (last?.from ?? 1))
})

test('equal values are one step, no value is none, and what is not a number is left out', () => {
  expect(countValues([5, 5, 5], 'pace')?.bins).toEqual([{ from: 5, to: 5, count: 3 }])
  expect(countValues([], 'pace')).toBeNull()
  expect(countValues([Number.NaN, Number.POSITIVE_INFINITY], 'pace')).toBeNull()
  expect(countValues([0, 0], 'time')?.count).toBe(2)
})

test('a request counts once it is over, where its value is known', () => {
  const store = createRequestStore()
  const ended = {
    id: 'a',
    ref: 'quick/m',
    service: 'quick',
    client: 'curl',
    route: '/v1/chat/completions',
    startedAtMs: 0,
    endedAtMs: 100,
    outcome: 'done',
    code: null,
    status: 200,
    usage: { promptTokens: 10, completionTokens: 5, tokensPerSecond: 50 },
    chunks: 5,
    rewrites: [],
    attempts: [],
    timings: { waitMs: 10, loadMs: 20, firstByteMs: 30, streamMs: 40 },
  } as unknown as Parameters<typeof store.learn>[1][number]
  store.learn([], [ended, { ...ended, id: 'b', usage: null, status: null, endedAtMs: 100 }], 200)
  const rows = store.list(200, () => false)
  expect(rows).toHaveLength(2)
  expect(listValues(rows, 'pace')).toEqual([50])
  expect(listValues(rows, 'prefill')).toEqual([])
  expect(listValues(rows, 'time')).toEqual([100, 100])
  expect(listValues(rows, 'first')).toEqual([60])
  const under = store.list(50, () => false)
  expect(listValues(under, 'time')).toEqual([])
})

import { expect, test } from 'vitest'
import type { SupervisorEvent } from '../../../src/events/events.ts'
import type { Moment } from '../../../src/inspector/page/history.ts'
import {
  addLook,
  collectBursts,
  countPerMinute,
  emptyPace,
  listRates,
  type Pace,
  repeatLook,
} from '../../../src/inspector/page/rates.ts'
import { listMemory } from '../../../src/inspector/page/views/service-memory.tsx'
import type { SupervisorSnapshot } from '../../../src/service/snapshot.ts'

/** The page looks at a time, when so many requests have ended. */
const look = (pace: Pace, atMs: number, requests: number) =>
  addLook(pace, { atMs, totals: { requests }, services: [] } as unknown as SupervisorSnapshot, [])
const toMoment = (type: SupervisorEvent['type'], atMs: number) =>
  ({ event: { type, atMs }, model: null }) as unknown as Moment
const endedAt = (...times: number[]) => times.map((atMs) => toMoment('request.ended', atMs))

test('a page that was just opened counts the requests that ended before', () => {
  const moments = [
    ...endedAt(30_000, 50_000, 70_000),
    toMoment('request.started', 80_000),
    ...endedAt(90_000),
  ]
  const first = look(emptyPace, 100_000, 4)
  expect(countPerMinute(first, moments, 100_000)).toBe(3)
  // What ends after the first look is told twice, and counted once.
  const second = look(first, 102_000, 5)
  expect(countPerMinute(second, [...moments, ...endedAt(101_000)], 102_000)).toBe(4)
})

test('the looks have the exact number, where the events are a sample', () => {
  let pace = emptyPace
  for (let atMs = 0; atMs <= 100_000; atMs += 2_000) pace = look(pace, atMs, atMs / 10)
  expect(countPerMinute(pace, endedAt(70_000, 80_000), 100_000)).toBe(6_000)
})

test('the events count for a time of which there is no look', () => {
  const moments = endedAt(10_000, 40_000, 65_000, 90_000)
  // The connection was lost for a while.
  const pace = look(look(emptyPace, 1_000, 0), 200_000, 9)
  expect(countPerMinute(pace, moments, 80_000)).toBe(2)
  // A recording.
  expect(countPerMinute(emptyPace, moments, 95_000)).toBe(3)
  expect(countPerMinute(emptyPace, [], 95_000)).toBe(null)
})

test('tokens that come after a long pause between two looks are not spread over it', () => {
  const lookAt = (pace: Pace, atMs: number, completionTokens: number) =>
    addLook(
      pace,
      {
        atMs,
        totals: { requests: 0 },
        services: [{ key: 'k', totals: { completionTokens } }],
      } as unknown as SupervisorSnapshot,
      [],
    )
  const quiet = lookAt(lookAt(emptyPace, 0, 100), 2_000, 100)
  const busy = lookAt(repeatLook(quiet, 60_000), 61_000, 180)
  const rates = listRates(busy, 'k', 61_500)
  expect(rates.at(-1)).toBe(80)
  expect(rates.slice(0, -2).every((rate) => rate === 0)).toBe(true)
  // Looks that follow each other as usual stay as they are.
  expect(repeatLook(quiet, 4_000).looks).toBe(quiet.looks)
})

test('a recording has the pace of its own answers', () => {
  const toEvent = (body: object) => ({ event: body, model: null }) as unknown as Moment
  const timings = { waitMs: 0, loadMs: 0, firstByteMs: 0, streamMs: 6_000 }
  const moments = [
    toEvent({ type: 'lease.granted', id: 'r', key: 'k', atMs: 1_000 }),
    toEvent({
      type: 'request.ended',
      requestId: 'r',
      atMs: 60_000,
      usage: { completionTokens: 300 },
      timings,
    }),
    toEvent({ type: 'request.ended', requestId: 'unknown', atMs: 61_000, usage: null, timings }),
  ]
  const pace: Pace = { looks: [], bursts: collectBursts(moments) }
  const rates = listRates(pace, 'k', 60_000)
  expect(rates.slice(-3).map(Math.round)).toEqual([0, 50, 50])
  expect(rates.reduce((sum, rate) => sum + rate * 3, 0)).toBeCloseTo(300)
  expect(listRates(pace, 'k', 50_000).at(-1)).toBe(0)
  expect(listRates(pace, 'other', 60_000)).toEqual([])
})

test('the memory of a service is that of the last look at each step', () => {
  const use = (bytes: number) => ({
    k: { bytes, peakBytes: bytes, gpuPeakBytes: null, gpuBytes: bytes === 7 ? null : bytes * 2 },
  })
  const looks = [
    { atMs: 100_000, memory: use(7) },
    { atMs: 500_000, memory: use(9) },
    { atMs: 800_000, memory: {} as Record<string, never> },
  ]
  const values = listMemory(looks, 'k', 'bytes', 900_000)
  expect([values.length, values[0], values[10], values[50], values.at(-1)]).toEqual([90, 0, 7, 9, 0])
  expect(listMemory(looks, 'k', 'gpuBytes', 700_000).at(-1)).toBe(18)
  expect(listMemory(looks, 'k', 'gpuBytes', 400_000).at(-1)).toBe(0)
})

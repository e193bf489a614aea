import { expect, test } from 'vitest'
import type { SupervisorEvent } from '../../../src/events/events.ts'
import {
  extendTimeline,
  findHeld,
  listFailures,
  listSpans,
  listTicks,
  mergeSpans,
} from '../../../src/inspector/page/timeline-lanes.ts'
import type { TimelineChange } from '../../../src/observe/timeline.ts'

const life: readonly TimelineChange[] = [
  [0, 'down.cold', null],
  [100, 'probing', null],
  [200, 'starting.claiming', null],
  [300, 'starting.warming', null],
  [1_000, 'leased.open', null],
  [2_000, 'ready', null],
  [3_000, 'leased.open', null],
  [4_000, 'down.backoff', 'LEASEHOLD_SERVICE_EXITED'],
]

test('a lane is an outline while its service is up, with its uses upon it', () => {
  expect(listSpans(life, 0, 5_000)).toEqual([
    { look: 'idle', fromMs: 1_000, toMs: 4_000 },
    { look: 'loading', fromMs: 100, toMs: 200 },
    { look: 'waiting', fromMs: 200, toMs: 300 },
    { look: 'loading', fromMs: 300, toMs: 1_000 },
    { look: 'use', fromMs: 1_000, toMs: 2_000 },
    { look: 'use', fromMs: 3_000, toMs: 4_000 },
    { look: 'backoff', fromMs: 4_000, toMs: 5_000 },
  ])
  expect(listSpans(life, 1_500, 2_500)).toEqual([
    { look: 'idle', fromMs: 1_500, toMs: 2_500 },
    { look: 'use', fromMs: 1_500, toMs: 2_000 },
  ])
  expect(listFailures(life, 0, 5_000)).toEqual([4_000])
})

test('gaps that are not seen are closed, and a lane never has more than 120 parts of a look', () => {
  const uses = Array.from({ length: 5_000 }, (_, n) => ({
    look: 'use' as const,
    fromMs: n * 10,
    toMs: n * 10 + 1,
  }))
  expect(mergeSpans(uses, 9)).toHaveLength(1)
  expect(
    mergeSpans(
      uses.map((one, n) => ({ ...one, fromMs: n * 1_000, toMs: n * 1_000 + 1 })),
      1,
    ).length,
  ).toBeLessThanOrEqual(120)
})

test('what the gateway keeps goes on with the events after it', () => {
  const base = {
    sinceMs: 0,
    atMs: 2_500,
    lanes: [{ key: 'a', service: 'A', changes: life.slice(0, 6) }],
    decisions: [],
    room: [
      { atMs: 0, held: { vramMiB: 0 } },
      { atMs: 1_000, held: { vramMiB: 7 } },
    ],
  }
  const state = (atMs: number, to: string) =>
    ({
      seq: 1,
      atMs,
      time: '',
      type: 'service.state',
      service: 'A',
      key: 'a',
      from: 'ready',
      to,
      reason: null,
      why: null,
    }) as SupervisorEvent
  const decided = {
    ...{ seq: 1, atMs: 2_700, time: '', type: 'scheduler.decided', service: 'B', key: 'b' },
    choice: {
      type: 'evict',
      key: 'b',
      service: 'B',
      taken: [{ key: 'a', service: 'A', how: 'evict', evictCost: 1, frees: {} }],
    },
    because: { cause: 'idle-cheapest', needed: [], ahead: [] },
    rejected: [],
  } as SupervisorEvent
  const { lanes, decisions, room } = extendTimeline(base, [
    state(2_000, 'ready'),
    decided,
    state(2_800, 'leased.open'),
  ])
  expect(lanes[0]?.changes).toEqual([...life.slice(0, 6), [2_800, 'leased.open', null]])
  expect(decisions).toMatchObject([{ atMs: 2_700, service: 'B', taken: [{ service: 'A' }] }])
  expect([500, 1_500].map((atMs) => findHeld(room, 'vramMiB', atMs))).toEqual([0, 7])
  // A recording has nothing but its events.
  const added = {
    seq: 1,
    atMs: 5,
    time: '',
    type: 'service.added',
    service: 'A',
    key: 'a',
  } as SupervisorEvent
  expect(extendTimeline(null, [added, state(2_000, 'ready')]).lanes).toEqual([
    {
      key: 'a',
      service: 'A',
      changes: [
        [5, 'down.cold', null],
        [2_000, 'ready', null],
      ],
    },
  ])
})

test('the times of the axis are round', () => {
  expect(listTicks(61_000, 15 * 60_000, 5)).toEqual([180_000, 360_000, 540_000, 720_000, 900_000])
})

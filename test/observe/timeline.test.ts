import { expect, test } from 'vitest'
import type { Decision } from '../../machines/scheduler.ts'
import { createTimeline } from '../../src/observe/timeline.ts'

const decision = (type: Decision['choice']['type'], taken: string[] = []): Decision => ({
  choice: {
    type,
    key: 'b',
    service: 'B',
    taken: taken.map((key) => ({ key, service: key.toUpperCase(), how: 'evict', evictCost: 1, frees: {} })),
  },
  because: { cause: 'idle-cheapest', needed: [], ahead: [] },
  rejected: [],
})

test('the changes of a service are kept, and uses with a short pause between them are one', () => {
  const timeline = createTimeline()
  const note = (
    atMs: number,
    state: 'ready' | 'leased.open' | 'starting.warming' | 'down.backoff',
    why?: string,
  ) => timeline.noteState('a', 'A', atMs, state, why ?? null)
  note(100, 'starting.warming')
  note(200, 'ready')
  note(300, 'leased.open')
  for (let atMs = 400; atMs < 10_000; atMs += 100) {
    note(atMs, 'ready')
    note(atMs + 50, 'leased.open')
  }
  note(10_000, 'ready')
  note(12_000, 'leased.open')
  note(13_000, 'down.backoff', 'LEASEHOLD_SERVICE_EXITED')
  expect(timeline.read(14_000, -50)).toEqual({
    sinceMs: 0,
    atMs: 13_950,
    lanes: [
      {
        key: 'a',
        service: 'A',
        changes: [
          [50, 'starting.warming', null],
          [150, 'ready', null],
          [250, 'leased.open', null],
          [9_950, 'ready', null],
          [11_950, 'leased.open', null],
          [12_950, 'down.backoff', 'LEASEHOLD_SERVICE_EXITED'],
        ],
      },
    ],
    decisions: [],
    room: [],
  })
})

test('what is older than 15 minutes is left out, but for the state at that time', () => {
  const timeline = createTimeline()
  timeline.noteState('a', 'A', 1_000, 'starting.warming', null)
  timeline.noteState('a', 'A', 2_000, 'ready', null)
  timeline.noteState('a', 'A', 1_000_000, 'leased.open', null)
  timeline.noteState('b', 'B', 1_000, 'retired', null)
  timeline.noteDecision(1_000, decision('evict', ['a']))
  timeline.noteDecision(1_000_000, decision('evict', ['a']))
  timeline.noteRoom(1_000, { vramMiB: 1 })
  timeline.noteRoom(2_000, { vramMiB: 2 })
  const { lanes, decisions, room } = timeline.read(1_000_500, 0)
  expect(lanes).toEqual([
    {
      key: 'a',
      service: 'A',
      changes: [
        [2_000, 'ready', null],
        [1_000_000, 'leased.open', null],
      ],
    },
  ])
  expect(decisions.map(({ atMs }) => atMs)).toEqual([1_000_000])
  expect(room).toEqual([{ atMs: 2_000, held: { vramMiB: 2 } }])
})

test('decisions that take room are kept with their text; waits and starts are not', () => {
  const timeline = createTimeline()
  for (const type of ['start', 'wait', 'decline'] as const) timeline.noteDecision(1, decision(type))
  timeline.noteDecision(2, decision('evict', ['a']))
  timeline.noteDecision(3, decision('evict', ['a']))
  timeline.noteDecision(5_000, decision('evict', ['a']))
  expect(timeline.read(6_000, 0).decisions).toEqual([
    {
      atMs: 2,
      key: 'b',
      service: 'B',
      cause: 'idle-cheapest',
      taken: [{ key: 'a', service: 'A', how: 'evict' }],
      text: expect.stringContaining('A has to stop for it'),
    },
    expect.objectContaining({ atMs: 5_000 }),
  ])
})

test('only changes of the held room are kept', () => {
  const timeline = createTimeline()
  timeline.noteRoom(1, { ramMiB: 5 })
  timeline.noteRoom(2, { ramMiB: 5 })
  timeline.noteRoom(3, { ramMiB: 0 })
  timeline.noteRoom(4, {})
  expect(timeline.read(5, 0).room.map(({ atMs }) => atMs)).toEqual([1, 3, 4])
})

test('a timeline has a limit, whatever happens', () => {
  const timeline = createTimeline()
  for (let n = 0; n < 2_000; n += 1) {
    timeline.noteState('a', 'A', n, n % 2 === 0 ? 'down.backoff' : 'probing', null)
    timeline.noteState(`s${n}`, 'S', n, 'down.cold', null)
    timeline.noteDecision(n * 2_000, decision('evict', ['a']))
    timeline.noteRoom(n, { ramMiB: n })
  }
  for (let n = 0; n < 2_000; n += 1)
    timeline.noteState('z', 'Z', n, n % 2 === 0 ? 'down.backoff' : 'probing', null)
  const { lanes, decisions, room } = timeline.read(2_000, 0)
  expect(lanes.length).toBe(300)
  expect(lanes.at(-1)?.changes.length).toBeLessThanOrEqual(600)
  expect(lanes.at(-1)?.changes.at(-1)?.[0]).toBe(1_999)
  expect(decisions.length).toBeLessThanOrEqual(240)
  expect(room.length).toBeLessThanOrEqual(600)
})

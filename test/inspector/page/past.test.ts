import { expect, test } from 'vitest'
import type { SupervisorEvent } from '../../../src/events/events.ts'
import {
  emptyHistory,
  findLastChange,
  findShown,
  type History,
  MAX_MOMENTS,
  record,
  seek,
  seekTime,
  step,
} from '../../../src/inspector/page/history.ts'
import { buildPast } from '../../../src/inspector/page/past.ts'
import { explainView } from '../../../src/inspector/page/view-explanation.ts'
import { listNews } from '../../../src/inspector/page/views/overview.tsx'
import type { Timeline } from '../../../src/observe/timeline.ts'

const past: Timeline = {
  sinceMs: 1_000,
  atMs: 60_000,
  lanes: [
    {
      key: 'k',
      service: 'chat',
      changes: [
        [500, 'down.cold', null],
        [2_000, 'probing', null],
        [2_010, 'starting.warming', null],
        [5_000, 'leased.open', null],
        [8_000, 'ready', null],
        [20_000, 'idle-stopping.terminating', 'evicted'],
        [21_000, 'down.cold', null],
        [30_000, 'down.backoff', 'LEASEHOLD_SPAWN_FAILED'],
      ],
    },
    {
      key: 'g',
      service: 'gone',
      changes: [
        [500, 'ready', null],
        [4_000, 'retired', null],
      ],
    },
  ],
  decisions: [],
  room: [],
}
let seq = 0
const at = (atMs: number, to = 'ready') => {
  seq += 1
  const event = {
    type: 'service.state',
    key: 'k',
    service: 'chat',
    from: 'down.cold',
    to,
    reason: null,
    why: null,
  }
  return { ...event, seq, atMs, time: new Date(atMs).toISOString() } as unknown as SupervisorEvent
}
const history: History = [at(50_000), at(55_000)].reduce(record, { ...emptyHistory, past })
const stateAt = (atMs: number, from = history) => {
  const { model, atMs: shownMs } = findShown(seekTime(from, atMs), 99_000)
  return [shownMs, ...Object.values(model.services).map(({ name, state }) => `${name} ${state}`)]
}

test('a time before the kept events is that of the timeline, as far as it goes back', () => {
  expect(stateAt(2_500)).toEqual([2_500, 'chat starting.warming', 'gone ready'])
  expect(stateAt(6_000)).toEqual([6_000, 'chat leased.open'])
  expect(stateAt(49_999)).toEqual([49_999, 'chat down.backoff'])
  expect(stateAt(50_000)).toEqual([50_000, 'chat ready'])
  expect(stateAt(-100)).toEqual([1_000, 'chat down.cold', 'gone ready'])
  // A recording, and a gateway that told nothing, begin with their first event.
  expect(stateAt(2_500, { ...history, past: null })[0]).toBe(50_000)
})

test('the reasons of a state are told in the words of its event', () => {
  const tell = (atMs: number) => {
    const { model } = findShown(seekTime(history, atMs), 99_000)
    const service = model.services.k
    return service === undefined
      ? ''
      : `${explainView(service, model, atMs).sentence} ${service.changes.length}`
  }
  expect(tell(20_500)).toBe('Another service needed its room. 6')
  expect(tell(31_000)).toContain('failed: spawn failed')
})

test('the arrow keys go on from the events into the timeline, and back', () => {
  let moved = seek(history, 0)
  const places: (number | undefined)[] = []
  for (let steps = 0; steps < 4; steps += 1) {
    moved = step(moved, -1, false)
    places.push(moved.heldAtMs)
  }
  expect(places).toEqual([30_000, 21_000, 20_000, 8_000])
  expect(findLastChange(moved, 8_000)).toMatchObject({ service: 'chat', to: 'ready' })
  expect(step(moved, -10, false).heldAtMs).toBe(2_000)
  moved = step(moved, 3, false)
  expect([moved.cursor, moved.heldAtMs]).toEqual([-1, 30_000])
  moved = step(moved, 1, false)
  expect([moved.cursor, moved.heldAtMs]).toEqual([0, undefined])
  expect(step(moved, 2, false).cursor).toBeNull()
})

test('a moment that is looked at stays when its event is not kept any more', () => {
  let held = seek(history, 0)
  while (held.moments.length < MAX_MOMENTS) held = record(held, at(56_000, 'leased.open'))
  held = record(held, at(57_000))
  expect([held.cursor, held.heldAtMs]).toEqual([-1, 50_000])
  expect(findShown(held, 99_000).atMs).toBe(50_000)
})

test('the news of a past moment are told in the order of their times, whichever service had more changes', () => {
  const lanes = [
    ...past.lanes,
    { key: 'n', service: 'new', changes: [[25_000, 'starting.spawning', null]] as const },
  ]
  const { services } = buildPast({ ...past, lanes }, emptyHistory.latest, 26_000)
  const news = listNews(Object.values(services)).map(({ service, change, text }) => [
    change.atMs,
    `${service.name} ${text}`,
  ])
  expect(news).toEqual([
    [25_000, 'new starts'],
    [21_000, 'chat is down'],
    [20_000, 'chat stops'],
    [5_000, 'chat is ready'],
    [500, 'chat is down'],
  ])
})

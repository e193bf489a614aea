// @module-tag proof

import { expect, test } from 'vitest'
import type { SupervisorEvent } from '../../../src/events/events.ts'
import {
  emptyHistory,
  findShown,
  MAX_MOMENTS,
  parseRecording,
  record,
  seek,
  step,
} from '../../../src/inspector/page/history.ts'
import { applyEvent, applySnapshot, emptyModel } from '../../../src/inspector/page/model.ts'
import { createLibrary } from '../../integration/library.ts'

test('events alone tell what a snapshot tells: state, leases, queue, process', async () => {
  await using library = await createLibrary({ service: { maxConcurrent: 1, idleStopMs: 60_000 } })
  const { supervisor } = library
  const matches = () => {
    const history = supervisor.pastEvents().reduce(record, emptyHistory)
    const { services } = applySnapshot(emptyModel, supervisor.snapshot(), [], 0)
    for (const [key, { state, leases, queue, pid, generation, ownership, failures }] of Object.entries(
      services,
    ))
      expect(history.latest.services[key]).toMatchObject({
        state,
        leases,
        queue: queue.map(({ id }) => ({ id })),
        pid,
        generation,
        ownership,
        failures,
      })
  }
  matches()
  const lease = await supervisor.acquire('demo/demo')
  matches()
  const waiting = supervisor.acquire('demo/demo')
  matches()
  lease.release()
  const second = await waiting
  matches()
  second.release()
  matches()
  await supervisor.stop('demo')
  matches()
})

test('a moment that is looked at stays while events go on', () => {
  let history = [1, 2, 3].map(toEvent).reduce(record, emptyHistory)
  history = seek(history, 1)
  history = record(history, toEvent(4))
  expect(findShown(history, 10_000)).toMatchObject({ atMs: 200, model: { seq: 2 } })
  expect(findShown(seek(history, null), 10_000)).toMatchObject({ atMs: 10_000, model: { seq: 4 } })
})

test('stepping goes back from now, on to the last event, and then to now again', () => {
  let history = [1, 2, 3].map(toEvent).reduce(record, emptyHistory)
  history = step(history, -1, false)
  expect(history.cursor).toBe(2)
  history = step(history, -10, false)
  expect(history.cursor).toBe(0)
  history = step(history, 2, false)
  expect(history.cursor).toBe(2)
  expect(step(history, 1, false).cursor).toBeNull()
  expect(step(history, 1, true).cursor).toBe(2)
})

test('the oldest moments are dropped, and the one that is looked at moves with them', () => {
  let history = emptyHistory
  for (let seq = 1; seq <= MAX_MOMENTS; seq += 1) history = record(history, toEvent(seq))
  history = seek(history, 5)
  history = record(history, toEvent(MAX_MOMENTS + 1))
  expect(history.moments).toHaveLength(MAX_MOMENTS)
  expect(findShown(history, 0).model.seq).toBe(6)
})

test('a recording is read line by line; lines that are no events are counted', () => {
  const lines = [
    '{"leasehold":"recording"}',
    ...[1, 2].map((seq) => JSON.stringify(toEvent(seq))),
    'half a li',
  ]
  const { history, skipped } = parseRecording(lines.join('\n'))
  expect(history.moments).toHaveLength(2)
  expect(history.cursor).toBe(0)
  expect(skipped).toBe(1)
})

test('a countdown starts again when its state arms the delay anew', () => {
  const at = (atMs: number, event: object) =>
    ({ seq: atMs, atMs, service: 'demo', key: 'k', ...event }) as unknown as SupervisorEvent
  const toldTo = (atMs: number, event: object) => at(atMs, { type: 'machine.event', event })
  const policy = { idleStopMs: 10_000, drainTimeoutMs: 2_000 }
  const play = (...events: readonly SupervisorEvent[]) =>
    events.reduce(applyEvent, emptyModel).services.k?.timers
  const ready = [
    at(0, { type: 'service.added', policy }),
    at(1_000, { type: 'service.state', from: 'starting.warming', to: 'ready', why: null }),
  ]
  const timer = (name: string, armedAtMs: number, totalMs: number) => ({
    name,
    totalMs,
    endsAtMs: armedAtMs + totalMs,
  })
  expect(play(...ready)).toEqual([timer('idleStop', 1_000, 10_000)])
  expect(play(...ready, toldTo(5_000, { type: 'host.resumed' }))).toEqual([timer('idleStop', 5_000, 10_000)])
  const replaced = (idleStopMs: number) =>
    toldTo(5_000, { type: 'policy.replaced', policy: { ...policy, idleStopMs } })
  expect(play(...ready, replaced(10_000))).toEqual([timer('idleStop', 1_000, 10_000)])
  expect(play(...ready, replaced(20_000))).toEqual([timer('idleStop', 5_000, 20_000)])
  const kept = [
    at(0, { type: 'service.added', policy }),
    at(900, { type: 'lease.granted', id: 'a', generation: 'g.1', owned: true, keepAliveMs: 3_000 }),
    at(950, { type: 'service.state', from: 'starting.warming', to: 'leased.open', why: null }),
    at(1_000, { type: 'service.state', from: 'leased.open', to: 'ready', why: null }),
  ]
  expect(play(...kept)).toEqual([timer('idleStop', 1_000, 3_000)])
  expect(play(...kept, replaced(20_000))).toEqual([timer('idleStop', 1_000, 3_000)])
  expect(
    play(
      ...kept,
      at(6_000, { type: 'service.state', from: 'ready', to: 'down.cold', why: null }),
      at(7_000, { type: 'service.state', from: 'starting.warming', to: 'ready', why: null }),
    ),
  ).toEqual([timer('idleStop', 7_000, 10_000)])
  const yielding = [
    ...ready,
    at(2_000, { type: 'service.stop', reason: 'yielded' }),
    at(2_000, { type: 'service.state', from: 'leased.open', to: 'leased.draining', why: null }),
  ]
  expect(play(...yielding)).toEqual([])
  expect(play(...yielding, at(3_000, { type: 'service.stop', reason: 'removed' }))).toEqual([
    timer('drainTimeout', 3_000, 2_000),
  ])
})

function toEvent(seq: number): SupervisorEvent {
  return {
    seq,
    atMs: seq * 100,
    time: new Date(seq * 100).toISOString(),
    service: 'demo',
    key: 'k',
    type: 'health.verdict',
    verdict: { kind: 'loading', detail: `${seq}` },
  }
}

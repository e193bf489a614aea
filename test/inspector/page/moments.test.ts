// @module-tag proof

import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import type { SupervisorEvent } from '../../../src/events/events.ts'
import {
  emptyHistory,
  type History,
  parseRecording,
  record,
  renew,
} from '../../../src/inspector/page/history.ts'
import { applySnapshot } from '../../../src/inspector/page/model.ts'
import type { SupervisorSnapshot } from '../../../src/service/snapshot.ts'
import { createLibrary } from '../../integration/library.ts'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void
const SERVICES = 30
const EVENTS = 10_000
const MIB = 1_048_576
/** Less than the 8 MB that are promised: with a whole model in each moment it is more. */
const MOST = 6 * MIB

/** The events of a real request, as often as wanted, of 30 services in turn; and what a look tells of those. */
async function readStory() {
  await using library = await createLibrary({ service: { idleStopMs: 600_000 } })
  const { supervisor } = library
  ;(await supervisor.acquire('demo/demo')).release()
  const from = supervisor.snapshot().seq
  const answer = await supervisor.fetch('http://leasehold/v1/chat/completions', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'demo/demo', messages: [{ role: 'user', content: '1+1' }] }),
  })
  await answer.text()
  await expect.poll(() => supervisor.pastEvents().at(-1)?.type).toBe('request.ended')
  const before = supervisor.pastEvents().filter(({ seq }) => seq <= from)
  const told = supervisor.pastEvents().filter(({ seq }) => seq > from)
  const snapshot = supervisor.snapshot()
  const nameOf = (index: number) => `k${index % SERVICES}`
  const toText = (event: SupervisorEvent, seq: number, service: string, id: string) => {
    const named = 'key' in event ? { service, key: service } : {}
    const of = 'requestId' in event ? { requestId: id } : 'id' in event ? { id } : {}
    return JSON.stringify({ ...event, ...named, ...of, seq, atMs: seq * 10 })
  }
  const added = before.find(({ type }) => type === 'service.added') as SupervisorEvent
  const lines = Array.from({ length: SERVICES }, (_, index) => toText(added, index + 1, nameOf(index), ''))
  for (let request = 0; lines.length < EVENTS; request += 1)
    for (const event of told) lines.push(toText(event, lines.length + 1, nameOf(request), `r${request}`))
  const services = Array.from({ length: SERVICES }, (_, index) => ({
    ...(snapshot.services[0] as SupervisorSnapshot['services'][number]),
    key: nameOf(index),
    service: nameOf(index),
  }))
  return { lines: lines.slice(0, EVENTS), snapshot: { ...snapshot, services } }
}

function measure<Value>(make: () => Value): { readonly made: Value; readonly bytes: number } {
  collect()
  const before = process.memoryUsage().heapUsed
  const made = make()
  collect()
  return { made, bytes: process.memoryUsage().heapUsed - before }
}

test('10,000 events of 30 services with a moment for each stay under 8 MB', async () => {
  const { lines, snapshot } = await readStory()
  const events = measure(() => lines.map((line) => JSON.parse(line) as SupervisorEvent))
  // A look every 50 events, each of which tells something new of one service.
  const told = measure(() => {
    let history: History = emptyHistory
    for (const [index, event] of events.made.entries()) {
      history = record(history, event)
      if (index % 50 !== 0) continue
      const services = snapshot.services.map((one, at) =>
        at === (index / 50) % SERVICES ? { ...one, pid: index } : one,
      )
      history = renew(history, applySnapshot(history.latest, { ...snapshot, services }, [], event.atMs))
    }
    return history
  })
  const recording = measure(() => parseRecording(`${lines.join('\n')}\n`))
  expect(recording.made.history.moments).toHaveLength(EVENTS)
  expect(events.bytes + told.bytes).toBeLessThan(MOST)
  expect(recording.bytes).toBeLessThan(MOST)
})

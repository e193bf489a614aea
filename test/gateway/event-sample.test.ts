import { expect, test } from 'vitest'
import type { EventBody, KeptEvent } from '../../src/events/event-hub.ts'
import { createEventSampler } from '../../src/gateway/event-sample.ts'

const service = { service: 's', key: 'k' }
let seq = 0

function at(atMs: number, body: object): KeptEvent {
  seq += 1
  return { seq, atMs, body: body as EventBody }
}

function toRequest(id: string, atMs: number): KeptEvent[] {
  return [
    at(atMs, { type: 'request.started', requestId: id, route: '/v1/chat/completions', ref: 's/m' }),
    at(atMs, { type: 'lease.requested', id, priority: 0, ...service }),
    at(atMs, { type: 'lease.granted', id, generation: 'g', owned: true, ...service }),
    at(atMs + 5, { type: 'lease.released', id, generation: 'g', ...service }),
    at(atMs + 5, { type: 'request.ended', requestId: id, outcome: 'done', code: null, usage: null }),
  ]
}

function turn(to: 'ready' | 'leased.open'): KeptEvent {
  return at(0, {
    type: 'service.state',
    from: to === 'ready' ? 'leased.open' : 'ready',
    to,
    why: null,
    ...service,
  })
}

test('of a flood so many requests a second are told, and everything of those', () => {
  const sample = createEventSampler(10)
  const told = Array.from({ length: 300 }, (_, index) => toRequest(`r${index}`, index * 10)).flatMap(sample)
  const counts = new Map<string, number>()
  for (const { body } of told) {
    const id = 'requestId' in body ? body.requestId : 'id' in body ? body.id : ''
    counts.set(id, (counts.get(id) ?? 0) + 1)
  }
  // Three seconds, and what may come at once.
  expect(counts.size).toBeGreaterThanOrEqual(38)
  expect(counts.size).toBeLessThanOrEqual(41)
  expect([...counts.values()].filter((count) => count !== 5)).toEqual([])
})

test('below that rate everything is told', () => {
  const sample = createEventSampler(10)
  const events = Array.from({ length: 50 }, (_, index) => toRequest(`r${index}`, index * 200)).flat()
  expect(sample(events)).toEqual(events)
})

test('a request that began before is not taken up in its middle', () => {
  const [, , granted, ...rest] = toRequest('r', 0)
  expect(createEventSampler(10)([granted as KeptEvent, ...rest])).toEqual([])
})

test('a request that was passed over is not taken up at a later lease of its own', () => {
  const sample = createEventSampler(1)
  sample(toRequest('first', 0))
  const [started, requested, ...rest] = toRequest('second', 0)
  const later = { ...(requested as KeptEvent), atMs: 60_000 }
  expect(sample([started as KeptEvent, later, ...rest])).toEqual([])
})

test('a lease that no request asked for is told to its end, also among very many that have ended', () => {
  const sample = createEventSampler(1e6)
  const lease = (id: string) => [
    at(0, { type: 'lease.requested', id, priority: 0, ...service }),
    at(0, { type: 'lease.released', id, generation: 'g', ...service }),
  ]
  const [held, released] = lease('held')
  expect(sample([held as KeptEvent])).toHaveLength(1)
  for (let index = 0; index < 20_000; index += 1) sample(lease(`l${index}`))
  expect(sample([released as KeptEvent])).toHaveLength(1)
})

test('everything else is told, and of many turns between use and rest the last', () => {
  const sample = createEventSampler(0)
  expect(toRequest('r', 0).flatMap((event) => sample([event]))).toEqual([])
  const crash = at(0, {
    type: 'service.state',
    from: 'leased.open',
    to: 'down.backoff',
    why: null,
    ...service,
  })
  const few = [turn('leased.open'), turn('ready')]
  expect(sample(few)).toEqual(few)
  const many = Array.from({ length: 20 }, (_, index) => turn(index % 2 === 0 ? 'leased.open' : 'ready'))
  expect(sample([...many, crash])).toEqual([many.at(-1), crash])
})

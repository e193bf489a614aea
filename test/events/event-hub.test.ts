import { expect, test } from 'vitest'
import {
  createEventHub,
  type KeptEvent,
  MAX_KEPT_EVENTS,
  MAX_NOTABLE_EVENTS,
} from '../../src/events/event-hub.ts'
import type { SupervisorEvent } from '../../src/events/events.ts'
import { createVirtualClock } from '../../src/testing/virtual-clock.ts'

test('events are kept as they were told, for a reader that comes late', async () => {
  const clock = createVirtualClock()
  const hub = createEventHub(clock)
  const told: SupervisorEvent[] = []
  hub.events$.subscribe((event) => told.push(event))
  hub.publish({ type: 'supervisor.closed' })
  await clock.advanceTo(1_500)
  hub.publish({ type: 'supervisor.closed' })
  expect(hub.past(0)).toEqual(told)
  expect(told).toMatchObject([
    { seq: 1, atMs: 0, type: 'supervisor.closed' },
    { seq: 2, atMs: 1_500, type: 'supervisor.closed' },
  ])
  expect(hub.past(1)).toEqual(told.slice(1))
  expect(hub.past(0, 1)).toEqual(told.slice(0, 1))
  expect(hub.past(2)).toEqual([])
})

test('what is kept is made fit again when more must be hidden', () => {
  let hidden = 'nothing'
  const hub = createEventHub(createVirtualClock(), (value) =>
    JSON.parse(JSON.stringify(value).replaceAll(hidden, '***')),
  )
  hub.publish({ type: 'service.retired', service: 'secret', key: 'k' })
  expect(hub.past(0)).toMatchObject([{ service: 'secret' }])
  expect(hub.past(0)[0]).toBe(hub.past(0)[0])
  hidden = 'secret'
  hub.rescrub()
  expect(hub.past(0)).toMatchObject([{ seq: 1, service: '***' }])
})

test('only what a reader chooses is put together, once, and numbers alone cost nothing of it', () => {
  let count = 0
  const hub = createEventHub(createVirtualClock(), (value) => {
    count += 1
    return value
  })
  const numbers: number[] = []
  hub.seq$.subscribe((seq) => numbers.push(seq))
  for (let index = 0; index < 10; index += 1) hub.publish({ type: 'supervisor.closed' })
  expect([numbers, count]).toEqual([[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 0])
  const choose = (kept: readonly KeptEvent[]) => kept.filter(({ seq }) => seq % 5 === 0)
  for (const _ of [1, 2]) expect(hub.past(0, 9, choose).map(({ seq }) => seq)).toEqual([5])
  expect(count).toBe(1)
})

test('no more events are kept than the limit says', () => {
  const hub = createEventHub(createVirtualClock())
  for (let index = 0; index < MAX_KEPT_EVENTS + 10; index += 1) hub.publish({ type: 'supervisor.closed' })
  const kept = hub.past(0)
  expect(kept).toHaveLength(MAX_KEPT_EVENTS)
  expect(kept[0]?.seq).toBe(11)
  expect(kept.at(-1)?.seq).toBe(hub.lastSeq)
})

test('notable events outlive the others, and many of one sort displace none of another', async () => {
  let built = 0
  const clock = createVirtualClock()
  const hub = createEventHub(
    clock,
    (value) => {
      built += 1
      return value
    },
    ({ type }) => (type === 'service.retired' ? undefined : type),
  )
  const told: SupervisorEvent[] = []
  hub.publish({ type: 'watchdog.restored' })
  await clock.advanceTo(1_500)
  for (let index = 0; index < MAX_KEPT_EVENTS; index += 1)
    hub.publish({ type: 'service.retired', service: 's', key: 'k' })
  const refused = (requestId: string) =>
    hub.publish({ type: 'request.attempted', requestId, ref: 'a/m', code: 'X' })
  for (let index = 0; index < 3 * MAX_NOTABLE_EVENTS; index += 1) refused(`r${index}`)
  expect(built).toBe(0)
  const notable = hub.notable()
  expect(notable).toHaveLength(1 + MAX_NOTABLE_EVENTS)
  expect(notable[0]).toMatchObject({ seq: 1, atMs: 0, type: 'watchdog.restored' })
  expect(notable.at(-1)).toEqual(hub.past(hub.lastSeq - 1)[0])

  hub.notable$.subscribe((event) => told.push(event))
  hub.publish({ type: 'service.retired', service: 's', key: 'k' })
  refused('last')
  expect(told).toEqual(hub.past(hub.lastSeq - 1))
})

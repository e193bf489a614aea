import { expect, test } from 'vitest'
import type { SupervisorEvent } from '../../src/events.ts'
import { createEventHub, MAX_KEPT_EVENTS } from '../../src/supervisor/event-hub.ts'
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

test('no more events are kept than the limit says', () => {
  const hub = createEventHub(createVirtualClock())
  for (let index = 0; index < MAX_KEPT_EVENTS + 10; index += 1) hub.publish({ type: 'supervisor.closed' })
  const kept = hub.past(0)
  expect(kept).toHaveLength(MAX_KEPT_EVENTS)
  expect(kept[0]?.seq).toBe(11)
  expect(kept.at(-1)?.seq).toBe(hub.lastSeq)
})

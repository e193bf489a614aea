import { once } from 'node:events'
import { createServer, get, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { EMPTY, Subject } from 'rxjs'
import { expect, test, vi } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { parseConfig } from '../../src/config/load.ts'
import { createEventHub, MAX_KEPT_EVENTS } from '../../src/events/event-hub.ts'
import type { SupervisorEvent } from '../../src/events/events.ts'
import { sendEvents } from '../../src/gateway/event-route.ts'
import { createMembership } from '../../src/request/membership.ts'
import type { Supervisor } from '../../src/supervisor/interface.ts'
import { attachInternals } from '../../src/supervisor/internals.ts'
import { createVirtualClock } from '../../src/testing/virtual-clock.ts'

/** The event route on a port of its own, over a hub that the test fills. */
async function openRoute() {
  const hub = createEventHub(createVirtualClock())
  const closing$ = new Subject<void>()
  const snapshot = () => ({ instance: 'abc', seq: hub.lastSeq, state: 'running', services: [] })
  const dispatch = () => {
    throw new Error('no request was expected')
  }
  const supervisor = attachInternals({ snapshot } as unknown as Supervisor, {
    dispatch,
    ask: dispatch,
    lookAtFiles: async () => {},
    openServerCall: dispatch,
    secretsOf: () => undefined,
    bodiesOf: () => undefined,
    membership: createMembership(parseConfig('{}'), {
      apply: () => {},
      lost: () => {},
    }),
    cluster: () => undefined,
    instance: 'none',
    lookAtHardware: dispatch,
    ownLog: { lines: () => [], lines$: EMPTY, nowMs: 0 },
    seq$: hub.seq$,
    pastEvents: hub.past,
  })
  const server = createServer((request, response) =>
    sendEvents(supervisor, request, response, new URL(request.url ?? '/', 'http://route'), {
      closing$,
      clock: systemClock,
    }),
  )
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const readText = async (query: string, lastEventId?: string): Promise<string> => {
    const headers: Record<string, string> = lastEventId === undefined ? {} : { 'last-event-id': lastEventId }
    return (await fetch(`http://127.0.0.1:${port}/${query}`, { headers })).text()
  }
  return {
    hub,
    closing$,
    fill: (count: number) => {
      for (let index = 0; index < count; index += 1)
        hub.publish({ type: 'service.retired', service: 's', key: 'k' })
    },
    read: async (query: string, lastEventId?: string): Promise<SupervisorEvent[]> =>
      toEvents(await readText(query, lastEventId)),
    readText,
    /** Throws what the route throws for a query. */
    refuse: (query: string) =>
      sendEvents(
        supervisor,
        { headers: {} } as IncomingMessage,
        {} as ServerResponse,
        new URL(query, 'http://route'),
        { closing$, clock: systemClock },
      ),
    open: async (query: string): Promise<IncomingMessage> => {
      const [response] = await once(get(`http://127.0.0.1:${port}/${query}`), 'response')
      return response
    },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

function toEvents(text: string): SupervisorEvent[] {
  return [...text.matchAll(/^data: (.*)$/gm)].map(([, data = '']) => JSON.parse(data))
}

test('a reader that comes again is told what happened in between, once', async () => {
  await using route = await openRoute()
  route.fill(5)
  expect((await route.read('?follow=0', 'abc.3')).map(({ seq }) => seq)).toEqual([4, 5])
  expect(await route.read('?follow=0', 'abc.5')).toEqual([])
})

test('what is not kept any more is told as a gap', async () => {
  await using route = await openRoute()
  route.fill(MAX_KEPT_EVENTS + 100)
  const [missed, ...rest] = await route.read('?follow=0', 'abc.3')
  expect(missed).toMatchObject({ type: 'events.missed', from: 4, to: 100 })
  expect(rest.map(({ seq }) => seq)).toEqual(
    Array.from({ length: MAX_KEPT_EVENTS }, (_, index) => 101 + index),
  )
})

test('a reader of an earlier supervisor is told so, and gets what this one has said', async () => {
  await using route = await openRoute()
  route.fill(2)
  expect(await route.read('?follow=0', 'def.9')).toMatchObject([
    { type: 'events.missed', from: 10, to: null },
    { seq: 1 },
    { seq: 2 },
  ])
})

test('a new reader gets what happens from now on, or as many of the last as it asks for', async () => {
  await using route = await openRoute()
  route.fill(5)
  expect(await route.read('?follow=0')).toEqual([])
  expect((await route.read('?last=2&follow=0')).map(({ seq }) => seq)).toEqual([4, 5])
  expect((await route.read('?last=99&follow=0')).map(({ seq }) => seq)).toEqual([1, 2, 3, 4, 5])
})

test('types are picked by name, or by the beginning of it', async () => {
  await using route = await openRoute()
  route.fill(1)
  route.hub.publish({ type: 'request.sent', requestId: 'r', ref: 's/m', rewrites: [] })
  route.hub.publish({ type: 'supervisor.closed' })
  const types = async (query: string) =>
    (await route.read(`?last=9&follow=0&types=${query}`)).map(({ type }) => type)
  expect(await types('request.')).toEqual(['request.sent'])
  expect(await types('service.retired,supervisor.')).toEqual(['service.retired', 'supervisor.closed'])
  expect(await types('service')).toEqual([])
})

test('a reader that wants a sample is told how far it has come, also when nothing is for it', async () => {
  await using route = await openRoute()
  for (let index = 0; index < 30; index += 1)
    route.hub.publish({
      type: 'request.started',
      requestId: `r${index}`,
      route: '/v1/models',
      ref: 's/m',
      client: null,
    })
  const text = await route.readText('?last=99&follow=0&requestsPerSecond=2')
  expect(toEvents(text).map(({ seq }) => seq)).toEqual([1, 2])
  expect(text.trimEnd().split('\n').at(-1)).toBe('id: abc.30')
  expect(await route.readText('?last=1&follow=0&types=service.')).toBe('id: abc.30\n\n')
  expect(() => route.refuse('?requestsPerSecond=few')).toThrow(
    /requestsPerSecond=few is not a number of requests/,
  )
})

test('a reader that takes nothing is cut off when it falls behind the kept events, and slows no other reader', async () => {
  await using route = await openRoute()
  const slow = await route.open('')
  slow.on('error', () => {})
  slow.pause()
  const isCut = new Promise<void>((resolve) => slow.once('close', resolve))
  // More than any socket buffers hold, and then more than are kept.
  for (let round = 0; round < 40; round += 1) {
    route.fill(MAX_KEPT_EVENTS)
    await new Promise((resolve) => setImmediate(resolve))
  }
  slow.resume()
  await isCut
  expect(slow.complete).toBe(false)
})

test('a stream of events ends when the gateway closes', async () => {
  await using route = await openRoute()
  const reading = route.read('?last=9')
  await expect.poll(() => route.closing$.observed).toBe(true)
  route.fill(2)
  route.closing$.next()
  expect(await reading).toHaveLength(2)
})

test('a reader that names 3,000 types costs a comparison per name and type, not per event', async () => {
  await using route = await openRoute()
  route.fill(MAX_KEPT_EVENTS)
  const names = Array.from({ length: 3_000 }, (_, index) => `${(index + 36).toString(36)}.`)
  const compare = vi.spyOn(String.prototype, 'startsWith')
  try {
    const events = await route.read(`?last=9999&follow=0&types=${names.join(',')},service.`)
    expect(events).toHaveLength(MAX_KEPT_EVENTS)
    const comparisons = compare.mock.calls.filter(([name]) => names.includes(name))
    expect(comparisons.length).toBeLessThanOrEqual(names.length)
  } finally {
    compare.mockRestore()
  }
})

import {
  createBrowserInspector,
  createBrowserReceiver,
  createInspector,
  createWebSocketInspector,
  createWebSocketReceiver,
} from '@statelyai/inspect'
import { expect, onTestFinished, test } from 'vitest'
import { type AnyActorRef, createMachine } from 'xstate'
import { toDirectedGraph } from 'xstate/graph'
import { providerMachine } from '../../machines/provider/chart.ts'
import { systemClock } from '../../src/clock.ts'
import { buildDiagram, type Diagram } from '../../src/inspector/diagram.ts'
import { createInspectionHub } from '../../src/inspector/hub.ts'
import type { InspectionMessage } from '../../src/inspector/message.ts'
import type { Inspector } from '../../src/observe/inspection.ts'
import { internalsOf } from '../../src/supervisor/internals.ts'
import { createVirtualClock } from '../../src/testing/virtual-clock.ts'
import { openHouseWithServer } from '../gateway/house.ts'
import { createLibrary } from '../integration/library.ts'
import { openRelay } from './websocket-relay.ts'

/** The part of a window that the official package works with. */
function createWindow() {
  const listeners: ((event: { data: unknown }) => void)[] = []
  const sent: unknown[] = []
  const page: Record<string, unknown> = {
    sent,
    listeners,
    addEventListener: (_: string, listener: (event: { data: unknown }) => void) => listeners.push(listener),
    postMessage: (data: unknown) => sent.push(data),
    open: () => page,
  }
  page.self = page
  page.top = {}
  page.parent = page
  return { window: page as unknown as Window, sent, listeners }
}

type House = Awaited<ReturnType<typeof openHouseWithServer>>

async function ask({ post }: House): Promise<string> {
  return (await post('/v1/chat/completions', { messages: [{ role: 'user', content: '1+1' }] })).text()
}

/** More than a viewer is told of. */
async function flood(house: House): Promise<void> {
  await Promise.all(Array.from({ length: 60 }, () => ask(house)))
}

test('the official receiver takes every registration and snapshot of a session it joined late', async () => {
  await using house = await openHouseWithServer()
  const hub = createInspectionHub({ inspect: house.supervisor.inspect, clock: systemClock })
  const lease = await house.supervisor.acquire('local/demo')
  const first: InspectionMessage[] = []
  const letGo = hub.watch((message) => first.push(message))
  await house.post('/v1/chat/completions', { messages: [{ role: 'user', content: '1+1' }] })

  const { window, sent, listeners } = createWindow()
  const received: { readonly type: string; readonly sessionId: string }[] = []
  createBrowserReceiver({ window }).subscribe((event) => received.push(event))
  expect(sent).toEqual([{ type: '@statelyai.connected' }])
  const late: InspectionMessage[] = []
  const leave = hub.watch((message) => {
    late.push(message)
    for (const listener of listeners) listener({ data: JSON.parse(JSON.stringify(message)) })
  })
  leave()
  letGo()
  lease.release()

  expect(received).toEqual(JSON.parse(JSON.stringify(late)))
  const registered = late.flatMap((message) => (message.type === '@xstate.actor' ? [message] : []))
  const { key, service } = house.service()
  expect(registered.map(({ name }) => name)).toEqual(
    expect.arrayContaining(['supervisor', service, 'process', 'health']),
  )
  const provider = registered.find(({ name }) => name === service)
  expect(provider?.key).toBe(key)
  const latest = late.findLast(
    (message) => message.type === '@xstate.snapshot' && message.sessionId === provider?.sessionId,
  )
  expect(latest).toMatchObject({ snapshot: { status: 'active', value: { leased: 'open' } } })
  for (const { sessionId } of registered)
    expect(
      late.some((message) => message.type === '@xstate.snapshot' && message.sessionId === sessionId),
    ).toBe(true)
})

test('a definition on the wire has the nodes and edges of the machine', async () => {
  await using house = await openHouseWithServer()
  const messages: InspectionMessage[] = []
  const hub = createInspectionHub({ inspect: house.supervisor.inspect, clock: systemClock })
  hub.watch((message) => messages.push(message))()
  const provider = messages.find(
    (message) => message.type === '@xstate.actor' && message.name === house.service().service,
  )
  if (provider?.type !== '@xstate.actor') throw new Error('a registration was expected')
  const drawn = toDirectedGraph(createMachine(JSON.parse(provider.definition ?? '')))
  const source = toDirectedGraph(providerMachine)
  const count = (graph: typeof drawn): number =>
    graph.edges.length + graph.children.reduce((sum, child) => sum + count(child), 1)
  expect(count(drawn)).toBe(count(source))
})

test('actors that have ended are dropped, and snapshots of one actor become one message', async () => {
  await using house = await openHouseWithServer()
  const clock = createVirtualClock()
  const hub = createInspectionHub({ inspect: house.supervisor.inspect, clock })
  const seen: InspectionMessage[] = []
  const letGo = hub.watch((message) => seen.push(message))
  const before = seen.length
  for (let round = 0; round < 4; round += 1)
    await (await house.post('/v1/chat/completions', { messages: [{ role: 'user', content: '1+1' }] })).text()
  await clock.advanceTo(100)
  const snapshots = seen
    .slice(before)
    .flatMap((message) => (message.type === '@xstate.snapshot' ? [message.sessionId] : []))
  expect(new Set(snapshots).size).toBe(snapshots.length)
  expect(snapshots.length).toBeGreaterThanOrEqual(4)

  const late: InspectionMessage[] = []
  hub.watch((message) => late.push(message))()
  const roots = late.flatMap((message) =>
    message.type === '@xstate.actor' && message.parentId === undefined ? [message.name] : [],
  )
  expect(roots).toEqual(['supervisor'])
  letGo()
})

test('of a flood of requests a sample is told, and the state of the service is true', async () => {
  await using house = await openHouseWithServer()
  const clock = createVirtualClock()
  let isListening = false
  const inspect = (inspector: Inspector) => {
    isListening = true
    const subscription = house.supervisor.inspect(inspector)
    const unsubscribe = () => {
      isListening = false
      subscription.unsubscribe()
    }
    return { ...subscription, unsubscribe }
  }
  const hub = createInspectionHub({ inspect, clock })
  const seen: InspectionMessage[] = []
  const letGo = hub.watch((message) => seen.push(message))
  const toldBy = async (work: () => Promise<unknown>) => {
    const before = seen.length
    await work()
    await clock.advanceTo(clock.now() + 100)
    return seen.slice(before)
  }
  const told = await toldBy(async () => {
    await flood(house)
    // Who was told enough costs nothing until it is sent.
    expect(isListening).toBe(false)
  })
  expect(isListening).toBe(true)
  // Effects of the service, such as a probe, are told too.
  const counted = told.filter(
    ({ type, ...message }) => type !== '@xstate.snapshot' && !('parentId' in message),
  )
  expect(counted).toHaveLength(30)
  expect(told.length).toBeLessThan(80)
  const provider = told.findLast(
    (message) =>
      message.type === '@xstate.snapshot' &&
      message.rootId !== message.sessionId &&
      message.snapshot.value !== undefined,
  )
  expect(provider).toMatchObject({ snapshot: { value: { ready: 'awake' } } })

  const quiet = await toldBy(() => ask(house))
  expect(quiet.filter((message) => message.type === '@xstate.actor')).toHaveLength(1)
  letGo()
})

test('a request that lives through a flood is told once of what comes after it', async () => {
  await using house = await openHouseWithServer()
  const clock = createVirtualClock()
  const hub = createInspectionHub({ inspect: house.supervisor.inspect, clock })
  const seen: InspectionMessage[] = []
  const letGo = hub.watch((message) => seen.push(message))
  const long = internalsOf(house.supervisor).dispatch(
    {
      method: 'POST',
      path: '/v1/chat/completions',
      headers: { 'content-type': 'application/json' },
      body: Buffer.from(
        JSON.stringify({ stream: true, messages: [{ role: 'user', content: 'count to 9' }] }),
      ),
    },
    { onHead: () => {}, onData: () => false, onEnd: () => {}, onError: () => {} },
  )
  await flood(house)
  await clock.advanceTo(1_000)
  const { sessionId } = seen.find(
    (message) => message.type === '@xstate.actor' && message.name === long.id,
  ) as InspectionMessage
  const before = seen.length
  long.abort()
  await clock.advanceTo(2_000)
  const told = seen
    .slice(before)
    .filter((message) => message.type === '@xstate.event' && message.sessionId === sessionId)
  expect(told).toMatchObject([{ event: { type: 'request.cancelled' } }])
  letGo()
})

test('inspection is off before the first viewer and after the last one', async () => {
  const calls: string[] = []
  const hub = createInspectionHub({
    clock: createVirtualClock(),
    inspect: () => {
      calls.push('attached')
      return { unsubscribe: () => calls.push('let go') }
    },
  })
  expect(calls).toEqual([])
  const [one, two] = [hub.watch(() => {}), hub.watch(() => {})]
  expect(calls).toEqual(['attached'])
  one()
  one()
  expect(calls).toEqual(['attached'])
  two()
  expect(calls).toEqual(['attached', 'let go'])
})

test('output of processes and long texts stay out of the messages', async () => {
  await using house = await openHouseWithServer()
  const seen: InspectionMessage[] = []
  const hub = createInspectionHub({ inspect: house.supervisor.inspect, clock: systemClock })
  const letGo = hub.watch((message) => seen.push(message))
  const { service } = house.service()
  const provider = seen.find((message) => message.type === '@xstate.actor' && message.name === service)
  house.supervisor.inspect({
    next: (event) => {
      const actor = event.actorRef as AnyActorRef
      if (event.type !== '@xstate.actor' || actor.id !== service) return
      actor.send({
        type: 'process.exited',
        generation: 'old',
        exitCode: 1,
        signal: null,
        tail: ['what it printed'],
        detail: 'x'.repeat(10_000),
      })
    },
  })
  const find = () =>
    seen.find((message) => message.type === '@xstate.event' && message.event.type === 'process.exited')
  await expect.poll(find).toBeDefined()
  letGo()
  const told = find()
  expect(told).toMatchObject({ sessionId: provider?.sessionId, event: { exitCode: 1 } })
  expect(JSON.stringify(told)).not.toContain('what it printed')
  expect(JSON.stringify(told).length).toBeLessThan(1_000)
})

test('any inspector that an embedder brings is taken: a function, an observer, what the official package makes', async () => {
  await using house = await openHouseWithServer()
  const { supervisor } = house
  const byFunction: string[] = []
  const byObserver: string[] = []
  const byAdapter: string[] = []
  const adapter = createInspector({ send: ({ type }) => byAdapter.push(type) })
  const { window, sent, listeners } = createWindow()
  const browser = createBrowserInspector({ window })
  const attached = [
    supervisor.inspect(({ type }) => byFunction.push(type)),
    supervisor.inspect({ next: ({ type }) => byObserver.push(type) }),
    supervisor.inspect(adapter),
    supervisor.inspect(browser),
  ]
  for (const listener of listeners) listener({ data: { type: '@statelyai.connected' } })
  await house.post('/v1/chat/completions', { messages: [{ role: 'user', content: '1+1' }] })
  // The official package sends in a macrotask of its own.
  await expect.poll(() => sent.length).toBeGreaterThan(10)
  for (const seen of [byFunction, byObserver, byAdapter])
    expect(seen).toEqual(expect.arrayContaining(['@xstate.actor', '@xstate.event', '@xstate.snapshot']))
  for (const subscription of attached) subscription.unsubscribe()
  const count = byFunction.length
  await house.post('/v1/chat/completions', { messages: [{ role: 'user', content: '1+1' }] })
  expect(byFunction.length).toBe(count)
})

test('what createWebSocketInspector makes sees a supervisor from its birth, over a real websocket', async () => {
  await using relay = await openRelay()
  const received: {
    readonly type: string
    readonly name?: string
    readonly definition?: string
    readonly sessionId: string
  }[] = []
  createWebSocketReceiver({ server: relay.url }).subscribe((event) => received.push(event as never))
  await expect.poll(relay.connections).toBe(1)
  const inspector = createWebSocketInspector({ url: relay.url })
  onTestFinished(() => inspector.stop())
  await using library = await createLibrary({ supervisor: { inspect: inspector } })
  const { service } = library.supervisor.snapshot().services[0] ?? {}
  await library.openai.chat.completions.create({
    model: 'demo/demo',
    messages: [{ role: 'user', content: '1+1' }],
  })
  const provider = () => received.find(({ type, name }) => type === '@xstate.actor' && name === service)
  await expect.poll(provider).toBeDefined()
  const isLeased = (text: string) => {
    const { type, sessionId, snapshot } = JSON.parse(text)
    return (
      type === '@xstate.snapshot' && sessionId === provider()?.sessionId && snapshot.value.leased === 'open'
    )
  }
  await expect.poll(() => relay.texts.some(isLeased)).toBe(true)
  // With its default settings nothing deeper than ten levels arrives: every state and every edge does.
  const drawn = buildDiagram(createMachine(JSON.parse(provider()?.definition ?? '')))
  // It sorts the states and events by name.
  const edgesOf = ({ states }: Diagram) =>
    states
      .flatMap(({ path, transitions }) =>
        transitions.map(({ event, target = '' }) => `${path} ${event} ${target}`),
      )
      .toSorted()
  expect(edgesOf(drawn)).toEqual(edgesOf(buildDiagram(providerMachine)))
  // What its own receiver is told is what was sent, in the same order.
  await expect.poll(() => relay.texts.length - received.length).toBe(0)
  expect(received).toEqual(relay.texts.slice(0, received.length).map((text) => JSON.parse(text)))
  expect(received.filter(({ type }) => type === '@xstate.actor').map(({ name }) => name)).toEqual(
    expect.arrayContaining(['supervisor', service, 'process', 'health']),
  )
})

test('an inspector that throws is let go, and the request it looked at is answered (fault 121)', async () => {
  await using house = await openHouseWithServer()
  let told = 0
  house.supervisor.inspect((event) => {
    told += 1
    if (event.type === '@xstate.event') throw new Error('a broken inspector')
  })
  const answer = await house.post('/v1/chat/completions', { messages: [{ role: 'user', content: '1+1' }] })
  expect(answer.status).toBe(200)
  const before = told
  await house.post('/v1/chat/completions', { messages: [{ role: 'user', content: '1+1' }] })
  expect(told).toBe(before)
})

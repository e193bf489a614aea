import { expect, test } from 'vitest'
import type { InspectionEvent } from 'xstate'
import { eventMeanings } from '../../src/index.ts'
import { findFreePort } from '../../src/testing/real-host.ts'
import { ask, createLibrary, toText, writeAndLoad } from './library.ts'

test('events are numbered without gaps, timed in order, and all of them JSON with a meaning', async () => {
  const library = await createLibrary({ service: { idleStopMs: 1 } })
  await library.openai.chat.completions.create({ model: 'demo/demo', messages: ask('1 + 1') })
  await library.untilState('down.cold')
  await library.supervisor.close()
  const { events } = library
  const first = events[0]?.seq ?? 0
  expect(events.map(({ seq }) => seq)).toEqual(events.map((_, index) => first + index))
  expect(events.map(({ atMs }) => atMs)).toEqual(events.map(({ atMs }) => atMs).toSorted((a, b) => a - b))
  expect(JSON.parse(JSON.stringify(events))).toEqual(events)
  expect(events.filter(({ type }) => !Object.hasOwn(eventMeanings, type))).toEqual([])
  expect(events.at(-1)?.type).toBe('supervisor.closed')
})

test('no event carries a prompt, an answer or a key', async () => {
  await using library = await createLibrary({ service: { env: { DEMO_TOKEN: 'canary-key' } } })
  const { choices } = await library.openai.chat.completions.create({
    model: 'demo/demo',
    messages: ask('canary-prompt'),
  })
  expect(choices[0]?.message.content).toContain('canary-prompt')
  expect(JSON.stringify([library.events, library.supervisor.snapshot()])).not.toContain('canary')
})

test('a snapshot is JSON and says what a person asks first', async () => {
  await using library = await createLibrary({ service: { idleStopMs: 60_000 } })
  const { pid } = await library.supervisor.start('demo')
  const snapshot = library.supervisor.snapshot()
  expect(JSON.parse(JSON.stringify(snapshot))).toEqual(snapshot)
  expect(snapshot).toMatchObject({
    state: 'running',
    services: [
      { service: 'demo', providers: ['demo'], state: 'ready', ownership: 'owned', pid, leases: 0, queue: [] },
    ],
  })
  const [timer] = snapshot.services[0]?.timers ?? []
  expect(timer?.name).toBe('idleStop')
  expect(timer?.remainingMs).toBeLessThanOrEqual(60_000)
})

test('an inspector sees the machines and their events', async () => {
  const seen: InspectionEvent[] = []
  await using library = await createLibrary({ supervisor: { inspect: (event) => seen.push(event) } })
  await library.openai.chat.completions.create({ model: 'demo/demo', messages: ask('Hello?') })
  const types = seen.flatMap((event) => (event.type === '@xstate.event' ? [event.event.type] : []))
  expect(types).toEqual(
    expect.arrayContaining(['lease.requested', 'process.spawned', 'health.verdict', 'response.started']),
  )
})

test('the output of a service can be read while it runs', async () => {
  await using library = await createLibrary()
  expect(library.supervisor.output('demo')).toBeUndefined()
  await library.supervisor.start('demo')
  const lines = library.supervisor
    .output('demo')
    ?.tail(20)
    .map(({ text }) => text)
  expect(lines).toContain('demo-server: model loaded')
})

test('a request that comes while the supervisor is closing is answered in the events, too', async () => {
  await using library = await createLibrary()
  await using lease = await library.supervisor.acquire('demo/demo')
  const both = JSON.parse(toText(library.port))
  both.models.providers.other = JSON.parse(toText(await findFreePort())).models.providers.demo
  await library.supervisor.replaceConfig(await writeAndLoad(JSON.stringify(both)))
  const closing = library.supervisor.close()
  await library.until('service.retired', ({ service }) => service === 'other')
  await expect(library.supervisor.acquire('other/demo')).rejects.toMatchObject({
    code: 'LEASEHOLD_SHUTTING_DOWN',
  })
  lease.release()
  await closing
  const asked = library.all('lease.requested').map(({ id }) => id)
  const answered = [...library.all('lease.granted'), ...library.all('lease.refused')].map(({ id }) => id)
  expect(answered).toEqual(asked)
})

test('a requested stop is announced with its reason, however it was requested', async () => {
  await using library = await createLibrary()
  await library.supervisor.start('demo')
  await library.supervisor.stop('demo')
  await library.supervisor.close()
  expect(library.all('service.stop').map(({ reason }) => reason)).toEqual(['asked', 'shutdown'])
})

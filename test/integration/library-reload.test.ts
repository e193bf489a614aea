// @module-tag waits

import { describe, expect, test } from 'vitest'
import { ConfigError } from '../../src/errors.ts'
import { findFreePort } from '../../src/testing/real-host.ts'
import { ask, createLibrary, type Library, type LibraryOptions, toText, writeAndLoad } from './library.ts'

/** The providers of several texts in one configuration. */
function load(...texts: readonly string[]) {
  const [first, ...rest] = texts.map((text) => JSON.parse(text))
  for (const { models } of rest) Object.assign(first.models.providers, models.providers)
  return writeAndLoad(JSON.stringify(first))
}

const refOf = (id: string) => `${id}/demo`

/** A supervisor with a service behind each of these ids, each on a port of its own. */
async function createHouse(ids: readonly string[], options: LibraryOptions = {}) {
  const library = await createLibrary(options)
  const ports = new Map<string, number>()
  for (const id of ids) ports.set(id, await findFreePort())
  const text = (id: string, more: LibraryOptions = {}) =>
    toText(ports.get(id) ?? 0, { ...options, ...more, providers: [id] })
  const replace = async (...texts: readonly string[]) =>
    library.supervisor.replaceConfig(await load(...texts))
  await replace(...ids.map((id) => text(id)))
  return { library, text, replace, [Symbol.asyncDispose]: library[Symbol.asyncDispose] }
}

/** One chat, streamed to its end: how it went. */
async function chat({ openai }: Library, model: string): Promise<string> {
  let text = ''
  try {
    const stream = await openai.chat.completions.create({ model, messages: ask('count to 60'), stream: true })
    for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? ''
  } catch (error) {
    return `${text === '' ? 'failed' : 'cut'}: ${error}`
  }
  return text.endsWith(' 60') ? 'whole' : `cut: ${text}`
}

describe('a request that waits for a service that is changed', () => {
  test('waits for its successor instead, and nothing fails (fault 95, race R17)', async () => {
    await using house = await createHouse(['a'], { flags: ['--load-ms', '600000'] })
    const { library } = house
    const chats = [chat(library, refOf('a')), chat(library, refOf('a'))]
    const lease = library.supervisor.acquire(refOf('a'))
    await library.untilState('starting.warming')
    const change = await house.replace(house.text('a', { flags: ['--token-delay-ms', '1'] }))
    expect(change).toMatchObject({ changed: ['a'], restarted: ['a'], unchanged: [] })
    expect(await Promise.all(chats)).toEqual(['whole', 'whole'])
    await using held = await lease
    expect(held.owned).toBe(true)
    expect(library.all('request.attempted')).toEqual([])
    expect(library.all('request.started')).toHaveLength(2)
    const order = library.events.map(({ type }) => type).filter((type) => /^process\.(sp|se)/.test(type))
    expect(order).toEqual(['process.spawned', 'process.settled', 'process.spawned'])
  })

  test('is told when its model is not configured any more', async () => {
    await using house = await createHouse(['a', 'b'], { flags: ['--load-ms', '600000'] })
    const { library } = house
    const asking = library.openai.chat.completions.create({ model: refOf('a'), messages: ask('hello') })
    const refused = expect(asking).rejects.toMatchObject({ status: 404, code: 'LEASEHOLD_MODEL_UNKNOWN' })
    const acquiring = library.supervisor.acquire(refOf('a'))
    const missed = expect(acquiring).rejects.toMatchObject({ code: 'LEASEHOLD_MODEL_UNKNOWN' })
    await library.untilState('starting.warming')
    await house.replace(house.text('b'))
    await Promise.all([refused, missed])
    await library.until('service.retired', ({ service }) => service === 'a')
  })

  test('waits on when the change is taken back while the old server still drains', async () => {
    await using house = await createHouse(['a'])
    const { library } = house
    const lease = await library.supervisor.acquire(refOf('a'))
    await house.replace(house.text('a', { flags: ['--token-delay-ms', '1'] }))
    await house.replace(house.text('a'))
    const answer = chat(library, refOf('a'))
    await library.until('lease.requested', ({ id }) => id !== lease.id)
    lease.release()
    expect(await answer).toBe('whole')
  })
})

test.each([
  { force: true, leaving: 'with force while it is in use' },
  { force: false, leaving: 'until its lease ends' },
])('a stop of a removed service that drains answers with its end: $leaving', async ({ force }) => {
  await using house = await createHouse(['a', 'b'])
  const { library, text, replace } = house
  const lease = await library.supervisor.acquire(refOf('a'))
  await replace(text('b'))
  await library.untilState('leased.draining')
  const stopping = library.supervisor.stop('a', { force })
  if (!force) lease.release()
  expect(await stopping).toMatchObject({ service: 'a', state: 'retired', leases: 0 })
  if (force) expect(lease.signal.aborted).toBe(true)
  expect(library.all('process.settled')).toMatchObject([{ receipt: { survivors: [] } }])
  await expect(library.supervisor.stop('a')).rejects.toMatchObject({ status: 404 })
})

test('a changed service gets the room that it had, before another that asks later', async () => {
  await using house = await createHouse(['a', 'c'])
  const { library, text, replace } = house
  const leasehold = { groups: { gpu: ['a', 'c'] } }
  await replace(text('a', { leasehold }), text('c'))
  const lease = await library.supervisor.acquire(refOf('a'))
  await replace(text('a', { leasehold, flags: ['--token-delay-ms', '1'] }), text('c'))
  const first = chat(library, refOf('a'))
  await library.until('lease.requested', ({ service, id }) => service === 'a' && id !== lease.id)
  const second = chat(library, refOf('c'))
  await library.until('scheduler.decided', ({ choice }) => choice.service === 'c')
  lease.release()
  expect(await Promise.all([first, second])).toEqual(['whole', 'whole'])
  expect(library.all('process.spawned').map(({ service }) => service)).toEqual(['a', 'a', 'c'])
}, 60_000)

test('a reload under load cuts no stream, fails no request and touches no service that is the same (fault 95)', async () => {
  await using house = await createHouse(['same', 'changed'], { flags: ['--token-delay-ms', '4'] })
  const { library, text, replace } = house
  const before = await library.supervisor.start('same')
  await library.supervisor.start('changed')
  const refs = [refOf('same'), refOf('changed')]
  const streams = refs.flatMap((ref) => Array.from({ length: 8 }, () => chat(library, ref)))
  await library.until('request.responded', () => library.all('request.responded').length === streams.length)
  for (let delayMs = 1; delayMs <= 3; delayMs += 1) {
    await replace(text('same'), text('changed', { flags: ['--token-delay-ms', String(delayMs)] }))
    streams.push(...refs.flatMap((ref) => Array.from({ length: 4 }, () => chat(library, ref))))
  }
  expect(new Set(await Promise.all(streams))).toEqual(new Set(['whole']))
  expect(library.all('request.ended').map(({ outcome }) => outcome)).toEqual(streams.map(() => 'done'))
  expect(library.supervisor.snapshot().services.find(({ service }) => service === 'same')).toMatchObject({
    pid: before.pid,
    generation: before.generation,
  })
  const ofChanged = library.events.flatMap((event) =>
    'service' in event && event.service === 'changed' && /^process\.(sp|se)/.test(event.type)
      ? [event.type]
      : [],
  )
  for (const [index, type] of ofChanged.entries())
    expect(type).toBe(index % 2 === 0 ? 'process.spawned' : 'process.settled')
})

describe('what counts from the next request on', () => {
  test("is a provider's key, its headers and its models' parameters, in the same process", async () => {
    await using house = await createHouse(['a'])
    const { library } = house
    const { pid } = await library.supervisor.start('a')
    const next = JSON.parse(house.text('a'))
    const { a } = next.models.providers
    Object.assign(a, { apiKey: 'new-key', headers: { 'x-team': 'blue' } })
    a.models[0].params = { max_tokens: 1 }
    next.agents = { defaults: { models: { [refOf('a')]: { alias: 'quick' } } } }
    const change = await house.replace(JSON.stringify(next))
    expect(change).toMatchObject({ changed: ['a'], restarted: [], settings: ['agents.defaults.models'] })
    const { choices } = await library.openai.chat.completions.create({
      model: 'quick',
      messages: ask('count to 9'),
    })
    expect(choices[0]?.finish_reason).toBe('length')
    expect(library.supervisor.snapshot().services).toMatchObject([{ pid }])
    await using lease = await library.supervisor.acquire('quick')
    expect(lease.headers).toMatchObject({ authorization: 'Bearer new-key', 'x-team': 'blue' })
  })
})

test('a limit that changes counts at once: a service that idles stops after the new idleStopMs', async () => {
  await using house = await createHouse(['a'], { service: { idleStopMs: 600_000 } })
  const { library } = house
  await library.supervisor.start('a')
  const change = await house.replace(house.text('a', { service: { idleStopMs: 50 } }))
  expect(change).toMatchObject({ changed: ['a'], restarted: [] })
  await library.untilState('idle-stopping')
  expect(await library.until('process.settled')).toMatchObject({ receipt: { survivors: [] } })
})

describe('a configuration', () => {
  test('is compared with the one before it, and events say what is different', async () => {
    await using house = await createHouse(['kept', 'gone', 'other'])
    const { library } = house
    const texts = [
      house.text('kept', { leasehold: { heartbeatMs: 20_000, port: 5_000 } }),
      house.text('other', { service: { idleStopMs: 9_000 } }),
      toText(await findFreePort(), { providers: ['fresh'] }),
    ]
    const change = await house.replace(...texts)
    expect(change).toEqual({
      added: ['fresh'],
      removed: ['gone'],
      changed: ['other'],
      restarted: [],
      unchanged: ['kept'],
      settings: ['leasehold.port', 'leasehold.heartbeatMs'],
      ignored: ['leasehold.port'],
    })
    expect(library.all('config.replaced').at(-1)).toMatchObject(change)
  })

  test('that cannot be used is refused with its place, and the old one stays (fault 93)', async () => {
    await using house = await createHouse(['a'])
    const { library } = house
    const { pid } = await library.supervisor.start('a')
    const before = library.supervisor.config
    const broken = writeAndLoad('{\n  models: { providrs: {} },\n}')
    await expect(library.supervisor.replaceConfig(broken)).rejects.toThrow(ConfigError)
    expect(library.supervisor.config).toBe(before)
    const problem = { path: 'models.providrs', line: 2, column: 13, severity: 'error' }
    expect(library.all('config.refused')).toMatchObject([{ problems: [problem] }])
    expect(library.supervisor.snapshot()).toMatchObject({
      config: { file: before.file, refusal: { problems: [problem] } },
      services: [{ pid, state: 'ready' }],
    })
    await house.replace(house.text('a'))
    expect(library.supervisor.snapshot().config.refusal).toBeNull()
    expect(library.supervisor.snapshot().services).toMatchObject([{ pid, state: 'ready' }])
  })

  test('that is loaded sooner than one asked for before it is not undone by that one', async () => {
    await using house = await createHouse(['a'])
    const { supervisor } = house.library
    let finish: (text: string) => void = () => {}
    const slow = supervisor.replaceConfig(
      new Promise<string>((resolve) => {
        finish = resolve
      }).then(writeAndLoad),
    )
    await house.replace(house.text('a', { leasehold: { heartbeatMs: 7_000 } }))
    finish('{}')
    expect(await slow).toMatchObject({ removed: [], changed: [], unchanged: ['a'] })
    expect(supervisor.config.leasehold.heartbeatMs).toBe(7_000)
  })
})

// @module-tag waits

import { describe, expect, test } from 'vitest'
import { createModelServer, type ModelServer } from '../../src/testing/model-server/model-server.ts'
import { openHouse, readAll, toLocalService } from '../gateway/house.ts'
import { ask } from '../integration/library.ts'
import { takeFreePort } from '../transport/raw-server.ts'
import { catchError, collect, toOpenAi } from './doors.ts'

const messages = ask('count to 9')

/** A house whose default model is `local/demo`, with `spare/demo` and `last/demo` to fall back on. */
async function openHouseWithSpares(local: object, serverUrl: string, leasehold: object = {}) {
  const spare = createModelServer()
  const spareUrl = (await spare.listen()).url
  const models = [{ id: 'demo' }]
  const providers = {
    local: { baseUrl: `${serverUrl}/v1`, models, ...local },
    spare: { baseUrl: `${spareUrl}/v1`, models },
    last: { baseUrl: `http://127.0.0.1:${await takeFreePort()}/v1`, models },
  }
  const model = { primary: 'local/demo', fallbacks: ['spare/demo', 'last/demo'] }
  const house = await openHouse({
    serverUrl,
    leasehold,
    rest: { models: { providers }, agents: { defaults: { model } } },
  })
  return {
    ...house,
    spare,
    openai: toOpenAi({ baseURL: `${house.url}/v1`, apiKey: 'unused', fetch: globalThis.fetch }),
    attempts: () =>
      house.events.flatMap((event) =>
        event.type === 'request.attempted' ? [{ ref: event.ref, code: event.code }] : [],
      ),
    [Symbol.asyncDispose]: async () => {
      await spare.close()
      await house[Symbol.asyncDispose]()
    },
  }
}

/** The same, with a first server in this process that can be told how to fail. */
async function openHouseWithServers() {
  const first = createModelServer()
  const house = await openHouseWithSpares({}, (await first.listen()).url)
  return {
    ...house,
    first,
    [Symbol.asyncDispose]: async () => {
      await first.close()
      await house[Symbol.asyncDispose]()
    },
  }
}

describe('when the default model cannot be started', () => {
  test('the next one answers, whole and streamed, and both the answer and the events tell', async () => {
    const port = await takeFreePort()
    const localService = toLocalService(port, ['--fail-load', 'exit'])
    await using house = await openHouseWithSpares({ localService }, `http://127.0.0.1:${port}`)
    const { data, response } = await house.openai.chat.completions
      .create({ model: 'default', messages })
      .withResponse()
    expect(data.choices[0]?.message.content).toBe('1 2 3 4 5 6 7 8 9')
    expect(response.headers.get('x-leasehold-failover')).toBe('1')
    expect(response.headers.get('x-leasehold-model')).toBe('spare/demo')
    expect(house.attempts()).toEqual([{ ref: 'local/demo', code: 'LEASEHOLD_EXITED_BEFORE_READY' }])
    expect(chats(house.spare)).toHaveLength(1)
    const stream = await house.openai.chat.completions.create({ model: '', messages, stream: true })
    expect((await collect(stream)).length).toBeGreaterThan(9)
  })

  test('and the client named it, the client is told; a header asks for the next one', async () => {
    const port = await takeFreePort()
    const localService = toLocalService(port, ['--fail-load', 'exit'])
    await using house = await openHouseWithSpares({ localService }, `http://127.0.0.1:${port}`)
    const named = { model: 'local/demo', messages }
    expect(await catchError(house.openai.chat.completions.create(named))).toMatchObject({
      status: 503,
      code: 'LEASEHOLD_EXITED_BEFORE_READY',
    })
    expect(chats(house.spare)).toEqual([])
    const { response } = await house.openai.chat.completions
      .create(named, { headers: { 'x-leasehold-failover': 'true' } })
      .withResponse()
    expect(response.headers.get('x-leasehold-failover')).toBe('1')
    expect(chats(house.spare)).toHaveLength(1)
    expect(chats(house.spare)[0]?.headers).not.toHaveProperty('x-leasehold-failover')
  })
})

test('comments of a cold start are no answer: the next one still gives it', async () => {
  const port = await takeFreePort()
  const localService = toLocalService(port, ['--load-ms', '200', '--fail-load', 'exit'])
  await using house = await openHouseWithSpares({ localService }, `http://127.0.0.1:${port}`, {
    coldStartCommentsMs: 20,
  })
  const response = await house.post('/v1/chat/completions', { messages, stream: true })
  expect(house.attempts()).toEqual([])
  const { text, isBroken } = await readAll(response)
  expect(isBroken).toBe(false)
  expect(text).toMatch(/^: leasehold local is .*\n\ndata: .*data: \[DONE\]\n\n$/s)
  expect(house.attempts()).toEqual([{ ref: 'local/demo', code: 'LEASEHOLD_EXITED_BEFORE_READY' }])
})

describe('when the default model answers', () => {
  test.each([408, 429, 500, 503])('%d, the next one answers', async (status) => {
    await using house = await openHouseWithServers()
    house.first.set({ statusOnce: { status } })
    const response = await house.post('/v1/chat/completions', { messages })
    expect(response.status).toBe(200)
    expect(response.headers.get('x-leasehold-failover')).toBe('1')
    expect(await response.json()).toMatchObject({ choices: [{ message: { content: '1 2 3 4 5 6 7 8 9' } }] })
    expect(house.attempts()).toEqual([{ ref: 'local/demo', code: 'LEASEHOLD_UPSTREAM_FAILED' }])
    const again = await house.post('/v1/chat/completions', { messages })
    expect(again.headers.get('x-leasehold-failover')).toBeNull()
    expect(again.headers.get('x-leasehold-model')).toBe('local/demo')
    await again.text()
  })

  test.each([400, 404, 422])('%d, that is the answer', async (status) => {
    await using house = await openHouseWithServers()
    house.first.set({ statusOnce: { status } })
    expect((await house.post('/v1/chat/completions', { messages })).status).toBe(status)
    expect(house.attempts()).toEqual([])
    expect(chats(house.spare)).toEqual([])
  })

  test('and breaks off before the first byte, the next one answers (fault 51)', async () => {
    await using house = await openHouseWithServers()
    house.first.set({ crashBeforeResponse: true })
    const response = await house.post('/v1/chat/completions', { messages, stream: true })
    expect(response.headers.get('x-leasehold-model')).toBe('spare/demo')
    expect(await readAll(response)).toMatchObject({
      isBroken: false,
      text: expect.stringContaining('[DONE]'),
    })
  })

  test('and breaks off after the first byte, no other provider is asked (fault 51)', async ({ expect }) => {
    await using house = await openHouseWithServers()
    house.first.set({ crashMidStreamAfter: 2 })
    const response = await house.post('/v1/chat/completions', { messages, stream: true })
    const { text, isBroken } = await readAll(response)
    expect(isBroken).toBe(true)
    expect(text).toMatch(/\nevent: error\ndata: .*LEASEHOLD_UPSTREAM_FAILED.*\n\n$/)
    expect(text).not.toContain(' 3')
    expect(chats(house.spare)).toEqual([])
    await expect
      .poll(() => house.supervisor.snapshot().services.map(({ leases }) => leases))
      .toEqual([0, 0, 0])
  })
})

describe('a fallback whose api differs', () => {
  /** Three servers: the first always answers 503, then one of another api, then one of the same as the first. */
  async function openHouseWithApis(first: string, second: string, third: string) {
    const servers = [createModelServer(), createModelServer(), createModelServer()] as const
    const urls = await Promise.all(servers.map(async (server) => (await server.listen()).url))
    const toProvider = (api: string, index: number) => ({
      baseUrl: `${urls[index]}/v1`,
      api,
      apiKey: `key-of-server-${index}`,
      models: [{ id: 'demo' }],
    })
    const providers = {
      local: toProvider(first, 0),
      second: toProvider(second, 1),
      third: toProvider(third, 2),
    }
    const model = { primary: 'local/demo', fallbacks: ['second/demo', 'third/demo'] }
    const house = await openHouse({
      serverUrl: urls[0] ?? '',
      rest: { models: { providers }, agents: { defaults: { model } } },
    })
    servers[0].set({ statusOnce: { status: 503 } })
    const posted = () =>
      servers.map(({ requests }) =>
        requests.filter(({ method }) => method === 'POST').map(({ path }) => path),
      )
    return {
      ...house,
      servers,
      posted,
      [Symbol.asyncDispose]: async () => {
        await Promise.all(servers.map((server) => server.close()))
        await house[Symbol.asyncDispose]()
      },
    }
  }

  test.each([
    ['/v1/messages', 'anthropic-messages', 'openai-completions'],
    ['/v1/messages?beta=true', 'anthropic-messages', 'openai-responses'],
    ['/v1/responses', 'openai-responses', 'anthropic-messages'],
    ['/v1/chat/completions', 'openai-completions', 'anthropic-messages'],
  ])('from that of %s is left out, and the next one answers', async (path, api, other) => {
    await using house = await openHouseWithApis(api, other, api)
    const body = { messages, input: 'count to 9', max_tokens: 50 }
    const response = await house.post(path, body)
    expect([response.status, response.headers.get('x-leasehold-model')]).toEqual([200, 'third/demo'])
    await response.text()
    expect(house.posted()).toEqual([[path], [], [path]])
    const sent = house.servers[2].requests.find(({ method }) => method === 'POST')
    const key = api === 'anthropic-messages' ? 'x-api-key' : 'authorization'
    expect(sent?.headers[key]).toMatch(/key-of-server-2$/)
    const advised = house.events.filter(({ type }) => type === 'request.advised')
    expect(advised).toMatchObject([{ ref: 'second/demo', advice: 'fallback-api', block: null }])
    const route = path.replace(/\?.*/, '')
    expect(advised[0]).toHaveProperty(
      'text',
      `Left out as a fallback for ${route}: the api of its provider is "${other}". Set "${api}" there if its server offers that path.`,
    )
  })

  test('is asked what belongs to no api', async () => {
    await using house = await openHouseWithApis(
      'openai-completions',
      'anthropic-messages',
      'openai-responses',
    )
    const response = await house.post('/v1/embeddings', { input: 'x' })
    expect(response.headers.get('x-leasehold-model')).toBe('second/demo')
    await response.text()
  })

  test('from that of the route is asked where the first model has the same api', async () => {
    await using house = await openHouseWithApis(
      'openai-completions',
      'openai-completions',
      'openai-responses',
    )
    const response = await house.post('/v1/messages', { messages, max_tokens: 50 })
    expect(response.headers.get('x-leasehold-model')).toBe('second/demo')
    await response.text()
  })

  test('leaves the failure of the first model to be told when there is no other', async () => {
    await using house = await openHouseWithApis(
      'anthropic-messages',
      'openai-completions',
      'openai-responses',
    )
    const response = await house.post('/v1/messages', { messages, max_tokens: 50 })
    expect(response.status).toBe(503)
    expect(house.posted()).toEqual([['/v1/messages'], [], []])
  })
})

test('when every candidate fails, the client hears of the last, and each attempt is told (fault 53)', async () => {
  await using house = await openHouseWithServers()
  house.first.set({ statusOnce: { status: 503 } })
  house.spare.set({ statusOnce: { status: 429 } })
  const response = await house.post('/v1/chat/completions', { messages })
  expect(response.status).toBe(503)
  expect(await response.json()).toMatchObject({ error: { code: 'LEASEHOLD_NOT_REACHABLE' } })
  expect(house.attempts()).toEqual([
    { ref: 'local/demo', code: 'LEASEHOLD_UPSTREAM_FAILED' },
    { ref: 'spare/demo', code: 'LEASEHOLD_UPSTREAM_FAILED' },
    { ref: 'last/demo', code: 'LEASEHOLD_NOT_REACHABLE' },
  ])
})

function chats({ requests }: ModelServer) {
  return requests.filter(({ path }) => path === '/v1/chat/completions')
}

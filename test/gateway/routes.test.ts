import { type IncomingMessage, request } from 'node:http'
import { text as readText } from 'node:stream/consumers'
import OpenAI from 'openai'
import { describe, expect, test } from 'vitest'
import { createModelServer } from '../../src/testing/model-server/model-server.ts'
import { createVirtualClock } from '../../src/testing/virtual-clock.ts'
import { takeFreePort } from '../transport/raw-server.ts'
import { openHouse, openHouseWithServer, readAll, toLocalService } from './house.ts'

const chat = { model: 'local/demo', messages: [{ role: 'user', content: 'count to 9' }] }

/** Steers a demo server that runs as a child. */
async function control(
  port: number,
  changes: object,
): Promise<{ counts: Record<string, number>; pid: number }> {
  const response = await fetch(`http://127.0.0.1:${port}/__control`, {
    method: 'POST',
    body: JSON.stringify(changes),
  })
  return JSON.parse(await response.text())
}

describe('a gateway in front of a child', () => {
  test('starts it for the first request, answers whole and streaming, and stops it when told to', async () => {
    const port = await takeFreePort()
    const serverUrl = `http://127.0.0.1:${port}`
    await using house = await openHouse({ serverUrl, provider: { localService: toLocalService(port) } })
    const client = new OpenAI({ baseURL: `${house.url}/v1`, apiKey: 'unused', maxRetries: 0 })
    expect(house.service()).toMatchObject({ state: 'down.cold', pid: null })

    const whole = await client.chat.completions.create({
      ...chat,
      messages: [{ role: 'user', content: 'count to 9' }],
    })
    expect(whole.choices[0]?.message.content).toMatch(/1.*9/s)
    expect(house.service()).toMatchObject({ state: 'ready', ownership: 'owned', leases: 0 })

    let text = ''
    const stream = await client.chat.completions.create({
      model: 'demo',
      messages: [{ role: 'user', content: 'count to 9' }],
      stream: true,
    })
    for await (const { choices } of stream) text += choices[0]?.delta.content ?? ''
    expect(text).toBe(whole.choices[0]?.message.content)
    expect((await control(port, {})).counts['/v1/chat/completions']).toBe(2)

    const stopped = await house.post('/api/services/local/stop', {})
    expect(await stopped.json()).toMatchObject({ state: 'down.cold', receipt: { survivors: [] } })
    await expect(fetch(serverUrl)).rejects.toThrow()
  })

  test('starts and stops it by the control surface, whose events and logs tell the story', async () => {
    const port = await takeFreePort()
    const serverUrl = `http://127.0.0.1:${port}`
    await using house = await openHouse({ serverUrl, provider: { localService: toLocalService(port) } })
    const leaving = new AbortController()
    const events = await fetch(`${house.url}/api/events`, { signal: leaving.signal })
    expect(events.headers.get('content-type')).toBe('text/event-stream')
    const told = readAll(events)
    expect(await (await fetch(`${house.url}/api/logs/local`)).json()).toEqual({ lines: [] })

    const started = await house.post('/api/services/local/start', {})
    expect(started.status).toBe(200)
    const { pid } = await control(port, {})
    expect(await started.json()).toMatchObject({ state: 'ready', ownership: 'owned', pid })
    const { lines } = JSON.parse(await (await fetch(`${house.url}/api/logs/local`)).text())
    expect(lines.map((line: { text: string }) => line.text)).toContain('demo-server: model loaded')
    const services = JSON.parse(await (await fetch(`${house.url}/api/services`)).text())
    expect(services).toMatchObject({ services: [{ service: 'local', pid }] })
    const one = await fetch(`${house.url}/api/services/LOCAL`)
    expect(await one.json()).toMatchObject({ service: 'local', pid })

    expect((await house.post('/api/services/local/stop', { force: true })).status).toBe(200)
    await house.supervisor.close()
    const { text, isBroken } = await told
    expect(isBroken).toBe(false)
    const types = [...text.matchAll(/^event: (.*)$/gm)].map(([, type]) => type)
    expect(types).toContain('process.spawned')
    expect(types).toContain('process.settled')
    const numbers = [...text.matchAll(/^id: (\d+)$/gm)].map(([, seq]) => Number(seq))
    expect(numbers).toEqual(numbers.map((_, index) => (numbers[0] ?? 0) + index))
  })

  test('tells how a start that failed ended, in what it printed, and that a blind retry is of no use', async () => {
    const port = await takeFreePort()
    const provider = { localService: toLocalService(port, ['--fail-load', 'exit']) }
    await using house = await openHouse({ serverUrl: `http://127.0.0.1:${port}`, provider })
    const response = await house.post('/v1/chat/completions', chat)
    expect(response.status).toBe(503)
    expect(response.headers.get('x-should-retry')).toBe('false')
    expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(0)
    const { error } = JSON.parse(await response.text())
    expect(error).toMatchObject({ code: 'LEASEHOLD_EXITED_BEFORE_READY', type: 'service_unavailable' })
    expect(error.message).toContain('failed to load model')
  })

  test('tells of a child that is killed in the middle of a stream', async () => {
    const port = await takeFreePort()
    const provider = { localService: toLocalService(port, ['--token-delay-ms', '5']) }
    await using house = await openHouse({ serverUrl: `http://127.0.0.1:${port}`, provider })
    await (await house.post('/v1/chat/completions', chat)).text()
    await control(port, { crashMidStreamAfter: 3 })
    const response = await house.post('/v1/chat/completions', { ...chat, stream: true })
    const { text, isBroken } = await readAll(response)
    expect(isBroken).toBe(true)
    expect(text).toMatch(/\nevent: error\ndata: .*LEASEHOLD_SERVICE_EXITED.*\n\n$/)
    expect(text).not.toContain('[DONE]')
    expect(house.service().leases).toBe(0)
  })
})

describe('a request with a path from a wrong base URL', () => {
  test.each([
    ['//v1/chat/completions', '/v1/chat/completions'],
    ['/v1/v1/chat/completions', '/v1/chat/completions'],
    ['/chat/completions', '/v1/chat/completions'],
    ['/v1/chat/completions/', '/v1/chat/completions'],
    ['/v1/chat/completion', '/v1/chat/completions'],
    ['/v1/message', '/v1/messages'],
    ['/v1/embedding', '/v1/embeddings'],
    ['/v1/completitions', '/v1/completions'],
  ])('%s is told %s before anything is started', async (path, meant) => {
    await using house = await openHouseWithServer({ leasehold: { apiKeys: ['k'.repeat(32)] } })
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const headers = { 'content-type': 'application/json' }
      const sent = request({ host: '127.0.0.1', port: house.port, path, method: 'POST', headers }, resolve)
      sent.once('error', reject)
      sent.end(JSON.stringify(chat))
    })
    expect(response.statusCode).toBe(404)
    expect(await readText(response)).toContain(`is not served here: ${meant} is. `)
    expect(house.events.filter(({ type }) => type.startsWith('request.'))).toEqual([])
    expect(house.server.counts).toEqual(expect.not.objectContaining({ '/v1/chat/completions': 1 }))
  })
})

test.each(['/v1/messages', '/v1/messages?beta=true'])(
  'an error of %s is as Anthropic has it',
  async (path) => {
    await using house = await openHouseWithServer()
    const response = await house.post(path, { ...chat, model: 'local/unknown' })
    expect(response.status).toBe(404)
    expect(await response.json()).toMatchObject({
      type: 'error',
      error: { type: 'not_found_error', code: 'LEASEHOLD_MODEL_UNKNOWN', message: expect.any(String) },
    })
  },
)

test('fields that are not sent on are named in the answer, and told once with the flag that lets them through', async () => {
  await using house = await openHouseWithServer()
  for (const stream of [false, true]) {
    const response = await house.post('/v1/chat/completions', {
      ...chat,
      stream,
      store: true,
      reasoning_effort: 'low',
    })
    expect(response.headers.get('x-leasehold-dropped')).toBe('store, reasoning_effort')
    await response.text()
  }
  const plain = await house.post('/v1/chat/completions', chat)
  expect(plain.headers.get('x-leasehold-dropped')).toBeNull()
  await plain.text()
  expect(house.events.filter(({ type }) => type === 'request.advised')).toMatchObject([
    { ref: 'local/demo', advice: 'drops-store', block: '{ id: "demo", compat: { supportsStore: true } }' },
    { ref: 'local/demo', advice: 'drops-reasoning-effort' },
  ])
})

describe('HEAD', () => {
  test.each([
    '/',
    '/health',
    '/metrics',
    '/v1/models',
    '/v1/models/demo',
    '/api/services',
    '/api/services/local',
    '/api/logs/local?follow=1',
    '/api/events',
    '/api/requests',
    '/api/inspect',
  ])('of %s answers as GET does, without a body, and ends', async (path) => {
    await using house = await openHouseWithServer()
    const head = await fetch(house.url + path, { method: 'HEAD' })
    const leaving = new AbortController()
    const get = await fetch(house.url + path, { signal: leaving.signal })
    expect([head.status, head.headers.get('content-type')]).toEqual([200, get.headers.get('content-type')])
    expect(await head.text()).toBe('')
    leaving.abort()
  })

  test('of what only POST knows is 404', async () => {
    await using house = await openHouseWithServer()
    expect((await fetch(`${house.url}/v1/chat/completions`, { method: 'HEAD' })).status).toBe(404)
    expect((await fetch(`${house.url}/nothing`, { method: 'HEAD' })).status).toBe(404)
  })
})

describe('models', () => {
  test('are listed and described without anything being started or asked', async () => {
    const rest = {
      agents: {
        defaults: { model: 'local/demo', models: { 'local/org/big': { alias: ['Big One', 'gpt-4o'] } } },
      },
    }
    const provider = { models: [{ id: 'demo' }, { id: 'org/big', contextWindow: 4096 }] }
    await using house = await openHouseWithServer({ provider, rest })
    const list = JSON.parse(await (await fetch(`${house.url}/v1/models`)).text())
    expect(list).toMatchObject({
      object: 'list',
      data: [
        { id: 'local/demo', object: 'model', owned_by: 'local', state: 'down.cold', default: true },
        { id: 'local/org/big', aliases: ['Big One', 'gpt-4o'], context_window: 4096 },
      ],
    })
    for (const ref of [
      'local/org/big',
      'local%2Forg%2Fbig',
      'LOCAL/ORG/BIG',
      'org/big',
      'Big%20One',
      'big%20one',
      'GPT-4o',
    ])
      expect(await (await fetch(`${house.url}/v1/models/${ref}`)).json()).toEqual(list.data[1])
    expect(house.server.requests).toEqual([])
    expect(house.events.filter(({ type }) => type === 'service.state')).toEqual([])
  })

  test('that do not exist are told with the nearest names', async () => {
    await using house = await openHouseWithServer()
    for (const response of [
      await fetch(`${house.url}/v1/models/local/demmo`),
      await house.post('/v1/chat/completions', { ...chat, model: 'local/demmo' }),
    ]) {
      expect(response.status).toBe(404)
      const { error } = JSON.parse(await response.text())
      expect(error).toMatchObject({
        code: 'LEASEHOLD_MODEL_UNKNOWN',
        param: 'model',
        type: 'invalid_request_error',
      })
      expect(error.message).toContain('local/demo')
    }
    expect(house.server.requests).toEqual([])
  })
})

test('health tells of the gateway itself', async () => {
  await using house = await openHouseWithServer()
  const response = await fetch(`${house.url}/health`)
  expect(await response.json()).toEqual({
    status: 'ok',
    name: 'leasehold',
    version: '1.2.3',
    pid: process.pid,
  })
})

describe('the way to the provider', () => {
  test('has the provider key and the configured model name, and nothing that is between client and us', async () => {
    await using house = await openHouseWithServer({ provider: { apiKey: 'provider-key' } })
    await (
      await house.post(
        '/v1/chat/completions?a=1',
        { ...chat, model: 'LOCAL/DEMO' },
        {
          headers: { 'x-leasehold-priority': '5', cookie: 'c', referer: 'http://x/', 'x-custom': 'kept' },
        },
      )
    ).text()
    const sent = house.server.requests.find(({ method }) => method === 'POST')
    expect(sent?.path).toBe('/v1/chat/completions?a=1')
    expect(JSON.parse(sent?.body ?? '')).toEqual({ ...chat, model: 'demo' })
    expect(sent?.headers).toMatchObject({ authorization: 'Bearer provider-key', 'x-custom': 'kept' })
    for (const name of ['cookie', 'referer', 'sec-fetch-mode']) expect(sent?.headers).not.toHaveProperty(name)
  })

  test.each([
    ['none', {}],
    ['null', { model: null }],
    ['an empty one', { model: '' }],
    ['default', { model: 'default' }],
  ])('of a request whose model is %s leads to the default model', async (_, body) => {
    await using house = await openHouseWithServer()
    const response = await house.post('/v1/chat/completions', { messages: chat.messages, ...body })
    expect(response.status).toBe(200)
    await response.text()
    const sent = house.server.requests.find(({ method }) => method === 'POST')
    expect(JSON.parse(sent?.body ?? '')).toMatchObject({ model: 'demo' })
    expect(await (await fetch(`${house.url}/v1/models/default`)).json()).toMatchObject({ id: 'local/demo' })
  })

  test('begins with a body that is an empty object', async () => {
    await using house = await openHouseWithServer()
    expect((await house.post('/v1/chat/completions', {})).headers.get('x-leasehold-model')).toBe('local/demo')
    const sent = house.server.requests.find(({ method }) => method === 'POST')
    expect(JSON.parse(sent?.body ?? '')).toMatchObject({ model: 'demo' })
  })

  test("has the model's own headers once, in place of the provider's and however they are spelled", async () => {
    const provider = {
      headers: { 'X-Tenant': 'provider' },
      apiKey: 'provider-key',
      models: [{ id: 'demo', headers: { 'X-Tenant': 'model', Authorization: 'Custom model' } }],
    }
    await using house = await openHouseWithServer({ provider })
    await (await house.post('/v1/chat/completions', chat)).text()
    const sent = house.server.requests.find(({ method }) => method === 'POST')
    expect(sent?.headers).toMatchObject({ 'x-tenant': 'model', authorization: 'Custom model' })
  })

  test('leaves from the address of the very provider, though two share one service', async () => {
    await using first = createModelServer()
    await using second = createModelServer()
    const serverUrl = (await first.listen()).url
    const otherUrl = (await second.listen()).url
    const localService = { command: '/bin/sh', healthUrl: `${serverUrl}/health` }
    const other = { baseUrl: `${otherUrl}/v1`, apiKey: 'other-key', localService, models: [{ id: 'other' }] }
    const local = { baseUrl: `${serverUrl}/v1`, apiKey: 'local-key', localService, models: [{ id: 'demo' }] }
    await using house = await openHouse({ serverUrl, rest: { models: { providers: { local, other } } } })
    await (await house.post('/v1/chat/completions', { ...chat, model: 'local/demo' })).text()
    await (await house.post('/v1/chat/completions', { ...chat, model: 'other/other' })).text()
    expect(JSON.stringify(first.requests)).not.toContain('other-key')
    const keys = new Set(second.requests.map(({ headers }) => headers.authorization))
    expect([...keys]).toEqual(['Bearer other-key'])
  })
})

test('the metrics are for Prometheus', async () => {
  await using house = await openHouseWithServer()
  const response = await fetch(`${house.url}/metrics`)
  expect(response.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/)
  expect(await response.text()).toContain('leasehold_service_state{service="local",state="down.cold"} 1')
})

describe('comments of a cold start', () => {
  test('appear when a stream has waited long enough, go on, and stop with the answer', async () => {
    const clock = createVirtualClock()
    await using house = await openHouseWithServer({
      clock,
      server: { loadMs: 600_000 },
      leasehold: { coldStartCommentsMs: 3_000 },
    })
    const response = house.post('/v1/chat/completions', { ...chat, stream: true })
    await expect.poll(() => house.service()).toMatchObject({ queue: [{}], state: 'starting.warming' })
    await clock.advanceTo(2_999)
    let hasHead = false
    void response.then(() => {
      hasHead = true
    })
    await fetch(`${house.url}/health`)
    expect(hasHead).toBe(false)
    await clock.advanceTo(3_000)
    const stream = await response
    expect(stream.headers.get('x-leasehold-request-id')).toBeTruthy()
    const reader = stream.body?.pipeThrough(new TextDecoderStream()).getReader()
    expect((await reader?.read())?.value).toMatch(/^: leasehold local is [a-z.]+ for 3 s[^\n]*\n$/)
    await clock.advanceTo(8_000)
    expect((await reader?.read())?.value).toMatch(/^: leasehold local is [a-z.]+ for 8 s[^\n]*\n$/)
    await reader?.cancel()
    await expect.poll(() => house.service().queue.length).toBe(0)
  })

  test('are ignored by the openai client', async () => {
    const port = await takeFreePort()
    await using house = await openHouse({
      serverUrl: `http://127.0.0.1:${port}`,
      provider: { localService: toLocalService(port, ['--load-ms', '300']) },
      leasehold: { coldStartCommentsMs: 10 },
    })
    const client = new OpenAI({ baseURL: `${house.url}/v1`, apiKey: 'unused', maxRetries: 0 })
    let text = ''
    const stream = await client.chat.completions.create({
      model: 'demo',
      messages: [{ role: 'user', content: 'count to 9' }],
      stream: true,
    })
    expect(house.service().leases).toBe(0)
    for await (const { choices } of stream) text += choices[0]?.delta.content ?? ''
    expect(text).toMatch(/1.*9/s)
    expect(text).not.toContain('leasehold')
  })

  test('are followed by an error event and a cut connection when the start fails', async () => {
    const port = await takeFreePort()
    await using house = await openHouse({
      serverUrl: `http://127.0.0.1:${port}`,
      provider: { localService: toLocalService(port, ['--load-ms', '300', '--fail-load', 'exit']) },
      leasehold: { coldStartCommentsMs: 10 },
    })
    const response = await house.post('/v1/chat/completions', { ...chat, stream: true })
    expect(response.status).toBe(200)
    const { text, isBroken } = await readAll(response)
    expect(isBroken).toBe(true)
    expect(text).toMatch(/^: leasehold [^\n]*\n/)
    expect(text).toMatch(/\nevent: error\ndata: .*LEASEHOLD_EXITED_BEFORE_READY.*\n\n$/)
  })

  test.each([
    [
      '/v1/messages',
      true,
      /^event: error\ndata: \{"type":"error","error":\{.*LEASEHOLD_EXITED_BEFORE_READY.*\n\n$/s,
    ],
    [
      '/v1/responses',
      false,
      /^event: response\.created\n.*\n\nevent: response\.failed\ndata: .*LEASEHOLD_EXITED_BEFORE_READY.*\n\n$/s,
    ],
  ])('are followed by an error in the shape of %s', async (path, isCut, shape) => {
    const port = await takeFreePort()
    await using house = await openHouse({
      serverUrl: `http://127.0.0.1:${port}`,
      provider: { localService: toLocalService(port, ['--load-ms', '300', '--fail-load', 'exit']) },
      leasehold: { coldStartCommentsMs: 10 },
    })
    const { text, isBroken } = await readAll(await house.post(path, { ...chat, stream: true }))
    expect(isBroken).toBe(isCut)
    expect(text).toMatch(/^: leasehold /)
    expect(text.replace(/^(?:: [^\n]*\n)+/, '')).toMatch(shape)
  })

  test('are not written for a request that does not stream, nor when they are off', async () => {
    const clock = createVirtualClock()
    await using house = await openHouseWithServer({
      clock,
      server: { loadMs: 600_000 },
      leasehold: { coldStartCommentsMs: 0 },
    })
    const leaving = new AbortController()
    const answers = [{ stream: true }, {}].map((more) =>
      house.post('/v1/chat/completions', { ...chat, ...more }, { signal: leaving.signal }).then(
        ({ status }) => status,
        () => 'left',
      ),
    )
    await expect.poll(() => house.service().queue.length).toBe(2)
    await clock.advanceTo(60_000)
    await fetch(`${house.url}/health`)
    leaving.abort()
    expect(await Promise.all(answers)).toEqual(['left', 'left'])
  })
})

describe('closing', () => {
  test('lets a stream under way end, and takes no new connection', async () => {
    await using house = await openHouseWithServer({ server: { tokenDelayMs: 5 } })
    const response = await house.post('/v1/chat/completions', { ...chat, stream: true })
    const closed = house.gateway.close()
    await expect(fetch(`${house.url}/health`)).rejects.toThrow()
    const { text, isBroken } = await readAll(response)
    expect(isBroken).toBe(false)
    expect(text).toContain('data: [DONE]')
    await closed
    await house.gateway.close()
  })

  test('ends the streams of events and logs, which would go on for ever', async () => {
    await using house = await openHouseWithServer()
    const told = readAll(await fetch(`${house.url}/api/events`))
    await house.gateway.close()
    expect((await told).isBroken).toBe(false)
  })

  test('says that a port is taken', async () => {
    await using house = await openHouseWithServer()
    const leasehold = { port: house.port }
    await expect(openHouse({ serverUrl: 'http://127.0.0.1:1', leasehold })).rejects.toMatchObject({
      code: 'LEASEHOLD_LISTEN_FAILED',
    })
  })
})

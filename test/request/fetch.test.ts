import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import OpenAI from 'openai'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { parseConfig } from '../../src/config/load.ts'
import type { Supervisor } from '../../src/supervisor/interface.ts'
import { createSupervisor } from '../../src/supervisor/supervisor.ts'
import { createModelServer, type ModelServer } from '../../src/testing/model-server/model-server.ts'
import { takeFreePort } from '../transport/raw-server.ts'

let server: ModelServer
let supervisor: Supervisor

beforeEach(async () => {
  server = createModelServer()
  const { url } = await server.listen()
  const providers = {
    local: { baseUrl: `${url}/v1`, models: [{ id: 'demo' }] },
    gone: { baseUrl: `http://127.0.0.1:${await takeFreePort()}/v1`, models: [{ id: 'x' }] },
  }
  supervisor = createSupervisor({ config: parseConfig(JSON.stringify({ models: { providers } })) })
})
afterEach(async () => {
  await supervisor.close({ force: true })
  await server.close()
})

const chat = { model: 'local/demo', messages: [{ role: 'user' as const, content: 'count to 9' }] }
const streamed = { ...chat, stream: true }

const post = (body: object, init: RequestInit = {}) =>
  supervisor.fetch('http://leasehold/v1/chat/completions', {
    method: 'POST',
    body: JSON.stringify(body),
    ...init,
  })

const leases = () => supervisor.snapshot().services[0]?.leases

setFlagsFromString('--expose-gc')
const collectGarbage: () => void = runInNewContext('gc')

describe('fetch', () => {
  test.each([
    ['the init', (signal: AbortSignal) => post(chat, { signal })],
    [
      'a Request',
      (signal: AbortSignal) =>
        supervisor.fetch(
          new Request('http://leasehold/v1/chat/completions', {
            method: 'POST',
            body: JSON.stringify(chat),
            signal,
          }),
        ),
    ],
  ])('a signal of %s aborts after a collection of garbage, too', async (_, send) => {
    server.set({ tokenDelayMs: 60_000 })
    const leaving = new AbortController()
    const answer = send(leaving.signal)
    await expect.poll(leases).toBe(1)
    for (let turn = 0; turn < 3; turn += 1) {
      collectGarbage()
      await new Promise(setImmediate)
    }
    leaving.abort(new Error('left'))
    await expect(answer).rejects.toThrow('left')
    await expect.poll(leases).toBe(0)
  })

  test('is all that an OpenAI client needs', async () => {
    const client = new OpenAI({ baseURL: 'http://leasehold/v1', apiKey: 'x', fetch: supervisor.fetch })
    const whole = await client.chat.completions.create(chat)
    let text = ''
    for await (const { choices } of await client.chat.completions.create({ ...chat, stream: true }))
      text += choices[0]?.delta.content ?? ''
    expect(text).toBe(whole.choices[0]?.message.content)
    expect(text).toMatch(/1.*9/s)
    expect((await client.models.list()).data.map(({ id }) => id)).toEqual(['local/demo', 'gone/x'])
    expect(await client.models.retrieve('local/demo')).toMatchObject({ id: 'local/demo' })
  })

  test('takes a Request, and answers with a Response', async () => {
    const url = new URL('http://leasehold/v1/chat/completions?a=1')
    const response = await supervisor.fetch(new Request(url, { method: 'POST', body: JSON.stringify(chat) }))
    expect(response).toBeInstanceOf(Response)
    expect(response.status).toBe(200)
    expect(response.headers.get('x-leasehold-model')).toBe('local/demo')
    expect(server.requests.at(-1)?.path).toBe('/v1/chat/completions?a=1')
    expect(await response.json()).toMatchObject({ object: 'chat.completion' })
  })

  test('asks for no compression, because it would not be undone', async () => {
    server.set({ gzip: true })
    const response = await post(chat, { headers: { 'accept-encoding': 'gzip' } })
    expect(response.headers.get('content-encoding')).toBeNull()
    expect(await response.json()).toMatchObject({ object: 'chat.completion' })
  })

  test('passes on what the server refuses', async () => {
    server.set({ statusOnce: { status: 422, body: { error: { message: 'no' } }, headers: { 'x-why': 'y' } } })
    const response = await post(chat)
    expect([response.status, response.headers.get('x-why')]).toEqual([422, 'y'])
    expect(await response.json()).toMatchObject({ error: { message: 'no' } })
  })

  test.each([
    ['an unknown model', { model: 'local/nope' }, 404, 'LEASEHOLD_MODEL_UNKNOWN'],
    ['a server that is not there', { model: 'gone/x' }, 503, 'LEASEHOLD_NOT_REACHABLE'],
    ['a model that is no text', { model: 1 }, 400, 'LEASEHOLD_BAD_REQUEST'],
  ])('answers %s in the shape of OpenAI', async (_, body, status, code) => {
    const response = await post(body)
    expect(response.status).toBe(status)
    expect(response.headers.get('content-type')).toMatch(/^application\/json/)
    expect(await response.json()).toMatchObject({ error: { code, message: expect.any(String) } })
  })

  test('tells a client not to try again what would only fail again', async () => {
    const response = await post({ model: 'gone/x' })
    expect(response.headers.get('x-should-retry')).toBe('false')
    const client = new OpenAI({ baseURL: 'http://leasehold/v1', apiKey: 'x', fetch: supervisor.fetch })
    await expect(client.chat.completions.create({ ...chat, model: 'gone/x' })).rejects.toMatchObject({
      code: 'LEASEHOLD_NOT_REACHABLE',
    })
  })

  test.each(['/v1/nothing', '/', '/v1/models/local/nope'])('answers GET %s with 404', async (path) => {
    const response = await supervisor.fetch(`http://leasehold${path}`)
    expect(response.status).toBe(404)
    expect(await response.json()).toMatchObject({ error: { type: 'invalid_request_error' } })
  })
})

describe('the body', () => {
  test('comes at the pace of its reader', async () => {
    server.set({ stallMidStreamAfter: 2 })
    const response = await post(streamed)
    const reader = response.body?.getReader()
    expect((await reader?.read())?.done).toBe(false)
    expect(leases()).toBe(1)
    await reader?.cancel()
    await expect.poll(leases).toBe(0)
    await expect.poll(() => server.counts.aborted).toBe(1)
  })

  test.each([{ crashMidStreamAfter: 2 }, { truncateAfter: 2 }, { truncateAfter: 2, closeDelimited: true }])(
    'breaks with our error when the server has %o',
    async (fault) => {
      server.set(fault)
      const response = await post(streamed)
      await expect(response.text()).rejects.toMatchObject({ code: expect.stringMatching(/^LEASEHOLD_/) })
      expect(leases()).toBe(0)
    },
  )
})

describe('an abort', () => {
  test('before the call rejects with its reason, and nothing is sent', async () => {
    const reason = new Error('no')
    await expect(post(chat, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    expect(server.requests).toEqual([])
  })

  test('while the answer is waited for rejects with its reason, and frees the server', async () => {
    server.set({ slowHeadersMs: 600_000 })
    const leaving = new AbortController()
    const answer = post(chat, { signal: leaving.signal })
    await expect.poll(() => server.counts['/v1/chat/completions']).toBe(1)
    const reason = new Error('no')
    leaving.abort(reason)
    await expect(answer).rejects.toBe(reason)
    expect(leases()).toBe(0)
    await expect.poll(() => server.counts.aborted).toBe(1)
  })

  test('in the middle of the body breaks it, and frees the server', async () => {
    server.set({ stallMidStreamAfter: 2 })
    const leaving = new AbortController()
    const response = await post(streamed, { signal: leaving.signal })
    const text = response.text()
    leaving.abort()
    await expect(text).rejects.toThrow()
    expect(leases()).toBe(0)
  })
})

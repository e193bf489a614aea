import { once } from 'node:events'
import type { Socket } from 'node:net'
import { connect } from 'node:net'
import { PassThrough } from 'node:stream'
import { gunzipSync } from 'node:zlib'
import { request } from 'undici'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { ModelServer } from '../../src/testing/model-server/model-server.ts'
import { createModelServer } from '../../src/testing/model-server/model-server.ts'
import { defaultSettings, parseFlags, parseOptions } from '../../src/testing/model-server/option-fields.ts'
import { writeEvents } from '../../src/testing/model-server/sse.ts'

let server: ModelServer
let port = 0
let url = ''

beforeEach(async () => {
  server = createModelServer({ control: true })
  const address = await server.listen()
  port = address.port
  url = address.url
})
afterEach(() => server.close())

const chat = { messages: [{ role: 'user', content: 'count to 9' }] }

async function post(path: string, body: unknown, init: RequestInit = {}): Promise<Response> {
  const headers = { 'content-type': 'application/json', ...init.headers }
  return fetch(`${url}${path}`, { ...init, method: 'POST', headers, body: JSON.stringify(body) })
}

const postChat = (more: object = {}, init: RequestInit = {}): Promise<Response> =>
  post('/v1/chat/completions', { ...chat, ...more }, init)

/** Waits for a fact: asserts on what `read` gives as soon as it holds. */
const eventually = (read: () => unknown) => expect.poll(read, { interval: 5, timeout: 20_000 })

async function errorOf(response: Response): Promise<{ status: number; message: string }> {
  const { error } = JSON.parse(await response.text())
  return { status: response.status, message: error.message }
}

/** How many tokens of the chat's answer a piece of a stream holds. */
function countTokens(text: string): number {
  return text.match(/"content":"/g)?.length ?? 0
}

/** Reads a stream until it ends or breaks. */
async function readAll(response: Response): Promise<{ text: string; isBroken: boolean }> {
  let text = ''
  const decoder = new TextDecoder()
  try {
    for await (const chunk of response.body ?? []) text += decoder.decode(chunk, { stream: true })
    return { text, isBroken: false }
  } catch {
    return { text, isBroken: true }
  }
}

/** Sends a chat over a bare connection. */
function connectChat(body: object, connection = 'keep-alive'): Socket {
  const json = JSON.stringify(body)
  const socket = connect(port, '127.0.0.1')
  const head = `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: ${connection}`
  socket.write(`${head}\r\ncontent-length: ${json.length}\r\n\r\n${json}`)
  return socket
}

/** Everything a bare connection receives until its end. */
async function readToEnd(socket: Socket): Promise<string> {
  let text = ''
  socket.on('data', (chunk) => {
    text += chunk
  })
  await once(socket, 'end')
  socket.destroy()
  return text
}

describe('refusals', () => {
  test('strictContent refuses the first message whose content is an array', async () => {
    server.set({ strictContent: true })
    const messages = [
      { role: 'system', content: 'x' },
      { role: 'user', content: [{ type: 'text', text: 'y' }] },
    ]
    expect(await errorOf(await postChat({ messages }))).toEqual({
      status: 422,
      message: 'messages[1].content: invalid type: sequence, expected a string',
    })
    expect((await postChat()).status).toBe(200)
  })

  test('strictMessageKeys refuses a message with another field', async () => {
    server.set({ strictMessageKeys: true })
    expect(await errorOf(await postChat({ messages: [{ role: 'user', content: 'x', name: 'y' }] }))).toEqual({
      status: 422,
      message: 'messages[0]: unknown field `name`, expected `role` or `content`',
    })
    expect((await postChat()).status).toBe(200)
  })

  test('rejectTools refuses tools', async () => {
    server.set({ rejectTools: true })
    expect(await errorOf(await postChat({ tools: [] }))).toEqual({
      status: 400,
      message: 'tools param requires --jinja flag',
    })
    expect((await postChat()).status).toBe(200)
  })

  test('rejectDeveloper refuses the developer role', async () => {
    server.set({ rejectDeveloper: true })
    expect(await errorOf(await postChat({ messages: [{ role: 'developer', content: 'x' }] }))).toEqual({
      status: 422,
      message:
        'messages[0].role: unknown variant `developer`, expected one of `system`, `user`, `assistant`, `tool`',
    })
    expect((await postChat()).status).toBe(200)
  })

  test('rejectFields refuses a field with the words given for it', async () => {
    server.set({ rejectFields: { store: { status: 418, message: 'no store' } } })
    expect(await errorOf(await postChat({ store: false }))).toEqual({ status: 418, message: 'no store' })
    expect((await postChat()).status).toBe(200)
  })

  test('rejectFields lets the values pass that it accepts', async () => {
    const refusal = { status: 400, message: 'no such effort', accepts: ['low', 'high'] }
    server.set({ rejectFields: { reasoning_effort: refusal } })
    expect((await postChat({ reasoning_effort: 'high' })).status).toBe(200)
    expect((await postChat({ reasoning_effort: 'xhigh' })).status).toBe(400)
    expect((await postChat({ reasoning_effort: null })).status).toBe(400)
  })

  test('ignoreFields acts as if a field were absent', async () => {
    server.set({ ignoreFields: ['max_completion_tokens'] })
    const answer = await (
      await postChat({ messages: [{ role: 'user', content: 'count to 9' }], max_completion_tokens: 1 })
    ).json()
    expect(answer).toMatchObject({ usage: { completion_tokens: 9 } })
  })

  test('a key is asked for everywhere but at health', async () => {
    server.set({ apiKey: 'k' })
    const statusWith = async (headers: Record<string, string>) => (await postChat({}, { headers })).status
    expect(await errorOf(await fetch(`${url}/v1/models`))).toEqual({
      status: 401,
      message: 'Invalid API Key',
    })
    expect((await fetch(`${url}/health`)).status).toBe(200)
    expect(await statusWith({ authorization: 'Bearer k' })).toBe(200)
    expect(await statusWith({ authorization: 'k' })).toBe(200)
    expect(await statusWith({ 'x-api-key': 'k' })).toBe(200)
    expect(await statusWith({ authorization: 'bearer k' })).toBe(401)
    expect(await statusWith({ authorization: 'Bearer wrong' })).toBe(401)
  })

  test('status429Once and statusOnce answer one POST each', async () => {
    server.set({ status429Once: true, statusOnce: { status: 500, body: 'oops', headers: { 'x-a': 'b' } } })
    expect((await fetch(`${url}/v1/models`)).status).toBe(200)
    const first = await postChat()
    expect([first.status, first.headers.get('retry-after')]).toEqual([429, '1'])
    const second = await postChat()
    expect([second.status, second.headers.get('x-a'), await second.text()]).toEqual([500, 'b', 'oops'])
    expect((await postChat()).status).toBe(200)
    server.set({ statusOnce: { status: 503, body: { a: 1 } } })
    expect(await (await postChat()).json()).toEqual({ a: 1 })
  })
})

describe('health and strangers', () => {
  test('redirectHealth answers health with a redirect', async () => {
    server.set({ redirectHealth: 'http://127.0.0.1:1/elsewhere' })
    const response = await fetch(`${url}/health`, { redirect: 'manual' })
    expect([response.status, response.headers.get('location')]).toEqual([302, 'http://127.0.0.1:1/elsewhere'])
  })

  test('wrongServer answers everything with a page', async () => {
    server.set({ wrongServer: true })
    for (const response of [
      await fetch(`${url}/health`),
      await fetch(`${url}/v1/models`),
      await postChat(),
    ]) {
      expect([response.status, response.headers.get('content-type')]).toEqual([200, 'text/html'])
    }
  })

  test('hangHealth leaves only health unanswered', async () => {
    server.set({ hangHealth: true })
    const leaving = new AbortController()
    const health = fetch(`${url}/health`, { signal: leaving.signal }).catch(() => 'left')
    await eventually(() => server.requests.at(-1)?.path).toBe('/health')
    expect((await postChat()).status).toBe(200)
    expect(server.inFlight).toBe(1)
    leaving.abort()
    expect(await health).toBe('left')
  })

  test('hang leaves all but health unanswered, and a client that gives up is counted', async () => {
    server.set({ hang: true })
    const leaving = new AbortController()
    const answer = postChat({}, { signal: leaving.signal }).catch(() => 'left')
    await eventually(() => server.requests.at(-1)?.path).toBe('/v1/chat/completions')
    expect((await fetch(`${url}/health`)).status).toBe(200)
    expect(server.inFlight).toBe(1)
    expect(server.counts.aborted).toBe(0)
    leaving.abort()
    expect(await answer).toBe('left')
    await eventually(() => [server.inFlight, server.counts.aborted]).toEqual([0, 1])
  })
})

describe('streams that break', () => {
  test('crashBeforeResponse ends the connection without an answer', async () => {
    server.set({ crashBeforeResponse: true })
    await expect(postChat()).rejects.toThrow('fetch failed')
    expect(server.requests).toHaveLength(1)
    expect(server.counts.aborted).toBe(0)
  })

  test.each([0, 3])('crashMidStreamAfter %i breaks the stream after that many tokens', async (count) => {
    server.set({ crashMidStreamAfter: count })
    const { text, isBroken } = await readAll(await postChat({ stream: true }))
    expect([countTokens(text), isBroken]).toEqual([count, true])
    expect(server.counts.aborted).toBe(0)
  })

  test('stallMidStreamAfter falls silent and keeps the connection', async () => {
    server.set({ stallMidStreamAfter: 3 })
    const leaving = new AbortController()
    const response = await postChat({ stream: true }, { signal: leaving.signal })
    const decoder = new TextDecoder()
    let text = ''
    const reading = (async () => {
      for await (const chunk of response.body ?? []) text += decoder.decode(chunk, { stream: true })
    })().catch(() => 'left')
    await eventually(() => countTokens(text)).toBe(3)
    server.set({ stallMidStreamAfter: null })
    // The settings of a request hold to its end, so this one is answered while the first is still silent.
    expect((await readAll(await postChat({ stream: true }))).text).toContain('[DONE]')
    expect([countTokens(text), server.inFlight]).toEqual([3, 1])
    leaving.abort()
    expect(await reading).toBe('left')
    await eventually(() => [server.inFlight, server.counts.aborted]).toEqual([0, 1])
  })

  test('truncateAfter ends the stream as if it were complete', async () => {
    server.set({ truncateAfter: 3 })
    const { text, isBroken } = await readAll(await postChat({ stream: true }))
    expect([countTokens(text), isBroken]).toEqual([3, false])
    expect(text).not.toContain('[DONE]')
    expect(text).not.toContain('"finish_reason":"stop"')
  })

  test('omitDone ends the stream legally without [DONE]', async () => {
    server.set({ omitDone: true })
    const { text, isBroken } = await readAll(await postChat({ stream: true }))
    expect([countTokens(text), isBroken]).toEqual([9, false])
    expect(text).not.toContain('[DONE]')
    expect(text).toContain('"finish_reason":"stop"')
  })

  test('closeDelimited sends neither a length nor chunks', async () => {
    server.set({ closeDelimited: true })
    const [head = '', body = ''] = (await readToEnd(connectChat({ ...chat, stream: true }))).split('\r\n\r\n')
    expect(head.toLowerCase()).toContain('connection: close')
    expect(head.toLowerCase()).not.toMatch(/transfer-encoding|content-length/)
    expect(body).toMatch(/^data: {.*data: \[DONE\]\n\n$/s)
  })

  test('each event of a stream is a chunk of its own', async () => {
    const text = await readToEnd(connectChat({ ...chat, stream: true }, 'close'))
    expect(text.match(/\r\n[0-9a-f]+\r\ndata: .*\n\n(?=\r\n)/g)).toHaveLength(12)
  })

  test('a client that leaves stops a slow stream at once', async () => {
    const leaving = new AbortController()
    const sink = new PassThrough()
    const settings = { ...defaultSettings(), tokenDelayMs: 600_000 }
    const event = { data: 'x', kind: 'token' as const }
    const writing = writeEvents([event, event], {
      sink,
      settings,
      signal: leaving.signal,
      crash: () => undefined,
    })
    expect(String((await once(sink, 'data'))[0])).toBe('data: x\n\n')
    leaving.abort()
    await expect(writing).rejects.toThrow('aborted')
  })

  test('a client that leaves without having read anything ends its stream', async () => {
    const socket = connectChat({ messages: [{ role: 'user', content: 'count to 100000' }], stream: true })
    socket.pause()
    await eventually(() => server.inFlight).toBe(1)
    socket.destroy()
    await eventually(() => [server.inFlight, server.counts.aborted]).toEqual([0, 1])
  })
})

describe('pace and form', () => {
  test('firstTokenMs holds back the first token of a stream, and a whole answer', async () => {
    server.set({ firstTokenMs: 600_000 })
    const leaving = new AbortController()
    const stream = await postChat({ stream: true }, { signal: leaving.signal })
    const reader = stream.body?.getReader()
    const first = await reader?.read()
    expect(Buffer.from(first?.value ?? []).toString()).toContain('"role":"assistant"')
    const whole = postChat({}, { signal: leaving.signal }).catch(() => 'left')
    await eventually(() => server.inFlight).toBe(2)
    leaving.abort()
    await reader?.closed.catch(() => undefined)
    expect(await whole).toBe('left')
    await eventually(() => server.counts.aborted).toBe(2)
  })

  test('slowHeadersMs delays the head of a POST only', async () => {
    server.set({ slowHeadersMs: 600_000 })
    const leaving = new AbortController()
    const answer = postChat({ stream: true }, { signal: leaving.signal }).catch(() => 'left')
    await eventually(() => server.requests.length).toBe(1)
    expect((await fetch(`${url}/v1/models`)).status).toBe(200)
    expect(server.inFlight).toBe(1)
    leaving.abort()
    expect(await answer).toBe('left')
  })

  test('gzip compresses whole and streamed answers, for clients that accept it', async () => {
    server.set({ gzip: true })
    const ask = (stream: boolean, headers: Record<string, string>) =>
      request(`${url}/v1/chat/completions`, {
        method: 'POST',
        headers,
        body: JSON.stringify({ ...chat, stream }),
      })
    for (const stream of [false, true]) {
      const packed = await ask(stream, { 'accept-encoding': 'gzip' })
      expect(packed.headers['content-encoding']).toBe('gzip')
      const bytes = Buffer.from(await packed.body.arrayBuffer())
      expect(gunzipSync(bytes).toString()).toContain(stream ? '[DONE]' : '1 2 3 4 5 6 7 8 9')
      const plain = await ask(stream, {})
      expect(plain.headers['content-encoding']).toBeUndefined()
      expect(await plain.body.text()).toContain(stream ? '[DONE]' : '1 2 3 4 5 6 7 8 9')
    }
  })

  test('idleCloseMs is the announced and real limit of an idle connection', async () => {
    server.set({ idleCloseMs: 600_000 })
    const response = await fetch(`${url}/health`)
    expect(response.headers.get('keep-alive')).toBe('timeout=600')
    await response.text()
    server.set({ idleCloseMs: 20 })
    const socket = connect(port, '127.0.0.1')
    socket.write('GET /health HTTP/1.1\r\nhost: x\r\n\r\n')
    socket.resume()
    await once(socket, 'end')
    socket.destroy()
  })

  test('a header that cannot be sent becomes a 500', async () => {
    server.set({ statusOnce: { status: 200, headers: { 'x-bad': 'a\nb' }, body: 'x' } })
    expect((await postChat()).status).toBe(500)
    expect((await postChat()).status).toBe(200)
  })
})

describe('control', () => {
  test('the state can be read, without the key', async () => {
    server.set({ apiKey: 'secret' })
    await fetch(`${url}/health`)
    const state = JSON.parse(await (await fetch(`${url}/__control`)).text())
    expect(state).toMatchObject({
      pid: process.pid,
      counts: { '/health': 1, aborted: 0 },
      inFlight: 0,
      options: { control: true, apiKey: '(hidden)', loadMs: 0 },
    })
  })

  test('options can be changed, and a wrong change is refused whole', async () => {
    const changed = await post('/__control', { truncateAfter: 1 })
    expect(await changed.json()).toMatchObject({ options: { truncateAfter: 1 } })
    const refused = await post('/__control', { truncateAfter: 2, hang: 'yes', nope: 1 })
    expect(refused.status).toBe(400)
    const text = await refused.text()
    expect(text).toContain('hang: expected true or false')
    expect(text).toContain('nope: is not an option')
    expect(server.settings.truncateAfter).toBe(1)
    expect((await post('/__control', { crash: 'SIGNOPE' })).status).toBe(400)
  })

  test('crash cuts every connection of a server that shares its process', async () => {
    server.set({ hang: true })
    const answer = postChat().catch(() => 'cut')
    await eventually(() => server.inFlight).toBe(1)
    await post('/__control', { crash: 'SIGKILL' }).catch(() => undefined)
    expect(await answer).toBe('cut')
  })
})

describe('options', () => {
  test('every setting has a flag', () => {
    expect(
      parseFlags([
        ...['--port', '4142', '--models', 'a,b', '--load-ms=2500', '--control', '--fail-load', 'health500'],
        ...[
          '--status-429-once',
          '--status-once',
          '{"status":500}',
          '--api-key',
          'k',
          '--truncate-after',
          '3',
        ],
      ]),
    ).toEqual({
      port: 4142,
      models: ['a', 'b'],
      loadMs: 2500,
      control: true,
      failLoad: 'health500',
      status429Once: true,
      statusOnce: { status: 500 },
      apiKey: 'k',
      truncateAfter: 3,
    })
    expect(parseFlags([])).toEqual({})
  })

  test.each([
    ['--frobnicate'],
    ['--port'],
    ['--port', 'x'],
    ['--port', ''],
    ['--port', '65536'],
    ['--load-ms', '-1'],
    ['--load-ms', '2147483648'],
    ['--fail-load', 'sometimes'],
    ['--models', 'a,,b'],
    ['--status-once', '{'],
    ['--status-once', '{"status":99}'],
    ['--reject-fields', '{"a":{"status":400}}'],
    ['--reject-fields', '{"a":{"status":400,"message":"b","accepts":[1]}}'],
    ['positional'],
  ])('the flags %j %j are refused', (...args) => {
    expect(() => parseFlags(args.filter((arg) => arg !== undefined))).toThrow(
      expect.objectContaining({ code: 'LEASEHOLD_CONFIG_INVALID' }),
    )
  })

  test('the defaults are valid options, and null is "off" only where it means something', () => {
    expect(parseOptions(defaultSettings())).toEqual(defaultSettings())
    expect(parseOptions({ apiKey: null, port: undefined })).toEqual({ apiKey: null })
    expect(() => parseOptions({ port: null })).toThrow('port: expected a whole number from 0 to 65535')
    expect(() => parseOptions(JSON.parse('{"__proto__":1}'))).toThrow('__proto__: is not an option')
    expect(() => parseOptions([])).toThrow('expected an object of options')
  })
})

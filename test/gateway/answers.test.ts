import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createRawServer, type RawServer } from '../transport/raw-server.ts'
import { type House, openHouse } from './house.ts'

let server: RawServer
let house: House
let answer = ''
const models = 'HTTP/1.1 200 OK\r\ncontent-length: 11\r\nconnection: close\r\n\r\n{"data":[]}'

beforeAll(async () => {
  server = await createRawServer((socket, head) => {
    socket.end(head.startsWith('POST') ? answer : models)
  })
  house = await openHouse({
    serverUrl: server.url,
    leasehold: { heartbeatMs: 3_600_000 },
    rest: {
      models: {
        providers: {
          local: { baseUrl: `${server.url}/v1`, models: [{ id: 'demo' }] },
          bare: { baseUrl: server.url, models: [{ id: 'demo' }] },
        },
      },
    },
  })
})
afterAll(async () => {
  await house[Symbol.asyncDispose]()
  await server[Symbol.asyncDispose]()
})

const messageOf = async (model: string, init: RequestInit = {}) => {
  const response = await house.post('/v1/chat/completions', { model, stream: true }, init)
  const text = await response.text()
  return response.status === 502 ? JSON.parse(text).error.message : `${response.status}: ${text}`
}

describe('a redirect of a model server', () => {
  test.each([
    ['http://169.254.169.254/latest?key=abc', /a redirect to http:\/\/169\.254\.169\.254\/latest, which/],
    ['/v1/chat/completions/', /a redirect to http:\/\/127\.0\.0\.1:\d+\/v1\/chat\/completions\/, which/],
    ['http://', /a redirect to no valid address, which/],
  ])('to %s is told and not followed', async (location, expected) => {
    answer = `HTTP/1.1 307 Temporary Redirect\r\nlocation: ${location}\r\ncontent-length: 0\r\n\r\n`
    expect(await messageOf('local/demo')).toMatch(expected)
  })
})

describe('a web page instead of an answer', () => {
  const page = 'HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 13\r\n\r\n<html></html>'

  test('asks for the /v1 that is missing', async () => {
    answer = page
    expect(await messageOf('bare/demo')).toMatch(/a web page answered at .*: is \/v1 missing in baseUrl\?/)
  })

  test('asks for the address where /v1 is there', async () => {
    answer = page
    expect(await messageOf('local/demo')).toMatch(/a web page answered at .*address of a model server\?/)
  })

  test('is an answer to a client that accepts pages by name', async () => {
    answer = page
    expect(await messageOf('local/demo', { headers: { accept: 'text/html' } })).toBe('200: <html></html>')
  })
})

test('what the server varies by is added to what the gateway varies by', async () => {
  const origin = 'https://chat.example'
  await using listed = await openHouse({ serverUrl: server.url, leasehold: { allowedOrigins: [origin] } })
  const headers = `vary: accept-encoding\r\naccess-control-allow-origin: *\r\ncontent-length: 2`
  answer = `HTTP/1.1 200 OK\r\n${headers}\r\n\r\n{}`
  const response = await listed.post('/v1/chat/completions', { model: 'demo' }, { headers: { origin } })
  expect(response.headers.get('vary')).toBe('origin, accept-encoding')
  expect(response.headers.get('access-control-allow-origin')).toBe(origin)
})

test('a refusal shows no key in its headers', async () => {
  await using keyed = await openHouse({
    serverUrl: server.url,
    provider: { apiKey: 'sk-quoted-1234567890' },
    leasehold: { heartbeatMs: 3_600_000 },
  })
  const told = 'www-authenticate: Bearer error="bad key sk-quoted-1234567890"'
  answer = `HTTP/1.1 401 No\r\n${told}\r\ncontent-length: 2\r\n\r\n{}`
  const response = await keyed.post('/v1/chat/completions', { model: 'local/demo' })
  expect(response.headers.get('www-authenticate')).toBe('Bearer error="bad key ***"')
})

describe('an answer shows no key', () => {
  const key = 'sk-quoted-1234567890'
  const stars = '*'.repeat(key.length)
  const events = 'content-type: text/event-stream\r\n'
  const opened = (provider: object, more: object = {}) =>
    openHouse({ serverUrl: server.url, provider, leasehold: { heartbeatMs: 3_600_000 }, ...more })
  const ask = async ({ post }: House, stream = true) => {
    const response = await post('/v1/chat/completions', { model: 'local/demo', stream })
    return { text: await response.text(), headers: response.headers }
  }

  test('in an error event of a stream (fault 115)', async () => {
    await using keyed = await opened({ apiKey: key })
    answer = `HTTP/1.1 200 OK\r\n${events}\r\ndata: {"error":{"message":"key ${key} is over its limit"}}\n\ndata: [DONE]\n\n`
    const { text } = await ask(keyed)
    expect(text).toBe(`data: {"error":{"message":"key ${stars} is over its limit"}}\n\ndata: [DONE]\n\n`)
  })

  test('in an error event that comes in two pieces, after a rewrite (fault 115)', async () => {
    await using split = await createRawServer((socket, head) => {
      if (!head.startsWith('POST')) return socket.end(models)
      socket.setNoDelay(true)
      socket.write(`HTTP/1.1 200 OK\r\n${events}\r\ndata: {"error":"key ${key.slice(0, 9)}`)
      setImmediate(() => socket.end(`${key.slice(9)}"}\r\n\r\ndata: [DONE]\r\n\r\n`))
    })
    const compats = [{}, { toolCallArgumentsEncoding: 'html-entities' }]
    for (const compat of compats) {
      await using keyed = await openHouse({
        serverUrl: split.url,
        provider: { apiKey: key, models: [{ id: 'demo', compat }] },
        leasehold: { heartbeatMs: 3_600_000 },
      })
      expect((await ask(keyed)).text).toContain(`data: {"error":"key ${stars}"}`)
    }
  })

  test('in a document of stated length (fault 115)', async () => {
    await using keyed = await opened({ headers: { authorization: `Bearer ${key}` } })
    const body = JSON.stringify({ warning: `used ${key}` })
    answer = `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`
    const { text } = await ask(keyed, false)
    expect(text).toBe(body.replace(key, stars))
  })

  test('in a header (fault 115)', async () => {
    await using keyed = await opened({ apiKey: key })
    answer = `HTTP/1.1 200 OK\r\nx-used-key: ${key}\r\nx-all: 1\r\nx-all: k=${key}\r\ncontent-length: 2\r\n\r\n{}`
    const { headers } = await ask(keyed, false)
    expect([headers.get('x-used-key'), headers.get('x-all')]).toEqual([stars, `1, k=${stars}`])
  })

  test('in a refusal that is too long to be explained (fault 115)', async () => {
    await using keyed = await opened({ apiKey: key })
    answer = `HTTP/1.1 400 No\r\ncontent-type: text/plain\r\n\r\n${'x'.repeat(70_000)}${key}`
    const { text } = await ask(keyed, false)
    expect(text.slice(-key.length)).toBe(stars)
  })

  test('in a refusal that gets advice (fault 115)', async () => {
    await using keyed = await opened({ apiKey: key })
    const body = JSON.stringify({ error: { message: `unknown variant \`developer\`, key ${key}` } })
    answer = `HTTP/1.1 400 No\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`
    const { text } = await ask(keyed, false)
    expect(text).toContain('leasehold')
    expect(text).not.toContain(key)
  })

  test.each(['gzip', 'br', 'deflate', 'zstd', 'gzip, deflate, br, zstd'])(
    'to a client that takes %s, from a server that compresses (fault 115)',
    async (coding) => {
      const offers: string[] = []
      const pack: Record<string, (text: string) => Buffer> = {
        gzip: gzipSync,
        br: brotliCompressSync,
        deflate: deflateSync,
      }
      await using packing = await createRawServer((socket, head) => {
        if (!head.startsWith('POST')) return socket.end(models)
        const offered = /^accept-encoding: (.*)\r$/im.exec(head)?.[1] ?? ''
        offers.push(offered)
        const used = offered.split(', ')[0] ?? ''
        const text = JSON.stringify({ warning: `used ${key}` })
        const body = pack[used]?.(text) ?? Buffer.from(text)
        const encoding = used === 'identity' ? '' : `content-encoding: ${used}\r\n`
        socket.write(
          `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n${encoding}content-length: ${body.length}\r\n\r\n`,
        )
        socket.end(body)
      })
      const open = (provider: object) =>
        openHouse({ serverUrl: packing.url, provider, leasehold: { heartbeatMs: 3_600_000 } })
      const body = { model: 'local/demo' }
      const init = { headers: { 'accept-encoding': coding } }
      await using keyed = await open({ apiKey: key })
      const response = await keyed.post('/v1/chat/completions', body, init)
      expect(response.headers.get('content-encoding')).toBeNull()
      expect(await response.json()).toEqual({ warning: `used ${stars}` })
      await using keyless = await open({})
      // What it answers is not looked at: the raw server knows no zstd, and the client may not either.
      await (await keyless.post('/v1/chat/completions', body, init)).arrayBuffer().catch(() => {})
      expect(offers).toEqual(['identity', coding])
    },
  )

  test('while a word that is no secret stays in the text', async () => {
    const provider = { apiKey: 'unused-key', headers: { 'x-team': 'research-2026', 'x-api-key': 'sunshine' } }
    await using keyed = await opened(provider)
    answer = `HTTP/1.1 200 OK\r\n${events}\r\ndata: {"x":"unused-key research-2026 sunshine"}\n\ndata: [DONE]\n\n`
    expect((await ask(keyed)).text).toContain('"unused-key research-2026 sunshine"')
  })
})

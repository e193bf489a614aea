import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createRawServer, type RawServer } from '../transport/raw-server.ts'
import { type House, openHouse } from './house.ts'

let server: RawServer
let house: House
let answer = ''

beforeAll(async () => {
  server = await createRawServer((socket, head) => {
    const models = 'HTTP/1.1 200 OK\r\ncontent-length: 11\r\nconnection: close\r\n\r\n{"data":[]}'
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

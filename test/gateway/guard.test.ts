import type { IncomingMessage } from 'node:http'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { KeyError } from '../../src/errors.ts'
import { guardKey } from '../../src/gateway/guard.ts'
import { type HouseWithServer, openHouseWithServer, type RawAnswer, sendRaw } from './house.ts'

let house: HouseWithServer
let locked: HouseWithServer

beforeAll(async () => {
  house = await openHouseWithServer()
  locked = await openHouseWithServer({ leasehold: { apiKeys: ['first-key', 'second-key'] } })
})
afterAll(async () => {
  await house[Symbol.asyncDispose]()
  await locked[Symbol.asyncDispose]()
})

const keyed = {
  hosts: new Set<string>(),
  origins: new Set<string>(),
  apiKeys: ['first-key', 'second-key'],
  controlKeys: [],
  isKeyRequired: false,
}

/** As much of a request as is looked at for a key. */
function toRequest(url: string, headers: Record<string, string>): IncomingMessage {
  return { url, headers } as Partial<IncomingMessage> as IncomingMessage
}

/** The code of an error in OpenAI's shape, which has all four fields. */
function codeOf({ body }: RawAnswer): string {
  const { error } = JSON.parse(body)
  expect(Object.keys(error).sort()).toEqual(['code', 'message', 'param', 'type'])
  return error.code
}

const get = (headers: readonly string[], target = '/v1/models', version = '1.1') =>
  sendRaw(house.port, `${[`GET ${target} HTTP/${version}`, ...headers, ''].join('\r\n')}\r\n`)

describe('the Host header', () => {
  test.each(['127.0.0.1:PORT', 'localhost:PORT', 'LOCALHOST:PORT', 'LocalHost:PORT', '[::1]:PORT'])(
    '%s is served',
    async (host) => {
      expect((await get([`Host: ${host.replace('PORT', String(house.port))}`])).status).toBe(200)
    },
  )

  test.each([
    'evil.com',
    'evil.com:PORT',
    '127.0.0.1',
    'localhost',
    '[::1]',
    '127.0.0.1.:PORT',
    'localhost.:PORT',
    '127.evil.com:PORT',
    'models.local:PORT',
    'models.internal:PORT',
    '127.0.0.1.evil.com:PORT',
    'localhost.evil.com:PORT',
    'evil-localhost:PORT',
    'evil.com#127.0.0.1:PORT',
    'evil.com@127.0.0.1:PORT',
    'user:secret@127.0.0.1:PORT',
    '127.0.0.1:PORT@evil.com',
    '127.0.0.1:PORT/evil',
    '127.0.0.1:PORT?x',
    '127.0.0.1:PORT, evil.com',
    '127.0.0.1:PORT evil.com',
    'http://127.0.0.1:PORT',
    '0.0.0.0:PORT',
    '0:PORT',
    '127.1:PORT',
    '127.0.1:PORT',
    '127.0.0.2:PORT',
    '127.000.000.001:PORT',
    '0x7f.1:PORT',
    '2130706433:PORT',
    '017700000001:PORT',
    '[::]:PORT',
    '::1:PORT',
    '[0:0:0:0:0:0:0:1]:PORT',
    '[::ffff:127.0.0.1]:PORT',
    '[::ffff:7f00:1]:PORT',
    '[::1%25lo]:PORT',
    '127.0.0.1:1PORT',
    '127.0.0.1:PORT0',
    '127.0.0.1:0PORT',
    '127.0.0.1:',
    '127.0.0.1:http',
    'localhost:PORT\x00',
    'localho\u00dft:PORT',
    '*:PORT',
    '',
  ])('"%s" is refused (peers A-8, S-9, L-1)', async (host) => {
    const { status, head } = await get([`Host: ${host.replace('PORT', String(house.port))}`])
    expect([400, 403]).toContain(status)
    expect(head).not.toMatch(/access-control/i)
  })

  test('may have blanks and a tab around it, which are not part of it', async () => {
    expect((await get([`Host:  \t127.0.0.1:${house.port} \t`])).status).toBe(200)
  })

  test.each([
    ['none in HTTP/1.0', [], '1.0'],
    ['none in HTTP/1.1', [], '1.1'],
    ['two that are the same', ['Host: 127.0.0.1:PORT', 'Host: 127.0.0.1:PORT'], '1.1'],
    ['a good one before a bad one', ['Host: 127.0.0.1:PORT', 'Host: evil.com'], '1.1'],
    ['a bad one before a good one', ['Host: evil.com', 'hOST: 127.0.0.1:PORT'], '1.1'],
  ])('%s is refused', async (_, headers, version) => {
    const given = headers.map((header) => header.replace('PORT', String(house.port)))
    expect((await get(given, '/v1/models', version)).status).toBe(400)
  })

  test('is looked at before the key and before the body', async () => {
    const { status, body, head } = await sendRaw(
      locked.port,
      'POST /v1/chat/completions HTTP/1.1\r\nHost: evil.com\r\nContent-Type: application/json\r\nContent-Length: 99999\r\n\r\n',
    )
    expect(status).toBe(403)
    expect(codeOf({ status, body, head })).toBe('LEASEHOLD_BAD_REQUEST')
    expect(head).toMatch(/^connection: close$/im)
  })
})

describe('the request target', () => {
  const host = () => `Host: 127.0.0.1:${house.port}`

  test.each([
    'http://evil.com/v1/models',
    'http://127.0.0.1:1/v1/models',
    '//evil.com/v1/models',
    '/\\evil.com/v1/models',
    '/v1/models/../../api/services',
    '/v1/models/..',
    '/v1/./models',
    '/v1/%2e%2E/api/services',
    '/v1/.%2e/api/services?x',
    '/v1/..%2fapi/services',
    '/v1/%2e%2e%2Fapi%2fservices',
    '/v1%2f..%2fapi/services',
    '/v1/..%5capi',
    '/v1/%252e%252e/api/services',
    '/v1/%25252e./api',
    '/v1/..;/api/services',
    '/v1/..%3Bx/api',
    '/v1/models/..%3f',
    '/v1/models#/../x',
    '*',
  ])('%s is refused', async (target) => {
    expect((await get([host()], target)).status).toBe(400)
  })

  test.each([
    '/v1/models?path=/../x',
    '/v1/models?path=%2f..%2f',
    '/v1/models/a%2Fb..c',
    '/v1/models/C:%5Cmodels%5C...gguf',
  ])('%s is a plain path', async (target) => {
    expect((await get([host()], target)).status).not.toBe(400)
  })

  test.each(['/v1/models/%E0%A4%A', '/api/services/%', '/api/logs/%ff'])(
    '%s is not decodable: 400',
    async (target) => {
      const answer = await get([host()], target)
      expect(answer.status).toBe(400)
      expect(codeOf(answer)).toBe('LEASEHOLD_BAD_REQUEST')
    },
  )

  test.each([
    '/nowhere',
    '/v1',
    '/v1/',
    '/v1/nothing',
    '/api/',
    '/api/nothing',
    '/api/services/x/y/z',
    '/v1/models/a..b',
    '/v1/models/...',
  ])('%s is not found, in the shape that OpenAI gives it', async (target) => {
    const answer = await get([host()], target)
    expect(answer.status).toBe(404)
    expect(answer.head).toMatch(/^content-type: application\/json/im)
    codeOf(answer)
  })

  test.each(['PUT', 'DELETE', 'PATCH', 'OPTIONS'])('%s is not served', async (method) => {
    const response = await fetch(`${house.url}/v1/models`, { method })
    await response.text()
    expect(response.status).toBe(404)
    expect(response.headers.get('access-control-allow-origin')).toBeNull()
  })
})

describe('listed names and origins', () => {
  const page = 'https://chat.example'
  let listed: HouseWithServer
  beforeAll(async () => {
    listed = await openHouseWithServer({
      leasehold: {
        allowedHosts: ['models.lan', 'Models.LAN:8443', '[fd00::1]:1'],
        allowedOrigins: [page, 'app://obsidian.md', 'tauri://localhost', 'vscode-webview://*'],
      },
    })
  })
  afterAll(() => listed[Symbol.asyncDispose]())
  const ask = (headers: readonly string[], method = 'GET', path = '/v1/models') =>
    sendRaw(listed.port, `${[`${method} ${path} HTTP/1.1`, ...headers, ''].join('\r\n')}\r\n`)

  test.each(['models.lan', 'MODELS.lan', 'models.lan:8443', '[fd00::1]:1'])(
    'the host %s is served',
    async (host) => {
      expect((await ask([`Host: ${host}`])).status).toBe(200)
    },
  )

  test.each(['models.lan:80', 'models.lan.', 'xmodels.lan', 'models.lan:8444', '[fd00::1]', 'evil.com'])(
    'the host %s is not',
    async (host) => {
      expect((await ask([`Host: ${host}`])).status).toBe(403)
    },
  )

  test('a page of a listed origin is served, and its browser is told so', async () => {
    const { status, head } = await ask(['Host: models.lan', `Origin: ${page}`, 'Sec-Fetch-Site: cross-site'])
    expect(status).toBe(200)
    expect(head).toMatch(/^access-control-allow-origin: https:\/\/chat\.example\r$/im)
    expect(head).toMatch(/^vary: origin\r$/im)
    expect(head).not.toMatch(/allow-credentials/i)
  })

  test.each(['/api/services', '/'])(
    '%s, which may be compressed, varies by its origin, too',
    async (path) => {
      const headers = ['Host: models.lan', `Origin: ${page}`, 'Sec-Fetch-Site: cross-site']
      const { status, head } = await ask(headers, 'GET', path)
      expect(status).toBe(200)
      expect(head).toMatch(/^vary: origin, accept-encoding\r$/im)
    },
  )

  test.each(['app://obsidian.md', 'tauri://localhost', 'vscode-webview://1a2b3c', 'VSCode-WebView://x'])(
    'an app with the origin %s is served, and its browser is told so',
    async (origin) => {
      const { status, head } = await ask(['Host: models.lan', `Origin: ${origin}`])
      expect(status).toBe(200)
      expect(head).toContain(`access-control-allow-origin: ${origin}`)
    },
  )

  test('a refused origin is told the option that lists it', async () => {
    for (const origin of ['app://other', 'chrome-extension://abc', 'https://evil.com']) {
      const { status, body } = await ask(['Host: models.lan', `Origin: ${origin}`])
      expect(status).toBe(403)
      expect(body).toContain(`List \\"${origin}\\" in leasehold.allowedOrigins`)
    }
    const { body } = await ask(['Host: models.lan', 'Origin: null'])
    expect(body).toContain('List an origin in leasehold.allowedOrigins to serve it')
  })

  test('its browser may ask first, and needs no key to ask', async () => {
    await using locked = await openHouseWithServer({ leasehold: { apiKeys: ['k'], allowedOrigins: [page] } })
    const question = {
      origin: page,
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization,content-type',
    }
    const answer = await fetch(`${locked.url}/v1/chat/completions`, { method: 'OPTIONS', headers: question })
    expect(answer.status).toBe(204)
    expect(answer.headers.get('access-control-allow-headers')).toBe('authorization,content-type')
    const refused = await fetch(`${locked.url}/v1/models`, { headers: { origin: page } })
    expect([refused.status, refused.headers.get('access-control-allow-origin')]).toEqual([401, page])
  })

  test.each([
    'null',
    'http://chat.example',
    'https://chat.example:8443',
    'https://chat.example.evil.com',
    'https://evil.com',
  ])('a page of %s is refused, and told nothing (peer S-6)', async (origin) => {
    for (const method of ['GET', 'OPTIONS']) {
      const { status, head } = await ask(
        ['Host: models.lan', `Origin: ${origin}`, 'Access-Control-Request-Method: POST'],
        method,
      )
      expect(status).toBe(403)
      expect(head).not.toMatch(/access-control/i)
    }
  })

  test('an image of a page that hides its origin is refused, listed or not', async () => {
    expect((await ask(['Host: models.lan', 'Sec-Fetch-Site: cross-site', `Referer: ${page}/`])).status).toBe(
      403,
    )
  })
})

describe('other origins', () => {
  const own = () => `http://127.0.0.1:${house.port}`

  test.each([
    ['null', { origin: 'null' }],
    ['an evil one', { origin: 'http://evil.com' }],
    ['one that begins like ours', { origin: 'http://127.0.0.1:PORT.evil.com' }],
    ['ours over TLS', { origin: 'https://127.0.0.1:PORT' }],
    ['another port of this host', { origin: 'http://127.0.0.1:1' }],
    ['this host by another name', { origin: 'http://localhost:PORT' }],
    ['an extension', { origin: 'chrome-extension://abc' }],
    ['an empty one', { origin: '' }],
    ['a fetch from another site', { 'sec-fetch-site': 'cross-site' }],
    ['a fetch from a sister site', { 'sec-fetch-site': 'same-site' }],
    [
      'our origin on a fetch from another site',
      { origin: 'http://127.0.0.1:PORT', 'sec-fetch-site': 'cross-site' },
    ],
  ])('%s is refused (peer A-9)', async (_, headers) => {
    const lines = Object.entries(headers).map(
      ([name, value]) => `${name}: ${value.replace('PORT', String(house.port))}`,
    )
    const { status, head } = await get([`Host: 127.0.0.1:${house.port}`, ...lines])
    expect(status).toBe(403)
    expect(head).not.toMatch(/access-control/i)
  })

  test('ours, twice, is refused', async () => {
    expect(
      (await get([`Host: 127.0.0.1:${house.port}`, `Origin: ${own()}`, `Origin: ${own()}`])).status,
    ).toBe(403)
  })

  test.each([
    ['ours', () => [`Origin: ${own()}`, 'Sec-Fetch-Site: same-origin']],
    ['a navigation by the user', () => ['Sec-Fetch-Site: none']],
    ['a program', () => []],
  ])('%s is served', async (_, headers) => {
    expect((await get([`Host: 127.0.0.1:${house.port}`, ...headers()])).status).toBe(200)
  })
})

describe('the body of a POST', () => {
  const post = (headers: readonly string[], path = '/v1/chat/completions') =>
    sendRaw(
      house.port,
      [
        `POST ${path} HTTP/1.1`,
        `Host: 127.0.0.1:${house.port}`,
        ...headers,
        'Content-Length: 2',
        '',
        '{}',
      ].join('\r\n'),
    )

  test.each([
    ['text/plain', ['Content-Type: text/plain']],
    ['a form', ['Content-Type: application/x-www-form-urlencoded']],
    ['no type', []],
    ['two types in one', ['Content-Type: text/plain, application/json']],
    ['JSON in a parameter', ['Content-Type: text/plain; x=application/json']],
    ['JSON compressed', ['Content-Type: application/json', 'Content-Encoding: gzip']],
    ['JSON compressed twice', ['Content-Type: application/json', 'Content-Encoding: identity, br']],
  ])('%s is refused, on every route that takes one', async (_, headers) => {
    for (const path of ['/v1/chat/completions', '/api/services/local/start', '/api/services/local/stop'])
      expect((await post(headers, path)).status).toBe(415)
    expect(house.server.counts['/v1/chat/completions']).toBeUndefined()
    expect(house.service().state).toBe('down.cold')
  })
})

test('a form is no body for the control surface, because a page may send one without asking', async () => {
  const body = '--x--'
  const { status } = await sendRaw(
    house.port,
    `POST /api/services/local/start HTTP/1.1\r\nHost: 127.0.0.1:${house.port}\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  )
  expect(status).toBe(415)
  expect(house.service().state).toBe('down.cold')
})

describe('keys', () => {
  const ask = (path: string, headers: Record<string, string> = {}) => fetch(locked.url + path, { headers })

  test.each([
    ['none', {}],
    ['a wrong one', { authorization: 'Bearer third-key' }],
    ['the beginning of one', { authorization: 'Bearer first-ke' }],
    ['one and more', { authorization: 'Bearer first-key2' }],
    ['one in another case', { authorization: 'Bearer FIRST-KEY' }],
    ['one without its scheme', { authorization: 'first-key' }],
    ['one in Basic', { authorization: 'Basic first-key' }],
    ['an empty one', { 'x-api-key': '' }],
    ['two at once', { 'x-api-key': 'first-key, second-key' }],
    ['a wrong bearer beside a right x-api-key', { authorization: 'Bearer wrong', 'x-api-key': 'first-key' }],
  ])('%s: 401, whatever is asked for', async (_, headers) => {
    for (const url of ['/v1/models', '/api/services', '/api/events', '/healthy', '/nowhere', '/v1'])
      expect(() => guardKey(toRequest(url, headers), keyed)).toThrow(KeyError)
    await using other = await openHouseWithServer({ leasehold: { apiKeys: ['first-key', 'second-key'] } })
    const response = await fetch(`${other.url}/v1/models`, { headers })
    expect(response.status).toBe(401)
    const body = await response.text()
    expect(body).not.toContain('first-key')
    expect(JSON.parse(body).error).toMatchObject({
      code: 'LEASEHOLD_KEY_REQUIRED',
      type: 'authentication_error',
    })
  })

  test.each([
    ['as a bearer', { authorization: 'Bearer first-key' }],
    ['as a bearer in another spelling', { authorization: 'bearer second-key' }],
    ['in x-api-key', { 'x-api-key': 'second-key' }],
  ])('a right one %s opens the door', async (_, headers) => {
    expect((await ask('/v1/models', headers)).status).toBe(200)
    expect((await ask('/api/services', headers)).status).toBe(200)
  })

  test('health is open', async () => {
    expect((await ask('/health')).status).toBe(200)
  })

  test("the client's key for us never reaches the provider", async () => {
    const headers = { authorization: 'Bearer first-key', 'x-api-key': 'second-key' }
    await (await locked.post('/v1/chat/completions', { model: 'demo', messages: [] }, { headers })).text()
    const sent = JSON.stringify(locked.server.requests)
    expect(sent).toContain('/v1/chat/completions')
    expect(sent).not.toMatch(/first-key|second-key/)
  })

  test('of the control surface open it alone, and everything else', () => {
    const both = { ...keyed, controlKeys: ['control-key'] }
    const isOpen = (url: string, key: string) => {
      try {
        guardKey(toRequest(url, { 'x-api-key': key }), both)
        return true
      } catch {
        return false
      }
    }
    for (const url of ['/v1/models', '/v1/chat/completions', '/v1', '/v1?x'])
      expect([isOpen(url, 'first-key'), isOpen(url, 'control-key')]).toEqual([true, true])
    for (const url of [
      '/api/services',
      '/api/events',
      '/metrics',
      '/anything',
      '/v1x',
      '/V1/models',
      '/health/x',
    ])
      expect([url, isOpen(url, 'first-key'), isOpen(url, 'control-key')]).toEqual([url, false, true])
  })

  test('are needed beyond loopback even if a changed configuration has none left', () => {
    const none = { ...keyed, apiKeys: [], isKeyRequired: true }
    expect(() => guardKey(toRequest('/v1/models', { 'x-api-key': '' }), none)).toThrow(KeyError)
    expect(() => guardKey(toRequest('/v1/models', {}), none)).toThrow(KeyError)
    expect(() => guardKey(toRequest('/health', {}), none)).not.toThrow()
  })

  test('a changed configuration changes the keys at once (fault 96)', async () => {
    await using other = await openHouseWithServer({ leasehold: { apiKeys: ['old'] } })
    const keyed = (key: string) => fetch(`${other.url}/v1/models`, { headers: { 'x-api-key': key } })
    expect((await keyed('old')).status).toBe(200)
    const { config } = other.supervisor
    await other.supervisor.replaceConfig({ ...config, leasehold: { ...config.leasehold, apiKeys: ['new'] } })
    expect((await keyed('old')).status).toBe(401)
    expect((await keyed('new')).status).toBe(200)
  })
})

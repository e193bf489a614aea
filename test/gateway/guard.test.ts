import { afterAll, beforeAll, describe, expect, test } from 'vitest'
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
  ])('"%s" is refused', async (host) => {
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
    '*',
  ])('%s is refused', async (target) => {
    expect((await get([host()], target)).status).toBe(400)
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
    '/',
    '/nowhere',
    '/v1',
    '/v1/',
    '/v1/nothing',
    '/api/',
    '/api/nothing',
    '/api/services/x/y/z',
    '/v1/models/../../api/secrets',
  ])('%s is not found, in the shape that OpenAI gives it', async (target) => {
    const answer = await get([host()], target)
    expect(answer.status).toBe(404)
    expect(answer.head).toMatch(/^content-type: application\/json/im)
    codeOf(answer)
  })

  test.each(['PUT', 'DELETE', 'PATCH', 'OPTIONS', 'HEAD'])('%s is not served', async (method) => {
    const response = await fetch(`${house.url}/v1/models`, { method })
    await response.text()
    expect(response.status).toBe(404)
    expect(response.headers.get('access-control-allow-origin')).toBeNull()
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
  ])('%s is refused', async (_, headers) => {
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
  ])('%s: 401', async (_, headers) => {
    for (const path of ['/v1/models', '/api/services', '/api/events', '/health?x', '/nowhere']) {
      const response = await ask(path, headers)
      expect([path, response.status]).toEqual([path, 401])
      expect(await response.text()).not.toContain('first-key')
    }
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

  test('a changed configuration changes the keys at once', async () => {
    await using other = await openHouseWithServer({ leasehold: { apiKeys: ['old'] } })
    const keyed = (key: string) => fetch(`${other.url}/v1/models`, { headers: { 'x-api-key': key } })
    expect((await keyed('old')).status).toBe(200)
    const { config } = other.supervisor
    await other.supervisor.replaceConfig({ ...config, leasehold: { ...config.leasehold, apiKeys: ['new'] } })
    expect((await keyed('old')).status).toBe(401)
    expect((await keyed('new')).status).toBe(200)
  })
})

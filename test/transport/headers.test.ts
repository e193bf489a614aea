import { describe, expect, test } from 'vitest'
import { toClientHeaders, toMediaType, toUpstreamHeaders } from '../../src/transport/headers.ts'

const hopByHop = [
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]

describe.each([
  ['to the provider', toUpstreamHeaders],
  ['to the client', toClientHeaders],
])('%s', (_, toHeaders) => {
  test.each(hopByHop)('%s does not travel on', (name) => {
    expect(toHeaders({ [name]: 'x', accept: '*/*' })).toEqual({ accept: '*/*' })
  })

  test('what Connection names does not travel on, however it is spelled', () => {
    const headers = {
      connection: 'close, X-Secret ,x-other',
      'x-secret': '1',
      'x-other': '2',
      'x-third': '3',
    }
    expect(toHeaders(headers)).toEqual({ 'x-third': '3' })
  })

  test('what any of several Connection headers names does not travel on', () => {
    expect(toHeaders({ connection: ['x-a', 'x-b'], 'x-a': '1', 'x-b': '2', 'x-c': '3' })).toEqual({
      'x-c': '3',
    })
  })

  test('repeated headers stay repeated, and absent ones stay absent', () => {
    expect(toHeaders({ 'x-list': ['1', '2'], 'x-none': undefined })).toEqual({ 'x-list': ['1', '2'] })
  })

  test('headers with the names of object members are headers like any other', () => {
    const odd = toHeaders(JSON.parse('{ "constructor": "1", "tostring": "2" }'))
    expect(Object.entries(odd)).toEqual([
      ['constructor', '1'],
      ['tostring', '2'],
    ])
  })
})

test.each([
  'authorization',
  'x-api-key',
  'content-length',
  'cookie',
  'expect',
  'host',
  'origin',
  'referer',
  'sec-fetch-site',
  'x-leasehold-priority',
])("the client's %s does not reach the provider", (name) => {
  expect(toUpstreamHeaders({ [name]: 'x', 'content-type': 'application/json' })).toEqual({
    'content-type': 'application/json',
  })
})

test.each([
  'access-control-allow-origin',
  'access-control-allow-credentials',
  'access-control-expose-headers',
  'set-cookie',
  'clear-site-data',
  'service-worker-allowed',
  'alt-svc',
  'strict-transport-security',
  'refresh',
  'x-accel-redirect',
  'x-accel-buffering',
  'x-sendfile',
])("the provider's %s does not speak for the gateway's origin", (name) => {
  expect(toClientHeaders({ [name]: ['x', 'y'], date: 'z' })).toEqual({ date: 'z' })
})

test.each([
  ['text/event-stream', 'text/event-stream'],
  ['Text/Event-Stream;charset=utf-8', 'text/event-stream'],
  [' application/JSON ; x', 'application/json'],
  [undefined, ''],
])('the media type of %s is "%s"', (type, expected) => {
  expect(toMediaType({ 'content-type': type })).toBe(expected)
})

test("the provider's length and encoding reach the client", () => {
  const headers = { 'content-length': '3', 'content-encoding': 'gzip', date: 'x' }
  expect(toClientHeaders(headers)).toEqual(headers)
})

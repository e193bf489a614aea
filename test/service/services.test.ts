import { describe, expect, test } from 'vitest'
import { parseConfig } from '../../src/config/load.ts'
import { toKeyHeaders, toServiceKey, toServices } from '../../src/service/services.ts'

const parse = (providers: object, leasehold: object = {}) =>
  parseConfig(JSON.stringify({ models: { providers }, leasehold }))

const localService = { command: '/bin/server', args: ['--port', '1'] }
const local = { baseUrl: 'http://127.0.0.1:1/v1', localService }

describe('services', () => {
  test('that run the same program in the same way are one, whatever their providers are called', () => {
    const config = parse({
      chat: { ...local, apiKey: 'a', models: [{ id: 'x' }] },
      embeddings: { ...local, apiKey: 'b' },
    })
    const services = [...toServices(config).values()]
    expect(services.map(({ name, providers }) => [name, providers.length])).toEqual([['chat+embeddings', 2]])
    expect(new Set(config.providers.map(toServiceKey)).size).toBe(1)
  })

  // The health URL tells which of the two addresses belongs to the service.
  const named = { ...localService, healthUrl: 'http://127.0.0.1:1/health' }
  const twins = (changes: object) => ({
    one: { ...local, localService: named },
    other: { baseUrl: 'http://127.0.0.1:2/v1', localService: { ...named, ...changes } },
  })

  test('that are reached at two addresses are one all the same', () => {
    expect(toServices(parse(twins({}))).size).toBe(1)
  })

  test.each([
    ['command', { command: '/bin/other' }],
    ['arguments', { args: ['--port', '2'] }],
    ['order of the arguments', { args: ['1', '--port'] }],
    ['directory', { cwd: '/tmp' }],
    ['environment', { env: { A: '1' } }],
    ['health URL', { healthUrl: 'http://127.0.0.1:2/health' }],
  ])('that differ in their %s are two', (_, changes) => {
    expect(toServices(parse(twins(changes))).size).toBe(2)
  })

  test('without a localService are one per address', () => {
    const { localService: _, ...remote } = local
    const services = toServices(
      parse({ one: remote, two: remote, three: { baseUrl: 'http://127.0.0.1:3/v1' } }),
    )
    expect([...services].map(([key, { name }]) => [key, name])).toEqual([
      ['remote:http://127.0.0.1:1/v1', 'one+two'],
      ['remote:http://127.0.0.1:3/v1', 'three'],
    ])
  })

  test('exist only for providers that can be used', () => {
    expect(toServices(parse({ one: { ...local, apiKey: `\${NOT_SET}` } })).size).toBe(0)
  })

  test('live by the numbers of their configuration', () => {
    const limits = { readyTimeoutMs: 1, idleStopMs: 2, stopGraceMs: 3, drainTimeoutMs: 4, abandonStartMs: 5 }
    const queue = { maxConcurrent: 6, maxQueue: 7, maxQueueMs: 8 }
    const shared = {
      backoffMs: 9,
      backoffMaxMs: 10,
      breakerFailures: 11,
      breakerCooldownMs: 12,
      stabilityMs: 13,
    }
    const config = parse(
      { one: { ...local, localService: { ...localService, ...limits, ...queue } } },
      shared,
    )
    expect([...toServices(config).values()][0]?.policy).toEqual({
      managed: true,
      drawsOnLimits: false,
      stopCommandMs: 0,
      sleep: null,
      ...limits,
      ...queue,
      ...shared,
    })
  })

  test('without a localService are never started, stopped when idle, or awaited', () => {
    const [service] = toServices(parse({ one: { baseUrl: 'http://127.0.0.1:1/v1' } })).values()
    expect(service?.policy).toMatchObject({ managed: false, idleStopMs: 0, abandonStartMs: null })
    expect(service?.healthUrl).toBe('http://127.0.0.1:1/v1/models')
    expect(service).not.toHaveProperty('localService')
  })
})

describe('the key of a provider', () => {
  const headersOf = (provider: object) => {
    const [one] = parse({ one: { baseUrl: 'http://127.0.0.1:1/v1', ...provider } }).providers
    if (one === undefined) throw new Error('a provider was expected')
    return toKeyHeaders(one)
  }

  test.each([
    ['is a bearer token', {}, { authorization: 'Bearer k' }],
    ['is in x-api-key for Anthropic', { api: 'anthropic-messages' }, { 'x-api-key': 'k' }],
    [
      'is a bearer token for Anthropic when that is asked for',
      { api: 'anthropic-messages', authHeader: true },
      { authorization: 'Bearer k' },
    ],
    [
      'gives way to a header that says it otherwise, however it is spelled',
      { headers: { Authorization: 'Custom', 'X-Other': '1' } },
      { authorization: 'Custom', 'x-other': '1' },
    ],
  ])('%s', (_, provider, headers) => {
    expect(headersOf({ apiKey: 'k', ...provider })).toEqual(headers)
  })

  test('may be absent', () => {
    expect(headersOf({ headers: { 'X-A': '1' } })).toEqual({ 'x-a': '1' })
  })
})

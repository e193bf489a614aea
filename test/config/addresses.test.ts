import { hostname, networkInterfaces } from 'node:os'
import { describe, expect, test } from 'vitest'
import { parseConfig } from '../../src/config/load.ts'
import { ConfigError } from '../../src/errors.ts'

function problemsOf(provider: object, leasehold: object = {}) {
  try {
    return parseConfig(JSON.stringify({ leasehold, models: { providers: { p: provider } } })).problems
  } catch (error) {
    return error instanceof ConfigError ? error.problems : []
  }
}

const localService = { command: '/bin/server' }

describe('an address where cloud hosts keep their credentials', () => {
  test.each([
    'http://169.254.169.254/v1',
    'http://0xA9FEA9FE/v1',
    'http://2852039166/v1',
    'http://169.254.1/v1',
    'http://[::ffff:169.254.169.254]/v1',
    'http://[fe80::1]:8080/v1',
    'http://[fd00:ec2::254]/v1',
    'http://metadata.google.internal/v1',
    'http://METADATA/v1',
    'http://metadata.google.internal./v1',
    'http://metadata.goog/v1',
    'http://instance-data.ec2.internal/v1',
    'http://100.100.100.200/v1',
    'http://192.0.0.192/v1',
    'http://192.0.192/v1',
    'http://168.63.129.16/v1',
    'http://[fd20:ce::254]/v1',
    'http://[febf::1]/v1',
    'http://[64:ff9b::a9fe:a9fe]/v1',
    'http://[64:ff9b::100.100.100.200]/v1',
    'http://[64:ff9b:1::a9fe:a9fe]/v1',
    'http://[2002:a9fe:a9fe::1]/v1',
    'http://[::a9fe:a9fe]/v1',
    'http://[::ffff:0:a9fe:a9fe]/v1',
    'http://[::ffff:100.100.100.200]/v1',
  ])('%s is refused, unless it is allowed', (baseUrl) => {
    expect(problemsOf({ baseUrl })).toMatchObject([{ severity: 'error', path: 'models.providers.p.baseUrl' }])
    expect(problemsOf({ baseUrl }, { allowLinkLocal: true })).toEqual([])
  })

  test.each([
    'http://100.100.100.201/v1',
    'http://192.0.0.193/v1',
    'http://[fec0::1]/v1',
    'http://[64:ff9b::c0a8:105]/v1',
    'http://metadata.example/v1',
  ])('%s is not one', (baseUrl) => {
    expect(problemsOf({ baseUrl })).toEqual([])
  })

  test('is refused for a health check, too', () => {
    const healthUrl = 'http://169.254.169.254/latest/meta-data'
    const problems = problemsOf({
      baseUrl: 'http://127.0.0.1:1/v1',
      localService: { ...localService, healthUrl },
    })
    expect(problems.filter(({ severity }) => severity === 'error')).toMatchObject([
      { path: 'models.providers.p.localService.healthUrl' },
    ])
  })
})

describe('a server that we run', () => {
  test.each(['127.0.0.1', 'localhost', '[::1]', '127.1', '0.0.0.0'])('is on this host as %s', (host) => {
    expect(problemsOf({ baseUrl: `http://${host}:1/v1`, localService })).toEqual([])
  })

  test('is warned of under a name that need not be this host', () => {
    expect(problemsOf({ baseUrl: 'http://models.lan:1/v1', localService })).toMatchObject([
      { severity: 'warning', path: 'models.providers.p.baseUrl' },
      { severity: 'warning', path: 'models.providers.p.localService.healthUrl' },
    ])
  })

  test('by another program may be anywhere else', () => {
    expect(problemsOf({ baseUrl: 'https://api.example/v1' })).toEqual([])
    expect(problemsOf({ baseUrl: 'http://192.168.1.5:1/v1' })).toEqual([])
  })
})

describe("the gateway's own address", () => {
  const own = (baseUrl: string, leasehold: object = {}) =>
    problemsOf({ baseUrl }, leasehold).map(({ severity, path }) => `${severity} ${path}`)
  const refused = ['error models.providers.p.baseUrl']

  test.each([
    'http://127.0.0.1:4141/v1',
    'http://localhost:4141/v1',
    'http://LOCALHOST.:4141',
    'http://127.1:4141/v1',
    'http://0.0.0.0:4141/v1',
    'http://[::ffff:127.0.0.1]:4141/v1',
    'https://127.0.0.1:4141/v1',
  ])('%s is refused', (baseUrl) => {
    expect(own(baseUrl)).toEqual(refused)
  })

  test.each(['http://127.0.0.1:4142/v1', 'http://127.0.0.2:4141/v1', 'http://192.0.2.7:4141/v1'])(
    '%s is another one',
    (baseUrl) => {
      expect(own(baseUrl)).toEqual([])
    },
  )

  test('is one of many where the gateway listens everywhere', () => {
    const leasehold = { host: '0.0.0.0', port: 80, apiKeys: ['0123456789abcdef'] }
    expect(own('http://127.9.9.9/v1', leasehold)).toEqual(refused)
    expect(own('http://[::1]/v1', leasehold)).toEqual(refused)
    expect(own('http://192.0.2.7/v1', leasehold)).toEqual([])
  })

  const [short = ''] = hostname().toLowerCase().split('.')
  test.each([hostname(), `${short}.local`, `${short.toUpperCase()}.`])(
    'by the name of this host, %s, is refused wherever the gateway listens',
    (name) => {
      for (const host of ['127.0.0.1', 'localhost', '0.0.0.0', '192.0.2.7']) {
        const leasehold = { host, apiKeys: ['0123456789abcdef'] }
        expect(own(`http://${name}:4141/v1`, leasehold)).toEqual(refused)
        expect(own(`http://${name}:4142/v1`, leasehold)).toEqual([])
      }
    },
  )

  const outward = Object.values(networkInterfaces())
    .flatMap((found = []) => found)
    .filter(({ internal, address }) => !internal && !address.startsWith('fe80'))
    .map(({ address, family }) => (family === 'IPv6' ? `[${address}]` : address))
  test.skipIf(outward.length === 0)('by an address of this host is refused where the gateway listens', () => {
    for (const address of outward) {
      const plain = address.replace(/[[\]]/g, '')
      for (const host of ['0.0.0.0', '::', plain])
        expect(own(`http://${address}:4141/v1`, { host, apiKeys: ['0123456789abcdef'] })).toEqual(refused)
      expect(own(`http://${address}:4142/v1`, { host: '0.0.0.0', apiKeys: ['0123456789abcdef'] })).toEqual([])
      // Another server may listen there while the gateway listens at loopback only.
      expect(own(`http://${address}:4141/v1`)).toEqual([])
    }
  })

  test('is unknown with port 0', () => {
    expect(own('http://127.0.0.1:4141/v1', { port: 0 })).toEqual([])
  })

  test('is refused for replicas and for a health check, too', () => {
    expect(
      problemsOf({ baseUrl: 'http://127.0.0.1:1/v1', replicas: [{ baseUrl: 'http://127.0.0.1:4141/v1' }] }),
    ).toMatchObject([{ severity: 'error', path: 'models.providers.p.replicas[0].baseUrl' }])
    const healthUrl = 'http://127.0.0.1:4141/health'
    expect(
      problemsOf({ baseUrl: 'http://127.0.0.1:1/v1', localService: { ...localService, healthUrl } }),
    ).toContainEqual(
      expect.objectContaining({ severity: 'error', path: 'models.providers.p.localService.healthUrl' }),
    )
  })

  test('is that of --port where one is given', () => {
    const text = JSON.stringify({ models: { providers: { p: { baseUrl: 'http://127.0.0.1:5000/v1' } } } })
    expect(() => parseConfig(text, { gateway: { port: 5000 } })).toThrow(/gateway itself listens/)
    expect(parseConfig(text).problems).toEqual([])
  })

  test("in a file of OpenClaw's makes only its provider unavailable", () => {
    const text = JSON.stringify({
      models: { providers: { leasehold: { baseUrl: 'http://127.0.0.1:4141/v1', models: [{ id: 'm' }] } } },
    })
    const { providers, problems } = parseConfig(text, { file: 'openclaw.json' })
    expect(providers[0]?.unavailable).toContain('where the gateway itself listens')
    expect(problems.map(({ severity }) => severity)).toEqual(['warning'])
  })
})

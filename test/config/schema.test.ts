import { describe, expect, test } from 'vitest'
import { parseConfig } from '../../src/config/load.ts'
import { toJsonSchema } from '../../src/config/schema.ts'
import { ConfigError } from '../../src/errors.ts'
import { catchProblems, toText } from './reports.ts'

const service = (options: string) =>
  toText(`local: { baseUrl: 'http://127.0.0.1:1/v1', localService: { command: '/bin/server', ${options} } }`)

describe('options and their defaults', () => {
  test('a local service has every default', () => {
    const { localService } = parseConfig(service('')).providers[0] ?? {}
    expect(localService).toEqual({
      command: '/bin/server',
      args: [],
      external: false,
      env: {},
      inheritEnv: [],
      healthUrl: 'http://127.0.0.1:1/v1/models',
      readyTimeoutMs: 120_000,
      idleStopMs: 0,
      stopGraceMs: 15_000,
      drainTimeoutMs: 30_000,
      maxConcurrent: 1024,
      maxQueue: 1000,
      maxQueueMs: 420_000,
      pinned: false,
      minResidencyMs: 5_000,
      maxStarveMs: 30_000,
      secretArgs: [],
      key: expect.stringMatching(/^[0-9a-f]{64}$/),
    })
  })

  test('the queue waits five minutes longer than a start may take, as far as a timer can count', () => {
    expect(parseConfig(service('readyTimeoutMs: 1')).providers[0]?.localService?.maxQueueMs).toBe(300_001)
    expect(parseConfig(service('readyTimeoutMs: 2147483647')).providers[0]?.localService?.maxQueueMs).toBe(
      2_147_483_647,
    )
    expect(parseConfig(service('maxQueueMs: 5')).providers[0]?.localService?.maxQueueMs).toBe(5)
  })

  test('a model has every default', () => {
    const text = toText(`local: { baseUrl: 'http://h', models: [{ id: 'm' }] }`)
    expect(parseConfig(text).providers[0]?.models[0]).toEqual({
      id: 'm',
      upstreamId: 'm',
      name: 'm',
      reasoning: false,
      input: ['text'],
      cost: { input: 0, output: 0, cacheRead: 0, cacheWrite: 0 },
      compat: {},
      headers: {},
      params: {},
      unlisted: false,
      dropParams: [],
    })
  })

  test.each([
    ['', 'contextWindow: 4096', undefined],
    ['maxTokens: 100,', '', 100],
    ['maxTokens: 100,', 'maxTokens: 200', 200],
    ['maxTokens: 9000,', 'contextWindow: 5000', 5000],
  ])('with provider {%s} and model {%s} the longest answer is %o tokens', (provider, model, expected) => {
    const text = toText(`local: { baseUrl: 'http://h', ${provider} models: [{ id: 'm', ${model} }] }`)
    expect(parseConfig(text).providers[0]?.models[0]?.maxTokens).toBe(expected)
  })

  test('an empty file in braces gives the defaults of leasehold itself', () => {
    expect(parseConfig('{}').leasehold).toEqual({
      host: '127.0.0.1',
      port: 4141,
      firstPort: 15_800,
      listAliases: false,
      apiKeys: [],
      controlKeys: [],
      allowedHosts: [],
      allowedOrigins: [],
      allowLinkLocal: false,
      maxBodyBytes: 67_108_864,
      maxQueuedBytes: 67_108_864,
      maxConnections: 2048,
      maxClientConnections: 256,
      writeStallMs: 120_000,
      maxConcurrentStarts: 2,
      budgets: {},
      groups: {},
      preload: [],
      returnToDefaultMs: 0,
      nvidiaSmi: '/usr/bin/nvidia-smi',
      backoffMs: 1000,
      backoffMaxMs: 60_000,
      breakerFailures: 5,
      breakerCooldownMs: 30_000,
      stabilityMs: 60_000,
      heartbeatMs: 10_000,
      leaseWarnMs: 3_600_000,
      maxLeaseMs: 0,
      coldStartCommentsMs: 5000,
      captureBodies: false,
    })
  })
})

describe('who may use the gateway', () => {
  const problemsOf = (leasehold: object) => {
    try {
      return parseConfig(JSON.stringify({ leasehold })).problems
    } catch (error) {
      return error instanceof ConfigError ? error.problems : []
    }
  }

  test.each([
    [{ allowedHosts: ['http://x'] }],
    [{ allowedHosts: ['x/y'] }],
    [{ allowedHosts: ['user@x'] }],
    [{ allowedHosts: ['*'] }],
    [{ allowedOrigins: ['*'] }],
    [{ allowedOrigins: ['null'] }],
    [{ allowedOrigins: ['chat.example'] }],
    [{ allowedOrigins: ['https://chat.example/'] }],
    [{ allowedOrigins: ['https://chat.example:443'] }],
    [{ allowedOrigins: ['https://user@chat.example'] }],
    [{ allowedOrigins: ['file:///x'] }],
    [{ allowedOrigins: ['file://'] }],
    [{ allowedOrigins: ['https://*'] }],
    [{ allowedOrigins: ['https://*.example'] }],
    [{ allowedOrigins: ['app://obsidian.md/'] }],
    [{ allowedOrigins: ['*://obsidian.md'] }],
    [{ allowedOrigins: ['data://x'] }],
    [{ host: 'example.com' }],
    [{ host: '0.0.0.0' }],
    [{ host: '192.168.1.5', controlKeys: ['only-a-control-key'] }],
    [{ apiKeys: [''] }],
    [{ controlKeys: [`\${NOT_SET}`] }],
  ])('%j is refused', (leasehold) => {
    expect(problemsOf(leasehold)).toMatchObject([{ severity: 'error' }])
  })

  test.each([
    [{ allowedHosts: ['models.lan', 'models.lan:8443', '[::1]:9'] }],
    [{ allowedOrigins: ['https://chat.example', 'http://127.0.0.1:3000', 'HTTPS://Chat.Example'] }],
    [{ allowedOrigins: ['app://obsidian.md', 'tauri://localhost', 'capacitor://localhost'] }],
    [{ allowedOrigins: ['vscode-webview://*', 'vscode-webview://1ab2c3', 'moz-extension://*'] }],
    [{ allowedOrigins: ['chrome-extension://abcdefghijklmnopabcdefghijklmnop'] }],
    [{ host: '::1' }],
    [{ host: '127.9.9.9' }],
    [{ host: '::', apiKeys: ['a-key-of-more-than-16'] }],
  ])('%j is taken', (leasehold) => {
    expect(problemsOf(leasehold)).toEqual([])
  })

  test('a short key beyond loopback is a warning that does not repeat it', () => {
    const problems = problemsOf({ host: '0.0.0.0', apiKeys: ['short-key'] })
    expect(problems).toMatchObject([{ severity: 'warning', path: 'leasehold.apiKeys[0]' }])
    expect(JSON.stringify(problems)).not.toContain('short-key')
  })
})

describe('numbers out of range', () => {
  const durations = [
    ['readyTimeoutMs', 1],
    ['idleStopMs', 0],
    ['stopGraceMs', 0],
    ['drainTimeoutMs', 0],
    ['abandonStartMs', 0],
    ['maxQueueMs', 1],
  ] as const
  const wrong = [
    'NaN',
    'Infinity',
    '-Infinity',
    '-1',
    '1.5',
    '1e12',
    '2147483648',
    '1e300',
    "'5000'",
    'null',
    'true',
    '[1]',
  ]

  test.each(durations.flatMap(([name, min]) => wrong.map((value) => [name, value, min] as const)))(
    '%s: %s is one error that names the range',
    (name, value, min) => {
      const problems = catchProblems(service(`${name}: ${value}`))
      expect(problems).toHaveLength(1)
      expect(problems[0]).toMatchObject({ path: `models.providers.local.localService.${name}`, line: 1 })
      expect(problems[0]?.message).toContain(
        `must be a whole number of milliseconds from ${min} to 2147483647 or a duration such as "90s", not `,
      )
    },
  )

  test.each(durations)('%s takes its smallest value and the longest a timer can hold', (name, min) => {
    for (const value of [min, 2_147_483_647]) {
      expect(parseConfig(service(`${name}: ${value}`)).providers[0]?.localService?.[name]).toBe(value)
    }
  })

  test.each([
    ["'30d'", '"30d", which is 2592000000 milliseconds'],
    ["'0.5ms'", '"0.5ms", which is 0.5 milliseconds'],
    ["'5000'", '"5000"; write 5000 for milliseconds, or a unit: "5000s"'],
    ["'10 min'", '"10 min"; write "10m"'],
    ["'10M'", '"10M"; write "10m"'],
    ["'1 hour and 30 minutes'", '"1 hour and 30 minutes"; write "1h30m"'],
    ["'PT1H30M'", '"PT1H30M"; write "1h30m"'],
    ["'soon'", '"soon"; the units are d, h, m, s and ms'],
    ["'30m1h'", '"30m1h"; the units are d, h, m, s and ms'],
    ["'-5m'", '"-5m"; the units are d, h, m, s and ms'],
    ["''", '""; the units are d, h, m, s and ms'],
  ])('the duration %s is one error that names the right form', (value, message) => {
    expect(catchProblems(service(`idleStopMs: ${value}`)).map((one) => one.message)).toEqual([
      `must be a whole number of milliseconds from 0 to 2147483647 or a duration such as "90s", not ${message}`,
    ])
  })

  test.each([
    ['500ms', 500],
    ['90s', 90_000],
    ['10m', 600_000],
    ['1h30m', 5_400_000],
    ['1.5h', 5_400_000],
    ['0s', 0],
    ['0.0011s', undefined],
    ['1d', 86_400_000],
    ['24d20h31m23s647ms', 2_147_483_647],
  ])('a duration of %s is %o milliseconds', (text, ms) => {
    const read = () => parseConfig(service(`idleStopMs: '${text}'`))
    if (ms === undefined) expect(read).toThrow('which is 1.1 milliseconds')
    else expect(read().providers[0]?.localService?.idleStopMs).toBe(ms)
  })

  test('every option in milliseconds takes a duration, and so does timeoutSeconds', () => {
    const takesText = ([, option]: [string, Record<string, unknown>]) =>
      Array.isArray(option.anyOf) &&
      option.anyOf.some(({ type, pattern }) => type === 'string' && pattern?.includes('ms'))
    const options = listProperties(toJsonSchema())
    const isDuration = ([path]: [string, unknown]) => /(Ms|Seconds)$/.test(path)
    expect(options.filter(takesText).map(([path]) => path)).toEqual(
      options.filter(isDuration).map(([path]) => path),
    )
    const config = parseConfig(
      toText(
        `p: { baseUrl: 'http://h', timeoutSeconds: '5m', stallTimeoutMs: '2m' }`,
        `leasehold: { leaseWarnMs: '2h', coldStartCommentsMs: '0s' }`,
      ),
    )
    expect(config.providers[0]).toMatchObject({ timeoutMs: 300_000, stallTimeoutMs: 120_000 })
    expect(config.leasehold).toMatchObject({ leaseWarnMs: 7_200_000, coldStartCommentsMs: 0 })
    expect(
      catchProblems(toText(`p: { baseUrl: 'http://h', timeoutSeconds: '1500ms' }`))[0]?.message,
    ).toContain(
      'a whole number of seconds from 1 to 2147483 or a duration such as "90s", not "1500ms", which is 1.5 seconds',
    )
  })

  test.each([
    ['maxQueue: 0', 'from 1 to 1000000, not 0'],
    ['maxConcurrent: 0', 'from 1 to 1000000, not 0'],
  ])('%s is refused', (option, message) => {
    expect(catchProblems(service(option))[0]?.message).toContain(message)
  })

  test('NaN deep inside params is an error at its place', () => {
    const text = toText(
      `local: { baseUrl: 'http://h', models: [{ id: 'm', params: { extra_body: { a: [1, NaN] } } }] }`,
    )
    expect(catchProblems(text)).toMatchObject([
      {
        path: 'models.providers.local.models[0].params.extra_body.a[1]',
        message: 'NaN and Infinity cannot be sent as JSON',
      },
    ])
  })
})

describe('the JSON Schema', () => {
  test('describes every option and states its default', () => {
    const schema = toJsonSchema()
    const undescribed = listProperties(schema).filter(([, property]) => property.description === undefined)
    expect(undescribed.map(([path]) => path)).toEqual([])
    expect(schema).toMatchObject({
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      properties: { leasehold: { properties: { port: { default: 4141, minimum: 0, maximum: 65_535 } } } },
    })
  })
})

/** Every property of a JSON Schema, with its path. */
function listProperties(schema: object, path = ''): [string, Record<string, unknown>][] {
  return Object.entries(schema).flatMap(([key, value]): [string, Record<string, unknown>][] => {
    if (typeof value !== 'object' || value === null || key === 'default') return []
    if (key !== 'properties') return listProperties(value, path)
    return Object.entries<Record<string, unknown>>(value).flatMap(([name, property]) => [
      [`${path}.${name}`, property] satisfies [string, Record<string, unknown>],
      ...listProperties(property, `${path}.${name}`),
    ])
  })
}

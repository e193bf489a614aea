import { describe, expect, test } from 'vitest'
import { parseConfig } from '../../src/config/load.ts'
import { catchProblems, toText } from './reports.ts'

const PORT = `\${PORT}`
const service = (more = '') =>
  `localService: { command: '/bin/server', args: ['--port', '${PORT}'], ${more} }`
const urlsOf = (providers: string, leasehold = '') =>
  parseConfig(toText(providers, `leasehold: { ${leasehold} }`)).providers.map(({ baseUrl }) => baseUrl)

describe(`\${PORT}`, () => {
  test('is the same in every place where it stands, and makes up the base URL', () => {
    const [one, two] = parseConfig(
      toText(
        `one: { ${service(`env: { ADDR: '127.0.0.1:${PORT}' }, healthUrl: 'http://127.0.0.1:${PORT}/health'`)} },
         two: { baseUrl: 'http://localhost:${PORT}/api', localService: { command: '/bin/server' } }`,
      ),
    ).providers
    expect(one).toMatchObject({
      baseUrl: 'http://127.0.0.1:15800/v1',
      localService: {
        args: ['--port', '15800'],
        env: { ADDR: '127.0.0.1:15800' },
        healthUrl: 'http://127.0.0.1:15800/health',
        secretArgs: [],
      },
    })
    expect(two).toMatchObject({
      baseUrl: 'http://localhost:15801/api',
      localService: { healthUrl: 'http://localhost:15801/api/models' },
    })
  })

  test('is the port of a base URL that states one', () => {
    const texts = [`http://127.0.0.1:8080/v1`, 'http://127.0.0.1/v1', 'https://127.0.0.1/v1'].map((baseUrl) =>
      toText(`p: { baseUrl: '${baseUrl}', ${service()} }`),
    )
    expect(texts.map((text) => parseConfig(text).providers[0]?.localService?.args[1])).toEqual([
      '8080',
      '80',
      '443',
    ])
  })

  test('is no variable of the environment, and stays where it is escaped', () => {
    const text = toText(
      `p: { localService: { command: '/x', args: ['${PORT}', '$${PORT}', '${'$'}{OTHER}'] } }`,
    )
    const env = { PORT: '1', OTHER: 'x' }
    expect(parseConfig(text, { env }).providers[0]?.localService).toMatchObject({
      args: ['15800', PORT, 'x'],
      secretArgs: [2],
    })
  })

  test('is assigned in the order of the file, and a provider at the end changes no other', () => {
    const [a, b, c] = ['a', 'b', 'c'].map((id) => `${id}: { ${service()} },`)
    const urls = [15_800, 15_801, 15_802].map((port) => `http://127.0.0.1:${port}/v1`)
    expect(urlsOf(`${a} ${b}`)).toEqual(urls.slice(0, 2))
    expect(urlsOf(`${a} ${b} ${c}`)).toEqual(urls)
    expect(urlsOf(`${a} ${b}`, 'firstPort: 9000')).toEqual([
      'http://127.0.0.1:9000/v1',
      'http://127.0.0.1:9001/v1',
    ])
  })

  test.each([
    `z: { baseUrl: 'http://127.0.0.1:15800/v1' }`,
    `z: { baseUrl: 'http://h', localService: { command: '/x', args: ['--port=15800'] } }`,
    `z: { baseUrl: 'http://h', localService: { command: '/x', args: ['--listen', ':15800'] } }`,
    `z: { baseUrl: 'http://h', localService: { command: '/x', env: { ADDR: '0.0.0.0:15800' } } }`,
    `z: { baseUrl: 'http://h', localService: { command: '/x', healthUrl: 'http://127.0.0.1:15800/' } }`,
    `z: { baseUrl: 'http://h', replicas: [{ baseUrl: 'http://h:15800/v1' }] }`,
  ])('skips a port that the file writes: %s', (other) => {
    expect(urlsOf(`a: { ${service()} }, ${other}`)[0]).toBe('http://127.0.0.1:15801/v1')
  })

  test('skips the port of the gateway', () => {
    expect(urlsOf(`a: { ${service()} }`, 'firstPort: 4141')).toEqual(['http://127.0.0.1:4142/v1'])
    expect(urlsOf(`a: { ${service()} }`, 'port: 15800')).toEqual(['http://127.0.0.1:15801/v1'])
  })

  test('of a replica is its own, also in what it takes over', () => {
    const { providers } = parseConfig(
      toText(
        `a: { ${service(`healthUrl: 'http://127.0.0.1:${PORT}/health'`)}, replicas: [
           { localService: {} },
           { baseUrl: 'http://127.0.0.1:8080/v1', localService: { env: { GPU: '1' } } },
         ] },
         b: { ${service()} }`,
      ),
    )
    expect(
      providers.map(({ id, localService }) => [id, localService?.args[1], localService?.healthUrl]),
    ).toEqual([
      ['a', '15800', 'http://127.0.0.1:15800/health'],
      ['a#2', '15801', 'http://127.0.0.1:15801/health'],
      ['a#3', '8080', 'http://127.0.0.1:8080/health'],
      ['b', '15802', 'http://127.0.0.1:15802/v1/models'],
    ])
  })

  test('that is not used leaves the base URL required', () => {
    const path = 'models.providers.p.baseUrl'
    expect(catchProblems(toText(`p: { localService: { command: '/x' } }`))).toMatchObject([
      { path, message: `is required (string), unless localService uses ${PORT}` },
    ])
    expect(catchProblems(toText(`p: {}`))).toMatchObject([{ path }])
    expect(catchProblems(toText(`p: { baseUrl: 'http://h', replicas: [{ apiKey: 'x' }] }`))).toMatchObject([
      { path: 'models.providers.p.replicas[0].baseUrl' },
    ])
  })

  test('beyond the last port is an error', () => {
    const problems = catchProblems(
      toText(`a: { ${service()} }, b: { ${service()} }`, 'leasehold: { firstPort: 65535 }'),
    )
    expect(problems).toContainEqual(
      expect.objectContaining({ path: 'leasehold.firstPort', message: 'leaves too few ports below 65536' }),
    )
  })

  test('in a file of OpenClaw is a variable of the environment', () => {
    const text = toText(`p: { baseUrl: 'http://127.0.0.1:1/v1', ${service()} }`)
    const env = { PORT: '1' }
    const [provider] = parseConfig(text, { file: 'openclaw.json', env }).providers
    expect(provider?.localService?.args[1]).toBe('1')
    expect(parseConfig(text, { file: 'openclaw.json' }).providers[0]?.unavailable).toBe(`${PORT} is not set`)
  })

  test('makes no file of OpenClaw out of one with a provider that OpenClaw knows', () => {
    expect(parseConfig(toText(`vllm: { ${service()} }`)).providers[0]?.unavailable).toBeUndefined()
    expect(parseConfig(toText(`vllm: {}`)).providers[0]?.unavailable).toContain('has no baseUrl')
  })

  test('is told about at the place of the text that holds it', () => {
    const problems = parseConfig(
      toText(
        `p: { localService: { command: '/x', args: ['--port ${PORT}'] }, replicas: [{ localService: {} }] }`,
      ),
    ).problems
    expect(problems).toMatchObject([{ path: 'models.providers.p.localService.args[0]' }])
  })
})

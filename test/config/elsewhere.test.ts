import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { parseWithValues } from '../../src/config/load.ts'
import { toPrintable } from '../../src/config/printable.ts'
import { parseConfig } from '../../src/index.ts'
import { writeAndLoad } from '../integration/library.ts'

const PORT = `\${PORT}`
const GENERATION = `\${GENERATION}`

function parse(localService: object, provider: object = {}) {
  const text = JSON.stringify({
    models: { mode: 'replace', providers: { box: { ...provider, localService } } },
  })
  return parseConfig(text, { env: { PATH: '/nowhere' } }).providers[0]
}

describe('a container', () => {
  test('is written out for docker', () => {
    const container = {
      image: 'server',
      args: ['-m', '/m.gguf'],
      volumes: ['/m:/m:ro'],
      gpus: 'all',
      env: { A: '1', HOME: '/h' },
    }
    const { localService, baseUrl } = parse({ container, stopGraceMs: '2500ms' }) ?? {}
    const name = `leasehold-box-${GENERATION}`
    expect(baseUrl).toBe('http://127.0.0.1:15800/v1')
    expect(localService).toMatchObject({
      command: '/usr/bin/docker',
      args: [
        ...['run', '--rm', '--init', '--name', name, '-e', 'LEASEHOLD_OWNER', '-e', 'LEASEHOLD_GENERATION'],
        ...[
          '-p',
          '127.0.0.1:15800:8080',
          '--gpus',
          'all',
          '-v',
          '/m:/m:ro',
          '-e',
          'A',
          '-e',
          'HOME=/h',
          'server',
          '-m',
          '/m.gguf',
        ],
      ],
      env: { A: '1' },
      external: true,
      stopCommand: [
        ['/usr/bin/docker', 'stop', '-t', '3', name],
        ['/usr/bin/docker', 'rm', '-f', name],
      ],
      readyTimeoutMs: 900_000,
    })
    expect(localService?.statusCommand?.slice(0, 6)).toEqual([
      ...['/usr/bin/docker', 'ps', '-q', '--no-trunc', '--filter', `name=^/?${name}$`],
    ])
  })

  test('of podman in the network of the host has the port in its arguments', () => {
    const container = {
      engine: 'podman',
      image: 'server',
      network: 'host',
      gpus: 'all',
      args: ['--port', PORT],
    }
    const { localService } = parse({ container }) ?? {}
    expect(localService?.args).not.toContain('-p')
    expect(localService?.args.slice(-3)).toEqual(['server', '--port', '15800'])
    expect(localService?.args).toContain('nvidia.com/gpu=all')
  })

  // A provider of this name and without an address is one that OpenClaw knows.
  test.each(['box', 'qwen'])('has a port of its own in a file that states nothing else: %s', (id) => {
    const text = JSON.stringify({
      models: { providers: { [id]: { localService: { container: { image: 'server' } } } } },
    })
    const { providers, problems } = parseConfig(text, { env: { PATH: '/nowhere' } })
    expect(providers[0]).toMatchObject({ id, baseUrl: 'http://127.0.0.1:15800/v1' })
    expect(problems).toEqual([])
  })

  test('gives way to what is stated beside it', () => {
    const stated = { stopCommand: ['/bin/end'], readyTimeoutMs: 5, args: ['--verbose'] }
    const { localService } = parse({ container: { image: 'server' }, ...stated }) ?? {}
    expect(localService).toMatchObject({ stopCommand: [['/bin/end']], readyTimeoutMs: 5 })
    expect(localService?.args.at(-1)).toBe('--verbose')
  })

  test('is printed as a file that says the same', () => {
    const text = JSON.stringify({
      models: { mode: 'replace', providers: { box: { localService: { container: { image: 'server' } } } } },
    })
    const options = { env: { PATH: '/nowhere' } }
    const loaded = parseWithValues(text, options)
    const again = parseConfig(JSON.stringify(toPrintable(loaded)), options)
    expect(again.providers[0]?.localService?.key).toBe(loaded.config.providers[0]?.localService?.key)
  })
})

describe('a unit', () => {
  test.each([
    ['box.service', ['--user']],
    [{ name: 'box.service', system: true }, []],
  ])('%j is written out for systemctl', (unit, scope) => {
    const { localService } = parse({ unit }, { baseUrl: 'http://127.0.0.1:8080/v1' }) ?? {}
    expect(localService).toMatchObject({
      command: '/usr/bin/systemctl',
      args: [...scope, 'start', 'box.service'],
      external: true,
      stopCommand: [['/usr/bin/systemctl', ...scope, 'stop', 'box.service']],
    })
  })
})

test.each([
  { engine: 'llama.cpp', context: 8192, idleStopMs: '10m' },
  { command: '/bin/server', args: ['--all'], idleStopMs: '10m' },
])('a container and a unit take no program from the defaults: %j', (defaults) => {
  const text = JSON.stringify({
    leasehold: { defaults },
    models: {
      mode: 'replace',
      providers: {
        box: { localService: { container: { image: 'server' } } },
        unit: { baseUrl: 'http://127.0.0.1:8080/v1', localService: { unit: 'box.service' } },
      },
    },
  })
  const [box, unit] = parseConfig(text, { env: { PATH: '/nowhere' } }).providers
  expect(box?.localService).toMatchObject({ command: '/usr/bin/docker', idleStopMs: 600_000 })
  expect(box?.localService?.args.at(-1)).toBe('server')
  expect(unit?.localService).toMatchObject({ command: '/usr/bin/systemctl', idleStopMs: 600_000 })
})

test('a container and a unit at once are refused', () => {
  expect(() => parse({ container: { image: 'server' }, unit: 'box.service' })).toThrow(
    /unit.*: cannot be given together with container/,
  )
})

describe('two services with one server', () => {
  const warningsOf = (...services: object[]) => {
    const providers = Object.fromEntries(
      services.map((localService, index) => [
        `box${index}`,
        { baseUrl: `http://127.0.0.1:808${index}/v1`, localService },
      ]),
    )
    const { problems } = parseConfig(JSON.stringify({ models: { mode: 'replace', providers } }), {
      env: { PATH: '/nowhere' },
    })
    return problems.map(({ path, message }) => `${path}: ${message}`)
  }
  const told = [
    'models.providers.box1.localService: means the same server as "box0", so that the stop of one would end the other: give each its own container.name, unit or command',
  ]

  test.each([
    [
      'one name',
      { container: { image: 'a', name: 'qwen' } },
      { container: { image: 'b', name: 'qwen' }, stopGraceMs: '1s' },
    ],
    ['one unit', { unit: 'box.service' }, { unit: { name: 'box.service' }, readyTimeoutMs: '9s' }],
    [
      'one stop command',
      { command: '/bin/a', external: true, stopCommand: ['/bin/end', 'qwen'] },
      { command: '/bin/b', external: true, stopCommand: [['/bin/end', 'qwen']] },
    ],
  ])('is a warning: %s', (_, one, other) => {
    expect(warningsOf(one, other)).toEqual(told)
  })

  test.each([
    ['names of their own', { container: { image: 'a' } }, { container: { image: 'a' } }],
    [
      'the id of the run in the name',
      { container: { image: 'a', name: `q-${GENERATION}` } },
      { container: { image: 'b', name: `q-${GENERATION}` } },
    ],
    [
      'a unit of the user and one of the system',
      { unit: 'box.service' },
      { unit: { name: 'box.service', system: true } },
    ],
  ])('is none: %s', (_, one, other) => {
    expect(warningsOf(one, other)).toEqual([])
  })
})

test('a stop command that is missing or not executable makes the provider unavailable, with a warning (fault E-4)', async () => {
  const file = fileURLToPath(import.meta.url)
  for (const [program, reason] of [
    ['/nowhere/stop', 'the program /nowhere/stop does not exist or cannot be reached'],
    [file, `${file} is not executable`],
  ] as const) {
    const config = await writeAndLoad(
      JSON.stringify({
        models: {
          mode: 'replace',
          providers: {
            box: {
              baseUrl: 'http://127.0.0.1:8080/v1',
              localService: { command: '/bin/true', external: true, stopCommand: [program] },
            },
          },
        },
      }),
    )
    expect(config.providers[0]?.unavailable).toBe(reason)
    expect(config.problems).toMatchObject([
      { severity: 'warning', message: `${reason}; provider "box" is unavailable` },
    ])
  }
})

test.each(['external', 'statusCommand'])('%s needs a stop command', (option) => {
  const value = option === 'external' ? true : ['/bin/status']
  expect(() =>
    parse({ command: '/bin/server', [option]: value }, { baseUrl: 'http://127.0.0.1:1/v1' }),
  ).toThrow(/needs stopCommand/)
})

test('a stop command is one command or a list of them, and a part of what a service is', () => {
  const provider = { baseUrl: 'http://127.0.0.1:1/v1' }
  const keyOf = (localService: object) =>
    parse({ command: '/bin/server', ...localService }, provider)?.localService?.key
  const one = keyOf({ stopCommand: ['/bin/end', 'x'] })
  expect(keyOf({ stopCommand: [['/bin/end', 'x']] })).toBe(one)
  expect(keyOf({ stopCommand: ['/bin/end', 'y'] })).not.toBe(one)
  expect(keyOf({})).not.toBe(one)
})

test.each([{ container: { image: '--privileged' } }, { unit: '--help' }, { unit: { name: '-H' } }])(
  '%j would be an option of the program',
  (localService) => {
    expect(() => parse(localService, { baseUrl: 'http://127.0.0.1:1/v1' })).toThrow(
      /must not begin with|must be the name of a unit/,
    )
  },
)

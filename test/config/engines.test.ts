import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { engines } from '../../src/config/engines.ts'
import { loadConfig, parseConfig } from '../../src/config/load.ts'
import { readBackend } from '../backends/imitation.ts'
import { catchProblems, toText } from './reports.ts'

const read = (provider: string, rest = '') =>
  parseConfig(toText(provider, rest), { env: { HOME: '/home/u' }, file: '/etc/leasehold.json5' })
const one = (provider: string, rest = '') => {
  const { providers, problems } = read(`p: { ${provider} }`, rest)
  expect(problems).toEqual([])
  return providers[0]
}
const llama = (more = '') => `localService: { engine: 'llama.cpp', model: '/m/qwen.gguf', ${more} }`

describe('an engine', () => {
  test('and a model are a whole provider', () => {
    expect(one(llama())).toMatchObject({
      baseUrl: 'http://127.0.0.1:15800/v1',
      localService: {
        engine: 'llama.cpp',
        args: [
          '--model',
          '/m/qwen.gguf',
          '--alias',
          'p',
          '--host',
          '127.0.0.1',
          '--port',
          '15800',
          '--jinja',
        ],
        healthUrl: 'http://127.0.0.1:15800/health',
        readyTimeoutMs: 180_000,
        stopGraceMs: 15_000,
        idleStopMs: 0,
        secretArgs: [],
      },
      models: [{ id: 'p', upstreamId: 'p', compat: { toolSchemaProfile: 'llamacpp' } }],
    })
  })

  test('yields to what stands beside it; arguments are added', () => {
    const provider = one(
      `baseUrl: 'http://127.0.0.1:8080/api', ${llama(
        `command: '/own/llama-server', args: ['-c', '9', '--no-jinja', '-ngl', '99'], readyTimeoutMs: '1m', env: { A: '1' }`,
      )}, models: [{ id: 'm', compat: { toolSchemaProfile: 'xai', supportsTools: false } }]`,
    )
    expect(provider).toMatchObject({
      baseUrl: 'http://127.0.0.1:8080/api',
      localService: {
        command: '/own/llama-server',
        args: [
          ...['--model', '/m/qwen.gguf', '--alias', 'm', '--host', '127.0.0.1', '--port', '8080'],
          ...['-c', '9', '--no-jinja', '-ngl', '99'],
        ],
        env: { A: '1' },
        healthUrl: 'http://127.0.0.1:8080/health',
        readyTimeoutMs: 60_000,
      },
      models: [{ id: 'm', upstreamId: 'm', compat: { toolSchemaProfile: 'xai', supportsTools: false } }],
    })
    expect(one(llama(`healthUrl: 'http://127.0.0.1:\${PORT}/up'`))?.localService?.healthUrl).toBe(
      'http://127.0.0.1:15800/up',
    )
  })

  test('knows the port and the name that its arguments state', () => {
    const stated = one(
      `localService: { engine: 'vllm', model: 'org/m', args: ['--port=9000', '--served-model-name', 'n'] }`,
    )
    expect(stated?.baseUrl).toBe('http://127.0.0.1:9000/v1')
    expect(stated?.localService?.args).toEqual([
      ...['serve', 'org/m', '--host', '127.0.0.1', '--port=9000', '--served-model-name', 'n'],
    ])
    expect(stated?.models).toMatchObject([{ id: 'p', upstreamId: 'n' }])
  })

  test.each([
    ['/m/a.gguf', '--model', '/m/a.gguf'],
    ['~/a.gguf', '--model', '/home/u/a.gguf'],
    ['./a.gguf', '--model', '/etc/a.gguf'],
    ['a.gguf', '--model', '/etc/a.gguf'],
    [`\${HOME}/a.gguf`, '--model', '/home/u/a.gguf'],
    ['ggml-org/gemma-3-1b-it-GGUF:Q4_K_M', '--hf-repo', 'ggml-org/gemma-3-1b-it-GGUF:Q4_K_M'],
  ])('loads the model %s with %s %s', (model, ...expected) => {
    const { args } = one(`localService: { engine: 'llama.cpp', model: '${model}' }`)?.localService ?? {}
    expect(args?.slice(0, 2)).toEqual(expected)
  })

  test('has time to download a model that is no file', () => {
    const timeoutOf = (model: string) =>
      one(`localService: { engine: 'llama.cpp', model: '${model}' }`)?.localService?.readyTimeoutMs
    expect([timeoutOf('/m/a.gguf'), timeoutOf('org/m')]).toEqual([180_000, 1_800_000])
  })

  test('loads the context of the service, else the largest of the models, which both have', () => {
    const contextOf = (service: string, models: string) => {
      const provider = one(`${llama(service)}, models: [${models}]`)
      const { args = [] } = provider?.localService ?? {}
      return [
        args.includes('--ctx-size') ? args[args.indexOf('--ctx-size') + 1] : undefined,
        provider?.models[0]?.contextWindow,
      ]
    }
    expect(contextOf('', `{ id: 'a' }`)).toEqual([undefined, undefined])
    expect(contextOf('context: 8192', `{ id: 'a' }`)).toEqual(['8192', 8192])
    expect(contextOf('context: 8192', `{ id: 'a', contextWindow: 100 }`)).toEqual(['8192', 100])
    expect(contextOf('', `{ id: 'a', context: 4096 }, { id: 'b', context: 512 }`)).toEqual(['4096', 4096])
  })

  test('serves several entries from one loaded model', () => {
    const names = (engine: string, models: string) =>
      one(`localService: { engine: '${engine}', model: 'org/m' }, models: [${models}]`)?.models.map(
        ({ id, upstreamId }) => [id, upstreamId],
      )
    const two = `{ id: 'a' }, { id: 'b', params: { temperature: 0 } }`
    expect(names('llama.cpp', two)).toEqual([
      ['a', 'a'],
      ['b', 'a'],
    ])
    // It would load a model of another name.
    expect(names('mlx', two)).toEqual([
      ['a', 'org/m'],
      ['b', 'org/m'],
    ])
    expect(names('vllm', `{ id: 'a', upstreamId: 'x' }, { id: 'b' }`)).toEqual([
      ['a', 'x'],
      ['b', 'x'],
    ])
  })

  test('that loads several models itself is one service for all of them', () => {
    const { providers } = read(
      `a: { localService: { engine: 'ollama', model: 'qwen3:8b' } },
       b: { localService: { engine: 'ollama' }, models: [{ id: 'gpt-oss:20b' }, { id: 'qwen3:8b' }] },
       c: { localService: { engine: 'ollama' } }`,
    )
    expect(new Set(providers.map(({ localService }) => localService?.key)).size).toBe(1)
    expect(providers.map(({ models }) => models.map(({ id, upstreamId }) => [id, upstreamId]))).toEqual([
      [['a', 'qwen3:8b']],
      [
        ['gpt-oss:20b', 'gpt-oss:20b'],
        ['qwen3:8b', 'qwen3:8b'],
      ],
      [],
    ])
    expect(providers[0]?.localService?.env).toEqual({ OLLAMA_HOST: '127.0.0.1:11434' })
  })

  test('may come from leasehold.defaults, so that three lines are three models', () => {
    const { providers } = read(
      `a: { localService: { model: '/a.gguf' } },
       b: { localService: { model: '/b.gguf' } },
       c: { localService: { engine: 'vllm', model: 'org/c' } },
       d: { baseUrl: 'http://127.0.0.1:1/v1', localService: { command: '/x' } }`,
      `leasehold: { defaults: { engine: 'llama.cpp', args: ['-ngl', '99'], idleStopMs: '10m' } }`,
    )
    expect(providers.map(({ localService }) => localService?.args.slice(-2))).toEqual(
      [['-ngl', '99'], ['-ngl', '99'], ['--port', '15802'], undefined].map((args) => args ?? []),
    )
    expect(providers.map(({ localService }) => localService?.idleStopMs)).toEqual(Array(4).fill(600_000))
  })

  test('is run again by a replica, with its own port and its own arguments', () => {
    const { providers } = read(
      `p: { ${llama(`args: ['-ngl', '9']`)}, replicas: [{ localService: {} }, { localService: { args: ['-ngl', '1', '-c', '5'] } }] }`,
    )
    expect(providers.map(({ localService }) => localService?.args.slice(6))).toEqual([
      ['--port', '15800', '--jinja', '-ngl', '9'],
      ['--port', '15801', '--jinja', '-ngl', '9'],
      ['--port', '15802', '--jinja', '-ngl', '1', '-c', '5'],
    ])
  })

  test('makes no file of OpenClaw out of one with a provider that OpenClaw knows', () => {
    const [provider] = read(`vllm: { localService: { engine: 'vllm', model: 'org/m' } }`).providers
    expect(provider?.unavailable).toBeUndefined()
  })
})

describe('what is wrong with an engine is told at its place', () => {
  test.each([
    [`engine: 'llamacpp'`, 'engine', '"llamacpp" is not a known engine; the nearest is "llama.cpp"'],
    [`engine: 'llama-cpp'`, 'engine', '"llama-cpp" is not a known engine; the nearest is "llama.cpp"'],
    [`engine: 'VLLM'`, 'engine', '"VLLM" is not a known engine; the nearest is "vllm"'],
    [`engine: 'lm-studio'`, 'engine', 'LM Studio runs its server itself'],
    [`engine: 'spongiform'`, 'engine', 'the engines are llama.cpp, vllm,'],
    [`engine: 7`, 'engine', '7 is not a known engine'],
    [`engine: 'llama.cpp'`, 'model', 'is required: the file or the name of the model'],
    [`engine: 'llama.cpp', model: 7`, 'model', 'expected string'],
    [`engine: 'llama.cpp', model: '/m', args: ['--port 1']`, 'args[0]', '"--port …" is one argument'],
    [`engine: 'llama.cpp', model: '/m', args: [7]`, 'args[0]', 'expected string'],
    [`engine: 'llama.cpp', model: '/m', contex: 7`, 'contex', 'the nearest known key is "context"'],
  ])('%s', (service, path, message) => {
    const text = toText(`p: { localService: { ${service} } }`)
    const problems = message.startsWith('"--port') ? parseConfig(text).problems : catchProblems(text)
    expect(problems).toMatchObject([
      { path: `models.providers.p.localService.${path}`, message: expect.stringContaining(message) },
    ])
  })

  test('and nothing else is wrong because of it', () => {
    const text = toText(
      `p: { localService: { engine: 'vlm', model: 'm' } }`,
      `leasehold: { groups: { gpu: ['p'] }, preload: ['P'] }, agents: { defaults: { model: 'p/p' } }`,
    )
    expect(catchProblems(text)).toMatchObject([{ path: 'models.providers.p.localService.engine' }])
  })

  test('a model may be named by an argument of the engine instead', () => {
    expect(one(`localService: { engine: 'llama.cpp', args: ['-hf', 'org/m'] }`)?.localService?.args).toEqual([
      ...['--alias', 'p', '--host', '127.0.0.1', '--port', '15800', '--jinja', '-hf', 'org/m'],
    ])
  })
})

describe('the program of an engine', () => {
  let home: string
  beforeEach(async () => {
    home = await mkdtemp(join(tmpdir(), 'leasehold-engines-'))
  })
  afterEach(() => rm(home, { recursive: true }))

  const addProgram = async (folder: string, name: string, mode = 0o755) => {
    await mkdir(join(home, folder), { recursive: true })
    const file = join(home, folder, name)
    await writeFile(file, '#!/bin/sh\n')
    await chmod(file, mode)
    return file
  }
  const load = async (service: string, path = join(home, 'bin')) => {
    const file = join(home, 'leasehold.json5')
    await writeFile(file, toText(`p: { localService: { ${service} } }`))
    return loadConfig(file, { env: { HOME: home, PATH: path } })
  }
  // Names that no host has in its usual places.
  const ds4 = `engine: 'ds4', model: './m.gguf'`

  test('is the first on PATH, else in a usual place, and is shown by its absolute path', async () => {
    await writeFile(join(home, 'm.gguf'), '')
    const usual = await addProgram('ds4', 'ds4-server')
    const found = async () => (await load(ds4)).providers[0]
    expect(await found()).toMatchObject({
      localService: {
        command: usual,
        cwd: join(home, 'ds4'),
        args: expect.arrayContaining([join(home, 'm.gguf')]),
      },
    })
    expect((await found())?.unavailable).toBeUndefined()
    await addProgram('bin', 'ds4-server', 0o644)
    expect((await found())?.localService?.command).toBe(usual)
    await rm(join(home, 'bin'), { recursive: true })
    const first = await addProgram('bin', 'ds4-server')
    expect((await found())?.localService?.command).toBe(first)
  })

  test('that is nowhere makes the provider unavailable, with how to install it', async () => {
    await writeFile(join(home, 'm.gguf'), '')
    const { providers, problems } = await load(ds4)
    const reason =
      'ds4-server is neither in PATH nor in the usual places: see https://github.com/antirez/ds4; or set localService.command'
    expect(providers[0]?.unavailable).toBe(reason)
    expect(problems).toMatchObject([
      {
        severity: 'warning',
        path: 'models.providers.p.localService.engine',
        message: `${reason}; provider "p" is unavailable`,
      },
    ])
  })

  test('that is named and not there is told as any command', async () => {
    const { problems } = await load(`${ds4}, command: '/nowhere/ds4-server'`)
    expect(problems).toMatchObject([
      { path: 'models.providers.p.localService.command', message: expect.stringContaining('does not exist') },
    ])
  })

  test('is of no use without the file of its model, which is told before a start', async () => {
    await addProgram('bin', 'ds4-server')
    expect(await load(ds4)).toMatchObject({
      providers: [{ unavailable: `the model ${join(home, 'm.gguf')} does not exist or cannot be reached` }],
      problems: [{ severity: 'warning', path: 'models.providers.p.localService.model' }],
    })
    expect((await load(`${ds4}, args: ['--model', '/other']`)).providers[0]?.unavailable).toBeUndefined()
  })

  test('is looked for in a folder of its own where it runs there', async () => {
    const python = await addProgram('tabbyAPI/venv/bin', 'python')
    const { providers } = await load(`engine: 'tabbyapi', model: 'qwen'`)
    expect(providers[0]?.localService).toMatchObject({ command: python, cwd: join(home, 'tabbyAPI') })
  })
})

/** Engines whose backend has another name among the examples. */
const EXAMPLES: Readonly<Record<string, string>> = { 'llama.cpp': 'llama-cpp' }
/** Nothing runs LM Studio: its example has no service, and its models are written out in `daemon.test.ts`. */
const WITHOUT_EXAMPLE = new Set(['koboldcpp', 'lmstudio', 'whisper.cpp'])

test.each(Object.keys(engines).filter((name) => !WITHOUT_EXAMPLE.has(name)))(
  'the preset %s is what the example of that backend writes out',
  async (name) => {
    const { provider: written } = await readBackend(EXAMPLES[name] ?? name)
    if (written.localService === undefined) throw new Error('an example with a service was expected')
    const { args, healthUrl, readyTimeoutMs, stopGraceMs, maxConcurrent, maxQueue, env } =
      written.localService
    const model =
      args[1 + args.findIndex((arg) => /^(serve|--model|--model-path|--model-name|--model-id)$/.test(arg))]
    const [entry] = written.models
    const preset = one(
      `baseUrl: '${written.baseUrl}', localService: { engine: '${name}', model: '${name === 'ollama' ? entry?.id : model}' },
       models: [{ id: '${entry?.id}' }]`,
    )
    expect(preset?.localService).toMatchObject({
      healthUrl,
      readyTimeoutMs,
      stopGraceMs,
      maxConcurrent,
      maxQueue,
      env,
    })
    expect(preset?.models[0]?.upstreamId).toBe(entry?.id)
    expect(preset?.models[0]?.compat).toMatchObject(toPresetFlags(name, entry?.compat ?? {}))
    // The port, the host and the model are given alike.
    const options = [
      '--host',
      '--hostname',
      '--port',
      '--model',
      '--model-id',
      '--model-path',
      '--model-name',
      'serve',
    ]
    for (const option of options.filter((each) => args.slice(0, -1).includes(each)))
      expect(preset?.localService?.args).toContain(args[args.indexOf(option) + 1])
  },
)

/** Whether a model of llama.cpp reasons depends on its template. */
function toPresetFlags(
  name: string,
  { supportsReasoningEffort, ...rest }: { supportsReasoningEffort?: boolean | undefined },
) {
  return name === 'llama.cpp'
    ? rest
    : { ...rest, ...(supportsReasoningEffort === undefined ? {} : { supportsReasoningEffort }) }
}

import { describe, expect, test } from 'vitest'
import { parseConfig } from '../../src/config/load.ts'
import type { ConfigError } from '../../src/errors.ts'
import { toServices } from '../../src/service/services.ts'

const told = {
  request: [{ path: '/sleep?level=1' }],
  wake: [{ path: '/wake_up', timeoutMs: '60s' }],
  check: { path: '/is_sleeping', field: 'is_sleeping' },
}

interface Options {
  readonly sleep: unknown
  readonly service?: object
  readonly provider?: object
  readonly leasehold?: object
}

const toText = ({ sleep, service = {}, provider = {}, leasehold = {} }: Options) =>
  JSON.stringify({
    models: {
      providers: {
        own: {
          baseUrl: 'http://127.0.0.1:8080/v1',
          models: [{ id: 'm' }],
          localService: { command: process.execPath, sleep, ...service },
          ...provider,
        },
      },
    },
    leasehold: { budgets: { vramMiB: 24_000 }, ...leasehold },
  })

async function read(options: Options, env: Record<string, string> = {}) {
  return parseConfig(toText(options), { env })
}

const findProblems = async (options: Options): Promise<string[]> => {
  const problems = await read(options).then(
    (config) => config.problems,
    (error: ConfigError) => error.problems,
  )
  return problems.map(({ path, message }) => `${path}: ${message}`)
}

describe('localService.sleep', () => {
  test('has its defaults, and becomes the policy of the service', async () => {
    const config = await read({ sleep: { afterMs: '2m', ...told } })
    const [service] = toServices(config).values()
    expect(service?.localService?.sleep).toMatchObject({
      afterMs: 120_000,
      request: [{ method: 'POST', path: '/sleep?level=1', timeoutMs: 30_000, headers: {} }],
      check: { method: 'GET', field: 'is_sleeping', equals: true },
    })
    expect(service?.policy.sleep).toEqual({
      afterMs: 120_000,
      isSelf: false,
      requestMs: 30_000,
      wakeMs: 60_000,
    })
  })

  test('does not change the identity of the service', async () => {
    const keys = await Promise.all(
      [undefined, told, { ...told, afterMs: 1 }].map(
        async (sleep) => (await read({ sleep })).providers[0]?.localService?.key,
      ),
    )
    expect(new Set(keys).size).toBe(1)
  })

  test.each<readonly [string, Options, string]>([
    ['no check', { sleep: { ...told, check: undefined } }, 'sleep.check: is required'],
    ['a check without a sign', { sleep: { ...told, check: { path: '/x' } } }, 'needs either field or status'],
    [
      'a check with two signs',
      { sleep: { ...told, check: { path: '/x', field: 'a', status: 503 } } },
      'needs either field or status',
    ],
    ['wake alone', { sleep: { ...told, request: [] } }, 'sleep.wake: needs request'],
    ['request alone', { sleep: { ...told, wake: [] } }, 'sleep.request: needs wake'],
    [
      'an idle time without a request',
      { sleep: { afterMs: 5, check: told.check } },
      'sleep.afterMs: needs request: nothing tells the server to sleep',
    ],
    ['a URL as path', { sleep: { ...told, check: { path: 'http://x/y', field: 'a' } } }, 'must be a path'],
    [
      'a path that names a host',
      { sleep: { ...told, check: { path: '//x/y', field: 'a' } } },
      'must be a path',
    ],
    [
      'a sleep of which nothing tells what it frees',
      { sleep: { ...told, afterMs: 0, needs: undefined } },
      'it never sleeps: afterMs is 0',
    ],
    [
      'an unknown budget',
      { sleep: { ...told, needs: { vramMB: 1 } } },
      'sleep.needs.vramMB: there is no budget "vramMB"; the nearest is "vramMiB"',
    ],
    [
      'more needs asleep than awake',
      { sleep: { ...told, needs: { vramMiB: 9 } }, service: { needs: { vramMiB: 8 } } },
      '9 is more than needs.vramMiB, 8: state there the most that it uses, awake or asleep',
    ],
    [
      'a sleep that comes after the stop',
      { sleep: { ...told, afterMs: 10 }, service: { idleStopMs: 10 } },
      'it never sleeps for being idle: it is stopped after idleStopMs, 10',
    ],
    [
      'a provider that leasehold does not run',
      { sleep: told, provider: { localService: undefined, sleep: told } },
      'models.providers.own.sleep',
    ],
  ])('says what is wrong with %s', async (_name, options, message) => {
    expect((await findProblems(options)).join('\n')).toContain(message)
  })

  test('has no problem where all is well, and one that is told by a status', async () => {
    expect(
      await findProblems({ sleep: { ...told, needs: { vramMiB: 8 } }, service: { needs: { vramMiB: 9 } } }),
    ).toEqual([])
    expect(await findProblems({ sleep: { check: { path: '/v1/model', status: 503 } } })).toEqual([])
  })

  test('substitutes its headers', async () => {
    const wake = [{ path: '/wake', headers: { 'x-admin-key': '${ADMIN}' } }]
    const config = await read({ sleep: { ...told, wake } }, { ADMIN: 'admin-secret' })
    expect(config.providers[0]?.localService?.sleep?.wake[0]?.headers).toEqual({
      'x-admin-key': 'admin-secret',
    })
  })
})

describe('the sleep of an engine', () => {
  const readEngine = (engine: string, service: object) =>
    parseConfig(
      JSON.stringify({
        models: {
          providers: {
            own: {
              localService: { engine, command: process.execPath, model: 'some/model', ...service },
              models: [{ id: 'm' }],
            },
          },
        },
      }),
      { env: { PATH: '' } },
    ).providers[0]?.localService

  test('of vLLM has level 1 in its query, its option and its variable', () => {
    const service = readEngine('vllm', { sleep: { afterMs: '1m' } })
    expect(service?.sleep).toMatchObject({
      afterMs: 60_000,
      request: [{ method: 'POST', path: '/sleep?level=1' }],
      wake: [{ method: 'POST', path: '/wake_up' }],
      check: { path: '/is_sleeping', field: 'is_sleeping', equals: true },
    })
    expect(service?.args).toContain('--enable-sleep-mode')
    expect(service?.env).toMatchObject({ VLLM_SERVER_DEV_MODE: '1' })
  })

  test('of vLLM without its development mode is an error', () => {
    const env = { VLLM_SERVER_DEV_MODE: '0' }
    expect(() => readEngine('vllm', { sleep: {}, env })).toThrow(
      'must be "1": without it the server has no sleep',
    )
  })

  test('of llama.cpp is its own: the time becomes its option', () => {
    const service = readEngine('llama.cpp', { sleep: { afterMs: '90s' } })
    expect(service?.sleep).toMatchObject({ afterMs: 0, request: [], wake: [], check: { path: '/props' } })
    expect(service?.args.join(' ')).toContain('--sleep-idle-seconds 90')
    expect(
      readEngine('llama.cpp', { sleep: {}, args: ['--sleep-idle-seconds', '5'] })?.args.join(' '),
    ).toMatch(/--sleep-idle-seconds 5$/)
  })

  test('of Ollama and TabbyAPI is told by what they load', () => {
    expect(readEngine('ollama', { sleep: {} })?.sleep?.check).toMatchObject({ field: 'models', equals: [] })
    expect(readEngine('tabbyapi', { sleep: {} })?.sleep).toMatchObject({
      wake: [{ body: { model_name: 'some/model' } }],
      check: { status: 503 },
    })
  })

  test('of koboldcpp needs its administration, of a folder that is there', () => {
    const service = readEngine('koboldcpp', { sleep: {}, model: '/m/a.gguf' })
    expect(service?.sleep).toMatchObject({
      request: [{ path: '/api/admin/reload_config', body: { filename: 'unload_model' } }],
      wake: [{ path: '/api/admin/reload_config', body: { filename: 'initial_model' } }],
      check: { path: '/api/v1/model', field: 'result', equals: 'inactive' },
    })
    expect(service?.args.join(' ')).toMatch(/--admin --admindir \/m$/)
    expect(
      readEngine('koboldcpp', { sleep: {}, model: '/m/a.gguf', args: ['--admindir', '/d'] })?.args.join(' '),
    ).toMatch(/--admin --admindir \/d$/)
  })

  test('is not there unless the file asks for it, and SGLang has none', () => {
    expect(readEngine('vllm', {})?.sleep).toBeUndefined()
    expect(readEngine('vllm', {})?.args).not.toContain('--enable-sleep-mode')
    expect(() => readEngine('sglang', { sleep: {} })).toThrow('sleep.check: is required')
  })
})

import { describe, expect, test } from 'vitest'
import { parseWithValues } from '../../src/config/load.ts'
import { toPrintable } from '../../src/config/printable.ts'
import { type ConfigError, parseConfig } from '../../src/index.ts'
import { toClaimAddress, toServices } from '../../src/service/services.ts'

const env = { PATH: '/nowhere', KEY: 'secret-key-0123456789' }

const toText = (providers: object, leasehold: object = {}) =>
  JSON.stringify({ models: { mode: 'replace', providers }, leasehold })

const read = (providers: object, leasehold?: object) => parseConfig(toText(providers, leasehold), { env })

function findProblems(providers: object, leasehold?: object): string {
  try {
    return read(providers, leasehold)
      .problems.map(({ path, message }) => `${path}: ${message}`)
      .join('\n')
  } catch (error) {
    return (error as ConfigError).problems.map(({ path, message }) => `${path}: ${message}`).join('\n')
  }
}

const ollama = (model: string, service: object = {}) => ({
  localService: { engine: 'ollama', model, daemon: {}, ...service },
})
const own = {
  load: [{ path: '/load' }],
  unload: [{ path: '/unload' }],
  loaded: { path: '/loaded', field: 'name', equals: 'm' },
}
const baseUrl = 'http://127.0.0.1:9000/v1'

describe('a model of a daemon', () => {
  test('needs three words: the requests, the address and the name of the model are those of its engine', () => {
    const { providers, problems } = read({ qwen: ollama('qwen3') })
    expect(problems).toEqual([])
    expect(providers[0]).toMatchObject({
      baseUrl: 'http://127.0.0.1:11434/v1',
      models: [{ id: 'qwen', upstreamId: 'qwen3', compat: { maxTokensField: 'max_tokens' } }],
      localService: {
        external: true,
        healthUrl: 'http://127.0.0.1:11434/api/ps',
        daemon: {
          load: [{ method: 'POST', path: '/api/embed', body: { model: 'qwen3', input: [], keep_alive: -1 } }],
          unload: [{ body: { model: 'qwen3', keep_alive: 0 } }],
          loaded: { method: 'GET', path: '/api/ps', field: 'models.*.name', equals: 'qwen3:latest' },
        },
      },
    })
    expect(providers[0]?.models[0]?.compat.supportsKeepAlive).toBeUndefined()
  })

  test('of LM Studio needs no daemon, and of a router its address', () => {
    const { providers } = read({
      a: { localService: { engine: 'lmstudio', model: 'org/a', context: 4096 } },
      b: { baseUrl, localService: { engine: 'llama.cpp', model: 'b', daemon: {} } },
    })
    expect(providers.map((provider) => provider.localService?.daemon?.load[0]?.body)).toEqual([
      { model: 'org/a', context_length: 4096 },
      { model: 'b' },
    ])
    expect(findProblems({ b: { localService: { engine: 'llama.cpp', model: 'b', daemon: {} } } })).toContain(
      'providers.b.baseUrl: is required: where the daemon listens',
    )
  })

  test('may be written by hand, and its keys stand in none of its commands', () => {
    const headers = { 'x-admin-key': `\${KEY}` }
    const daemon = { ...own, load: [{ path: '/load', headers }] }
    const { providers } = read({ a: { baseUrl, apiKey: `\${KEY}`, localService: { daemon } } })
    const { localService } = providers[0] ?? {}
    expect(localService?.daemon?.load[0]?.headers).toEqual({ 'x-admin-key': env.KEY })
    const { args, stopCommand, statusCommand } = localService ?? {}
    expect(JSON.stringify([args, stopCommand, statusCommand])).not.toContain(env.KEY)
  })

  test('has a claim of its own beside the other models of its daemon', () => {
    const services = toServices(read({ a: ollama('a:1b'), b: ollama('b:1b'), c: ollama('a:1b') }))
    expect([...services.values()].map(({ name }) => name)).toEqual(['a+c', 'b'])
    expect(new Set([...services.values()].map(toClaimAddress)).size).toBe(2)
  })

  test('takes its engine from the defaults, and no program', () => {
    const { providers } = read(
      { a: { localService: { model: 'a:1b', daemon: {} } }, b: { baseUrl, localService: { daemon: own } } },
      { defaults: { engine: 'ollama', idleStopMs: '10m' } },
    )
    expect(providers[0]?.localService?.daemon?.load[0]?.body).toMatchObject({ model: 'a:1b' })
    expect(
      findProblems({ b: { baseUrl, localService: { daemon: own } } }, { defaults: { command: '/x' } }),
    ).toBe('')
  })

  test('is printed as a file that says the same', () => {
    const text = toText({ qwen: ollama('qwen3:8b') })
    const loaded = parseWithValues(text, { env })
    const again = parseConfig(JSON.stringify(toPrintable(loaded)), { env })
    expect(again.providers[0]?.localService?.key).toBe(loaded.config.providers[0]?.localService?.key)
    expect(again.problems).toEqual([])
  })

  test.each<readonly [string, object, string]>([
    ['a command', ollama('a', { command: '/bin/a' }), 'command: cannot be given together with daemon'],
    ['a health URL', ollama('a', { healthUrl: baseUrl }), 'daemon.loaded tells whether it is ready'],
    ['a sleep', ollama('a', { sleep: {} }), 'sleep: cannot be given together with daemon'],
    ['no model', { localService: { engine: 'ollama', daemon: {} } }, 'model: is required'],
    [
      'an engine without a preset',
      { localService: { engine: 'vllm', model: 'a', daemon: {} } },
      'vllm has no preset: state load, unload and loaded',
    ],
    [
      'several models of which none is the service',
      { models: [{ id: 'a' }, { id: 'b' }], localService: { engine: 'ollama', daemon: {} } },
      'model: is required where the provider lists several models',
    ],
    [
      'a context that its daemon is not told',
      ollama('a', { context: 4096 }),
      'context: is only told to clients: ollama takes the size of the context from the settings of its daemon',
    ],
    ['no requests', { baseUrl, localService: { daemon: {} } }, 'daemon.load: is required'],
    ['no address', { localService: { daemon: own } }, 'baseUrl: is required'],
  ])('says what is wrong with %s', (_, provider, message) => {
    expect(findProblems({ a: provider })).toContain(message)
  })

  test('cannot be in a server that leasehold runs, nor be loaded in two ways', () => {
    expect(findProblems({ a: ollama('a:1b'), b: { localService: { engine: 'ollama' } } })).toContain(
      'the server at localhost:11434 is run by "b", and a daemon has to be run by something else',
    )
    const other = { load: [{ path: '/api/generate', body: { model: 'a:1b' } }] }
    for (const b of [ollama('a:1b', { daemon: other }), ollama('A:1B'), ollama('library/a:1b')])
      expect(findProblems({ a: ollama('a:1b'), b })).toContain(
        '"a" and "b" load the same model in different ways',
      )
  })
})

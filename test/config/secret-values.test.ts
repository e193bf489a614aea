import { expect, test } from 'vitest'
import { parseConfig } from '../../src/config/load.ts'
import { listSecretValues } from '../../src/config/secret-values.ts'

const listOf = (
  provider: object,
  { env = {}, rest = {} }: { env?: Record<string, string>; rest?: object } = {},
) =>
  listSecretValues(
    parseConfig(
      JSON.stringify({
        models: { providers: { local: { baseUrl: 'http://127.0.0.1:1/v1', ...provider } } },
        ...rest,
      }),
      { env },
    ),
    env,
  )

const service = (options: object) => ({ localService: { command: '/bin/server', ...options } })

test.each([
  ['the key of a provider', { apiKey: 'sk-12345678' }, 'sk-12345678'],
  ['a header', { headers: { 'X-Tenant': 'tenant-4711' } }, 'tenant-4711'],
  ['a word of a header', { headers: { Authorization: 'Bearer sk-12345678' } }, 'sk-12345678'],
  ['a header of a model', { models: [{ id: 'm', headers: { 'x-key': 'model-4711' } }] }, 'model-4711'],
  ['a variable of a process', service({ env: { HF_TOKEN: 'hf_12345678' } }), 'hf_12345678'],
  ['a secret that looks like a path', service({ env: { API_KEY: '/12345678' } }), '/12345678'],
  ['a query of a health URL', service({ healthUrl: 'http://127.0.0.1:1/h?key=health-4711' }), 'health-4711'],
])('%s is secret (fault 115)', (_, provider, value) => {
  expect(listOf(provider)).toContain(value)
})

test('what comes from the environment is secret: an argument and its word, a variable that is passed on', () => {
  const env = { KEY: 'sk-12345678', OTHER_TOKEN: 'other-4711' }
  const provider = service({ args: [`--api-key=\${KEY}`], inheritEnv: ['OTHER_TOKEN', 'NOT_SET'] })
  expect(listOf(provider, { env })).toEqual(
    expect.arrayContaining(['--api-key=sk-12345678', 'sk-12345678', 'other-4711']),
  )
})

test('keys of the gateway are secret', () => {
  const rest = { leasehold: { apiKeys: ['gateway-4711'], controlKeys: ['control-4711'] } }
  expect(listOf({}, { rest })).toEqual(['gateway-4711', 'control-4711'])
})

test.each([
  ['a variable that is not set', { apiKey: `\${NOT_SET_ANYWHERE}`, headers: { 'x-key': `\${NOR_THIS}` } }],
  ['a name that is also the key', { apiKey: 'LM-Studio', models: [{ id: 'lm-studio/model' }] }],
  [
    'a header that all clients send',
    { headers: { accept: 'application/json', 'User-Agent': 'my-program/1' } },
  ],
  [
    'a path, a number, an address',
    service({ env: { HF_HOME: '/models/hub', SIZE: '1234567890', OLLAMA_HOST: 'http://127.0.0.1:11434' } }),
  ],
])('%s is not', (_, provider) => {
  expect(listOf(provider).filter((value) => value.length >= 8)).toEqual([])
})

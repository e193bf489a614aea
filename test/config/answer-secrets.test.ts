import { expect, test } from 'vitest'
import { parseConfig } from '../../src/config/load.ts'
import { listAnswerSecrets } from '../../src/config/secret-values.ts'

const list = (provider: object, env: Readonly<Record<string, string>> = {}) => {
  const text = JSON.stringify({
    models: {
      providers: { far: { baseUrl: 'http://127.0.0.1:1/v1', models: [{ id: 'demo-model-7' }], ...provider } },
    },
  })
  const config = parseConfig(text, { env })
  const [far] = config.providers
  if (far === undefined) throw new Error('There is one provider.')
  return listAnswerSecrets(config, far, env)
}

test('the key, secret headers, arguments and variables of a provider must not stand in its answers (fault 115)', () => {
  const secrets = list({
    apiKey: 'sk-1234567890',
    headers: { 'X-Api-Key': 'header-key-1', 'x-team': 'research-2026' },
    models: [{ id: 'demo-model-7', headers: { authorization: 'Bearer model-key-1' } }],
    localService: {
      command: '/bin/server',
      args: ['--api-key', 'arg-key-12', '--model', '/models/demo-7.gguf'],
      env: { HF_TOKEN: 'hf_abc123', CACHE: 'cache-of-7', KEY_FILE: '/keys/file-1' },
    },
  })
  expect(secrets.sort()).toEqual(
    ['Bearer model-key-1', 'arg-key-12', 'header-key-1', 'hf_abc123', 'model-key-1', 'sk-1234567890'].sort(),
  )
})

test('a variable that the server inherits is taken from the environment', () => {
  const localService = { command: '/bin/server', inheritEnv: ['HF_TOKEN', 'LANG_OF_1'] }
  expect(list({ localService }, { HF_TOKEN: 'hf_abc123', LANG_OF_1: 'de_DE.UTF-8' })).toEqual(['hf_abc123'])
})

test.each(['unused', 'lm-studio', 'not-needed', 'sunshine', '20260101', 'short1', 'demo-model-7'])(
  '%s is no secret: an answer may hold it',
  (apiKey) => {
    expect(list({ apiKey })).toEqual([])
  },
)

test.each([
  ['--api-key', 'arg-key-12', ['arg-key-12']],
  ['--model', '/models/demo-7.gguf', []],
])('a variable after %s is a secret only where the flag says so', (flag, value, secrets) => {
  const localService = { command: '/bin/server', args: [flag, `\${VALUE}`] }
  expect(list({ localService }, { VALUE: value })).toEqual(secrets)
})

import { expect, test } from 'vitest'
import { parseConfig } from '../../src/config/load.ts'
import { toPrintable } from '../../src/config/print.ts'
import { listSecretValues } from '../../src/config/secret-values.ts'

const toConfig = (args: readonly string[]) =>
  parseConfig(
    JSON.stringify({
      models: {
        providers: {
          p: { baseUrl: 'http://127.0.0.1:1/v1', localService: { command: '/bin/server', args } },
        },
      },
    }),
  )

test.each([
  [['--api-key', 'literal-secret']],
  [['--api-key=literal-secret']],
  [['--token', 'literal-secret']],
  [['--hf-token', 'literal-secret']],
  [['-c', 'exec server --port 1 --api-key "literal-secret" --x']],
  [['--header', 'Authorization: Bearer literal-secret']],
])('a literal secret in %j is shown nowhere', (args) => {
  const config = toConfig(args)
  expect(listSecretValues(config, {})).toContain('literal-secret')
  expect(JSON.stringify(toPrintable(config))).not.toContain('literal-secret')
})

test('a short secret after its flag is hidden in print', () => {
  expect(JSON.stringify(toPrintable(toConfig(['--api-key', 'abc'])))).not.toContain('abc')
})

test.each([
  [['--max-tokens', '123456789']],
  [['--eos-token', '<|im_end|>']],
  [['--api-key-file', '/etc/keys/one']],
])('%j holds none', (args) => {
  expect(JSON.stringify(toPrintable(toConfig(args)))).toContain(args[1])
})

import { expect, test } from 'vitest'
import { parseWithValues } from '../../src/config/load.ts'
import { toPrintable } from '../../src/config/printable.ts'
import { listSecretValues } from '../../src/config/secret-values.ts'

const load = (args: readonly string[]) =>
  parseWithValues(
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
  const loaded = load(args)
  expect(listSecretValues(loaded.config, {})).toContain('literal-secret')
  expect(JSON.stringify(toPrintable(loaded))).not.toContain('literal-secret')
})

test('a short secret after its flag is hidden in print', () => {
  expect(JSON.stringify(toPrintable(load(['--api-key', 'abc'])))).not.toContain('abc')
})

test.each([
  [['--max-tokens', '123456789']],
  [['--eos-token', '<|im_end|>']],
  [['--api-key-file', '/etc/keys/one']],
])('%j holds none', (args) => {
  expect(JSON.stringify(toPrintable(load(args)))).toContain(args[1])
})

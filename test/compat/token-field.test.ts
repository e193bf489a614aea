import { expect, test } from 'vitest'
import type { CompatFlags } from '../../src/compat/flags.ts'
import { rewrite } from './body.ts'

test.each<[string, CompatFlags, string, string]>([
  ['no flag', {}, '"max_completion_tokens":5', '"max_completion_tokens":5'],
  ['the newer name', { maxTokensField: 'max_tokens' }, '"max_completion_tokens" : 5', '"max_tokens" : 5'],
  [
    'the older name',
    { maxTokensField: 'max_completion_tokens' },
    '"max_tokens":null',
    '"max_completion_tokens":null',
  ],
  ['the right name', { maxTokensField: 'max_tokens' }, '"max_tokens":1e400', '"max_tokens":1e400'],
  [
    'both names',
    { maxTokensField: 'max_tokens' },
    '"max_tokens":1,"max_completion_tokens":2',
    '"max_tokens":1',
  ],
  ['neither', { maxTokensField: 'max_tokens' }, '"n":1', '"n":1'],
])('maxTokensField: %s', (_, compat, before, after) => {
  expect(rewrite(`{"model":"m",${before}}`, { compat }).text).toBe(`{"model":"m",${after}}`)
})

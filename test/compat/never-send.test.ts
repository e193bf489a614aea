import { expect, test } from 'vitest'
import type { CompatFlags } from '../../src/compat/flags.ts'
import type { Route } from '../../src/compat/rewrite.ts'
import { rewrite, rewriteFields } from './body.ts'

const hints = { service_tier: 'auto', store: false, prompt_cache_key: 'k', prompt_cache_retention: '24h' }

test.each<Route>(['chat', 'completions', 'embeddings', 'responses', 'messages', 'other'])(
  'hints for OpenAI itself are never sent on the route %s',
  (route) => {
    expect(rewriteFields(hints, {}, { route })).toEqual({})
  },
)

test.each<[CompatFlags, object]>([
  [{ supportsStore: true }, { store: false }],
  [{ supportsPromptCacheKey: true }, { prompt_cache_key: 'k' }],
  [{ supportsLongCacheRetention: true }, { prompt_cache_retention: '24h' }],
  [{ supportsStore: false, supportsPromptCacheKey: false, supportsLongCacheRetention: false }, {}],
])('%j lets its hint through', (compat, expected) => {
  expect(rewriteFields(hints, compat)).toEqual(expected)
})

test('such names inside a message or a metadata object are the client’s own', () => {
  const text = '{"model":"m","metadata":{"store":1},"messages":[{"role":"user","service_tier":"x"}]}'
  expect(rewrite(text).text).toBe(text)
})

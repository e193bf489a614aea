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

test.each<[object, CompatFlags, readonly string[]]>([
  [hints, {}, ['service_tier', 'store', 'prompt_cache_key', 'prompt_cache_retention']],
  [
    hints,
    { supportsStore: true, supportsPromptCacheKey: true, supportsLongCacheRetention: true },
    ['service_tier'],
  ],
  [{ reasoning_effort: 'low' }, {}, ['reasoning_effort']],
  [{ reasoning_effort: 'low' }, { thinkingFormat: 'qwen' }, []],
  [
    { temperature: 1, tools: [] },
    { supportsTemperature: false, supportsTools: false },
    ['temperature', 'tools'],
  ],
  [{ max_tokens: 1, max_completion_tokens: 1 }, { maxTokensField: 'max_tokens' }, []],
  [{ max_tokens: 1 }, { maxTokensField: 'max_completion_tokens' }, []],
  [{ seed: 1 }, {}, []],
])('what is not sent of %j with %j is %j', (fields, compat, dropped) => {
  expect(rewrite({ model: 'm', messages: [], ...fields }, { compat }).dropped).toEqual(dropped)
})

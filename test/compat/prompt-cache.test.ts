import { expect, test } from 'vitest'
import type { CompatFlags } from '../../src/compat/flags.ts'
import { rewriteFields } from './body.ts'

const compat: CompatFlags = { cacheControlFormat: 'anthropic' }
const marked = (text: string, mark: object = {}) => ({
  type: 'text',
  text,
  cache_control: { type: 'ephemeral', ...mark },
})
const image = { type: 'image_url', image_url: { url: 'data:,' } }
const messages = [
  { role: 'system', content: 'rules' },
  { role: 'user', content: 'first' },
  { role: 'assistant', content: 'answer' },
  { role: 'user', content: [{ type: 'text', text: 'last' }, image] },
]

test('a hint becomes marks on the system message and the last user message', () => {
  expect(rewriteFields({ messages, prompt_cache_key: 'k' }, compat)).toEqual({
    messages: [
      { role: 'system', content: [marked('rules')] },
      messages[1],
      messages[2],
      { role: 'user', content: [marked('last'), image] },
    ],
  })
})

test('long retention is said where it is supported', () => {
  const fields = { messages: [messages[0]], prompt_cache_retention: '24h' }
  expect(rewriteFields(fields, { ...compat, supportsLongCacheRetention: true })).toEqual({
    messages: [{ role: 'system', content: [marked('rules', { ttl: '1h' })] }],
    prompt_cache_retention: '24h',
  })
  expect(rewriteFields(fields, compat)).toEqual({
    messages: [{ role: 'system', content: [marked('rules')] }],
  })
})

test.each<[string, object, CompatFlags]>([
  ['without a hint', { messages }, compat],
  ['without the flag', { messages, prompt_cache_key: 'k' }, {}],
  [
    'for a backend that wants strings',
    { messages, prompt_cache_key: 'k' },
    { ...compat, requiresStringContent: true },
  ],
  [
    'without text',
    {
      messages: [
        { role: 'user', content: [image] },
        { role: 'system', content: '' },
      ],
      prompt_cache_key: 'k',
    },
    compat,
  ],
])('nothing is marked %s', (_, fields, flags) => {
  expect(JSON.stringify(rewriteFields(fields, flags))).not.toContain('cache_control')
})

test('marks of the client stay as they are', () => {
  const own = [{ role: 'user', content: [marked('a', { ttl: '5m' })] }]
  expect(rewriteFields({ messages: own, prompt_cache_key: 'k' }, compat)).toEqual({ messages: own })
  expect(rewriteFields({ messages: own }, {})).toEqual({ messages: own })
})

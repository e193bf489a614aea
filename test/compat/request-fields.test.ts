import { expect, test } from 'vitest'
import type { CompatFlags } from '../../src/compat/flags.ts'
import { rewrite, rewriteFields } from './body.ts'

const usage = { stream_options: { include_usage: true } }

test.each<[string, CompatFlags, object, object]>([
  ['usage is asked for on streams', {}, { stream: true }, { stream: true, ...usage }],
  [
    'other options stay',
    {},
    { stream: true, stream_options: { a: 1 } },
    { stream: true, stream_options: { a: 1, include_usage: true } },
  ],
  ['null is no option', {}, { stream: true, stream_options: null }, { stream: true, ...usage }],
  [
    'a client that wants no usage gets none',
    {},
    { stream: true, stream_options: { include_usage: false } },
    { stream: true, stream_options: { include_usage: false } },
  ],
  ['no stream, no usage', {}, { stream: false }, { stream: false }],
  [
    'options are removed where unsupported',
    { supportsUsageInStreaming: false },
    { stream: true, ...usage },
    { stream: true },
  ],
  ['a temperature passes', {}, { temperature: 0 }, { temperature: 0 }],
  ['a temperature is removed where unsupported', { supportsTemperature: false }, { temperature: 0 }, {}],
  [
    'a JSON schema falls to any JSON object',
    { supportsJsonSchemaResponseFormat: false },
    { response_format: { type: 'json_schema', json_schema: { name: 'a', schema: {} } } },
    { response_format: { type: 'json_object' } },
  ],
  [
    'another format stays',
    { supportsJsonSchemaResponseFormat: false },
    { response_format: { type: 'text' } },
    { response_format: { type: 'text' } },
  ],
  [
    'a JSON schema passes',
    {},
    { response_format: { type: 'json_schema' } },
    { response_format: { type: 'json_schema' } },
  ],
  ['OpenRouter gets its routing', { openRouterRouting: { only: ['a'] } }, {}, { provider: { only: ['a'] } }],
  [
    'a client routes for itself',
    { openRouterRouting: { only: ['a'] } },
    { provider: 'b' },
    { provider: 'b' },
  ],
  [
    'the Vercel gateway gets its routing',
    { vercelGatewayRouting: { only: ['a'] } },
    {},
    { providerOptions: { gateway: { only: ['a'] } } },
  ],
  [
    'z.ai streams tools',
    { zaiToolStream: true, supportsUsageInStreaming: false },
    { stream: true, tools: [] },
    { stream: true, tools: [], tool_stream: true },
  ],
  [
    'z.ai has no tools to stream',
    { zaiToolStream: true, supportsUsageInStreaming: false },
    { stream: true },
    { stream: true },
  ],
])('%s', (_, compat, before, after) => {
  expect(rewriteFields(before, compat)).toEqual(after)
})

test('what is added comes last, and nothing before it moves', () => {
  expect(rewrite('{"model":"m", "stream":true , "n":-0 }').text).toBe(
    '{"model":"m", "stream":true , "n":-0 ,"stream_options":{"include_usage":true}}',
  )
})

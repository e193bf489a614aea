import { describe, expect, test } from 'vitest'
import type { CompatFlags, ThinkingFormat } from '../../src/compat/flags.ts'
import { rewrite, rewriteFields } from './body.ts'

const everyPayload = {
  reasoning_effort: 'high',
  reasoning: { effort: 'high' },
  thinking: { type: 'enabled' },
  enable_thinking: true,
}

describe('without a flag that asks for it', () => {
  test('no reasoning payload is sent', () => {
    expect(rewriteFields(everyPayload, {})).toEqual({})
    expect(rewriteFields({ reasoning_effort: null }, {})).toEqual({})
  })

  test('arguments of the chat template are not ours to judge', () => {
    const fields = { chat_template_kwargs: { enable_thinking: false } }
    expect(rewriteFields(fields, {})).toEqual(fields)
    expect(rewriteFields(fields, { thinkingFormat: 'openai' })).toEqual(fields)
  })

  test('OpenAI payload is removed on the other routes too', () => {
    const fields = { reasoning: { effort: 'low' }, reasoning_effort: 'low', thinking: { type: 'enabled' } }
    expect(rewriteFields(fields, {}, { route: 'responses' })).toEqual({ thinking: fields.thinking })
    expect(rewriteFields(fields, { supportsReasoningEffort: true }, { route: 'responses' })).toEqual(fields)
    expect(
      rewriteFields(fields, { supportsReasoningEffort: true }, { route: 'responses', reasoning: false }),
    ).toEqual({
      thinking: fields.thinking,
    })
  })
})

describe.each<[ThinkingFormat, object, object, object]>([
  ['openai', { reasoning_effort: 'high' }, { reasoning_effort: 'none' }, { reasoning_effort: 'medium' }],
  [
    'deepseek',
    { thinking: { type: 'enabled' }, reasoning_effort: 'high' },
    { thinking: { type: 'disabled' } },
    { thinking: { type: 'enabled' } },
  ],
  [
    'zai',
    { thinking: { type: 'enabled', clear_thinking: false } },
    { thinking: { type: 'disabled', clear_thinking: false } },
    { thinking: { type: 'enabled', clear_thinking: false } },
  ],
  [
    'together',
    { reasoning: { enabled: true } },
    { reasoning: { enabled: false } },
    { reasoning: { enabled: true } },
  ],
  ['qwen', { enable_thinking: true }, { enable_thinking: false }, { enable_thinking: true }],
  [
    'qwen-chat-template',
    { chat_template_kwargs: { enable_thinking: true, preserve_thinking: true } },
    { chat_template_kwargs: { enable_thinking: false, preserve_thinking: true } },
    { chat_template_kwargs: { enable_thinking: true, preserve_thinking: true } },
  ],
  [
    'openrouter',
    { reasoning: { effort: 'high' } },
    { reasoning: { effort: 'none' } },
    { reasoning: { effort: 'medium' } },
  ],
])('thinkingFormat %s', (thinkingFormat, high, off, on) => {
  const compat = { thinkingFormat }

  test.each([
    { reasoning_effort: 'high' },
    { reasoning: { effort: 'high' } },
    {
      reasoning_effort: 'high',
      reasoning: { effort: 'low' },
      thinking: { type: 'disabled' },
      enable_thinking: false,
    },
  ])('says an effort that comes as %j', (fields) => {
    expect(rewriteFields(fields, compat)).toEqual(high)
  })

  test.each([
    { reasoning_effort: 'none' },
    { reasoning: { enabled: false } },
    { thinking: { type: 'disabled' } },
    { enable_thinking: false },
  ])('says no thinking that comes as %j', (fields) => {
    expect(rewriteFields(fields, compat)).toEqual(off)
  })

  test.each([{ reasoning: { enabled: true } }, { thinking: { type: 'enabled' } }, { enable_thinking: true }])(
    'says thinking that comes as %j',
    (fields) => {
      expect(rewriteFields(fields, compat)).toEqual(on)
    },
  )

  test('says nothing for a client that said nothing', () => {
    expect(rewrite({ model: 'm', n: 1 }, { compat }).applied).toEqual([])
  })

  test('says nothing to a model that cannot reason', () => {
    expect(rewriteFields(everyPayload, compat, { reasoning: false })).toEqual({})
  })
})

test('other arguments of the chat template stay', () => {
  const fields = { enable_thinking: false, chat_template_kwargs: { a: 1, preserve_thinking: false } }
  expect(rewriteFields(fields, { thinkingFormat: 'qwen-chat-template' })).toEqual({
    chat_template_kwargs: { a: 1, preserve_thinking: false, enable_thinking: false },
  })
})

test('supportsReasoningEffort: false keeps the effort out of every format that has one beside it', () => {
  const withoutEffort = (thinkingFormat: ThinkingFormat) =>
    rewriteFields({ reasoning_effort: 'high' }, { thinkingFormat, supportsReasoningEffort: false })
  expect(withoutEffort('openai')).toEqual({})
  expect(withoutEffort('deepseek')).toEqual({ thinking: { type: 'enabled' } })
})

describe('the label of an effort', () => {
  const label = (effort: string, compat: CompatFlags) =>
    rewriteFields({ reasoning_effort: effort }, { supportsReasoningEffort: true, ...compat })

  test.each<[string, CompatFlags, string | undefined]>([
    ['high', {}, 'high'],
    ['anything', {}, 'anything'],
    ['high', { supportedReasoningEfforts: ['low', 'high'] }, 'high'],
    ['medium', { supportedReasoningEfforts: ['low', 'high'] }, 'low'],
    ['xhigh', { supportedReasoningEfforts: ['high', 'low'] }, 'high'],
    ['minimal', { supportedReasoningEfforts: ['low', 'high'] }, 'low'],
    ['low', { supportedReasoningEfforts: ['none', 'high'] }, 'high'],
    ['none', { supportedReasoningEfforts: ['high', 'low'] }, 'low'],
    ['low', { supportedReasoningEfforts: ['none'] }, 'none'],
    ['odd', { supportedReasoningEfforts: ['fast', 'deep'] }, 'fast'],
    ['low', { supportedReasoningEfforts: ['fast', 'deep'] }, 'fast'],
    ['low', { supportedReasoningEfforts: [] }, undefined],
    ['low', { reasoningEffortMap: { low: 'fast' } }, 'fast'],
    ['high', { reasoningEffortMap: { low: 'fast' } }, 'high'],
    ['toString', { reasoningEffortMap: { low: 'fast' } }, 'toString'],
    ['high', { reasoningEffortMap: { high: 'max' }, supportedReasoningEfforts: ['low', 'xhigh'] }, 'xhigh'],
  ])('%s with %j is %s', (effort, compat, expected) => {
    expect(label(effort, compat)).toEqual(expected === undefined ? {} : { reasoning_effort: expected })
  })
})

test('a payload in the right form already keeps its own spelling', () => {
  const text = '{"model":"m","thinking" : { "clear_thinking":false,"type":"\\u0065nabled"}}'
  const spelled = '{"model":"m","thinking" : { "type":"\\u0065nabled", "clear_thinking":false}}'
  expect(rewrite(spelled, { compat: { thinkingFormat: 'zai' } }).text).toBe(spelled)
  expect(JSON.parse(rewrite(text, { compat: { thinkingFormat: 'zai' } }).text)).toEqual(JSON.parse(text))
})

import { describe, expect, test } from 'vitest'
import { rewrite, rewriteMessages } from './body.ts'

const call = (id: string, name: string) => ({ id, type: 'function', function: { name, arguments: '{}' } })
const result = (id: string) => ({ role: 'tool', tool_call_id: id, content: '18' })

describe('supportsDeveloperRole', () => {
  test('developer becomes system without any flag, and nothing else changes', () => {
    const text = '{"model":"m","messages":[ {"content" : "x", "role" : "developer"},{"role":"user"}]}'
    const { text: rewritten, applied } = rewrite(text)
    expect(rewritten).toBe(text.replace('developer', 'system'))
    expect(applied).toEqual(['supportsDeveloperRole'])
  })

  test('developer stays where it is supported', () => {
    const messages = [{ role: 'developer', content: 'x' }]
    expect(rewriteMessages(messages, { supportsDeveloperRole: true })).toEqual(messages)
  })
})

describe('requiresToolResultName', () => {
  test('a tool result gets the name of the call with its id, and keeps a name of its own', () => {
    const messages = [
      { role: 'assistant', tool_calls: [call('1', 'now'), call('2', 'weather')] },
      result('2'),
      result('1'),
      { ...result('1'), name: 'own' },
      { ...result('1'), name: null },
      result('unknown'),
    ]
    expect(rewriteMessages(messages, { requiresToolResultName: true })).toEqual([
      messages[0],
      { ...result('2'), name: 'weather' },
      { ...result('1'), name: 'now' },
      { ...result('1'), name: 'own' },
      { ...result('1'), name: 'now' },
      result('unknown'),
    ])
  })

  test('an id that is used again means the latest call', () => {
    const messages = [
      { role: 'assistant', tool_calls: [call('1', 'now')] },
      result('1'),
      { role: 'assistant', tool_calls: [call('1', 'weather')] },
      result('1'),
    ]
    expect(rewriteMessages(messages, { requiresToolResultName: true })).toMatchObject([
      {},
      { name: 'now' },
      {},
      { name: 'weather' },
    ])
  })
})

describe('requiresAssistantAfterToolResult', () => {
  test('an assistant turn comes between a tool result and a user message, and nowhere else', () => {
    const user = { role: 'user', content: 'x' }
    const assistant = { role: 'assistant', content: 'y' }
    const messages = [user, result('1'), result('2'), user, result('3'), assistant, user]
    expect(rewriteMessages(messages, { requiresAssistantAfterToolResult: true })).toEqual([
      user,
      result('1'),
      result('2'),
      { role: 'assistant', content: expect.stringMatching(/./) },
      user,
      result('3'),
      assistant,
      user,
    ])
  })
})

describe('requiresThinkingAsText', () => {
  test.each([
    ['string content', { content: 'b', reasoning_content: 'a' }, { content: 'a\n\nb' }],
    ['null content', { content: null, reasoning: 'a' }, { content: 'a' }],
    ['empty content', { content: '', reasoning_text: 'a' }, { content: 'a' }],
    ['no content', { reasoning_content: 'a' }, { content: 'a' }],
    [
      'parts',
      { content: [{ type: 'text', text: 'b' }], reasoning: 'a' },
      {
        content: [
          { type: 'text', text: 'a' },
          { type: 'text', text: 'b' },
        ],
      },
    ],
    ['the same said twice', { content: 'b', reasoning_content: 'a', reasoning: 'a' }, { content: 'a\n\nb' }],
    ['empty reasoning', { content: 'b', reasoning_content: '' }, { content: 'b', reasoning_content: '' }],
    ['no reasoning', { content: 'b', reasoning: null }, { content: 'b', reasoning: null }],
  ])('earlier reasoning leads the text: %s', (_, before, after) => {
    const flags = { requiresThinkingAsText: true }
    expect(rewriteMessages([{ role: 'assistant', ...before }], flags)).toEqual([
      { role: 'assistant', ...after },
    ])
  })

  test('only the assistant thinks', () => {
    const messages = [{ role: 'user', content: 'b', reasoning: 'a' }]
    expect(rewriteMessages(messages, { requiresThinkingAsText: true })).toEqual(messages)
  })
})

test('requiresReasoningContentOnAssistantMessages adds an empty one where there is none', () => {
  const messages = [
    { role: 'user', content: 'x' },
    { role: 'assistant', content: 'y' },
    { role: 'assistant', content: 'y', reasoning_content: null },
    { role: 'assistant', content: 'y', reasoning_content: 'z' },
  ]
  expect(rewriteMessages(messages, { requiresReasoningContentOnAssistantMessages: true })).toEqual([
    messages[0],
    { role: 'assistant', content: 'y', reasoning_content: '' },
    { role: 'assistant', content: 'y', reasoning_content: '' },
    messages[3],
  ])
})

test('messages that are not a list of objects are left to the backend', () => {
  for (const messages of ['"x"', 'null', '{}', '[]', '[1,"a",null,[]]', '[{},1]']) {
    const text = `{"model":"m","messages":${messages}}`
    const compat = {
      requiresStringContent: true,
      strictMessageKeys: true,
      supportsTools: false,
      requiresToolResultName: true,
      requiresAssistantAfterToolResult: true,
      requiresThinkingAsText: true,
    }
    expect(rewrite(text, { compat }).text).toBe(text)
  }
})

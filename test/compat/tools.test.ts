import { describe, expect, test } from 'vitest'
import { rewrite, rewriteFields, rewriteMessages } from './body.ts'

describe('supportsTools: false', () => {
  const compat = { supportsTools: false }

  test('tools and their choice are removed, of old and new clients', () => {
    const fields = {
      tools: [],
      tool_choice: 'auto',
      parallel_tool_calls: true,
      functions: [],
      function_call: 'auto',
      tool_stream: 1,
    }
    expect(rewriteFields(fields, compat)).toEqual({ tool_stream: 1 })
    expect(rewriteFields(fields, {})).toEqual(fields)
  })

  const call = { id: 'c1', type: 'function', function: { name: 'now', arguments: '{"zone":"\\u00e9"}' } }
  const text = { type: 'text', text: 'a' }
  const image = { type: 'image_url', image_url: { url: 'data:,' } }

  test.each([
    ['a call alone', { content: null, tool_calls: [call] }, 'Tool call now (c1): {"zone":"\\u00e9"}'],
    [
      'a call after text',
      { content: 'a', tool_calls: [call] },
      'a\n\nTool call now (c1): {"zone":"\\u00e9"}',
    ],
    [
      'a call after parts',
      { content: [text], tool_calls: [call] },
      [text, { type: 'text', text: 'Tool call now (c1): {"zone":"\\u00e9"}' }],
    ],
    [
      'two calls',
      { tool_calls: [call, { id: 'c2', function: { name: 'b', arguments: '' } }] },
      'Tool call now (c1): {"zone":"\\u00e9"}\nTool call b (c2): ',
    ],
    [
      'arguments that are an object',
      { tool_calls: [{ function: { name: 'b', arguments: { n: 1 } } }] },
      'Tool call b: {"n":1}',
    ],
    ['a custom tool', { tool_calls: [{ id: 'c', custom: { name: 'b', input: 'x' } }] }, 'Tool call b (c): x'],
    ['a call of no known form', { tool_calls: [{ odd: 1 }] }, 'Tool call: {"odd":1}'],
    ['the older form', { content: '', function_call: { name: 'b', arguments: '{}' } }, 'Tool call b: {}'],
    ['no call', { content: 'a', tool_calls: [] }, 'a'],
  ])('a turn of the assistant becomes text: %s', (_, turn, content) => {
    expect(rewriteMessages([{ role: 'assistant', ...turn }], compat)).toEqual([
      { role: 'assistant', content },
    ])
  })

  test.each([
    ['text', { role: 'tool', tool_call_id: 'c1', content: 'x' }, 'Tool result now (c1):\nx'],
    [
      'its own name',
      { role: 'tool', tool_call_id: 'c1', name: 'own', content: 'x' },
      'Tool result own (c1):\nx',
    ],
    ['an unknown call', { role: 'tool', tool_call_id: 'c9', content: 'x' }, 'Tool result (c9):\nx'],
    ['no content', { role: 'tool', tool_call_id: 'c1' }, 'Tool result now (c1):'],
    ['the older form', { role: 'function', name: 'b', content: 'x' }, 'Tool result b:\nx'],
    [
      'an image',
      { role: 'tool', tool_call_id: 'c1', content: [image] },
      [{ type: 'text', text: 'Tool result now (c1):' }, image],
    ],
  ])('a tool result becomes a user message: %s', (_, result, content) => {
    const messages = [{ role: 'assistant', tool_calls: [call] }, result]
    expect(rewriteMessages(messages, compat)).toMatchObject([{}, { role: 'user', content }])
    expect(rewriteMessages([...messages], compat)).not.toHaveProperty('1.tool_call_id')
  })

  test('names, ids and numbers keep their own spelling', () => {
    const result = '{"content":"\\ud800","role":"tool","tool_call_id":"\\u0063","name":"\\/"}'
    const object = '{"role":"assistant","tool_calls":[{"function":{"arguments":{"n":1e400}}}]}'
    const { text: rewritten } = rewrite(`{"model":"m","messages":[${result},${object}]}`, { compat })
    expect(rewritten).toContain('"content":"Tool result \\/ (\\u0063):\\n\\ud800"')
    expect(rewritten).toContain('"content":"Tool call: {\\"n\\":1e400}"')
  })

  test('parts of a tool result are one string when the backend wants strings', () => {
    const messages = [{ role: 'tool', tool_call_id: 'c', content: [text, text] }]
    expect(rewriteMessages(messages, { ...compat, requiresStringContent: true })).toEqual([
      { role: 'user', content: 'Tool result (c):\na\na' },
    ])
  })
})

test('supportsStrictMode: false removes strict from functions, and only there', () => {
  const tools = (strict: object) => [
    { type: 'function', function: { name: 'a', ...strict, parameters: { properties: { strict: {} } } } },
    { type: 'custom', strict: 1 },
  ]
  expect(rewriteFields({ tools: tools({ strict: true }) }, { supportsStrictMode: false })).toEqual({
    tools: tools({}),
  })
  expect(rewriteFields({ tools: tools({ strict: true }) }, {})).toEqual({ tools: tools({ strict: true }) })
})

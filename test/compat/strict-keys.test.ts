import { expect, test } from 'vitest'
import { rewrite, rewriteMessages } from './body.ts'

test('strictMessageKeys keeps role and content, as they came', () => {
  const before =
    '{"model":"m","messages":[ {"name":"ann", "role" : "user","x":1, "content" : "\\u0061" },{"content":null}]}'
  const after = '{"model":"m","messages":[ { "role" : "user", "content" : "\\u0061" },{"content":null}]}'
  const { text, applied } = rewrite(before, { compat: { strictMessageKeys: true } })
  expect(text).toBe(after)
  expect(applied).toEqual(['strictMessageKeys'])
})

test('strictMessageKeys loses no tool turn', () => {
  const messages = [
    { role: 'user', content: 'Weather?' },
    {
      role: 'assistant',
      content: null,
      refusal: null,
      tool_calls: [
        { id: 'c1', type: 'function', function: { name: 'weather', arguments: '{"city":"Graz"}' } },
      ],
    },
    { role: 'tool', tool_call_id: 'c1', content: '18 degrees' },
    { role: 'assistant', content: 'It is 18 degrees.' },
  ]
  expect(rewriteMessages(messages, { strictMessageKeys: true })).toEqual([
    messages[0],
    { role: 'assistant', content: 'Tool call weather (c1): {"city":"Graz"}' },
    { role: 'user', content: 'Tool result weather (c1):\n18 degrees' },
    messages[3],
  ])
})

test('tools themselves stay with strictMessageKeys alone', () => {
  const body = { model: 'm', messages: [], tools: [{ type: 'function', function: { name: 'now' } }] }
  expect(JSON.parse(rewrite(body, { compat: { strictMessageKeys: true } }).text)).toEqual(body)
})

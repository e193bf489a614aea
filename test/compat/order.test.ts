import { expect, test } from 'vitest'
import { rewrite } from './body.ts'

test('an agent’s turn reaches a strict backend complete, and every rule that changed it is named in order', () => {
  const { text, applied } = rewrite(
    {
      model: 'local/m',
      stream: true,
      store: false,
      reasoning_effort: 'high',
      max_completion_tokens: 100,
      tools: [{ type: 'function', function: { name: 'weather', strict: true, parameters: {} } }],
      tool_choice: 'auto',
      messages: [
        {
          role: 'developer',
          content: [
            { type: 'text', text: 'Be' },
            { type: 'text', text: 'brief.' },
          ],
        },
        { role: 'user', content: 'Weather?', name: 'ann' },
        {
          role: 'assistant',
          content: null,
          tool_calls: [
            { id: 'c1', type: 'function', function: { name: 'weather', arguments: '{"city":"Graz"}' } },
          ],
        },
        { role: 'tool', tool_call_id: 'c1', content: [{ type: 'text', text: '18' }] },
        { role: 'user', content: [{ type: 'text', text: 'And now?' }] },
      ],
    },
    {
      compat: {
        requiresStringContent: true,
        strictMessageKeys: true,
        supportsTools: false,
        requiresToolResultName: true,
        requiresAssistantAfterToolResult: true,
        maxTokensField: 'max_tokens',
      },
      params: { temperature: 0.2, extra_body: { store: true } },
    },
  )
  expect(JSON.parse(text)).toEqual({
    model: 'm',
    stream: true,
    max_tokens: 100,
    messages: [
      { role: 'system', content: 'Be\nbrief.' },
      { role: 'user', content: 'Weather?' },
      { role: 'assistant', content: 'Tool call weather (c1): {"city":"Graz"}' },
      { role: 'user', content: 'Tool result weather (c1):\n18' },
      { role: 'assistant', content: 'I have read the tool results.' },
      { role: 'user', content: 'And now?' },
    ],
    stream_options: { include_usage: true },
    temperature: 0.2,
    store: true,
  })
  expect(applied).toEqual([
    'model',
    'supportsDeveloperRole',
    'requiresToolResultName',
    'requiresAssistantAfterToolResult',
    'requiresStringContent',
    'strictMessageKeys',
    'supportsTools',
    'supportsUsageInStreaming',
    'maxTokensField',
    'reasoning',
    'neverSend',
    'params',
    'extra_body',
  ])
})

import fc from 'fast-check'
import type { CompatFlags } from '../../src/compat/flags.ts'

const space = fc.constantFrom('', '', '', ' ', '\n', '\r\n\t')

/** Strings that a rewriter might spell in another way. */
const oddTexts = [
  '"\\ud800"',
  '"\\udc00x"',
  '"\\u0041"',
  '"\\/"',
  '"é\u{1f600}"',
  '"\\\\"',
  '"\\""',
  '"\\\\\\""',
  '"],}{"',
]

/** Numbers that JavaScript cannot hold, or would spell in another way. */
const oddNumbers = ['12345678901234567890', '1e400', '-0', '0.10', '1E+2', '-1.5e-7', '0']

const scalar = fc.oneof(
  fc.constantFrom(...oddTexts, ...oddNumbers, 'true', 'false', 'null'),
  fc.string({ unit: 'binary' }).map((text) => JSON.stringify(text)),
)

const key = fc.oneof(
  fc.constantFrom('"a"', '"b"', '"\\u0061"', '"__proto__"', '"10"', '"2"'),
  fc.string().map((text) => JSON.stringify(`x${text}`)),
)

/** JSON text of every shape: white space anywhere, duplicate keys, odd numbers and escapes. */
export const jsonText: fc.Arbitrary<string> = fc.letrec<{ value: string; object: string }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    scalar,
    tie('object'),
    fc.array(padded(tie('value')), { maxLength: 4 }).map((items) => `[${items.join(',')}]`),
    space.map((blank) => `[${blank}]`),
  ),
  object: objectText(tie('value')),
})).value

/** JSON text of an object whose keys mean nothing to any rule. */
export const objectOfUnknowns: fc.Arbitrary<string> = objectText(jsonText)

function objectText(value: fc.Arbitrary<string>): fc.Arbitrary<string> {
  const member = fc.tuple(padded(key), padded(value)).map((pair) => pair.join(':'))
  return fc.oneof(
    fc.array(member, { maxLength: 4 }).map((members) => `{${members.join(',')}}`),
    space.map((blank) => `{${blank}}`),
  )
}

function padded(text: fc.Arbitrary<string>): fc.Arbitrary<string> {
  return fc.tuple(space, text, space).map((parts) => parts.join(''))
}

const text = fc.constantFrom('', 'Hello', 'a\nb', '\ud800', '"quoted" \\ back', '<&>')
const textPart = text.map((value) => ({ type: 'text', text: value }))
const part = fc.oneof(textPart, fc.constant({ type: 'image_url', image_url: { url: 'data:,' } }))
const content = fc.oneof(
  text,
  fc.constant(null),
  fc.array(textPart, { maxLength: 3 }),
  fc.array(part, { maxLength: 3 }),
)
const call = fc.record({
  id: fc.constantFrom('call_1', 'call_2'),
  type: fc.constant('function'),
  function: fc.record({
    name: fc.constantFrom('now', 'weather'),
    arguments: fc.constantFrom('', '{"a":"b"}'),
  }),
})

const message = fc.oneof(
  fc.record({ role: fc.constantFrom('system', 'developer', 'user'), content }),
  fc.record({ role: fc.constant('user'), content, name: fc.constant('ann') }),
  fc.record(
    {
      role: fc.constant('assistant'),
      content,
      tool_calls: fc.array(call, { maxLength: 2 }),
      reasoning_content: text,
      reasoning: text,
    },
    { requiredKeys: ['role'] },
  ),
  fc.record(
    {
      role: fc.constant('tool'),
      tool_call_id: fc.constantFrom('call_1', 'call_2', 'call_3'),
      content,
      name: text,
    },
    { requiredKeys: ['role', 'tool_call_id'] },
  ),
  fc.record({ role: fc.constant('assistant'), function_call: fc.constant({ name: 'now', arguments: '{}' }) }),
  fc.record({ role: fc.constant('function'), name: fc.constant('now'), content }),
)

const tool = fc.record({
  type: fc.constant('function'),
  function: fc.record({
    name: fc.constant('weather'),
    strict: fc.boolean(),
    parameters: fc.constant({
      type: 'object',
      properties: { pattern: { type: 'string', pattern: '^a', maxLength: 5000 } },
      additionalProperties: false,
    }),
  }),
})

/** Chat bodies as clients send them, with anything the rules look at. */
export const chatBody = fc.record(
  {
    model: fc.constantFrom('m', 'local/m'),
    messages: fc.array(message, { maxLength: 5 }),
    stream: fc.boolean(),
    stream_options: fc.constantFrom(null, {}, { include_usage: false }),
    tools: fc.array(tool, { maxLength: 2 }),
    tool_choice: fc.constantFrom('auto', 'none'),
    parallel_tool_calls: fc.boolean(),
    max_tokens: fc.constantFrom(1, null),
    max_completion_tokens: fc.constantFrom(1, null),
    temperature: fc.constantFrom(0, 0.7),
    response_format: fc.constantFrom({ type: 'json_schema', json_schema: {} }, { type: 'text' }),
    reasoning_effort: fc.constantFrom('none', 'low', 'xhigh', 'odd', null),
    reasoning: fc.constantFrom({ effort: 'high' }, { enabled: false }, 'odd', null),
    thinking: fc.constantFrom({ type: 'enabled' }, { type: 'disabled' }, 1),
    enable_thinking: fc.boolean(),
    chat_template_kwargs: fc.constantFrom({ enable_thinking: false }, { other: 1 }, null),
    service_tier: fc.constant('auto'),
    store: fc.boolean(),
    prompt_cache_key: fc.constant('k'),
    prompt_cache_retention: fc.constant('24h'),
  },
  { requiredKeys: ['model', 'messages'] },
)

/** Each flag with each value that makes a difference. */
export const flagSettings: readonly CompatFlags[] = [
  {},
  { requiresStringContent: true },
  { strictMessageKeys: true },
  { supportsTools: false },
  { supportsStore: true },
  { supportsDeveloperRole: true },
  { supportsReasoningEffort: true },
  { supportsReasoningEffort: true, supportedReasoningEfforts: ['low', 'medium'] },
  { supportsReasoningEffort: true, supportedReasoningEfforts: [] },
  { supportsReasoningEffort: true, reasoningEffortMap: { low: 'medium', xhigh: 'max' } },
  { maxTokensField: 'max_tokens' },
  { maxTokensField: 'max_completion_tokens' },
  { thinkingFormat: 'openai' },
  { thinkingFormat: 'openai', supportsReasoningEffort: false },
  { thinkingFormat: 'deepseek' },
  { thinkingFormat: 'deepseek', supportsReasoningEffort: false },
  { thinkingFormat: 'zai' },
  { thinkingFormat: 'together' },
  { thinkingFormat: 'qwen' },
  { thinkingFormat: 'qwen-chat-template' },
  { thinkingFormat: 'openrouter' },
  { supportsUsageInStreaming: false },
  { supportsStrictMode: false },
  { supportsJsonSchemaResponseFormat: false },
  { supportsTemperature: false },
  { requiresToolResultName: true },
  { requiresAssistantAfterToolResult: true },
  { requiresThinkingAsText: true },
  { laterSystemMessages: 'merge' },
  { laterSystemMessages: 'user' },
  { requiresReasoningContentOnAssistantMessages: true },
  { supportsPromptCacheKey: true },
  { supportsLongCacheRetention: true },
  { cacheControlFormat: 'anthropic' },
  { cacheControlFormat: 'anthropic', supportsPromptCacheKey: true, supportsLongCacheRetention: true },
  { toolSchemaProfile: 'llamacpp' },
  { toolSchemaProfile: 'gemini' },
  { toolSchemaProfile: 'xai' },
  { unsupportedToolSchemaKeywords: ['type'] },
  { openRouterRouting: { only: ['a'] } },
  { vercelGatewayRouting: { order: ['a'] } },
  { zaiToolStream: true },
]

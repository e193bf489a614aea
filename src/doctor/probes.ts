import type { CompatFlags } from '../compat/flags.ts'
import type { JsonObject } from '../config/sections.ts'
import type { Answer } from './probe-answer.ts'

/** What a model's entry may say about its server. */
export interface Settings {
  readonly compat: CompatFlags
  /** Members of a body that are not sent. */
  readonly dropParams: readonly string[]
}

/** A change of the entry that may make a request pass. */
export interface Remedy {
  readonly compat?: CompatFlags
  readonly dropParams?: readonly string[]
  /** The request passes without what it asked for, so that no effect is expected of one that was refused before. */
  readonly isLoss?: true
}

/** What an accepted request led to. */
export interface Effect {
  /** `unclear`: the answer does not tell. */
  readonly kind: 'works' | 'missing' | 'unclear'
  readonly text?: string
}

/** One question to a server: a request as a client sends it, what shows that it worked, and what may help. */
export interface Probe {
  readonly name: string
  /** What the request has that a server may refuse, as a noun. */
  readonly asks: string
  /** The members of the body beside `model`. */
  readonly body: JsonObject
  /** @param plain the answer to the plain request */
  readonly effect: (answer: Answer, plain: Answer) => Effect
  /** In the order in which they are tried: the smallest loss first. A list is made as short as it can be. */
  readonly remedies: readonly Remedy[]
  /** Whether a request that has no effect is worth a warning. @default false */
  readonly isEffectWanted?: boolean
  /** Why it need not be sent. */
  readonly skip?: (settings: Settings) => string | undefined
}

const works: Effect = { kind: 'works' }
const unclear: Effect = { kind: 'unclear' }
const accepted = (): Effect => works

const hello = { role: 'user', content: 'Say hello.' }
/** Long enough that its tokens are seen in the prompt's count. */
const LONG =
  'The quick brown fox jumps over the lazy dog while seven wizards quietly mix a very large pot of purple ink.'

const weather = (more: JsonObject = {}, parameters: JsonObject = {}): JsonObject => ({
  type: 'function',
  function: {
    name: 'get_weather',
    description: 'Tells the weather of a city.',
    parameters: {
      type: 'object',
      properties: { city: { type: 'string', ...parameters } },
      required: ['city'],
    },
    ...more,
  },
})
const askWeather = { role: 'user', content: 'Call get_weather for the city of Brno.' }
const toolTurns = [
  askWeather,
  {
    role: 'assistant',
    content: null,
    tool_calls: [
      {
        id: 'call00001',
        type: 'function',
        function: { name: 'get_weather', arguments: '{"city":"Brno"}' },
      },
    ],
  },
  { role: 'tool', tool_call_id: 'call00001', content: 'It rains.' },
]

/** A white dot. */
const PIXEL =
  'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=='

/** Fields that agents send and some servers do not know. */
const commonFields = {
  seed: 7,
  user: 'doctor',
  top_p: 0.9,
  frequency_penalty: 0.1,
  presence_penalty: 0.1,
  n: 1,
  stop: ['###'],
  metadata: { purpose: 'doctor' },
} as const

const withoutTools = ({ compat }: Settings) =>
  compat.supportsTools === false ? 'tools are left out' : undefined

/**
 * Every probe, in the order in which they are sent; each is rewritten with what the earlier ones found. The limit of
 * tokens and usage come first, because the later requests contain them.
 */
export const probes: readonly Probe[] = [
  {
    name: 'plain',
    asks: 'a plain question',
    body: { messages: [hello], max_tokens: 16 },
    effect: accepted,
    remedies: [{ compat: { maxTokensField: 'max_completion_tokens' } }],
  },
  {
    name: 'usage',
    asks: 'the usage of a stream ("stream_options")',
    body: { messages: [hello], max_tokens: 4, stream: true, stream_options: { include_usage: true } },
    effect: ({ promptTokens, completionTokens }) =>
      promptTokens !== undefined || completionTokens !== undefined
        ? works
        : { kind: 'missing', text: 'streams tell no usage' },
    remedies: [{ compat: { supportsUsageInStreaming: false }, isLoss: true }],
  },
  {
    name: 'max-tokens',
    asks: 'a limit in "max_tokens"',
    body: { messages: [{ role: 'user', content: 'Count to 60.' }], max_tokens: 1, stream: true },
    effect: judgeLimit,
    remedies: [{ compat: { maxTokensField: 'max_completion_tokens' } }],
    isEffectWanted: true,
  },
  {
    name: 'max-completion-tokens',
    asks: 'a limit in "max_completion_tokens"',
    body: { messages: [{ role: 'user', content: 'Count to 60.' }], max_completion_tokens: 1, stream: true },
    effect: judgeLimit,
    remedies: [{ compat: { maxTokensField: 'max_tokens' } }],
    isEffectWanted: true,
  },
  {
    name: 'content-parts',
    asks: 'content as a list of text parts',
    body: {
      messages: [
        {
          role: 'user',
          content: [
            { type: 'text', text: LONG },
            { type: 'text', text: 'Say hello.' },
          ],
        },
      ],
      max_tokens: 4,
    },
    effect: (answer, plain) => judgePrompt(answer, plain, 'the text of the parts does not reach the model'),
    remedies: [{ compat: { requiresStringContent: true } }],
    isEffectWanted: true,
  },
  {
    name: 'earlier-answer',
    asks: 'a conversation with an earlier answer',
    body: {
      messages: [hello, { role: 'assistant', content: 'Hello.' }, { role: 'user', content: 'Say it again.' }],
      max_tokens: 4,
    },
    effect: accepted,
    remedies: [{ compat: { requiresReasoningContentOnAssistantMessages: true } }],
  },
  {
    name: 'message-keys',
    asks: 'messages with more than "role" and "content" ("name", "annotations")',
    body: {
      messages: [
        { ...hello, name: 'ann' },
        { role: 'assistant', content: 'Hello.', annotations: [] },
        { role: 'user', content: 'Say it again.' },
      ],
      max_tokens: 4,
    },
    effect: accepted,
    remedies: [{ compat: { strictMessageKeys: true }, isLoss: true }],
  },
  {
    name: 'developer-role',
    asks: 'instructions of the role "developer"',
    body: { messages: [{ role: 'developer', content: LONG }, hello], max_tokens: 4 },
    effect: (answer, plain) => judgePrompt(answer, plain, 'the instructions do not reach the model'),
    remedies: [{ compat: { supportsDeveloperRole: true } }],
  },
  {
    name: 'later-system-message',
    asks: 'a system message in the middle',
    body: {
      messages: [
        { role: 'system', content: 'Be brief.' },
        hello,
        { role: 'assistant', content: 'Hello.' },
        { role: 'system', content: 'Be even briefer.' },
        { role: 'user', content: 'Say it again.' },
      ],
      max_tokens: 4,
    },
    effect: accepted,
    remedies: [{ compat: { laterSystemMessages: 'merge' } }, { compat: { laterSystemMessages: 'user' } }],
  },
  {
    name: 'tools',
    asks: 'a tool',
    body: { messages: [askWeather], tools: [weather()], tool_choice: 'auto', max_tokens: 24 },
    effect: (answer, plain) =>
      answer.calls.length > 0
        ? works
        : judgePrompt(
            answer,
            plain,
            'the tools do not reach the model: its chat template seems to leave them out',
            TOOL_TOKENS,
          ),
    remedies: [{ compat: { supportsTools: false }, isLoss: true }],
    isEffectWanted: true,
  },
  {
    name: 'strict-tools',
    asks: 'a tool with "strict"',
    body: { messages: [askWeather], tools: [weather({ strict: true })], max_tokens: 4 },
    effect: accepted,
    remedies: [{ compat: { supportsStrictMode: false }, isLoss: true }],
    skip: withoutTools,
  },
  {
    name: 'tool-schema',
    asks: 'a tool schema with "pattern" and a long "maxLength"',
    body: {
      messages: [askWeather],
      tools: [weather({}, { pattern: '^(?!.*\\s$)[A-Z].*$', minLength: 1, maxLength: 4000 })],
      tool_choice: 'required',
      max_tokens: 4,
    },
    effect: accepted,
    remedies: [
      { compat: { toolSchemaProfile: 'llamacpp' } },
      { compat: { toolSchemaProfile: 'xai' } },
      { compat: { toolSchemaProfile: 'gemini' } },
      { compat: { unsupportedToolSchemaKeywords: ['pattern', 'minLength', 'maxLength'] } },
    ],
    skip: withoutTools,
  },
  {
    name: 'forced-tool',
    asks: 'a tool that must be called ("tool_choice" with its name)',
    body: {
      messages: [askWeather],
      tools: [weather()],
      tool_choice: { type: 'function', function: { name: 'get_weather' } },
      max_tokens: 48,
    },
    effect: ({ calls, finish }) =>
      calls.length > 0
        ? works
        : finish === 'length'
          ? unclear
          : { kind: 'missing', text: 'no call was made' },
    remedies: [],
    skip: withoutTools,
  },
  {
    name: 'undescribed-tool',
    asks: 'a tool without a description',
    body: { messages: [askWeather], tools: [weather({ description: undefined })], max_tokens: 4 },
    effect: accepted,
    remedies: [],
    skip: withoutTools,
  },
  {
    name: 'parallel-tool-calls',
    asks: '"parallel_tool_calls"',
    body: { messages: [askWeather], tools: [weather()], parallel_tool_calls: true, max_tokens: 4 },
    effect: accepted,
    remedies: [{ dropParams: ['parallel_tool_calls'], isLoss: true }],
    skip: withoutTools,
  },
  {
    name: 'tool-result',
    asks: 'the result of a tool',
    body: { messages: toolTurns, tools: [weather()], max_tokens: 4 },
    effect: accepted,
    remedies: [
      { compat: { requiresToolResultName: true } },
      { compat: { supportsTools: false }, isLoss: true },
    ],
  },
  {
    name: 'user-after-tool-result',
    asks: 'a user message right after the result of a tool',
    body: {
      messages: [...toolTurns, { role: 'user', content: 'And tomorrow?' }],
      tools: [weather()],
      max_tokens: 4,
    },
    effect: accepted,
    remedies: [
      { compat: { requiresAssistantAfterToolResult: true } },
      { compat: { requiresToolResultName: true, requiresAssistantAfterToolResult: true } },
      { compat: { supportsTools: false }, isLoss: true },
    ],
  },
  {
    name: 'temperature',
    asks: '"temperature"',
    body: { messages: [hello], temperature: 0, max_tokens: 4 },
    effect: accepted,
    remedies: [{ compat: { supportsTemperature: false }, isLoss: true }],
  },
  {
    name: 'common-fields',
    asks: `other common fields (${Object.keys(commonFields).join(', ')})`,
    body: { messages: [hello], max_tokens: 4, ...commonFields },
    effect: accepted,
    // All of them; the ones that are not refused are sent again afterwards.
    remedies: [{ dropParams: Object.keys(commonFields), isLoss: true }],
  },
  {
    name: 'explicit-null',
    asks: 'fields whose value is null',
    body: { messages: [hello], max_tokens: 4, temperature: null, stop: null, seed: null },
    effect: accepted,
    remedies: [],
  },
  {
    name: 'json-schema',
    asks: 'an answer by a JSON schema',
    body: {
      messages: [{ role: 'user', content: 'Name a city.' }],
      max_tokens: 24,
      response_format: {
        type: 'json_schema',
        json_schema: {
          name: 'city',
          schema: {
            type: 'object',
            properties: { city: { type: 'string' } },
            required: ['city'],
            additionalProperties: false,
          },
        },
      },
    },
    effect: ({ text }) =>
      text.trim() === ''
        ? unclear
        : /^\s*\{/.test(text)
          ? works
          : { kind: 'missing', text: 'the answer is not JSON' },
    remedies: [{ compat: { supportsJsonSchemaResponseFormat: false }, isLoss: true }],
  },
  {
    name: 'earlier-reasoning',
    asks: 'reasoning in an earlier answer ("reasoning_content")',
    body: {
      messages: [
        hello,
        { role: 'assistant', content: 'Hello.', reasoning_content: 'A greeting is due.' },
        { role: 'user', content: 'Say it again.' },
      ],
      max_tokens: 4,
    },
    effect: accepted,
    remedies: [{ compat: { requiresThinkingAsText: true } }],
  },
  {
    name: 'image',
    asks: 'an image',
    body: {
      messages: [
        {
          role: 'user',
          content: [
            { type: 'text', text: 'What is this?' },
            { type: 'image_url', image_url: { url: PIXEL } },
          ],
        },
      ],
      max_tokens: 4,
    },
    effect: accepted,
    remedies: [],
  },
]

/** Flags that the probe of thinking finds: see `thinking.ts`. */
export const thinkingFlags = [
  'supportsReasoningEffort',
  'supportedReasoningEfforts',
  'thinkingFormat',
] as const satisfies readonly (keyof CompatFlags)[]

/** Flags that no answer of a server tells, and why. */
export const unprobed: Readonly<Partial<Record<keyof CompatFlags, string>>> = {
  supportsStore:
    'whether a server keeps answers is not seen from outside, so "store" is never sent by itself',
  reasoningEffortMap: 'what a label means to the server is not seen in an answer',
  supportsKeepAlive: 'when a server lets go of its model is not seen in an answer',
  supportsPromptCacheKey: 'what a hint does to a cache is not seen in an answer',
  supportsLongCacheRetention: 'what a hint does to a cache is not seen in an answer',
  cacheControlFormat: 'what a hint does to a cache is not seen in an answer',
  toolCallArgumentsEncoding: 'it takes a call with special characters, which no model makes on demand',
  visibleReasoningDetailTypes: 'it is a wish of yours and no ability of the server',
  openRouterRouting: 'it is a wish of yours and no ability of the server',
  vercelGatewayRouting: 'it is a wish of yours and no ability of the server',
  zaiToolStream: 'only Z.AI knows it',
  sendSessionAffinityHeaders: 'what a header does to routing is not seen in an answer',
  sendSessionIdHeader: 'what a header does to routing is not seen in an answer',
  requiresOpenAiAnthropicToolPayload: 'leasehold accepts it without effect',
  supportsInstructions: 'leasehold accepts it without effect',
  supportsResponsesContinuation: 'leasehold accepts it without effect',
  supportsEagerToolInputStreaming: 'leasehold accepts it without effect',
  nativeWebSearchTool: 'leasehold accepts it without effect',
  codeMode: 'leasehold accepts it without effect',
  requiresMistralToolIds: 'leasehold accepts it without effect',
}

/** Flags that a user may have set and that stay as they are while the others are probed. */
export function pickUnprobed(compat: CompatFlags): CompatFlags {
  return Object.fromEntries(Object.entries(compat).filter(([flag]) => Object.hasOwn(unprobed, flag)))
}

/** The tool of the probes makes a prompt at least so much longer, beside the longer question. */
const TOOL_TOKENS = 40

/** Compares the size of the prompt with that of the plain question. */
function judgePrompt(answer: Answer, plain: Answer, text: string, least = 1): Effect {
  if (answer.promptTokens === undefined || plain.promptTokens === undefined) return unclear
  return answer.promptTokens >= plain.promptTokens + least ? works : { kind: 'missing', text }
}

/** One token was allowed. */
function judgeLimit({ completionTokens, pieces, finish }: Answer): Effect {
  const used = Math.max(completionTokens ?? 0, pieces)
  if (finish === 'length' && used <= 2) return works
  return used > 2 ? { kind: 'missing', text: `the limit is ignored (${used} tokens instead of 1)` } : unclear
}

import { isJsonObject, type JsonObject } from '../../src/config/sections.ts'
import type { Answer } from '../../src/doctor/probe-answer.ts'
import type { ModelServerOptions } from '../../src/testing/model-server/options.ts'

/** A server as the model server plays it, and as a check in front of it refuses what the model server has no option for. */
export interface Personality {
  readonly name: string
  readonly flags: ModelServerOptions
  /** The answer to a body that the server refuses. */
  readonly refuse?: (body: Body) => Refusal | undefined
  /** Whether the file says that its model thinks. */
  readonly isReasoning?: boolean
  /** The smallest settings: flags, and members that are not sent. */
  readonly compat: JsonObject
  readonly dropParams?: readonly string[]
  /** Probes that fail and that no setting cures. */
  readonly uncured?: readonly string[]
}

export interface Refusal {
  readonly status: number
  readonly message: string
}

export interface Body {
  readonly root: JsonObject
  readonly messages: readonly JsonObject[]
  /** The functions of the tools. */
  readonly tools: readonly JsonObject[]
}

export function toBody(root: JsonObject): Body {
  const list = (value: unknown) => (Array.isArray(value) ? value.filter(isJsonObject) : [])
  return {
    root,
    messages: list(root.messages),
    tools: list(root.tools).map((tool) => (isJsonObject(tool.function) ? tool.function : {})),
  }
}

const refuseEffort = (accepts: readonly string[]) => ({
  reasoning_effort: { status: 400, message: `Input should be ${accepts.join(', ')}`, accepts },
})
const hasPart = ({ messages }: Body, type: string) =>
  messages.some(({ content }) => Array.isArray(content) && content.some((part) => part.type === type))
const hasTurn = ({ messages }: Body, role: string, next: string) =>
  messages.some((message, index) => message.role === role && messages[index + 1]?.role === next)
const when = (isRefused: boolean, message: string, status = 400) =>
  isRefused ? { status, message } : undefined
const noImages = (body: Body) => when(hasPart(body, 'image_url'), 'image input is not supported', 500)

/** The backends that users run, each with what is peculiar to it, and some that are peculiar in what is left. */
export const personalities: readonly Personality[] = [
  {
    name: 'a server that takes everything',
    flags: {},
    compat: {},
  },
  {
    name: 'inferrs',
    // Usage is ignored, which breaks nothing.
    flags: { rejectDeveloper: true, ignoreFields: ['stream_options', 'tool_choice'] },
    compat: {},
    uncured: ['usage'],
  },
  {
    name: 'inferrs before April 2026',
    flags: {
      strictContent: true,
      rejectDeveloper: true,
      rejectFields: { stream_options: { status: 422, message: 'unknown field `stream_options`' } },
    },
    compat: { requiresStringContent: true, supportsUsageInStreaming: false },
    uncured: ['image'],
  },
  {
    name: 'ds4',
    flags: { ignoreFields: ['max_completion_tokens', 'response_format'], reasoning: true },
    refuse: ({ root, messages, tools }) =>
      when(
        ['temperature', 'seed', 'stop'].some((name) => root[name] === null),
        'invalid JSON request',
      ) ??
      when(
        tools.some((tool) => tool.strict !== undefined),
        'invalid JSON request',
      ) ??
      when(
        messages.some(
          ({ role, reasoning_content: thought }) => role === 'assistant' && thought === undefined,
        ),
        'reasoning_content is missing',
      ) ??
      // Its switch is an object, and it takes no other form.
      when(root.reasoning_effort !== undefined && root.thinking === undefined, 'invalid JSON request') ??
      when(root.chat_template_kwargs !== undefined, 'invalid JSON request') ??
      when(root.enable_thinking !== undefined, 'invalid JSON request'),
    isReasoning: true,
    compat: {
      maxTokensField: 'max_tokens',
      supportsStrictMode: false,
      requiresReasoningContentOnAssistantMessages: true,
      thinkingFormat: 'deepseek',
    },
    uncured: ['explicit-null', 'json-schema'],
  },
  {
    name: 'llama.cpp',
    flags: {},
    refuse: noImages,
    compat: {},
    uncured: ['image'],
  },
  {
    name: 'llama.cpp without templates',
    flags: { rejectTools: true },
    refuse: noImages,
    compat: { supportsTools: false },
    uncured: ['image'],
  },
  {
    name: 'llama.cpp with a strict template',
    flags: {},
    refuse: (body) =>
      noImages(body) ??
      when(
        body.messages.some(({ role }, index) => role === 'system' && index > 0),
        'System message must be at the beginning.',
        500,
      ),
    compat: { laterSystemMessages: 'merge' },
    uncured: ['image'],
  },
  {
    name: 'llama.cpp that refuses a pattern in a grammar',
    flags: {},
    refuse: ({ tools }) => when(JSON.stringify(tools).includes('"pattern"'), 'failed to parse grammar'),
    compat: { toolSchemaProfile: 'llamacpp' },
  },
  {
    name: 'vLLM',
    flags: { reasoning: true, rejectFields: refuseEffort(['none', 'low', 'medium', 'high']) },
    isReasoning: true,
    compat: {
      supportsReasoningEffort: true,
      supportedReasoningEfforts: ['none', 'low', 'medium', 'high'],
    },
  },
  {
    name: 'vLLM without a parser for tools',
    flags: {
      rejectFields: {
        tools: {
          status: 400,
          message: '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
        },
      },
    },
    compat: { supportsTools: false },
  },
  {
    name: 'SGLang',
    flags: { reasoning: true, rejectFields: refuseEffort(['low', 'medium', 'high']) },
    isReasoning: true,
    compat: { supportsReasoningEffort: true, supportedReasoningEfforts: ['low', 'medium', 'high'] },
  },
  {
    name: 'mlx_lm',
    flags: {
      ignoreFields: ['response_format', 'tool_choice', 'n', 'parallel_tool_calls', 'reasoning_effort'],
    },
    refuse: (body) =>
      when(hasPart(body, 'image_url'), "Only 'text' content type is supported.", 404) ??
      when(
        body.messages.some(({ content }) => Array.isArray(content)),
        'Can only concatenate str (not "list") to str',
        404,
      ),
    compat: { requiresStringContent: true },
    uncured: ['json-schema', 'image'],
  },
  {
    name: 'Ollama',
    flags: {
      reasoning: true,
      ignoreFields: ['max_completion_tokens', 'tool_choice', 'parallel_tool_calls', 'n'],
      rejectFields: refuseEffort(['none', 'low', 'medium', 'high', 'max']),
    },
    isReasoning: true,
    compat: {
      maxTokensField: 'max_tokens',
      supportsReasoningEffort: true,
      supportedReasoningEfforts: ['none', 'low', 'medium', 'high', 'max'],
    },
  },
  {
    name: 'LM Studio',
    flags: {
      rejectFields: {
        max_completion_tokens: {
          status: 400,
          message: "Unrecognized key(s) in object: 'max_completion_tokens'",
        },
        tool_choice: {
          status: 400,
          message: "Invalid tool_choice type: 'object'. Supported string values: none, auto, required",
          accepts: ['none', 'auto', 'required'],
        },
      },
    },
    compat: { maxTokensField: 'max_tokens' },
    uncured: ['forced-tool'],
  },
  {
    name: 'TGI',
    flags: { ignoreFields: ['parallel_tool_calls', 'n'] },
    refuse: ({ root }) =>
      when(
        isJsonObject(root.response_format) && root.response_format.type === 'json_schema',
        'response_format: unknown variant `json_schema`',
        422,
      ) ?? when(root.stop !== undefined && !Array.isArray(root.stop), 'stop: expected a sequence', 422),
    compat: { supportsJsonSchemaResponseFormat: false },
    uncured: ['explicit-null'],
  },
  {
    name: 'TabbyAPI',
    flags: {},
    refuse: ({ tools }) =>
      when(
        tools.some(({ description }) => description === undefined),
        'tools.0.function.description: Field required',
        422,
      ),
    compat: {},
    uncured: ['undescribed-tool'],
  },
  {
    name: 'a server that checks every key',
    flags: {
      strictMessageKeys: true,
      rejectFields: {
        temperature: { status: 422, message: 'body.temperature: Extra inputs are not permitted' },
        metadata: { status: 422, message: 'body.metadata: Extra inputs are not permitted' },
        user: { status: 422, message: 'body.user: Extra inputs are not permitted' },
        parallel_tool_calls: {
          status: 422,
          message: 'body.parallel_tool_calls: Extra inputs are not permitted',
        },
      },
    },
    compat: { strictMessageKeys: true, supportsTemperature: false },
    dropParams: ['parallel_tool_calls', 'user', 'metadata'],
  },
  {
    name: 'a server that knows the newer limit alone',
    flags: { rejectFields: { max_tokens: { status: 400, message: "Unsupported parameter: 'max_tokens'" } } },
    compat: { maxTokensField: 'max_completion_tokens' },
  },
  {
    name: 'a server that wants names on results',
    flags: {},
    refuse: ({ messages }) =>
      when(
        messages.some(({ role, name }) => role === 'tool' && name === undefined),
        'name is missing',
      ),
    compat: { requiresToolResultName: true },
  },
  {
    name: 'a template without a user turn after a result',
    flags: {},
    refuse: (body) => when(hasTurn(body, 'tool', 'user'), 'conversation roles must alternate', 500),
    compat: { requiresAssistantAfterToolResult: true },
  },
  {
    // Without tools their schemas do not matter any more.
    name: 'a server that takes tools and no results of them',
    flags: {},
    refuse: ({ tools, messages }) =>
      when(JSON.stringify(tools).includes('"pattern"'), 'failed to parse grammar') ??
      when(
        messages.some(({ role }) => role === 'tool'),
        'unknown variant `tool`',
      ),
    compat: { supportsTools: false },
  },
  {
    name: 'a server that takes no reasoning back',
    flags: {},
    refuse: ({ messages }) =>
      when(
        messages.some(({ reasoning_content: thought }) => thought !== undefined),
        'unknown field `reasoning_content`',
      ),
    compat: { requiresThinkingAsText: true },
  },
  {
    name: 'a server with instructions of its own name',
    flags: {},
    refuse: ({ messages }) =>
      when(
        messages.some(({ role }) => role === 'system'),
        'unknown variant `system`',
      ),
    compat: { supportsDeveloperRole: true },
    uncured: ['later-system-message'],
  },
  {
    name: 'a template that is switched by an argument',
    flags: {
      reasoning: true,
      ignoreFields: ['reasoning_effort', 'thinking', 'enable_thinking', 'reasoning'],
    },
    isReasoning: true,
    compat: { thinkingFormat: 'qwen-chat-template' },
  },
]

/** One request with everything at once. */
export interface FullRequest {
  readonly body: JsonObject
  /** What is wrong with its answer. */
  readonly judge: (answer: Answer) => string | undefined
}

/**
 * What an agent sends in the middle of its work: everything at once, without what this server never takes. Of the two
 * names of the limit a client sends either.
 */
export function listFullRequests(personality: Personality): FullRequest[] {
  const takes = (probe: string) => !(personality.uncured ?? []).includes(probe)
  const body: JsonObject = {
    stream: true,
    stream_options: { include_usage: true },
    store: true,
    temperature: 0,
    seed: 1,
    user: 'ann',
    metadata: { a: 'b' },
    parallel_tool_calls: true,
    tool_choice: 'auto',
    tools: [
      {
        type: 'function',
        function: {
          name: 'read_file',
          description: 'Reads a file.',
          strict: true,
          parameters: {
            type: 'object',
            properties: { path: { type: 'string', pattern: '^/' } },
            required: ['path'],
            additionalProperties: false,
          },
        },
      },
    ],
    messages: [
      { role: 'developer', content: [{ type: 'text', text: 'You are an agent.' }] },
      { role: 'user', name: 'ann', content: [{ type: 'text', text: 'Look at this.' }] },
      {
        role: 'assistant',
        content: null,
        tool_calls: [
          { id: 'call_1', type: 'function', function: { name: 'read_file', arguments: '{"path":"/a"}' } },
        ],
      },
      { role: 'tool', tool_call_id: 'call_1', content: [{ type: 'text', text: 'What is in the file.' }] },
      { role: 'user', content: 'What is it?' },
      ...(personality.name.includes('no reasoning back') || personality.isReasoning !== true
        ? [{ role: 'assistant', content: 'It is a file.', reasoning_content: 'A file.' }]
        : [{ role: 'assistant', content: 'It is a file.' }]),
      ...(takes('later-system-message') ? [{ role: 'system', content: 'Be brief.' }] : []),
      { role: 'user', content: [{ type: 'text', text: 'Count to 60.' }] },
    ],
  }
  // With it the answer is too short to exceed a limit.
  const format = {
    response_format: {
      type: 'json_schema',
      json_schema: { name: 'answer', schema: { type: 'object', properties: { text: { type: 'string' } } } },
    },
  }
  const efforts = personality.isReasoning === true ? ['xhigh', 'none'] : ['low']
  return efforts.flatMap((effort) =>
    ['max_tokens', 'max_completion_tokens'].map((name) => ({
      body: { ...body, ...(name === 'max_tokens' ? format : {}), [name]: 1, reasoning_effort: effort },
      judge: (answer: Answer) => {
        if (answer.failure !== undefined) return answer.failure
        const spoken = answer.completionTokens ?? answer.pieces
        const thought = answer.reasoning.split(/\s+/).filter((word) => word !== '').length
        if (spoken - thought > 1) return `the limit is ignored: ${spoken}`
        return effort === 'xhigh' && thought === 0 ? 'no thinking' : undefined
      },
    })),
  )
}

/**
 * What a backend supports and requires: `models[].compat` of the configuration. Every flag is optional; its comment
 * states the default. A flag applies to chat completions unless its comment names other routes.
 */
export interface CompatFlags {
  /** A content array made only of text parts becomes one string, joined with a line feed. @default false */
  readonly requiresStringContent?: boolean
  /** Each message keeps only `role` and `content`; tool turns become plain text first. @default false */
  readonly strictMessageKeys?: boolean
  /** False removes tools and their choice; tool turns of the history become plain text. @default true */
  readonly supportsTools?: boolean
  /** Lets `store` through, on every route. @default false */
  readonly supportsStore?: boolean
  /** False turns the role `developer` into `system`. @default false */
  readonly supportsDeveloperRole?: boolean
  /**
   * Handling of `system` messages that are not first: `merge` joins them with the first one, `user` gives them the
   * role `user` where they stand. Chat completions, responses and messages. Absent: they stay.
   */
  readonly laterSystemMessages?: 'merge' | 'user'
  /** Lets `reasoning_effort` through. @default true when `thinkingFormat` is set, false otherwise */
  readonly supportsReasoningEffort?: boolean
  /** The efforts the backend knows; any other becomes the nearest one, the lower of two. */
  readonly supportedReasoningEfforts?: readonly string[]
  /** Translates an effort of the client's to one of the backend's. */
  readonly reasoningEffortMap?: Readonly<Record<string, string>>
  /** The name of the token limit; the other name is renamed to it. */
  readonly maxTokensField?: 'max_completion_tokens' | 'max_tokens'
  /** How the backend is asked to think. Absent: not at all, except through `supportsReasoningEffort`. */
  readonly thinkingFormat?: ThinkingFormat
  /** Asks for usage on streams, and hides it from a client that did not ask; false removes `stream_options`. @default true */
  readonly supportsUsageInStreaming?: boolean
  /** False removes `function.strict` from tools. @default true */
  readonly supportsStrictMode?: boolean
  /** False turns the response format `json_schema` into `json_object`. @default true */
  readonly supportsJsonSchemaResponseFormat?: boolean
  /** False removes `temperature`. @default true */
  readonly supportsTemperature?: boolean
  /** Adds the name of the called function to tool results. @default false */
  readonly requiresToolResultName?: boolean
  /** Puts an assistant turn between a tool result and the user message after it. @default false */
  readonly requiresAssistantAfterToolResult?: boolean
  /** Earlier reasoning of the assistant becomes leading text. @default false */
  readonly requiresThinkingAsText?: boolean
  /** Adds `reasoning_content: ""` to assistant turns without it. @default false */
  readonly requiresReasoningContentOnAssistantMessages?: boolean
  /** Lets `prompt_cache_key` through, on every route. @default false */
  readonly supportsPromptCacheKey?: boolean
  /** Lets `prompt_cache_retention` through, on every route. @default false */
  readonly supportsLongCacheRetention?: boolean
  /** Lets `keep_alive` through, on every route, for a server that unloads models itself, as Ollama. @default false */
  readonly supportsKeepAlive?: boolean
  /** A client that sends a prompt-cache hint gets `cache_control` marks of this form. */
  readonly cacheControlFormat?: 'anthropic'
  /** Removes the JSON-schema keywords that this family of backends refuses in tools. */
  readonly toolSchemaProfile?: 'llamacpp' | 'gemini' | 'xai'
  /** Further JSON-schema keywords to remove from tools. */
  readonly unsupportedToolSchemaKeywords?: readonly string[]
  /** How the backend encodes the arguments of tool calls; `html-entities` is decoded on the way back. */
  readonly toolCallArgumentsEncoding?: string
  /** Types of `reasoning_details` in answers that are shown as text. */
  readonly visibleReasoningDetailTypes?: readonly string[]
  /** Sent as `provider` when the client does not say it. */
  readonly openRouterRouting?: Readonly<Record<string, unknown>>
  /** Sent as `providerOptions.gateway` when the client sends no `providerOptions`. */
  readonly vercelGatewayRouting?: Readonly<Record<string, unknown>>
  /** Adds `tool_stream: true` to streams with tools. @default false */
  readonly zaiToolStream?: boolean
  /** Sends the client's session id as `x-session-affinity`. @default false */
  readonly sendSessionAffinityHeaders?: boolean
  /** Sends the client's session id as `session_id`. @default false */
  readonly sendSessionIdHeader?: boolean

  /** Accepted without effect, like all below: see {@link toInertFlags}. */
  readonly requiresOpenAiAnthropicToolPayload?: unknown
  readonly supportsInstructions?: unknown
  readonly supportsResponsesContinuation?: unknown
  readonly supportsEagerToolInputStreaming?: unknown
  readonly nativeWebSearchTool?: unknown
  readonly codeMode?: unknown
  readonly requiresMistralToolIds?: unknown
}

/** The ways to tell a backend how much to think. */
export type ThinkingFormat =
  | 'openai'
  | 'deepseek'
  | 'zai'
  | 'together'
  | 'qwen'
  | 'qwen-chat-template'
  | 'openrouter'

/** The names of the flags in `compat` that are accepted and change nothing that we send or answer. */
export function toInertFlags(compat: CompatFlags): string[] {
  return inertFlags.filter((flag) => compat[flag] !== undefined)
}

const inertFlags = [
  'requiresOpenAiAnthropicToolPayload',
  'supportsInstructions',
  'supportsResponsesContinuation',
  'supportsEagerToolInputStreaming',
  'nativeWebSearchTool',
  'codeMode',
  'requiresMistralToolIds',
] as const satisfies readonly (keyof CompatFlags)[]

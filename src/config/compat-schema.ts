import { z } from 'zod'
import { jsonObject } from './fields.ts'

/**
 * What a backend cannot take, or wants in another form: `models[].compat`. Every flag is optional, and
 * absent means that nothing is known, so the defaults for local servers apply.
 */
export const compatSchema = z
  .strictObject({
    requiresStringContent: flag('Join a content array made only of text parts into one string.'),
    strictMessageKeys: flag(
      'Keep only `role` and `content` in each message; tool turns become plain text first.',
    ),
    supportsTools: flag(
      '`false` removes tools from the request; tool turns in the history become plain text.',
    ),
    supportsStore: flag('`true` lets `store` through.'),
    supportsDeveloperRole: flag('`true` keeps the role `developer`; otherwise it becomes `system`.'),
    laterSystemMessages: z
      .enum(['merge', 'user'])
      .optional()
      .describe(
        'What becomes of `system` messages that are not first: `merge` joins them with the first, `user` gives them the role `user`.',
      ),
    supportsReasoningEffort: flag('Whether `reasoning_effort` may be sent.'),
    supportedReasoningEfforts: list('The labels of `reasoning_effort` that the backend takes.'),
    reasoningEffortMap: z
      .record(z.string(), z.string())
      .optional()
      .describe('From a label of `reasoning_effort` to the one the backend uses.'),
    maxTokensField: z
      .enum(['max_completion_tokens', 'max_tokens'])
      .optional()
      .describe('Name of the token limit: whichever the client sent is renamed to it.'),
    thinkingFormat: z
      .enum(['openai', 'deepseek', 'zai', 'together', 'qwen', 'qwen-chat-template', 'openrouter'])
      .optional()
      .describe('The form in which the backend is asked to think.'),
    supportsUsageInStreaming: flag(
      '`false` removes `stream_options`; otherwise usage is asked for on every stream, and shown to a client that asked for it.',
    ),
    supportsStrictMode: flag('`false` removes `function.strict` from tools.'),
    supportsJsonSchemaResponseFormat: flag(
      '`false` turns the response format `json_schema` into `json_object`.',
    ),
    supportsTemperature: flag('`false` removes `temperature`.'),
    requiresToolResultName: flag('Put `name` on tool messages, from the matching call.'),
    requiresAssistantAfterToolResult: flag(
      'Put an assistant turn between a tool result and the next user message.',
    ),
    requiresThinkingAsText: flag('Earlier reasoning becomes leading text.'),
    requiresReasoningContentOnAssistantMessages: flag('Add `reasoning_content: ""` to assistant messages.'),
    supportsPromptCacheKey: flag('`true` lets `prompt_cache_key` through.'),
    supportsLongCacheRetention: flag('`true` lets `prompt_cache_retention` through.'),
    supportsKeepAlive: flag(
      '`true` lets `keep_alive` through, for a server that unloads models itself, as Ollama.',
    ),
    cacheControlFormat: z
      .enum(['anthropic'])
      .optional()
      .describe('The form in which prompt-cache hints are let through.'),
    toolSchemaProfile: z
      .enum(['llamacpp', 'gemini', 'xai'])
      .optional()
      .describe('A known set of JSON Schema keywords to remove from tools.'),
    unsupportedToolSchemaKeywords: list('JSON Schema keywords to remove from tools.'),
    toolCallArgumentsEncoding: z
      .string()
      .optional()
      .describe(
        'How the backend encodes the arguments of tool calls, for instance `html-entities`; decoded on the way back.',
      ),
    visibleReasoningDetailTypes: list('Types of streamed reasoning details that are shown as text.'),
    requiresOpenAiAnthropicToolPayload: flag('Accepted from OpenClaw files.'),
    openRouterRouting: jsonObject().optional().describe('Routing preferences for OpenRouter.'),
    vercelGatewayRouting: jsonObject().optional().describe('Routing preferences for the Vercel gateway.'),
    zaiToolStream: flag('Ask Z.AI to stream tool calls.'),
    sendSessionAffinityHeaders: flag('Accepted from OpenClaw files.'),
    sendSessionIdHeader: flag('Accepted from OpenClaw files.'),
    supportsInstructions: flag('Accepted from OpenClaw files.'),
    supportsResponsesContinuation: flag('Accepted from OpenClaw files.'),
    supportsEagerToolInputStreaming: flag('Accepted from OpenClaw files.'),
    nativeWebSearchTool: flag('Accepted from OpenClaw files.'),
    codeMode: z.unknown().optional().describe('Accepted from OpenClaw files.'),
    requiresMistralToolIds: flag('Retired: has no effect and gives a warning.'),
  })
  .describe('What the backend cannot take, or wants in another form.')

function flag(description: string) {
  return z.boolean().optional().describe(description)
}

function list(description: string) {
  return z.array(z.string()).optional().describe(description)
}

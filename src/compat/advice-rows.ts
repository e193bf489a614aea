import type { CompatFlags } from './flags.ts'

/** The request that an error answers. */
export interface Asked {
  /** The model, as `provider/model`. */
  readonly ref: string
  /** The path of the client: `/v1/responses`. Absent: it is not known. */
  readonly path?: string
  /** The configured base URL of the server. */
  readonly baseUrl?: string
}

/** A known error text of a backend, with its remedy. */
export interface AdviceRow {
  /** Stable name of the advice. Texts with the same remedy share it. */
  readonly id: string
  /** The statuses for which the pattern applies. */
  readonly statuses: readonly number[]
  /**
   * Matched against the backend's message, followed by one line `key: value` per plain member of the error. The text
   * is untrusted and may be long: no nested repetition, no `m` flag with an unbounded repetition.
   */
  readonly pattern: RegExp
  /** What to do, as one sentence; `$<name>` stands for a named group of the pattern. */
  readonly text: string | ((asked: Asked) => string)
  /** Flags of the model that solve it. */
  readonly compat?: CompatFlags | ((found: Readonly<Record<string, string>>) => CompatFlags)
  /** Arguments of the server that solve it. */
  readonly args?: readonly string[]
}

/**
 * All known texts, grouped by remedy. The first matching row decides, so a text with numbers precedes the same text
 * without.
 */
export const adviceRows: readonly AdviceRow[] = [
  // The form of messages. Rust servers (inferrs, TGI) read JSON with serde; the other texts are labelled by server.
  {
    id: 'requires-string-content',
    statuses: [400, 422],
    // After `content: `, or bare; `stop: invalid type: …` is about something else.
    pattern: /(?:^|\bcontent: |\btype: )invalid type: sequence, expected a string/,
    text: 'set compat.requiresStringContent: true for this model, so that text parts are joined into one string.',
    compat: { requiresStringContent: true },
  },
  {
    id: 'no-developer-role',
    statuses: [400, 422],
    pattern: /unknown variant `developer`/,
    text: 'set compat.supportsDeveloperRole: false for this model, so that "developer" is sent as "system".',
    compat: { supportsDeveloperRole: false },
  },
  {
    id: 'strict-message-keys',
    statuses: [400, 422],
    pattern:
      /unknown field `[^`\n]{1,100}`, expected (?:one of )?`role`(?: or|,) `content`(?!,)|\bmessages\.\d+\.\w{1,50}: Extra inputs are not permitted/,
    text: 'set compat.strictMessageKeys: true for this model, so that messages keep only "role" and "content".',
    compat: { strictMessageKeys: true },
  },
  {
    id: 'unsupported-content-part',
    statuses: [400], // llama.cpp
    pattern: /unsupported content\[\]\.type/,
    text: 'send only parts of the types "text" and "image_url": the server takes no other.',
  },
  {
    id: 'text-parts-only',
    statuses: [404], // mlx_lm answers 404 for every error
    pattern: /Only 'text' content type is supported/,
    text: 'send only text to this model: its server takes no images and no other parts, and the 404 is no missing route.',
  },
  {
    id: 'no-media-input',
    statuses: [500], // llama.cpp
    pattern: /(?<medium>image|audio) input is not supported/,
    text: 'send no $<medium> parts, or add "--mmproj" with the projector file of the model to localService.args.',
    args: ['--mmproj', '/absolute/path/to/mmproj.gguf'],
  },
  {
    id: 'inline-images',
    statuses: [400], // Ollama
    pattern: /image URLs are not currently supported, please use base64/,
    text: 'send images as data URLs ("data:image/png;base64,…"): the server fetches none.',
  },
  {
    id: 'null-content',
    statuses: [400], // Ollama
    pattern: /invalid message content type: <nil>/,
    text: 'send "content": "" where a message has no text: the server takes null only beside tool calls.',
  },
  {
    id: 'one-system-message',
    statuses: [400, 404, 500], // chat templates, in llama.cpp and mlx_lm
    pattern: /System message must be at the beginning/,
    text: 'set compat.laterSystemMessages: "merge" for this model, so that all system messages become one at the beginning: its chat template takes no other.',
    compat: { laterSystemMessages: 'merge' },
  },
  {
    id: 'alternating-roles',
    statuses: [400, 404, 500], // chat templates, in llama.cpp and mlx_lm
    pattern: /conversation roles must alternate/i,
    text: 'merge neighbouring messages of one role: the chat template of the model wants user and assistant in turn.',
  },
  {
    id: 'explicit-null',
    statuses: [400], // ds4
    pattern: /^(?:invalid JSON request|missing messages)\b/,
    text: 'leave out fields whose value is null ("max_tokens", "temperature", "seed", …): the server takes none.',
  },

  // Tools.
  {
    id: 'tools-need-jinja',
    statuses: [400, 500], // llama.cpp
    pattern: /tools param requires --jinja flag/,
    text: 'add "--jinja" to localService.args, or set compat.supportsTools: false for this model.',
    args: ['--jinja'],
  },
  {
    id: 'tools-need-parser',
    statuses: [400], // vLLM
    pattern: /tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set/,
    text: 'add "--enable-auto-tool-choice" and "--tool-call-parser" with the parser of the model to localService.args, or set compat.supportsTools: false.',
    args: ['--enable-auto-tool-choice', '--tool-call-parser', 'the-parser-of-the-model'],
  },
  {
    id: 'no-tools',
    statuses: [400, 422, 500, 501], // Ollama, and any server that does not know the field
    pattern:
      /does not support tools|unknown field `(?:tools|tool_choice)`|\bbody\.tools: Extra inputs are not permitted/,
    text: 'set compat.supportsTools: false for this model, so that tools are left out and tool turns become text.',
    compat: { supportsTools: false },
  },
  {
    id: 'empty-tools',
    statuses: [400], // vLLM
    pattern: /`tools` must not be an empty array/,
    text: 'leave "tools" out when there are none, or set compat.supportsTools: false for this model.',
    compat: { supportsTools: false },
  },
  {
    id: 'tool-choice-without-tools',
    statuses: [400], // vLLM
    pattern: /When using `tool_choice`, `tools` must be set/,
    text: 'leave "tool_choice" out when there are no tools, or set compat.supportsTools: false for this model.',
    compat: { supportsTools: false },
  },
  {
    id: 'no-forced-tool-choice',
    statuses: [400], // ds4
    pattern: /forced tool_choice not supported|tool_choice=required not supported/,
    text: 'send "tool_choice": "auto": the server cannot force a call.',
  },
  {
    id: 'tool-choice-as-string',
    statuses: [400], // LM Studio
    pattern: /Invalid tool_choice type: 'object'/,
    text: 'send "tool_choice": "required" with the one tool that is wanted: the server takes no object.',
  },

  // Other fields of a request.
  {
    id: 'stream-options-without-stream',
    statuses: [400], // vLLM
    pattern: /Stream options can only be defined when `stream=True`/,
    text: 'send "stream_options" only with "stream": true, or set compat.supportsUsageInStreaming: false for this model.',
    compat: { supportsUsageInStreaming: false },
  },
  {
    id: 'logprobs-with-tools',
    statuses: [400], // llama.cpp
    pattern: /logprobs is not supported with tools \+ stream/,
    text: 'leave "logprobs" out of streams with tools.',
  },
  {
    id: 'no-json-object-format',
    statuses: [400], // LM Studio
    pattern: /'response_format\.type' must be 'json_schema' or 'text'/,
    text: 'send a "response_format" of the type "json_schema" with a schema: the server knows no "json_object".',
  },
  {
    id: 'supported-reasoning-efforts',
    statuses: [400, 422], // pydantic in vLLM and SGLang; Ollama
    pattern:
      /(?:reasoning_effort[^\n]{0,100}?Input should be|invalid reasoning value: [^\n]{0,50}?\(must be) (?<labels>(?:(?:, |,? or )?["']\w{1,20}["']){1,20})/,
    text: 'set compat.supportedReasoningEfforts for this model to what the server takes ($<labels>), so that any other effort becomes the nearest.',
    compat: ({ labels = '' }) => ({ supportedReasoningEfforts: labels.match(/\w+(?=["'])/g) ?? [] }),
  },
  buildFieldRow('max_completion_tokens', 'maxTokensField', 'max_tokens'),
  buildFieldRow('max_tokens', 'maxTokensField', 'max_completion_tokens'),
  buildFieldRow('stream_options', 'supportsUsageInStreaming', false),
  buildFieldRow('reasoning_effort', 'supportsReasoningEffort', false),
  buildFieldRow('strict', 'supportsStrictMode', false),
  buildFieldRow('temperature', 'supportsTemperature', false),
  {
    id: 'tgi-validation',
    statuses: [422], // TGI
    pattern: /\nerror_type: validation\b/,
    text: 'correct the field that the server names: it wants "stop" and "logit_bias" as arrays, and "response_format" as { type, value }.',
  },

  // Size, state and load: nothing in the model's entry cures these.
  {
    id: 'context-exceeded',
    statuses: [400], // llama.cpp
    pattern:
      /^(?=[\s\S]*\nn_prompt_tokens: (?<prompt>\d+))(?=[\s\S]*\nn_ctx: (?<context>\d+))[\s\S]*exceed_context_size_error/,
    text: 'shorten the conversation, or start the server with a larger context: the prompt has $<prompt> tokens and the context holds $<context>.',
  },
  {
    id: 'context-exceeded',
    statuses: [400], // ds4
    pattern: /Prompt has (?<prompt>\d+) tokens, but the configured context size is (?<context>\d+) tokens/,
    text: 'shorten the conversation, or start the server with a larger context: the prompt has $<prompt> tokens and the context holds $<context>.',
  },
  {
    id: 'context-exceeded',
    statuses: [400, 500], // the same without numbers, and older ds4
    pattern: /exceed_context_size_error|\b(?:code|type): context_length_exceeded|prompt exceeds context/,
    text: 'shorten the conversation, or start the server with a larger context: the prompt does not fit into it.',
  },
  {
    id: 'replay-history',
    statuses: [409], // ds4
    pattern: /Responses continuation state is not available/,
    text: 'send the whole history without "previous_response_id": what the server remembered ended with its last stop.',
  },
  {
    id: 'still-loading',
    statuses: [503], // llama.cpp
    pattern: /^Loading model\b/,
    text: 'try again later: the server is still loading its model.',
  },
  {
    id: 'no-model-loaded',
    statuses: [400, 404], // LM Studio
    pattern: /No models loaded\. Please load a model/,
    text: 'load the model in LM Studio first ("lms load"), or let it load models on request in its settings.',
  },
  {
    id: 'server-busy',
    statuses: [503], // Ollama
    pattern: /server busy, please try again\.\s{1,4}maximum pending requests exceeded/,
    text: 'try again later, or set localService.maxConcurrent, so that requests queue here and not in the server.',
  },
  {
    id: 'server-busy',
    statuses: [429], // TGI
    pattern: /Model is overloaded/,
    text: 'try again later, or set localService.maxConcurrent, so that requests queue here and not in the server.',
  },

  // What a 404 means. A chat template that fails is one, too: with mlx_lm.
  {
    id: 'template-fault',
    statuses: [404], // mlx_lm
    pattern: /\bchat template\b|\bjinja2?\b|\bTemplateError\b/i,
    text: 'try compat.requiresStringContent: true and compat.supportsTools: false for this model: its chat template failed, and the 404 is no missing route.',
    compat: { requiresStringContent: true, supportsTools: false },
  },
  {
    id: 'model-not-found',
    statuses: [404], // vLLM, Ollama, and others
    pattern: /\bmodel [`'"]?[^`'"\n]{1,200}[`'"]? (?:not found|does not exist)/i,
    text: 'spell the id of the model as "/v1/models" of the server lists it, without the id of its provider before it.',
  },
  {
    id: 'route-not-found',
    statuses: [404, 405], // llama.cpp, FastAPI, Go's and Python's own, Express, nginx; inferrs says nothing
    pattern:
      /^\s{0,20}$|^(?:404 page |404 |File )?not found\s*(?:\n|$)|^(?:405 )?method not allowed\s*(?:\n|$)|Cannot POST \/|<title>40[45] /i,
    text: describeRoute,
  },
]

/** Suspects the base URL only if it has no path; otherwise the server does not have the route. */
function describeRoute({ path = '', baseUrl = '' }: Asked): string {
  if (/^https?:\/\/[^/]+\/?$/.test(baseUrl))
    return `add "/v1" to baseUrl: it is ${baseUrl}, and the server has no such route there.`
  const name = path === '' ? 'the route that was asked for' : path.replace(/\?.*$/, '')
  return `use another route of the model: this server does not offer ${name}.`
}

/** An unknown field, as serde, OpenAI-compatible servers and pydantic report it. */
function buildFieldRow(field: string, flag: keyof CompatFlags, value: string | boolean): AdviceRow {
  return {
    id: `no-${field.replaceAll('_', '-')}`,
    statuses: [400, 422],
    pattern: new RegExp(
      `(?:unknown field|[Uu]nsupported parameter:|[Uu]nrecognized request argument supplied:) [\`'"]?${field}\\b` +
        `|\\b${field}: Extra inputs are not permitted`,
    ),
    text: `set compat.${flag}: ${JSON.stringify(value)} for this model: its server does not know "${field}".`,
    compat: { [flag]: value },
  }
}

import type { ProviderConfig } from '../config/config.ts'
import { UsageError } from './exit-codes.ts'

/** The values of a provider's `api`. */
export type Api = ProviderConfig['api']

/** An image, with the parts of its data URL. */
export interface Image {
  /** `image/png` and the like. */
  readonly type: string
  readonly base64: string
}

/** A question that every API can express. */
export interface Turn {
  readonly model: string
  readonly prompt: string
  /** What was said before, the oldest first. @default nothing */
  readonly history?: readonly { readonly role: 'user' | 'assistant'; readonly text: string }[]
  readonly system?: string | undefined
  readonly images: readonly Image[]
  readonly thinking?: string | undefined
  readonly maxTokens?: number | undefined
  /** The configured limit of an answer, in tokens. */
  readonly modelMaxTokens?: number | undefined
  readonly temperature?: number | undefined
}

/** The content of one event of a stream, or of a whole answer. */
export interface Piece {
  readonly text?: string | undefined
  readonly finishReason?: string | undefined
  readonly usage?: object | undefined
  /** The error, if the server refused at this point. */
  readonly refusal?: object
}

/** Requests and answers of one API. */
export interface Dialect {
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  /** The API's name for an answer, with its article. */
  readonly answerName: string
  /** The body of a streaming request. @throws {@link UsageError} for options that the API does not have */
  toBody(turn: Turn): object
  /** Reads the data of one event. @throws SyntaxError or TypeError for what has another form */
  read(data: string): Piece
}

const chat: Dialect = {
  path: '/v1/chat/completions',
  headers: {},
  answerName: 'a chat completion',
  toBody: ({ model, prompt, history, system, images, thinking, maxTokens, temperature }) => ({
    model,
    messages: [
      ...(system === undefined ? [] : [{ role: 'system', content: system }]),
      ...buildHistory(history),
      {
        role: 'user',
        content: buildContent(prompt, images, 'text', (image) => ({
          type: 'image_url',
          image_url: { url: formatDataUrl(image) },
        })),
      },
    ],
    stream: true,
    stream_options: { include_usage: true },
    reasoning_effort: thinking,
    max_tokens: maxTokens,
    temperature,
  }),
  read: (data) => {
    const chunk: ChatChunk = JSON.parse(data)
    if (chunk.error !== undefined) return { refusal: chunk }
    const choice = chunk.choices?.[0]
    return {
      text: readText(choice?.delta?.content ?? choice?.message?.content),
      finishReason: readText(choice?.finish_reason),
      usage: chunk.usage ?? undefined,
    }
  },
}

/** The members of a chunk, or of a whole completion, that are read here. The server may send others. */
interface ChatChunk {
  readonly error?: unknown
  readonly usage?: object | null
  readonly choices?: readonly {
    readonly delta?: { readonly content?: unknown }
    readonly message?: { readonly content?: unknown }
    readonly finish_reason?: unknown
  }[]
}

const responses: Dialect = {
  path: '/v1/responses',
  headers: {},
  answerName: 'a response',
  toBody: ({ model, prompt, history, system, images, thinking, maxTokens, temperature }) => ({
    model,
    instructions: system,
    input: [
      ...buildHistory(history),
      {
        role: 'user',
        content: buildContent(prompt, images, 'input_text', (image) => ({
          type: 'input_image',
          image_url: formatDataUrl(image),
        })),
      },
    ],
    stream: true,
    reasoning: thinking === undefined ? undefined : { effort: thinking },
    max_output_tokens: maxTokens,
    temperature,
  }),
  read: (data) => {
    const event: ResponseEvent | ResponseFacts = JSON.parse(data)
    if ('object' in event && event.object === 'response') {
      if (event.error) return { refusal: event }
      const said = event.output.filter(({ type }) => type === 'message')
      const parts = said.flatMap(({ content }) => content ?? [])
      return { ...readResponseEnd(event), text: parts.map(({ text }) => readText(text) ?? '').join('') }
    }
    const { type, delta, response, error } = event as ResponseEvent
    if (response !== undefined && type === 'response.failed') return { refusal: response }
    if (type === 'error' || error) return { refusal: event }
    if (type === 'response.output_text.delta') return { text: readText(delta) }
    const isEnd = type === 'response.completed' || type === 'response.incomplete'
    return isEnd && response !== undefined ? readResponseEnd(response) : {}
  },
}

/** The members of a stream event that are read here. */
interface ResponseEvent {
  readonly type?: unknown
  readonly delta?: unknown
  readonly response?: ResponseFacts
  readonly error?: unknown
}

/** The members of a response that are read here. */
interface ResponseFacts {
  readonly object?: unknown
  readonly status?: unknown
  readonly error?: object | null
  readonly incomplete_details?: { readonly reason?: unknown } | null
  readonly output: readonly {
    readonly type?: unknown
    readonly content?: readonly { readonly text?: unknown }[]
  }[]
  readonly usage?: object | null
}

function readResponseEnd({ status, incomplete_details, usage }: ResponseFacts): Piece {
  return {
    finishReason: readText(incomplete_details?.reason) ?? readText(status),
    usage: usage ?? undefined,
  }
}

/** Anthropic requires a limit. Its examples use this order of magnitude. */
const MESSAGES_MAX_TOKENS = 4_096

/** Thinking budget in tokens, by effort. `0`: no thinking. */
const thinkingBudgets: ReadonlyMap<string, number> = new Map([
  ['none', 0],
  ['low', 2_048],
  ['medium', 8_192],
  ['high', 16_384],
])

const messages: Dialect = {
  path: '/v1/messages',
  headers: { 'anthropic-version': '2023-06-01' },
  answerName: 'a message',
  toBody: ({ model, prompt, history, system, images, thinking, temperature, ...limits }) => {
    const budget = thinking === undefined ? undefined : thinkingBudgets.get(thinking)
    if (thinking !== undefined && budget === undefined)
      throw new UsageError(
        `--thinking ${thinking}: this provider's api, anthropic-messages, knows off, low, medium and high.`,
      )
    const maxTokens = limits.maxTokens ?? limits.modelMaxTokens ?? MESSAGES_MAX_TOKENS
    return {
      model,
      system,
      messages: [
        ...buildHistory(history),
        {
          role: 'user',
          content: buildContent(prompt, images, 'text', ({ type, base64 }) => ({
            type: 'image',
            source: { type: 'base64', media_type: type, data: base64 },
          })),
        },
      ],
      stream: true,
      thinking:
        budget === undefined
          ? undefined
          : budget === 0
            ? { type: 'disabled' }
            : { type: 'enabled', budget_tokens: budget },
      // The limit holds for thinking and answer together.
      max_tokens: maxTokens + (budget ?? 0),
      temperature,
    }
  },
  read: (data) => {
    const event: MessageEvent = JSON.parse(data)
    const { type, message, delta, content, stop_reason, usage, error } = event
    if (type === 'error' || error) return { refusal: event }
    if (type === 'message_start') return { usage: message?.usage ?? undefined }
    // Thinking and the arguments of tools come under names of their own.
    if (type === 'content_block_delta') return { text: readText(delta?.text) }
    return {
      text: content?.map(({ text }) => readText(text) ?? '').join(''),
      finishReason: readText(delta?.stop_reason ?? stop_reason),
      usage: usage ?? undefined,
    }
  },
}

/** The members of an event, or of a whole message, that are read here. */
interface MessageEvent {
  readonly type?: unknown
  readonly error?: unknown
  readonly message?: { readonly usage?: object | null }
  readonly delta?: { readonly text?: unknown; readonly stop_reason?: unknown }
  readonly content?: readonly { readonly text?: unknown }[]
  readonly stop_reason?: unknown
  readonly usage?: object | null
}

/** The dialect of each API. */
export const dialects: Readonly<Record<Api, Dialect>> = {
  'openai-completions': chat,
  'openai-responses': responses,
  'anthropic-messages': messages,
}

function buildHistory(history: Turn['history'] = []): readonly object[] {
  return history.map(({ role, text }) => ({ role, content: text }))
}

/** A prompt alone is sent as a string, which the simplest servers can read. */
function buildContent(
  prompt: string,
  images: readonly Image[],
  type: string,
  toPart: (image: Image) => object,
): string | readonly object[] {
  return images.length === 0 ? prompt : [{ type, text: prompt }, ...images.map(toPart)]
}

function formatDataUrl({ type, base64 }: Image): string {
  return `data:${type};base64,${base64}`
}

function readText(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}

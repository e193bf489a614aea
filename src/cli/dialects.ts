import type { ProviderConfig } from '../config/config.ts'
import { UsageError } from './failures.ts'

/** What a provider's `api` may be. */
export type Api = ProviderConfig['api']

/** An image as a data URL is made of it. */
export interface Image {
  /** `image/png` and the like. */
  readonly type: string
  readonly base64: string
}

/** A question as every API can say it. */
export interface Turn {
  readonly model: string
  readonly prompt: string
  readonly system?: string | undefined
  readonly images: readonly Image[]
  readonly thinking?: string | undefined
  readonly maxTokens?: number | undefined
  /** The longest answer of the model, as configured. */
  readonly modelMaxTokens?: number | undefined
  readonly temperature?: number | undefined
}

/** What one event of a stream, or a whole answer, says. */
export interface Piece {
  readonly text?: string | undefined
  readonly finishReason?: string | undefined
  readonly usage?: object | undefined
  /** The server refused here: what holds its error. */
  readonly refusal?: object
}

/** How one API asks and answers. */
export interface Dialect {
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  /** What it calls an answer, with its article. */
  readonly answerName: string
  /** The body of a question that is answered with a stream. @throws {@link UsageError} for what the API cannot say */
  toBody(turn: Turn): object
  /** Reads the data of one event. @throws SyntaxError or TypeError for what has another form */
  read(data: string): Piece
}

const chat: Dialect = {
  path: '/v1/chat/completions',
  headers: {},
  answerName: 'a chat completion',
  toBody: ({ model, prompt, system, images, thinking, maxTokens, temperature }) => ({
    model,
    messages: [
      ...(system === undefined ? [] : [{ role: 'system', content: system }]),
      {
        role: 'user',
        content: toContent(prompt, images, 'text', (image) => ({
          type: 'image_url',
          image_url: { url: toDataUrl(image) },
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
      text: toText(choice?.delta?.content ?? choice?.message?.content),
      finishReason: toText(choice?.finish_reason),
      usage: chunk.usage ?? undefined,
    }
  },
}

/** As much of a chunk, or of a whole completion, as is read here. The server may send anything else. */
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
  toBody: ({ model, prompt, system, images, thinking, maxTokens, temperature }) => ({
    model,
    instructions: system,
    input: [
      {
        role: 'user',
        content: toContent(prompt, images, 'input_text', (image) => ({
          type: 'input_image',
          image_url: toDataUrl(image),
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
      return { ...toResponseEnd(event), text: parts.map(({ text }) => toText(text) ?? '').join('') }
    }
    const { type, delta, response, error } = event as ResponseEvent
    if (response !== undefined && type === 'response.failed') return { refusal: response }
    if (type === 'error' || error) return { refusal: event }
    if (type === 'response.output_text.delta') return { text: toText(delta) }
    const isEnd = type === 'response.completed' || type === 'response.incomplete'
    return isEnd && response !== undefined ? toResponseEnd(response) : {}
  },
}

/** As much of an event of a stream as is read here. */
interface ResponseEvent {
  readonly type?: unknown
  readonly delta?: unknown
  readonly response?: ResponseFacts
  readonly error?: unknown
}

/** As much of a response as is read here. */
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

function toResponseEnd({ status, incomplete_details, usage }: ResponseFacts): Piece {
  return {
    finishReason: toText(incomplete_details?.reason) ?? toText(status),
    usage: usage ?? undefined,
  }
}

/** Anthropic wants a limit. Its own examples have one of this order. */
const MESSAGES_MAX_TOKENS = 4_096

/** Tokens that a model may think, by the word for it. `0`: it must not. */
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
  toBody: ({ model, prompt, system, images, thinking, temperature, ...limits }) => {
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
        {
          role: 'user',
          content: toContent(prompt, images, 'text', ({ type, base64 }) => ({
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
    if (type === 'content_block_delta') return { text: toText(delta?.text) }
    return {
      text: content?.map(({ text }) => toText(text) ?? '').join(''),
      finishReason: toText(delta?.stop_reason ?? stop_reason),
      usage: usage ?? undefined,
    }
  },
}

/** As much of an event, or of a whole message, as is read here. */
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

/** A prompt alone is a string, which the simplest servers read, too. */
function toContent(
  prompt: string,
  images: readonly Image[],
  type: string,
  toPart: (image: Image) => object,
): string | readonly object[] {
  return images.length === 0 ? prompt : [{ type, text: prompt }, ...images.map(toPart)]
}

function toDataUrl({ type, base64 }: Image): string {
  return `data:${type};base64,${base64}`
}

function toText(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}

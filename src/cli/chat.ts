import { readFile } from 'node:fs/promises'
import { readEventData } from './event-stream.ts'
import { AnswerError, UsageError } from './failures.ts'
import { toAnswerError } from './gateway-client.ts'

/** Largest image that is sent, in bytes. */
const MAX_IMAGE_BYTES = 20 * 1024 * 1024

/** The first bytes of the image formats that model servers read. */
const imageTypes: readonly (readonly [RegExp, string])[] = [
  [/^\x89PNG\r\n/, 'image/png'],
  [/^\xff\xd8\xff/, 'image/jpeg'],
  [/^GIF8[79]a/, 'image/gif'],
  [/^RIFF.{4}WEBP/s, 'image/webp'],
]

/** What is asked of a model in one turn. */
export interface ChatQuestion {
  /** A reference; absent: the default model. */
  readonly model?: string
  readonly prompt: string
  readonly system?: string
  /** Paths of images. */
  readonly files: readonly string[]
  /** `none`, `low`, `medium`, `high`, or whatever the model knows. `off` is `none`. */
  readonly thinking?: string
  readonly maxTokens?: number
  readonly temperature?: number
}

/** What a model answered. */
export interface ChatAnswer {
  readonly text: string
  readonly finishReason: string | null
  /** As the server counted it; `null`: it did not. */
  readonly usage: object | null
}

/** The body of a chat completion that streams. @throws {@link UsageError} for a file that is not an image */
export async function toChatBody(question: ChatQuestion): Promise<string> {
  const { model = 'default', prompt, system, files, thinking, maxTokens, temperature } = question
  const images = await Promise.all(files.map(toImagePart))
  return JSON.stringify({
    model,
    messages: [
      ...(system === undefined ? [] : [{ role: 'system', content: system }]),
      { role: 'user', content: images.length === 0 ? prompt : [{ type: 'text', text: prompt }, ...images] },
    ],
    stream: true,
    stream_options: { include_usage: true },
    reasoning_effort: thinking === 'off' ? 'none' : thinking,
    max_tokens: maxTokens,
    temperature,
  })
}

/**
 * Reads a chat completion, streamed or whole; `onText` gets each piece of text as it comes.
 * @throws {@link AnswerError} when the server refused, broke off, or said nothing
 */
export async function readChatAnswer(
  response: Response,
  onText: (text: string) => void,
): Promise<ChatAnswer> {
  if (response.status !== 200) throw toAnswerError(response.status, await response.text())
  const answer = { text: '', finishReason: null as string | null, usage: null as object | null }
  let isDone = false
  const add = (data: string) => {
    if (data === '[DONE]') {
      isDone = true
      return
    }
    const chunk: Chunk = JSON.parse(data)
    if (chunk.error !== undefined) throw toAnswerError(response.status, data)
    const choice = chunk.choices?.[0]
    const text = choice?.delta?.content ?? choice?.message?.content
    if (typeof text === 'string' && text !== '') {
      answer.text += text
      onText(text)
    }
    answer.finishReason = choice?.finish_reason ?? answer.finishReason
    answer.usage = chunk.usage ?? answer.usage
  }
  try {
    if (
      response.headers.get('content-type')?.toLowerCase().startsWith('text/event-stream') &&
      response.body !== null
    )
      for await (const data of readEventData(response.body)) add(data)
    else add(await response.text())
  } catch (error) {
    if (!(error instanceof SyntaxError || error instanceof TypeError)) throw error
    throw new AnswerError('The answer is not a chat completion.', { status: response.status })
  }
  if (!isDone && answer.finishReason === null)
    throw new AnswerError('The answer ended before it was complete.', {
      status: response.status,
      code: 'LEASEHOLD_STREAM_TRUNCATED',
    })
  if (answer.text.trim() === '')
    throw new AnswerError(
      `The model answered without any text (finish reason: ${answer.finishReason ?? 'none'}).`,
      { status: response.status },
    )
  return answer
}

/** As much of a chunk, or of a whole completion, as is read here. Everything in it is another's word. */
interface Chunk {
  readonly error?: unknown
  readonly usage?: object | null
  readonly choices?: readonly {
    readonly delta?: { readonly content?: unknown }
    readonly message?: { readonly content?: unknown }
    readonly finish_reason?: string | null
  }[]
}

async function toImagePart(file: string): Promise<object> {
  let bytes: Buffer
  try {
    bytes = await readFile(file)
  } catch (cause) {
    throw new UsageError(`The file ${file} cannot be read.`, { cause })
  }
  const head = bytes.subarray(0, 16).toString('latin1')
  const type = imageTypes.find(([start]) => start.test(head))?.[1]
  if (type === undefined) throw new UsageError(`The file ${file} is not a PNG, JPEG, GIF or WebP image.`)
  if (bytes.length > MAX_IMAGE_BYTES)
    throw new UsageError(`The file ${file} is larger than the limit of ${MAX_IMAGE_BYTES} bytes.`)
  return { type: 'image_url', image_url: { url: `data:${type};base64,${bytes.toString('base64')}` } }
}

import { readFile } from 'node:fs/promises'
import { type Dialect, dialects, type Image } from './dialects.ts'
import { readEventData } from './event-stream.ts'
import { AnswerError, UsageError } from './exit-codes.ts'
import { parseAnswerError } from './gateway-client.ts'
import type { Answer } from './gateway-exchange.ts'

/** Largest image that is sent, in bytes. */
const MAX_IMAGE_BYTES = 20 * 1024 * 1024

/** The first bytes of the image formats that model servers read. */
const imageTypes: readonly (readonly [RegExp, string])[] = [
  [/^\x89PNG\r\n/, 'image/png'],
  [/^\xff\xd8\xff/, 'image/jpeg'],
  [/^GIF8[79]a/, 'image/gif'],
  [/^RIFF.{4}WEBP/s, 'image/webp'],
]

/** The answer of a model. */
export interface ChatAnswer {
  readonly text: string
  /** The finish reason as the API names it. */
  readonly finishReason: string | null
  /** The server's count; `null` if it sent none. */
  readonly usage: object | null
}

/**
 * Reads an answer, streamed or whole; `onText` gets each piece of text as it comes.
 * @throws {@link AnswerError} if the server refused, broke off, or sent no text
 */
export async function readChatAnswer(
  response: Answer,
  onText: (text: string) => void,
  dialect: Dialect = dialects['openai-completions'],
): Promise<ChatAnswer> {
  if (response.status !== 200) throw parseAnswerError(response.status, await response.text())
  const answer = { text: '', finishReason: null as string | null, usage: null as object | null }
  let isDone = false
  const add = (data: string) => {
    if (data === '[DONE]') {
      isDone = true
      return
    }
    const { text, finishReason, usage, refusal } = dialect.read(data)
    if (refusal !== undefined) throw parseAnswerError(response.status, JSON.stringify(refusal))
    if (text !== undefined && text !== '') {
      answer.text += text
      onText(text)
    }
    answer.finishReason = finishReason ?? answer.finishReason
    if (usage !== undefined) answer.usage = { ...answer.usage, ...usage }
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
    throw new AnswerError(`The answer is not ${dialect.answerName}.`, { status: response.status })
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

/** Reads images. @throws {@link UsageError} for a file that is not an image */
export function readImages(files: readonly string[]): Promise<Image[]> {
  return Promise.all(files.map(readImage))
}

async function readImage(file: string): Promise<Image> {
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
  return { type, base64: bytes.toString('base64') }
}

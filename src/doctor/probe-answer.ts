import { isJsonObject, type JsonObject } from '../config/sections.ts'

/** What a server made of one chat request. */
export interface Answer {
  /** `0`: no answer, see `failure`. */
  readonly status: number
  /** As it was received, possibly cut off. */
  readonly body: string
  /** Why there is no usable answer: the server's message, or the transport's. Absent: it answered. */
  readonly failure?: string
  readonly text: string
  readonly reasoning: string
  /** Names of the tools that were called. */
  readonly calls: readonly string[]
  readonly finish: string | null
  readonly promptTokens?: number
  readonly completionTokens?: number
  /** Pieces of text in a stream, each at least one token. */
  readonly pieces: number
}

const NOTHING = { text: '', reasoning: '', calls: [], finish: null, pieces: 0 } as const

/** An answer that never came. */
export function toSilence(failure: string): Answer {
  return { ...NOTHING, status: 0, body: '', failure }
}

/** Reads a chat completion, whole or as a stream of events. Servers that report an error with status 200 count as failing. */
export function parseAnswer(status: number, body: string): Answer {
  if (status !== 200) return { ...NOTHING, status, body, failure: findMessage(body) }
  const documents = /^\s*\{/.test(body) ? [body] : listEventData(body)
  const chunks = documents.map(parseObject).filter((chunk) => chunk !== undefined)
  const failed = chunks.find((chunk) => chunk.error !== undefined && chunk.choices === undefined)
  if (failed !== undefined) return { ...NOTHING, status, body, failure: findMessage(JSON.stringify(failed)) }
  if (!chunks.some((chunk) => Array.isArray(chunk.choices)))
    return { ...NOTHING, status, body, failure: 'the answer is no chat completion' }
  return { status, body, ...readChunks(chunks) }
}

function readChunks(chunks: readonly JsonObject[]): Omit<Answer, 'status' | 'body'> {
  let text = ''
  let reasoning = ''
  let pieces = 0
  let finish: string | null = null
  let usage: JsonObject = {}
  const calls: string[] = []
  for (const chunk of chunks) {
    if (isJsonObject(chunk.usage)) usage = chunk.usage
    const [choice] = Array.isArray(chunk.choices) ? chunk.choices.filter(isJsonObject) : []
    if (choice === undefined) continue
    if (typeof choice.finish_reason === 'string') finish = choice.finish_reason
    const said = [choice.delta, choice.message].find(isJsonObject) ?? {}
    const content = toText(said.content)
    const thought = toText(said.reasoning_content) || toText(said.reasoning)
    text += content
    reasoning += thought
    if (content !== '' || thought !== '') pieces += 1
    for (const call of Array.isArray(said.tool_calls) ? said.tool_calls.filter(isJsonObject) : []) {
      const name = isJsonObject(call.function) ? toText(call.function.name) : ''
      if (name !== '') calls.push(name)
    }
  }
  const inline = /^\s*<think>([\s\S]*?)(?:<\/think>|$)/.exec(text)
  const promptTokens = toCount(usage.prompt_tokens)
  const completionTokens = toCount(usage.completion_tokens)
  return {
    text,
    reasoning: reasoning === '' ? (inline?.[1]?.trim() ?? '') : reasoning,
    calls,
    finish,
    pieces,
    ...(promptTokens === undefined ? {} : { promptTokens }),
    ...(completionTokens === undefined ? {} : { completionTokens }),
  }
}

/** The first words of a server's message, wherever its error shape has it. */
function findMessage(body: string): string {
  const root = parseObject(body)
  const error = root?.error
  const texts = [isJsonObject(error) ? error.message : error, root?.message, root?.detail].map(toMessage)
  return (texts.find((text) => text !== '') ?? body.trim()).slice(0, LONGEST_MESSAGE) || 'no explanation'
}

const LONGEST_MESSAGE = 300

function toMessage(value: unknown): string {
  return typeof value === 'string' ? value : value === undefined ? '' : JSON.stringify(value)
}

function listEventData(stream: string): string[] {
  return stream.split(/\r?\n/).flatMap((line) => (line.startsWith('data:') ? [line.slice(5).trim()] : []))
}

/** `undefined` for `[DONE]`, for a piece that was cut off, and for anything else that is no object. */
function parseObject(text: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return isJsonObject(value) ? value : undefined
  } catch {
    return undefined
  }
}

function toText(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

/** Some servers write 0 for a prompt that they had in their cache: that is no count. */
function toCount(value: unknown): number | undefined {
  return typeof value === 'number' && value > 0 ? value : undefined
}

import { type JsonObject as Body, isObject } from '../../json/value.ts'

/** Times of one request, in milliseconds of the clock. */
export interface AnswerTimes {
  readonly startedAtMs: number
  /** When its first byte came; absent: none has. */
  readonly firstByteAtMs?: number
  readonly nowMs: number
}

/** Turns answers of OpenAI's API into those of Ollama's, for one request. */
export interface AnswerWriter {
  /** One chunk of a stream, as zero or more documents. */
  push(chunk: Body): readonly Body[]
  /** The document that ends a stream. */
  finish(times: AnswerTimes): Body
  /** A whole answer. */
  whole(body: Body, times: AnswerTimes): Body
}

interface ToolCall {
  name: string
  arguments: string
}

/** @param isChat whether the text belongs into `message`, as `POST /api/chat` has it, or into `response` */
export function createAnswerWriter(model: unknown, isChat: boolean): AnswerWriter {
  let finishReason: unknown
  let usage: Body = {}
  let timings: Body = {}
  const toolCalls = new Map<number, ToolCall>()
  const head = () => ({ model, created_at: new Date().toISOString() })
  const toText = (content: string, thinking?: string, calls?: readonly Body[]): Body => {
    const thought = thinking === undefined || thinking === '' ? {} : { thinking }
    const called = calls === undefined || calls.length === 0 ? {} : { tool_calls: calls }
    return isChat
      ? { message: { role: 'assistant', content, ...thought, ...called } }
      : { response: content, ...thought }
  }
  const note = (body: Body) => {
    if (isObject(body.usage)) usage = body.usage
    if (isObject(body.timings)) timings = body.timings
  }
  const end = ({ startedAtMs, firstByteAtMs, nowMs }: AnswerTimes): Body => {
    const firstMs = (firstByteAtMs ?? nowMs) - startedAtMs
    const promptMs = readNumber(timings.prompt_ms)
    const evalMs = readNumber(timings.predicted_ms) ?? nowMs - (firstByteAtMs ?? nowMs)
    return {
      done: true,
      done_reason: toolCalls.size > 0 || finishReason !== 'length' ? 'stop' : 'length',
      total_duration: toNanoseconds(nowMs - startedAtMs),
      // What was neither reading nor writing: the wait for the server.
      load_duration: toNanoseconds(Math.max(0, firstMs - (promptMs ?? 0))),
      prompt_eval_count: readNumber(usage.prompt_tokens) ?? 0,
      prompt_eval_duration: toNanoseconds(promptMs ?? 0),
      eval_count: readNumber(usage.completion_tokens) ?? 0,
      eval_duration: toNanoseconds(evalMs),
    }
  }
  const listCalls = () =>
    [...toolCalls.values()].map((call) => ({
      function: { name: call.name, arguments: parseArguments(call.arguments) },
    }))

  return {
    push: (chunk) => {
      note(chunk)
      const choice = firstOf(chunk.choices)
      if (choice === undefined) return []
      if (choice.finish_reason !== undefined && choice.finish_reason !== null)
        finishReason = choice.finish_reason
      const delta = isObject(choice.delta) ? choice.delta : choice
      collectCalls(toolCalls, delta.tool_calls)
      const content = readText(delta.content) || readText(choice.text)
      const thinking = readText(delta.reasoning_content) || readText(delta.reasoning)
      if (content === '' && thinking === '') return []
      return [{ ...head(), ...toText(content, thinking), done: false }]
    },
    finish: (times) => ({ ...head(), ...toText('', undefined, listCalls()), ...end(times) }),
    whole: (body, times) => {
      note(body)
      const choice = firstOf(body.choices) ?? {}
      finishReason = choice.finish_reason
      const message = isObject(choice.message) ? choice.message : {}
      collectCalls(toolCalls, message.tool_calls)
      const content = readText(message.content) || readText(choice.text)
      const thinking = readText(message.reasoning_content) || readText(message.reasoning)
      return { ...head(), ...toText(content, thinking, listCalls()), ...end(times) }
    },
  }
}

/** Turns an answer to an embedding request; `isOld`: that of `POST /api/embeddings`, which has one vector. */
export function toEmbeddings(
  model: unknown,
  body: Body,
  isOld: boolean,
  { startedAtMs, nowMs }: AnswerTimes,
): Body {
  const vectors = (Array.isArray(body.data) ? body.data : []).map((one: unknown) =>
    isObject(one) ? one.embedding : [],
  )
  if (isOld) return { embedding: vectors[0] ?? [] }
  const usage = isObject(body.usage) ? body.usage : {}
  return {
    model,
    embeddings: vectors,
    total_duration: toNanoseconds(nowMs - startedAtMs),
    load_duration: 0,
    prompt_eval_count: readNumber(usage.prompt_tokens) ?? 0,
  }
}

/** A stream tells a call in pieces: its name once, its arguments bit by bit. */
function collectCalls(known: Map<number, ToolCall>, given: unknown): void {
  if (!Array.isArray(given)) return
  for (const [position, call] of given.entries()) {
    if (!isObject(call) || !isObject(call.function)) continue
    const index = readNumber(call.index) ?? position
    const { name = '', arguments: before = '' } = known.get(index) ?? {}
    const more = call.function.arguments
    known.set(index, {
      name: name || readText(call.function.name),
      arguments: before + (isObject(more) ? JSON.stringify(more) : readText(more)),
    })
  }
}

function parseArguments(text: string): unknown {
  try {
    return JSON.parse(text || '{}')
  } catch {
    return text
  }
}

function firstOf(choices: unknown): Body | undefined {
  const [first] = Array.isArray(choices) ? choices : []
  return isObject(first) ? first : undefined
}

function readText(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

function readNumber(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined
}

function toNanoseconds(ms: number): number {
  return Math.round(ms * 1_000_000)
}

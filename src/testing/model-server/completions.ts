import type { Answer } from './answer.ts'
import { toAnswer } from './answer.ts'
import type { Call } from './call.ts'
import { toFrame } from './call.ts'
import type { JsonObject } from './json.ts'
import { toObject } from './json.ts'
import { countTokens, toMaxTokens } from './prompt.ts'
import type { Reply, StreamEvent } from './reply.ts'
import { toErrorReply, toJsonReply, toStreamEvent } from './reply.ts'
import { toTimings, toUsage } from './usage.ts'

/** `POST /v1/completions`, streamed or whole. Of a list of prompts only the first is answered. */
export function toCompletionReply(body: JsonObject, call: Call): Reply {
  const prompt = Array.isArray(body.prompt) ? body.prompt[0] : body.prompt
  if (typeof prompt !== 'string') return toErrorReply(400, '"prompt" must be a string or an array of strings')
  const answer = toAnswer({
    text: prompt,
    attachments: 0,
    promptTokens: countTokens([prompt]),
    tools: [],
    wantsReasoning: false,
    maxTokens: toMaxTokens(body.max_tokens),
  })
  const frame = { ...toFrame(call, 'cmpl', body.model), object: 'text_completion' }
  const timings = toTimings(answer, call.settings)
  if (body.stream === true) {
    const includeUsage = toObject(body.stream_options).include_usage === true
    return { kind: 'stream', events: toEvents(answer, frame, timings, includeUsage) }
  }
  const choices = [toChoice(answer.tokens.join(''), answer.finish)]
  return toJsonReply(
    { ...frame, choices, usage: toUsage(answer), timings },
    { tokens: answer.completionTokens },
  )
}

function* toEvents(
  answer: Answer,
  frame: JsonObject,
  timings: JsonObject,
  includeUsage: boolean,
): Generator<StreamEvent> {
  for (const token of answer.tokens)
    yield toStreamEvent({ ...frame, choices: [toChoice(token, null)] }, 'token')
  const last = { ...frame, choices: [toChoice('', answer.finish)] }
  yield toStreamEvent(includeUsage ? last : { ...last, timings }, 'frame')
  if (includeUsage) yield toStreamEvent({ ...frame, choices: [], usage: toUsage(answer), timings }, 'frame')
  yield { data: '[DONE]', kind: 'done' }
}

function toChoice(text: string, finish: string | null): JsonObject {
  return { text, index: 0, logprobs: null, finish_reason: finish }
}

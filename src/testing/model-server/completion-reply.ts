import type { Call } from './call.ts'
import { buildFrame } from './call.ts'
import type { Answer } from './fake-answer.ts'
import { decideAnswer } from './fake-answer.ts'
import type { JsonObject } from './json.ts'
import { asObject } from './json.ts'
import { countTokens, readMaxTokens } from './prompt.ts'
import type { Reply, StreamEvent } from './reply.ts'
import { buildErrorReply, buildJsonReply, buildStreamEvent } from './reply.ts'
import { buildTimings, buildUsage } from './token-usage.ts'

/** `POST /v1/completions`, streamed or whole. Of a list of prompts only the first is answered. */
export function buildCompletionReply(body: JsonObject, call: Call): Reply {
  const prompt = Array.isArray(body.prompt) ? body.prompt[0] : body.prompt
  if (typeof prompt !== 'string')
    return buildErrorReply(400, '"prompt" must be a string or an array of strings')
  const answer = decideAnswer({
    text: prompt,
    attachments: 0,
    promptTokens: countTokens([prompt]),
    tools: [],
    wantsReasoning: false,
    maxTokens: readMaxTokens(body.max_tokens),
  })
  const frame = { ...buildFrame(call, 'cmpl', body.model), object: 'text_completion' }
  const timings = buildTimings(answer, call.settings)
  if (body.stream === true) {
    const includeUsage = asObject(body.stream_options).include_usage === true
    return { kind: 'stream', events: toEvents(answer, frame, timings, includeUsage) }
  }
  const choices = [buildChoice(answer.tokens.join(''), answer.finish)]
  return buildJsonReply(
    { ...frame, choices, usage: buildUsage(answer), timings },
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
    yield buildStreamEvent({ ...frame, choices: [buildChoice(token, null)] }, 'token')
  const last = { ...frame, choices: [buildChoice('', answer.finish)] }
  yield buildStreamEvent(includeUsage ? last : { ...last, timings }, 'frame')
  if (includeUsage)
    yield buildStreamEvent({ ...frame, choices: [], usage: buildUsage(answer), timings }, 'frame')
  yield { data: '[DONE]', kind: 'done' }
}

function buildChoice(text: string, finish: string | null): JsonObject {
  return { text, index: 0, logprobs: null, finish_reason: finish }
}

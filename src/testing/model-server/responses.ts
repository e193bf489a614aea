import type { Answer, Prompt } from './answer.ts'
import { toAnswer, toCallPieces } from './answer.ts'
import type { Call } from './call.ts'
import { toCreated, toServedModel } from './call.ts'
import type { JsonObject } from './json.ts'
import { isObject, toObject, toObjects } from './json.ts'
import {
  countAttachments,
  countTokens,
  toContentText,
  toFormatSchema,
  toMaxTokens,
  toTools,
} from './prompt.ts'
import type { Reply, StreamEvent } from './reply.ts'
import { toErrorReply, toJsonReply, toStreamEvent } from './reply.ts'

/** `POST /v1/responses`, streamed or whole. Nothing is remembered: `previous_response_id` is refused, as in llama.cpp. */
export function toResponsesReply(body: JsonObject, call: Call): Reply {
  if (typeof body.input !== 'string' && !Array.isArray(body.input))
    return toErrorReply(400, "'input' is required")
  if (typeof body.previous_response_id === 'string') {
    return toErrorReply(400, 'this server does not support previous_response_id')
  }
  const answer = toAnswer(toPrompt(body))
  const response = {
    id: `resp_${call.nonce}`,
    object: 'response',
    created_at: toCreated(call),
    model: toServedModel(call, body.model),
    system_fingerprint: 'leasehold-demo',
    error: null,
    incomplete_details: null,
    instructions: body.instructions ?? null,
    metadata: {},
    parallel_tool_calls: true,
    temperature: 1,
    tool_choice: body.tool_choice ?? 'auto',
    tools: body.tools ?? [],
    top_p: 1,
  }
  if (body.stream === true) return { kind: 'stream', events: toEvents(answer, response, call.nonce) }
  return toJsonReply(toFinished(answer, response, call.nonce), { tokens: answer.completionTokens })
}

function toPrompt(body: JsonObject): Prompt {
  const items =
    typeof body.input === 'string' ? [{ role: 'user', content: body.input }] : toObjects(body.input)
  const last = items.at(-1)
  const user = items.findLast(({ role }) => role === 'user')
  const texts = items.map((item) => toContentText(item.content ?? item.output))
  return {
    text: toContentText(user?.content),
    attachments: countAttachments(user?.content),
    promptTokens: countTokens([...texts, toContentText(body.instructions)]),
    toolResult: last?.type === 'function_call_output' ? toContentText(last.output) : undefined,
    tools: body.tool_choice === 'none' ? [] : toTools(toObjects(body.tools), 'parameters'),
    forcedTool: toForcedTool(body.tool_choice),
    schema: toFormatSchema(toObject(body.text).format),
    wantsReasoning: false,
    maxTokens: toMaxTokens(body.max_output_tokens),
  }
}

function toForcedTool(choice: unknown): string | undefined {
  if (choice === 'required') return ''
  return isObject(choice) ? String(choice.name ?? '') : undefined
}

/** The response as it is when all has been said. */
function toFinished(answer: Answer, response: JsonObject, nonce: string): JsonObject {
  const isCut = answer.finish === 'length'
  return {
    ...response,
    status: isCut ? 'incomplete' : 'completed',
    incomplete_details: isCut ? { reason: 'max_output_tokens' } : null,
    output: [toItem(answer, nonce)],
    usage: {
      input_tokens: answer.promptTokens,
      input_tokens_details: { cached_tokens: 0 },
      output_tokens: answer.completionTokens,
      output_tokens_details: { reasoning_tokens: 0 },
      total_tokens: answer.promptTokens + answer.completionTokens,
    },
  }
}

function toItem(answer: Answer, nonce: string): JsonObject {
  const { call } = answer
  if (call !== undefined) {
    return {
      id: `fc_${nonce}`,
      type: 'function_call',
      status: 'completed',
      call_id: `call_${nonce}`,
      ...call,
    }
  }
  const content = [toPart(answer.tokens.join(''))]
  return { id: `msg_${nonce}`, type: 'message', status: 'completed', role: 'assistant', content }
}

function toPart(text: string): JsonObject {
  return { type: 'output_text', text, annotations: [], logprobs: [] }
}

function* toEvents(answer: Answer, response: JsonObject, nonce: string): Generator<StreamEvent> {
  let sequence = 0
  const event = (type: string, facts: JsonObject, kind: 'frame' | 'token' = 'frame'): StreamEvent =>
    toStreamEvent({ type, sequence_number: sequence++, ...facts }, kind, type)
  const item = toItem(answer, nonce)
  const begun = { ...response, status: 'in_progress', output: [] }

  yield event('response.created', { response: begun })
  yield event('response.in_progress', { response: begun })
  const empty = answer.call === undefined ? { content: [] } : { arguments: '' }
  yield event('response.output_item.added', {
    output_index: 0,
    item: { ...item, ...empty, status: 'in_progress' },
  })

  if (answer.call === undefined) {
    const place = { item_id: item.id, output_index: 0, content_index: 0 }
    const text = answer.tokens.join('')
    yield event('response.content_part.added', { ...place, part: toPart('') })
    for (const token of answer.tokens) {
      yield event('response.output_text.delta', { ...place, delta: token, logprobs: [] }, 'token')
    }
    yield event('response.output_text.done', { ...place, text, logprobs: [] })
    yield event('response.content_part.done', { ...place, part: toPart(text) })
  } else {
    const place = { item_id: item.id, output_index: 0 }
    for (const piece of toCallPieces(answer.call.arguments)) {
      yield event('response.function_call_arguments.delta', { ...place, delta: piece }, 'token')
    }
    yield event('response.function_call_arguments.done', { ...place, ...answer.call })
  }

  yield event('response.output_item.done', { output_index: 0, item })
  const finished = toFinished(answer, response, nonce)
  yield event(`response.${finished.status}`, { response: finished })
}

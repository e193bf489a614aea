import type { Call } from './call.ts'
import { findCreated, findServedModel } from './call.ts'
import type { Answer, Prompt } from './fake-answer.ts'
import { decideAnswer, splitArguments } from './fake-answer.ts'
import type { JsonObject } from './json.ts'
import { asObject, isObject, listObjects } from './json.ts'
import {
  countAttachments,
  countTokens,
  listOpenTurns,
  listTools,
  readContent,
  readFormatSchema,
  readMaxTokens,
  readQuestion,
} from './prompt.ts'
import type { Reply, StreamEvent } from './reply.ts'
import { buildErrorReply, buildJsonReply, buildStreamEvent } from './reply.ts'

/** `POST /v1/responses`, streamed or whole. Nothing is remembered: `previous_response_id` is refused, as in llama.cpp. */
export function buildResponsesReply(body: JsonObject, call: Call): Reply {
  if (typeof body.input !== 'string' && !Array.isArray(body.input))
    return buildErrorReply(400, "'input' is required")
  if (typeof body.previous_response_id === 'string') {
    return buildErrorReply(400, 'this server does not support previous_response_id')
  }
  const answer = decideAnswer(readPrompt(body))
  const response = {
    id: `resp_${call.nonce}`,
    object: 'response',
    created_at: findCreated(call),
    model: findServedModel(call, body.model),
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
  return buildJsonReply(buildFinished(answer, response, call.nonce), { tokens: answer.completionTokens })
}

function readPrompt(body: JsonObject): Prompt {
  const items =
    typeof body.input === 'string' ? [{ role: 'user', content: body.input }] : listObjects(body.input)
  const open = listOpenTurns(items)
  const result = open.findLast(({ type }) => type === 'function_call_output')
  const texts = items.map((item) => readContent(item.content ?? item.output))
  return {
    text: readQuestion(open),
    attachments: countAttachments(open),
    promptTokens: countTokens([...texts, readContent(body.instructions)]),
    toolResult: result === undefined ? undefined : readContent(result.output),
    tools: body.tool_choice === 'none' ? [] : listTools(listObjects(body.tools), 'parameters'),
    forcedTool: findForcedTool(body.tool_choice),
    schema: readFormatSchema(asObject(body.text).format),
    wantsReasoning: false,
    maxTokens: readMaxTokens(body.max_output_tokens),
  }
}

function findForcedTool(choice: unknown): string | undefined {
  if (choice === 'required') return ''
  return isObject(choice) ? String(choice.name ?? '') : undefined
}

/** The response as it is when all has been said. */
function buildFinished(answer: Answer, response: JsonObject, nonce: string): JsonObject {
  const isCut = answer.finish === 'length'
  return {
    ...response,
    status: isCut ? 'incomplete' : 'completed',
    incomplete_details: isCut ? { reason: 'max_output_tokens' } : null,
    output: [buildItem(answer, nonce)],
    usage: {
      input_tokens: answer.promptTokens,
      input_tokens_details: { cached_tokens: 0 },
      output_tokens: answer.completionTokens,
      output_tokens_details: { reasoning_tokens: 0 },
      total_tokens: answer.promptTokens + answer.completionTokens,
    },
  }
}

function buildItem(answer: Answer, nonce: string): JsonObject {
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
  const content = [buildPart(answer.tokens.join(''))]
  return { id: `msg_${nonce}`, type: 'message', status: 'completed', role: 'assistant', content }
}

function buildPart(text: string): JsonObject {
  return { type: 'output_text', text, annotations: [], logprobs: [] }
}

function* toEvents(answer: Answer, response: JsonObject, nonce: string): Generator<StreamEvent> {
  let sequence = 0
  const event = (type: string, facts: JsonObject, kind: 'frame' | 'token' = 'frame'): StreamEvent =>
    buildStreamEvent({ type, sequence_number: sequence++, ...facts }, kind, type)
  const item = buildItem(answer, nonce)
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
    yield event('response.content_part.added', { ...place, part: buildPart('') })
    for (const token of answer.tokens) {
      yield event('response.output_text.delta', { ...place, delta: token, logprobs: [] }, 'token')
    }
    yield event('response.output_text.done', { ...place, text, logprobs: [] })
    yield event('response.content_part.done', { ...place, part: buildPart(text) })
  } else {
    const place = { item_id: item.id, output_index: 0 }
    for (const piece of splitArguments(answer.call.arguments)) {
      yield event('response.function_call_arguments.delta', { ...place, delta: piece }, 'token')
    }
    yield event('response.function_call_arguments.done', { ...place, ...answer.call })
  }

  yield event('response.output_item.done', { output_index: 0, item })
  const finished = buildFinished(answer, response, nonce)
  yield event(`response.${finished.status}`, { response: finished })
}

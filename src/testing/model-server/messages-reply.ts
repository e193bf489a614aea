import type { Call } from './call.ts'
import { findServedModel } from './call.ts'
import type { Answer, Prompt } from './fake-answer.ts'
import { decideAnswer, splitArguments } from './fake-answer.ts'
import type { JsonObject } from './json.ts'
import { asObject, listObjects } from './json.ts'
import { countTokens, listOpenTurns, listTools, readContent, readMaxTokens, readQuestion } from './prompt.ts'
import type { Reply, StreamEvent } from './reply.ts'
import { buildErrorReply, buildJsonReply, buildStreamEvent } from './reply.ts'

/** `POST /v1/messages`, Anthropic's API, streamed or whole. */
export function buildMessagesReply(body: JsonObject, call: Call): Reply {
  if (!Array.isArray(body.messages)) return buildErrorReply(400, "'messages' is required")
  const answer = decideAnswer(readPrompt(body))
  const message = {
    id: `msg_${call.nonce}`,
    type: 'message',
    role: 'assistant',
    model: findServedModel(call, body.model),
    system_fingerprint: 'leasehold-demo',
    stop_sequence: null,
  }
  if (body.stream === true) return { kind: 'stream', events: toEvents(answer, message, call.nonce) }
  const content = [buildBlock(answer, call.nonce)]
  const usage = { input_tokens: answer.promptTokens, output_tokens: answer.completionTokens }
  return buildJsonReply(
    { ...message, content, stop_reason: findStopReason(answer), usage },
    { tokens: answer.completionTokens },
  )
}

function readPrompt(body: JsonObject): Prompt {
  const messages = listObjects(body.messages)
  const open = listOpenTurns(messages)
  const parts = open.flatMap(({ content }) => listObjects(content))
  const texts = messages.map(({ content }) => readContent(content))
  const result = parts.findLast(({ type }) => type === 'tool_result')
  const choice = asObject(body.tool_choice)
  return {
    text: readQuestion(open),
    attachments: parts.filter(({ type }) => type === 'image' || type === 'document').length,
    promptTokens: countTokens([...texts, readContent(body.system)]),
    toolResult: result === undefined ? undefined : readContent(result.content),
    tools: choice.type === 'none' ? [] : listTools(listObjects(body.tools), 'input_schema'),
    forcedTool: choice.type === 'any' ? '' : choice.type === 'tool' ? String(choice.name) : undefined,
    wantsReasoning: false,
    maxTokens: readMaxTokens(body.max_tokens),
  }
}

function findStopReason({ finish }: Answer): string {
  return { stop: 'end_turn', length: 'max_tokens', tool_calls: 'tool_use' }[finish]
}

function buildBlock({ call, tokens }: Answer, nonce: string): JsonObject {
  if (call === undefined) return { type: 'text', text: tokens.join('') }
  const input: unknown = JSON.parse(call.arguments)
  return { type: 'tool_use', id: `toolu_${nonce}`, name: call.name, input }
}

function* toEvents(answer: Answer, message: JsonObject, nonce: string): Generator<StreamEvent> {
  const event = (type: string, facts: JsonObject, kind: 'frame' | 'token' = 'frame'): StreamEvent =>
    buildStreamEvent({ type, ...facts }, kind, type)
  const begun = { ...message, content: [], stop_reason: null }
  yield event('message_start', {
    message: { ...begun, usage: { input_tokens: answer.promptTokens, output_tokens: 0 } },
  })
  const block = buildBlock(answer, nonce)
  const empty = answer.call === undefined ? { text: '' } : { input: {} }
  yield event('content_block_start', { index: 0, content_block: { ...block, ...empty } })
  const deltas =
    answer.call === undefined
      ? answer.tokens.map((text) => ({ type: 'text_delta', text }))
      : splitArguments(answer.call.arguments).map((piece) => ({
          type: 'input_json_delta',
          partial_json: piece,
        }))
  for (const delta of deltas) yield event('content_block_delta', { index: 0, delta }, 'token')
  yield event('content_block_stop', { index: 0 })
  yield event('message_delta', {
    delta: { stop_reason: findStopReason(answer), stop_sequence: null },
    usage: { output_tokens: answer.completionTokens },
  })
  yield event('message_stop', {})
}

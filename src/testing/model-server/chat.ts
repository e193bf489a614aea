import type { Answer, Prompt } from './answer.ts'
import { toAnswer, toCallPieces } from './answer.ts'
import type { Call } from './call.ts'
import { toFrame } from './call.ts'
import { findChatRefusal } from './faults.ts'
import type { JsonObject } from './json.ts'
import { isObject, toObject, toObjects } from './json.ts'
import {
  countAttachments,
  countTokens,
  isReasoningAsked,
  toContentText,
  toFormatSchema,
  toMaxTokens,
  toTools,
} from './prompt.ts'
import type { Reply, StreamEvent } from './reply.ts'
import { toErrorReply, toJsonReply, toStreamEvent } from './reply.ts'
import { toTimings, toUsage } from './usage.ts'

/** `POST /v1/chat/completions`, streamed or whole. */
export function toChatReply(body: JsonObject, call: Call): Reply {
  if (body.messages === undefined) return toErrorReply(400, "'messages' is required")
  if (!Array.isArray(body.messages)) return toErrorReply(400, "Expected 'messages' to be an array")
  const refusal = findChatRefusal(body, call.settings)
  if (refusal !== undefined) return refusal
  const answer = toAnswer(toPrompt(body, call))
  const frame = toFrame(call, 'chatcmpl', body.model)
  const timings = toTimings(answer, call.settings)
  if (body.stream === true) {
    const includeUsage = toObject(body.stream_options).include_usage === true
    return { kind: 'stream', events: toEvents(answer, frame, timings, includeUsage) }
  }
  const choice = { index: 0, message: toMessage(answer, frame.id), finish_reason: answer.finish }
  return toJsonReply(
    { ...frame, object: 'chat.completion', choices: [choice], usage: toUsage(answer), timings },
    { tokens: answer.completionTokens },
  )
}

function toPrompt(body: JsonObject, call: Call): Prompt {
  const messages = toObjects(body.messages)
  const last = messages.at(-1)
  const user = messages.findLast(({ role }) => role === 'user')
  const functions = toObjects(body.tools).map((tool) => toObject(tool.function))
  return {
    text: toContentText(user?.content),
    attachments: countAttachments(user?.content),
    promptTokens: countTokens(messages.map(({ content }) => toContentText(content))),
    toolResult: last?.role === 'tool' ? toContentText(last.content) : undefined,
    tools: body.tool_choice === 'none' ? [] : toTools(functions, 'parameters'),
    forcedTool: toForcedTool(body.tool_choice),
    schema: toFormatSchema(body.response_format),
    wantsReasoning: call.settings.reasoning && isReasoningAsked(body),
    maxTokens: toMaxTokens(body.max_completion_tokens ?? body.max_tokens),
  }
}

function toForcedTool(choice: unknown): string | undefined {
  if (choice === 'required') return ''
  return isObject(choice) ? String(toObject(choice.function).name ?? '') : undefined
}

function toMessage(answer: Answer, id: string): JsonObject {
  const reasoning = answer.reasoning.length === 0 ? {} : { reasoning_content: answer.reasoning.join('') }
  if (answer.call === undefined) return { role: 'assistant', content: answer.tokens.join(''), ...reasoning }
  const call = { type: 'function', function: answer.call, id: toCallId(id) }
  return { role: 'assistant', content: '', ...reasoning, tool_calls: [call] }
}

function* toEvents(
  answer: Answer,
  frame: { readonly id: string },
  timings: JsonObject,
  includeUsage: boolean,
): Generator<StreamEvent> {
  const chunk = (
    kind: 'frame' | 'token',
    delta: JsonObject,
    finish: string | null = null,
    more: JsonObject = {},
  ) =>
    toStreamEvent(
      {
        choices: [{ finish_reason: finish, index: 0, delta }],
        ...frame,
        object: 'chat.completion.chunk',
        ...more,
      },
      kind,
    )
  yield chunk('frame', { role: 'assistant', content: null })
  for (const token of answer.reasoning) yield chunk('token', { reasoning_content: token })
  for (const token of answer.tokens) yield chunk('token', { content: token })
  for (const delta of toCallDeltas(answer, frame.id)) yield chunk('token', delta)
  yield chunk('frame', {}, answer.finish, includeUsage ? {} : { timings })
  if (includeUsage) {
    const usage = { choices: [], ...frame, object: 'chat.completion.chunk', usage: toUsage(answer), timings }
    yield toStreamEvent(usage, 'frame')
  }
  yield { data: '[DONE]', kind: 'done' }
}

/** As in llama.cpp: id and name come with the first piece of the arguments, the others are pieces only. */
function toCallDeltas({ call }: Answer, id: string): readonly JsonObject[] {
  if (call === undefined) return []
  return toCallPieces(call.arguments).map((piece, index) => {
    const head = index === 0 ? { id: toCallId(id), type: 'function' } : {}
    const name = index === 0 ? { name: call.name } : {}
    return { tool_calls: [{ index: 0, ...head, function: { ...name, arguments: piece } }] }
  })
}

function toCallId(id: string): string {
  return `call-${id}`
}

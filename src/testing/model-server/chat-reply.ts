import type { Call } from './call.ts'
import { buildFrame } from './call.ts'
import type { Answer, Prompt } from './fake-answer.ts'
import { decideAnswer, splitArguments } from './fake-answer.ts'
import { findChatRefusal } from './faults.ts'
import type { JsonObject } from './json.ts'
import { asObject, isObject, listObjects } from './json.ts'
import {
  countAttachments,
  countTokens,
  isReasoningAsked,
  listOpenTurns,
  listTools,
  readContent,
  readFormatSchema,
  readMaxTokens,
  readQuestion,
} from './prompt.ts'
import type { Reply, StreamEvent } from './reply.ts'
import { buildErrorReply, buildJsonReply, buildStreamEvent } from './reply.ts'
import { buildTimings, buildUsage } from './token-usage.ts'

/** `POST /v1/chat/completions`, streamed or whole. */
export function buildChatReply(body: JsonObject, call: Call): Reply {
  if (body.messages === undefined) return buildErrorReply(400, "'messages' is required")
  if (!Array.isArray(body.messages)) return buildErrorReply(400, "Expected 'messages' to be an array")
  const refusal = findChatRefusal(body, call.settings)
  if (refusal !== undefined) return refusal
  const answer = decideAnswer(readPrompt(body, call))
  const frame = buildFrame(call, 'chatcmpl', body.model)
  const timings = buildTimings(answer, call.settings)
  if (body.stream === true) {
    const includeUsage = asObject(body.stream_options).include_usage === true
    return { kind: 'stream', events: toEvents(answer, frame, timings, includeUsage) }
  }
  const choice = { index: 0, message: buildMessage(answer, frame.id), finish_reason: answer.finish }
  return buildJsonReply(
    { ...frame, object: 'chat.completion', choices: [choice], usage: buildUsage(answer), timings },
    { tokens: answer.completionTokens },
  )
}

function readPrompt(body: JsonObject, call: Call): Prompt {
  const messages = listObjects(body.messages)
  const open = listOpenTurns(messages)
  const result = open.findLast(({ role }) => role === 'tool')
  const functions = listObjects(body.tools).map((tool) => asObject(tool.function))
  return {
    text: readQuestion(open),
    attachments: countAttachments(open),
    promptTokens: countTokens(messages.map(({ content }) => readContent(content))),
    toolResult: result === undefined ? undefined : readContent(result.content),
    tools: body.tool_choice === 'none' ? [] : listTools(functions, 'parameters'),
    forcedTool: findForcedTool(body.tool_choice),
    schema: readFormatSchema(body.response_format),
    wantsReasoning: call.settings.reasoning && isReasoningAsked(body),
    maxTokens: readMaxTokens(body.max_completion_tokens ?? body.max_tokens),
  }
}

function findForcedTool(choice: unknown): string | undefined {
  if (choice === 'required') return ''
  return isObject(choice) ? String(asObject(choice.function).name ?? '') : undefined
}

function buildMessage(answer: Answer, id: string): JsonObject {
  const reasoning = answer.reasoning.length === 0 ? {} : { reasoning_content: answer.reasoning.join('') }
  if (answer.call === undefined) return { role: 'assistant', content: answer.tokens.join(''), ...reasoning }
  const call = { type: 'function', function: answer.call, id: formatCallId(id) }
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
    buildStreamEvent(
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
  for (const delta of buildCallDeltas(answer, frame.id)) yield chunk('token', delta)
  yield chunk('frame', {}, answer.finish, includeUsage ? {} : { timings })
  if (includeUsage) {
    const usage = {
      choices: [],
      ...frame,
      object: 'chat.completion.chunk',
      usage: buildUsage(answer),
      timings,
    }
    yield buildStreamEvent(usage, 'frame')
  }
  yield { data: '[DONE]', kind: 'done' }
}

/** As in llama.cpp: id and name come with the first piece of the arguments, the others are pieces only. */
function buildCallDeltas({ call }: Answer, id: string): readonly JsonObject[] {
  if (call === undefined) return []
  return splitArguments(call.arguments).map((piece, index) => {
    const head = index === 0 ? { id: formatCallId(id), type: 'function' } : {}
    const name = index === 0 ? { name: call.name } : {}
    return { tool_calls: [{ index: 0, ...head, function: { ...name, arguments: piece } }] }
  })
}

function formatCallId(id: string): string {
  return `call-${id}`
}

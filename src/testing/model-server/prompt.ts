import type { Tool } from './fake-answer.ts'
import { splitTokens } from './fake-answer.ts'
import type { JsonObject } from './json.ts'
import { asObject, isObject, listObjects } from './json.ts'

/** Text of a message's content: a string, or the text parts of an array, one per line. */
export function readContent(content: unknown): string {
  if (typeof content === 'string') return content
  return listObjects(content)
    .flatMap(({ text }) => (typeof text === 'string' ? [text] : []))
    .join('\n')
}

/**
 * The turns that wait for an answer: all after the last one of the assistant. Agents send several: the question and its
 * context, or a tool's result and more context.
 */
export function listOpenTurns(turns: readonly JsonObject[]): readonly JsonObject[] {
  const answered = turns.findLastIndex(({ role, type }) => role === 'assistant' || type === 'function_call')
  return turns.slice(answered + 1)
}

/** What the user says in these turns. */
export function readQuestion(turns: readonly JsonObject[]): string {
  return turns
    .filter(({ role }) => role === 'user')
    .map(({ content }) => readContent(content))
    .join('\n')
}

/** How many parts of what the user says in these turns are not text. */
export function countAttachments(turns: readonly JsonObject[]): number {
  const parts = turns.filter(({ role }) => role === 'user').flatMap(({ content }) => listObjects(content))
  return parts.filter(({ text }) => typeof text !== 'string').length
}

/** Words in all the texts together: the size of a prompt. */
export function countTokens(texts: readonly string[]): number {
  return texts.reduce((total, text) => total + splitTokens(text).length, 0)
}

/** One tool, from wherever an API keeps its name and schema; none without a name. */
export function listTools(
  definitions: readonly JsonObject[],
  schemaKey: 'parameters' | 'input_schema',
): readonly Tool[] {
  return definitions.flatMap((definition) => {
    const { name } = definition
    return typeof name === 'string' && name !== ''
      ? [{ name, parameters: asObject(definition[schemaKey]) }]
      : []
  })
}

/** A limit on the answer's tokens: `0` still gives one token and a negative one is none, as in llama.cpp. */
export function readMaxTokens(value: unknown): number | undefined {
  return typeof value === 'number' && value >= 0 ? Math.max(1, Math.floor(value)) : undefined
}

/** Whether a chat asks for thinking, in any of the spellings that backends use. */
export function isReasoningAsked(body: JsonObject): boolean {
  const effort = body.reasoning_effort ?? asObject(body.reasoning).effort
  const switches = [
    asObject(body.thinking).type === 'enabled',
    asObject(body.reasoning).enabled,
    body.enable_thinking,
    asObject(body.chat_template_kwargs).enable_thinking,
  ]
  return (typeof effort === 'string' && effort !== 'none') || switches.includes(true)
}

/** The schema that a format asks for: absent for plain text, `{}` for any JSON object. */
export function readFormatSchema(format: unknown): JsonObject | undefined {
  if (!isObject(format)) return undefined
  if (format.type === 'json_object') return {}
  return format.type === 'json_schema'
    ? asObject(asObject(format.json_schema).schema ?? format.schema)
    : undefined
}

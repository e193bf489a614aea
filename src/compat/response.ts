import { isObject, type JsonObject } from '../json/value.ts'
import type { CompatFlags } from './flags.ts'

/** Whether {@link rewriteAnswer} can change anything. If not, answers need not be parsed at all. */
export function hasAnswerRules({
  toolCallArgumentsEncoding,
  visibleReasoningDetailTypes,
}: CompatFlags): boolean {
  return toolCallArgumentsEncoding === 'html-entities' || (visibleReasoningDetailTypes?.length ?? 0) > 0
}

/**
 * Rewrites one chat answer, or one event of a stream, for the client. `answer` is its parsed JSON and stays as it is.
 * An entity that a server splits over two events is not decoded.
 * @returns the new answer; `undefined` when nothing changes, so that the bytes can be passed on as they came.
 */
export function rewriteAnswer(answer: unknown, compat: CompatFlags): unknown {
  return changeMember(answer, 'choices', (choices) =>
    changeItems(choices, (choice) => {
      const changed = changeMember(choice, 'message', (message) => rewriteMessage(message, compat))
      return changeMember(changed ?? choice, 'delta', (delta) => rewriteMessage(delta, compat)) ?? changed
    }),
  )
}

function rewriteMessage(message: unknown, compat: CompatFlags): unknown {
  const shown = showReasoning(message, compat.visibleReasoningDetailTypes ?? [])
  if (compat.toolCallArgumentsEncoding !== 'html-entities') return shown
  return changeMember(shown ?? message, 'tool_calls', (calls) => changeItems(calls, decodeCall)) ?? shown
}

/** Moves the text of the visible details to the front of the content. */
function showReasoning(message: unknown, visibleTypes: readonly string[]): unknown {
  if (!isObject(message) || !Array.isArray(message.reasoning_details)) return undefined
  const details: readonly unknown[] = message.reasoning_details
  const isVisible = (detail: unknown) => visibleTypes.some((type) => isObject(detail) && detail.type === type)
  const content = message.content ?? ''
  if (!details.some(isVisible) || typeof content !== 'string') return undefined
  return {
    ...message,
    content: details.filter(isVisible).map(readDetail).join('') + content,
    reasoning_details: details.filter((detail) => !isVisible(detail)),
  }
}

function readDetail(detail: unknown): string {
  const text = isObject(detail) ? (detail.text ?? detail.summary) : undefined
  return typeof text === 'string' ? text : ''
}

function decodeCall(call: unknown): unknown {
  return changeMember(call, 'function', (called) =>
    changeMember(called, 'arguments', (text) =>
      typeof text === 'string' ? decodeEntities(text) : undefined,
    ),
  )
}

/**
 * Decodes HTML entities in the JSON text of arguments. Text with quotes of its own has its entities inside strings,
 * where a decoded quote or control character must be escaped; text without any was encoded as a whole.
 */
function decodeEntities(text: string): string | undefined {
  const isInsideStrings = text.includes('"')
  const decoded = text.replace(entity, (whole, name: string) => {
    const character = decodeEntity(name)
    if (character === undefined) return whole
    return isInsideStrings ? JSON.stringify(character).slice(1, -1) : character
  })
  return decoded === text ? undefined : decoded
}

const entity = /&(#\d{1,7}|#x[\da-f]{1,6}|amp|lt|gt|quot|apos);/gi

const namedCharacters: ReadonlyMap<string, string> = new Map([
  ['amp', '&'],
  ['lt', '<'],
  ['gt', '>'],
  ['quot', '"'],
  ['apos', "'"],
])

function decodeEntity(name: string): string | undefined {
  const lower = name.toLowerCase()
  if (!lower.startsWith('#')) return namedCharacters.get(lower)
  const code = lower.startsWith('#x')
    ? Number.parseInt(lower.slice(2), 16)
    : Number.parseInt(lower.slice(1), 10)
  return code <= 0x10ffff ? String.fromCodePoint(code) : undefined
}

/** A copy of an object with one member changed; `undefined` when `change` changes nothing. */
function changeMember(
  value: unknown,
  key: string,
  change: (member: unknown) => unknown,
): JsonObject | undefined {
  if (!isObject(value)) return undefined
  const changed = change(value[key])
  return changed === undefined ? undefined : { ...value, [key]: changed }
}

/** A copy of an array with some items changed; `undefined` when `change` changes none. */
function changeItems(items: unknown, change: (item: unknown) => unknown): readonly unknown[] | undefined {
  if (!Array.isArray(items)) return undefined
  const changed: readonly unknown[] = items.map(change)
  return changed.some((item) => item !== undefined)
    ? items.map((item, index) => changed[index] ?? item)
    : undefined
}

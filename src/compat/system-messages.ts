import {
  changeEach,
  getMember,
  hasText,
  isArray,
  isNothing,
  isText,
  itemsOf,
  joinTexts,
  setMember,
  setValue,
  toNode,
} from '../json/edit.ts'
import type { JsonChild, JsonNode } from '../json/node.ts'
import { addText, buildTextPart, isTextPart } from './message-list.ts'
import type { Route, Rule } from './rule.ts'

/** Many chat templates refuse a system message that is not the first one; agents send them in the middle. */
export const laterSystemMessages: Rule = {
  name: 'laterSystemMessages',
  isForEveryRoute: true,
  apply: (body, { compat: { laterSystemMessages: mode }, route }) => {
    const key = mode === undefined ? undefined : listOf(route)
    const list = key === undefined ? undefined : getMember(body, key)
    if (!isArray(list)) return false
    const items = itemsOf(list)
    const isFirstElsewhere =
      route === 'messages' || (route === 'responses' && !isNothing(getMember(body, 'instructions')))
    const later = items.filter((item, index) => isSystem(item) && (isFirstElsewhere || index > 0))
    if (later.length === 0) return false
    if (mode === 'user') return changeEach(later, ({ value }) => setValue(value, 'role', 'user'))

    // Instructions come before the whole list, so a first message there would be a later one.
    const moved = route === 'responses' ? items.filter(isSystem) : later
    // An image has no text to join: its message keeps its place.
    const merged = moved.filter(({ value }) => isTextOnly(getMember(value, 'content')))
    for (const { value } of moved.filter((item) => !merged.includes(item))) setValue(value, 'role', 'user')
    if (merged.length === 0) return true
    const rest = items.filter((item) => !merged.includes(item))
    const texts = merged.flatMap(({ value }) => textsOf(getMember(value, 'content')))
    if (route === 'chat') mergeIntoFirst(rest, texts)
    else mergeIntoMember(body, route === 'messages' ? 'system' : 'instructions', texts)
    list.children = rest
    return true
  },
}

function listOf(route: Route): string | undefined {
  if (route === 'responses') return 'input'
  return route === 'chat' || route === 'messages' ? 'messages' : undefined
}

function isSystem({ value }: JsonChild): boolean {
  return hasText(value, 'role', 'system') || hasText(value, 'role', 'developer')
}

function textsOf(content: JsonNode | undefined): JsonNode[] {
  if (content !== undefined && isText(content)) return [content]
  return itemsOf(content).flatMap(({ value }) => {
    const text = getMember(value, 'text')
    return text !== undefined && isText(text) ? [text] : []
  })
}

function isTextOnly(content: JsonNode | undefined): boolean {
  return (
    content !== undefined &&
    (isText(content) || (isArray(content) && textsOf(content).length === itemsOf(content).length))
  )
}

const SEPARATOR = '\n\n'

function mergeIntoFirst(messages: JsonChild[], texts: readonly JsonNode[]): void {
  const [present] = messages
  const first = present !== undefined && isSystem(present) ? present : { key: '', value: toNode(empty) }
  if (first !== present) messages.unshift(first)
  addText(first.value, joinTexts(texts, SEPARATOR), 'after', SEPARATOR)
}

const empty = { role: 'system', content: '' }

function mergeIntoMember(body: JsonNode, key: string, texts: readonly JsonNode[]): void {
  const present = getMember(body, key)
  if (isArray(present) && itemsOf(present).every(({ value }) => isTextPart(value)))
    for (const text of texts) itemsOf(present).push({ key: '', value: buildTextPart(text) })
  else setMember(body, key, joinTexts([...textsOf(present), ...texts], SEPARATOR))
}

import { changeEach, getMember, isArray, itemsOf, joinTexts, membersOf } from '../json/edit.ts'
import type { JsonChild, JsonNode } from '../json/node.ts'
import { isTextPart, messagesOf } from './message-list.ts'
import type { Rule } from './rule.ts'

/** Joins a content array of text parts into one string. Other content stays: an image has no text. */
export const stringContent: Rule = {
  name: 'requiresStringContent',
  apply: (body, { compat }) =>
    compat.requiresStringContent === true &&
    changeEach(messagesOf(body), ({ value }) =>
      changeEach(
        membersOf(value).filter((member) => member.key === 'content'),
        flatten,
      ),
    ),
}

function flatten(content: JsonChild): boolean {
  if (!isArray(content.value)) return false
  const parts = itemsOf(content.value)
  if (!parts.every(({ value }) => isTextPart(value))) return false
  const texts = parts.map(({ value }) => getMember(value, 'text')).filter(isPresent)
  const [only] = texts
  content.value = only !== undefined && texts.length === 1 ? only : joinTexts(texts, '\n')
  return true
}

function isPresent(node: JsonNode | undefined): node is JsonNode {
  return node !== undefined
}

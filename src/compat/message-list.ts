import {
  getMember,
  hasText,
  isArray,
  isEmptyText,
  isNothing,
  isText,
  itemsOf,
  joinTexts,
  setMember,
  toNode,
} from '../json/edit.ts'
import type { JsonChild, JsonNode, JsonText } from '../json/node.ts'

/** The messages of a chat body; the list may be changed. */
export function messagesOf(body: JsonNode): JsonChild[] {
  return itemsOf(getMember(body, 'messages'))
}

/** A content part with text, sharing the node's memory. */
export function buildTextPart(text: JsonNode): JsonNode {
  const part = toNode({ type: 'text' })
  setMember(part, 'text', text)
  return part
}

/** Adds text before or after what a message says already; content that is an array gets a text part. */
export function addText(
  message: JsonNode,
  text: JsonText,
  place: 'before' | 'after',
  separator: string,
): void {
  const content = getMember(message, 'content')
  if (isArray(content)) {
    const part = { key: '', value: buildTextPart(text) }
    if (place === 'before') itemsOf(content).unshift(part)
    else itemsOf(content).push(part)
  } else if (content === undefined || isNothing(content) || isEmptyText(content)) {
    setMember(message, 'content', text)
  } else {
    setMember(
      message,
      'content',
      joinTexts(place === 'before' ? [text, content] : [content, text], separator),
    )
  }
}

/** Whether a content part is text. */
export function isTextPart(part: JsonNode): boolean {
  return hasText(part, 'type', 'text') && isText(getMember(part, 'text'))
}

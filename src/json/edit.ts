import { byteOf } from './bytes.ts'
import {
  childrenOf,
  decodeText,
  hasItemWithText as findItemWithText,
  isSameText,
  type JsonChild,
  type JsonNode,
  type JsonSpan,
  type JsonText,
  readJson,
} from './node.ts'
import { writePieces } from './pieces.ts'

/** The members of an object in order, duplicates included; the list may be changed. Empty for anything else. */
export function membersOf(node: JsonNode | undefined): JsonChild[] {
  return isObject(node) ? childrenOf(node) : []
}

/** The items of an array in order; the list may be changed. Empty for anything else. */
export function itemsOf(node: JsonNode | undefined): JsonChild[] {
  return isArray(node) ? childrenOf(node) : []
}

/** The value of a member; of duplicates the last, as `JSON.parse` has it. */
export function getMember(object: JsonNode | undefined, key: string): JsonNode | undefined {
  const members = membersOf(object)
  for (let index = members.length - 1; index >= 0; index -= 1)
    if (members[index]?.key === key) return members[index]?.value
  return undefined
}

/** The text of a string member; `undefined` when it is absent or not a string. */
export function getText(object: JsonNode | undefined, key: string): string | undefined {
  return textOf(getMember(object, key))
}

/** Whether a member is this text of ASCII characters. */
export function hasText(object: JsonNode | undefined, key: string, text: string): boolean {
  const node = getMember(object, key)
  if (node === undefined || !isText(node)) return false
  return 'source' in node ? isSameText(node.source, node.start, node.end, text) : textOf(node) === text
}

/** Whether an item of an array has this text of ASCII characters in a member. */
export function hasItemWithText(list: JsonNode | undefined, key: string, text: string): boolean {
  if (!isArray(list)) return false
  return list.children === undefined
    ? findItemWithText(list.source, list.start, key, text)
    : list.children.some(({ value }) => hasText(value, key, text))
}

/** Gives a member a value: in place, every duplicate of it, or appended. */
export function setMember(object: JsonNode, key: string, value: JsonNode): void {
  const members = membersOf(object)
  const present = members.filter((member) => member.key === key)
  for (const member of present) member.value = value
  if (present.length === 0) members.push({ key, value })
}

/**
 * {@link setMember} with a JavaScript value. A member that has this value already keeps its own spelling.
 * @returns whether anything changed.
 */
export function setValue(object: JsonNode, key: string, value: unknown): boolean {
  const wanted = JSON.stringify(value)
  const present = membersOf(object).filter((member) => member.key === key)
  if (present.length > 0 && present.every((member) => JSON.stringify(toValue(member.value)) === wanted))
    return false
  setMember(object, key, toNode(value))
  return true
}

/** Removes a member, every duplicate of it. @returns whether there was one. */
export function removeMember(object: JsonNode | undefined, key: string): boolean {
  return removeMembers(object, (member) => member.key === key)
}

/** Removes the members of an object that a test picks. @returns whether there were any. */
export function removeMembers(
  object: JsonNode | undefined,
  isRemoved: (member: JsonChild) => boolean,
): boolean {
  if (!isObject(object)) return false
  const members = childrenOf(object)
  const kept = members.filter((member) => !isRemoved(member))
  if (kept.length === members.length) return false
  object.children = kept
  return true
}

/** Changes every item of a list. @returns whether any call said that it changed something. */
export function changeEach<Item>(items: readonly Item[], change: (item: Item) => boolean): boolean {
  return items.filter((item) => change(item)).length > 0
}

/** A JavaScript value as a node. Not for values of a body: numbers would lose digits. */
export function toNode(value: unknown): JsonNode {
  return readJson(Buffer.from(JSON.stringify(value)), 0, 0)
}

/** Several texts as one string node; the nodes of a body keep their own escapes and share its memory. */
export function joinTexts(texts: readonly (string | JsonNode)[], separator = ''): JsonText {
  const pieces = texts.map((text) => (typeof text === 'string' ? [escapeText(text)] : escapedTextOf(text)))
  const between = separator === '' ? [] : [escapeText(separator)]
  return { text: pieces.flatMap((piece, index) => (index === 0 ? piece : [...between, ...piece])) }
}

/** The decoded text of a string node; `undefined` for anything else. */
export function textOf(node: JsonNode | undefined): string | undefined {
  if (node === undefined || !isText(node)) return undefined
  if ('source' in node) return decodeText(node.source, node.start, node.end)
  const raw = Buffer.concat([quotes, ...node.text, quotes])
  return decodeText(raw, 0, raw.length)
}

/** The value of a node as `JSON.parse` reads it; `undefined` when it is absent. For small nodes. */
export function toValue(node: JsonNode | undefined): unknown {
  return node === undefined ? undefined : JSON.parse(readRawText(node))
}

/** Whether a value is an object. */
export function isObject(node: JsonNode | undefined): node is JsonSpan {
  return firstByteOf(node) === byteOf.openBrace
}

/** Whether a value is an array. */
export function isArray(node: JsonNode | undefined): node is JsonSpan {
  return firstByteOf(node) === byteOf.openBracket
}

/** Whether a value is a string. */
export function isText(node: JsonNode | undefined): boolean {
  return firstByteOf(node) === byteOf.quote
}

/** Whether a value counts as missing: absent or `null`. */
export function isNothing(node: JsonNode | undefined): boolean {
  return node === undefined || firstByteOf(node) === letterN
}

/** Whether a node is the string `""`. */
export function isEmptyText(node: JsonNode | undefined): boolean {
  return node !== undefined && isText(node) && escapedTextOf(node).every((piece) => piece.length === 0)
}

const letterN = 0x6e
const quotes = Buffer.from('"')

function firstByteOf(node: JsonNode | undefined): number | undefined {
  if (node === undefined) return undefined
  return 'text' in node ? byteOf.quote : node.source[node.start]
}

/** The text between the quotes of a string node; for any other value its JSON text. */
function escapedTextOf(node: JsonNode): readonly Buffer[] {
  if ('text' in node) return node.text
  if (isText(node)) return [node.source.subarray(node.start + 1, node.end - 1)]
  return [escapeText(readRawText(node))]
}

function readRawText(node: JsonNode): string {
  if ('source' in node && node.children === undefined)
    return node.source.toString('utf8', node.start, node.end)
  return Buffer.concat(writePieces(node).pieces).toString()
}

function escapeText(text: string): Buffer {
  return Buffer.from(JSON.stringify(text).slice(1, -1))
}

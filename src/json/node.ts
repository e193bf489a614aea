import { BadRequestError } from '../errors.ts'
import { byteOf, skipSpace } from './bytes.ts'
import { endsOf } from './check.ts'

/**
 * A JSON value as a span of the bytes it came in. Rules read and change the tree; what they do not touch
 * is sent on as it came, so that numbers, key order, duplicate keys and white space survive.
 */
export type JsonNode = JsonSpan | JsonText

/** A value as it came: `source[start..end)`. */
export interface JsonSpan {
  readonly source: Buffer
  readonly start: number
  readonly end: number
  /** Members or items, once opened. Rules change this list; absent until the container is opened. */
  children?: JsonChild[]
}

/** A string that a rule wrote: its escaped text, without the quotes, in pieces that may share memory with the body. */
export interface JsonText {
  readonly text: readonly Buffer[]
}

/** One member of an object, or one item of an array (its key is empty). */
export interface JsonChild {
  key: string
  value: JsonNode
  /** Where it was in the container's source. Absent: a rule inserted it. */
  readonly origin?: JsonOrigin
}

/** The place of a child: from after one separator to before the next, white space included. */
export interface JsonOrigin {
  readonly start: number
  readonly end: number
  readonly key: string
  readonly keyStart: number
  readonly keyEnd: number
  readonly valueStart: number
  readonly valueEnd: number
}

/** Maximum number of values that are opened in a body. A body beyond it is refused: a conversation has thousands. */
const maxOpenValues = 500_000

/**
 * Reads the JSON value at `start` of a source that {@link checkJson} has accepted. `levels` says how deep objects,
 * and arrays of objects, are opened in the same pass; everything else is jumped over and can be opened later.
 * @throws {@link BadRequestError} when the source is not JSON after all, or opens more than {@link maxOpenValues}.
 */
export function readJson(source: Buffer, start: number, levels: number): JsonSpan {
  return createReader(source).readValue(start, levels)
}

/** The children of a container, which is opened if necessary. The list may be changed. */
export function childrenOf(container: JsonSpan): JsonChild[] {
  container.children ??= createReader(container.source).readChildren(container.start, 1).children
  return container.children
}

interface JsonReader {
  readValue(start: number, levels: number): JsonSpan
  readChildren(start: number, levels: number): { children: JsonChild[]; end: number }
}

function createReader(source: Buffer): JsonReader {
  let openCount = 0
  const ends = endsOf(source)

  function readValue(start: number, levels: number): JsonSpan {
    const isOpened = levels > 0 && (source[start] === openBrace || isArrayOfObjects(source, start))
    return isOpened
      ? { source, start, ...readChildren(start, levels) }
      : { source, start, end: ends.get(start) ?? endOfValue(source, start) }
  }

  function readChildren(start: number, levels: number): { children: JsonChild[]; end: number } {
    const isMembers = source[start] === openBrace
    const children: JsonChild[] = []
    let childStart = start + 1
    const first = skipSpace(source, childStart)
    if (isCloser(source[first])) return { children, end: first + 1 }

    for (;;) {
      openCount += 1
      if (openCount > maxOpenValues) {
        throw new BadRequestError(`The request body holds more than ${maxOpenValues} values.`)
      }
      const keyStart = skipSpace(source, childStart)
      const keyEnd = isMembers ? endOfText(source, keyStart) : keyStart
      const valueStart = isMembers ? skipSpace(source, skipSpace(source, keyEnd) + 1) : keyStart
      const value = readValue(valueStart, levels - 1)
      const end = skipSpace(source, value.end)
      const key = isMembers ? decodeText(source, keyStart, keyEnd) : ''
      const origin = { start: childStart, end, key, keyStart, keyEnd, valueStart, valueEnd: value.end }
      children.push({ key, value, origin })
      if (isCloser(source[end])) return { children, end: end + 1 }
      if (source[end] !== comma) throw notJson(end)
      childStart = end + 1
    }
  }

  return { readValue, readChildren }
}

/** The text of the JSON string in `source[start..end)`, quotes included. Lone surrogates are kept. */
export function decodeText(source: Buffer, start: number, end: number): string {
  const raw = source.toString('utf8', start + 1, end - 1)
  if (!raw.includes('\\')) return raw
  const text: string = JSON.parse(`"${raw}"`)
  return text
}

const { quote, comma, backslash, openBracket, closeBracket, openBrace, closeBrace } = byteOf

function isCloser(byte: number | undefined): boolean {
  return byte === closeBracket || byte === closeBrace
}

function isOpener(byte: number | undefined): boolean {
  return byte === openBracket || byte === openBrace
}

/** An array of numbers (tokens of an embedding) gets no node per number. */
function isArrayOfObjects(source: Buffer, start: number): boolean {
  return source[start] === openBracket && source[skipSpace(source, start + 1)] === openBrace
}

function endOfValue(source: Buffer, start: number): number {
  const first = source[start]
  if (first === quote) return endOfText(source, start)
  if (!isOpener(first)) return endOfScalar(source, start)

  let depth = 0
  let position = start
  while (position < source.length) {
    const step = steps[source[position] ?? 0] ?? 0
    if (step === textStep) {
      position = endOfText(source, position)
      continue
    }
    position += 1
    if (step !== 0) {
      depth += step
      if (depth === 0) return position
    }
  }
  throw notJson(position)
}

/** What a byte outside of strings does to the depth. */
const steps = new Int8Array(256)
const textStep = 2
steps[quote] = textStep
steps[openBrace] = steps[openBracket] = 1
steps[closeBrace] = steps[closeBracket] = -1

function endOfScalar(source: Buffer, start: number): number {
  let position = start
  while (isScalarByte(source[position])) position += 1
  if (position === start) throw notJson(start)
  return position
}

/** Letters, digits, signs and the point: what numbers, `true`, `false` and `null` are made of. */
function isScalarByte(byte: number | undefined): boolean {
  return (
    byte !== undefined &&
    byte > 0x20 &&
    byte !== comma &&
    byte !== quote &&
    !isOpener(byte) &&
    !isCloser(byte)
  )
}

/** Jumps from quote to quote with the native search; a quote after an odd number of backslashes is text. */
function endOfText(source: Buffer, start: number): number {
  let position = start
  for (;;) {
    position = source.indexOf(quote, position + 1)
    if (position === -1) throw notJson(source.length)
    let before = position - 1
    while (source[before] === backslash) before -= 1
    if ((position - before) % 2 === 1) return position + 1
  }
}

function notJson(position: number): BadRequestError {
  return new BadRequestError(`The request body is not valid JSON at byte ${position}.`)
}

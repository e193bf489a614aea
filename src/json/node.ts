import { BadRequestError } from '../errors.ts'
import { byteOf, skipSpace } from './bytes.ts'
import { type Ends, endsOf } from './check.ts'

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
  return new Reader(source).readValue(start, levels)
}

/** The values of some members of the object at `start`, which is not opened: of duplicates the last. */
export function findMembers(
  source: Buffer,
  start: number,
  names: readonly string[],
): readonly (JsonSpan | undefined)[] {
  return new Reader(source).findMembers(start, names)
}

/** Whether an item of the array at `start` has this text of ASCII characters in a member. The array is not opened. */
export function hasItemWithText(source: Buffer, start: number, key: string, text: string): boolean {
  return new Reader(source).hasItemWithText(start, [key], text)
}

/** The children of a container, which is opened if necessary. The list may be changed. */
export function childrenOf(container: JsonSpan): JsonChild[] {
  container.children ??= new Reader(container.source).readChildren(container.start, 1).children
  return container.children
}

/** Reads one source. A class, because at least two are made for each request. */
class Reader {
  readonly #source: Buffer
  readonly #ends: Ends
  #openCount = 0

  constructor(source: Buffer) {
    this.#source = source
    this.#ends = endsOf(source)
  }

  readValue(start: number, levels: number): JsonSpan {
    const source = this.#source
    if (levels === 0 || (source[start] !== openBrace && !isArrayOfObjects(source, start)))
      return { source, start, end: this.#endOf(start) }
    const { children, end } = this.readChildren(start, levels)
    return { source, start, end, children }
  }

  readChildren(start: number, levels: number): { children: JsonChild[]; end: number } {
    const source = this.#source
    const isMembers = source[start] === openBrace
    const children: JsonChild[] = []
    let childStart = start + 1
    const first = skipSpace(source, childStart)
    if (isCloser(source[first])) return { children, end: first + 1 }

    for (;;) {
      this.#count()
      const keyStart = skipSpace(source, childStart)
      const keyEnd = isMembers ? endOfText(source, keyStart) : keyStart
      const valueStart = isMembers ? skipSpace(source, skipSpace(source, keyEnd) + 1) : keyStart
      const value = this.readValue(valueStart, levels - 1)
      const end = skipSpace(source, value.end)
      const key = isMembers ? readKey(source, keyStart, keyEnd) : ''
      const origin = { start: childStart, end, key, keyStart, keyEnd, valueStart, valueEnd: value.end }
      children.push({ key, value, origin })
      if (isCloser(source[end])) return { children, end: end + 1 }
      if (source[end] !== comma) throw notJson(end)
      childStart = end + 1
    }
  }

  findMembers(start: number, names: readonly string[]): (JsonSpan | undefined)[] {
    const source = this.#source
    const found = names.map((): JsonSpan | undefined => undefined)
    let position = skipSpace(source, start + 1)
    while (!isCloser(source[position])) {
      this.#count()
      const keyEnd = endOfText(source, position)
      const valueStart = skipSpace(source, skipSpace(source, keyEnd) + 1)
      const end = this.#endOf(valueStart)
      const index = names.indexOf(readKey(source, position, keyEnd))
      if (index !== -1) found[index] = { source, start: valueStart, end }
      position = skipSpace(source, end)
      if (source[position] === comma) position = skipSpace(source, position + 1)
      else if (!isCloser(source[position])) throw notJson(position)
    }
    return found
  }

  hasItemWithText(start: number, key: readonly string[], text: string): boolean {
    const source = this.#source
    let position = skipSpace(source, start + 1)
    while (!isCloser(source[position])) {
      this.#count()
      const [value] = source[position] === openBrace ? this.findMembers(position, key) : []
      if (value !== undefined && source[value.start] === quote)
        if (isSameText(source, value.start, value.end, text)) return true
      position = skipSpace(source, this.#endOf(position))
      if (source[position] === comma) position = skipSpace(source, position + 1)
      else if (!isCloser(source[position])) throw notJson(position)
    }
    return false
  }

  #endOf(start: number): number {
    return this.#ends.get(start) ?? endOfValue(this.#source, start)
  }

  #count(): void {
    this.#openCount += 1
    if (this.#openCount > maxOpenValues)
      throw new BadRequestError(`The request body holds more than ${maxOpenValues} values.`)
  }
}

/** Whether the JSON string in `source[start..end)`, quotes included, is this text of ASCII characters. */
export function isSameText(source: Buffer, start: number, end: number, text: string): boolean {
  const length = end - start - 2
  if (length === text.length) return hasBytesOf(source, start, end, text)
  // An escape takes at most six bytes for a character.
  if (length < text.length || length > 6 * text.length) return false
  return decodeText(source, start, end) === text
}

/** Keys that were read last: all bodies have the same few, and decoding one costs more than finding it here. */
const knownKeys: string[] = Array.from({ length: 256 }, () => '')
const MAX_KNOWN_KEY = 32

function readKey(source: Buffer, start: number, end: number): string {
  const length = end - start - 2
  const place = (length * 31 + (source[start + 1] ?? 0) * 7 + (source[end - 2] ?? 0)) & (knownKeys.length - 1)
  const known = knownKeys[place] ?? ''
  if (hasBytesOf(source, start, end, known)) return known
  const key = decodeText(source, start, end)
  // As many characters as bytes: each byte is one of them.
  if (key.length === length && length <= MAX_KNOWN_KEY) knownKeys[place] = key
  return key
}

/** Whether the bytes between two quotes are the characters of a text of ASCII characters. */
function hasBytesOf(source: Buffer, start: number, end: number, text: string): boolean {
  if (text.length !== end - start - 2) return false
  for (let index = 0; index < text.length; index += 1)
    if (text.charCodeAt(index) !== source[start + 1 + index]) return false
  return true
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

/** So many bytes are read one by one: for a short text that costs less than a call of the native search. */
const NEAR_BYTES = 48

/** Jumps from quote to quote with the native search; a quote after an odd number of backslashes is text. */
function endOfText(source: Buffer, start: number): number {
  const near = Math.min(start + NEAR_BYTES, source.length)
  let position = start + 1
  while (position < near) {
    const byte = source[position]
    if (byte === quote) return position + 1
    position += byte === backslash ? 2 : 1
  }
  for (;;) {
    position = source.indexOf(quote, position)
    if (position === -1) throw notJson(source.length)
    let before = position - 1
    while (source[before] === backslash) before -= 1
    position += 1
    if ((position - before) % 2 === 0) return position
  }
}

function notJson(position: number): BadRequestError {
  return new BadRequestError(`The request body is not valid JSON at byte ${position}.`)
}

import { isUtf8 } from 'node:buffer'
import { BadRequestError } from '../errors.ts'
import { byteOf, skipSpace } from './bytes.ts'

/**
 * How deep a request body may nest. Deeper bodies are refused with 400: no client needs them, and recursive parsers
 * of servers overflow.
 */
export const maxBodyDepth = 200

/**
 * Checks that a body is one JSON value in UTF-8: it accepts what `JSON.parse` accepts, up to {@link maxBodyDepth}.
 * Lone surrogate escapes (`\ud800`) are JSON and pass. One linear pass, nothing is allocated per value.
 * @throws {@link BadRequestError} with the byte offset of the first error, never with its text.
 */
export function checkJson(body: Buffer): void {
  if (!isUtf8(body)) throw new BadRequestError('The request body is not valid UTF-8.')
  if (body.length === 0) throw new BadRequestError('The request body is empty; a JSON object was expected.')

  const text = createTextSkipper(body)
  const openers = new Uint8Array(maxBodyDepth + 1)
  let depth = 0
  let position = skipSpace(body, 0)
  for (;;) {
    const opener = body[position]
    if (opener === openBrace || opener === openBracket) {
      depth += 1
      if (depth > maxBodyDepth) {
        throw new BadRequestError(
          `The request body nests deeper than ${maxBodyDepth} levels at byte ${position}.`,
        )
      }
      openers[depth] = opener
      position = skipSpace(body, position + 1)
      if (body[position] !== opener + closerDistance) {
        if (opener === openBrace) position = skipKey(body, position, text)
        continue
      }
    } else {
      position = opener === quote ? text(position) : skipScalar(body, position)
    }

    // At the end of a value or of an empty container: close containers, then find the next value.
    for (;;) {
      position = skipSpace(body, position)
      if (depth === 0) {
        if (position === body.length) return
        fail(body, position, 'the end of the body')
      }
      const container = openers[depth] ?? 0
      const byte = body[position]
      if (byte === container + closerDistance) {
        depth -= 1
        position += 1
        continue
      }
      if (byte !== comma) fail(body, position, container === openBrace ? '"," or "}"' : '"," or "]"')
      position = skipSpace(body, position + 1)
      if (container === openBrace) position = skipKey(body, position, text)
      break
    }
  }
}

const { quote, comma, colon, backslash, openBracket, openBrace } = byteOf
/** In ASCII `]` follows `[`, and `}` follows `{`, at this distance. */
const closerDistance = 2

/** Skips a key and its colon; returns where its value starts. */
function skipKey(body: Buffer, start: number, text: (start: number) => number): number {
  if (body[start] !== quote) fail(body, start, 'a key in double quotes')
  const end = skipSpace(body, text(start))
  if (body[end] !== colon) fail(body, end, '":"')
  return skipSpace(body, end + 1)
}

/**
 * Makes a function from the offset of a string's opening quote to the offset after its closing quote. It jumps from
 * one special byte to the next; each is searched again only once it is passed, so that every search reads the body once.
 */
function createTextSkipper(body: Buffer): (start: number) => number {
  const firstWord = -body.byteOffset & 3
  const wordCount = Math.max(0, body.length - firstWord) >> 2
  const words = new Uint32Array(body.buffer, body.byteOffset + firstWord, wordCount)
  let quoteAt = -1
  let backslashAt = -1
  let controlAt = -1

  return (start) => {
    let position = start + 1
    for (;;) {
      if (quoteAt < position) quoteAt = findByte(body, quote, position)
      if (backslashAt < position) backslashAt = findByte(body, backslash, position)
      if (controlAt < position) controlAt = findControl(body, words, firstWord, position)
      if (controlAt < quoteAt && controlAt < backslashAt) {
        fail(body, controlAt, 'no raw control character in a string')
      }
      if (quoteAt < backslashAt) return quoteAt + 1
      if (backslashAt === body.length) fail(body, backslashAt, 'a closing quote')
      position = skipEscape(body, backslashAt)
    }
  }
}

function findByte(body: Buffer, byte: number, start: number): number {
  const found = body.indexOf(byte, start)
  return found === -1 ? body.length : found
}

/** Finds a byte below 0x20. No native search does; such bytes are rare, so four bytes are tested at once. */
function findControl(body: Buffer, words: Uint32Array, firstWord: number, start: number): number {
  const firstIndex = Math.max(0, (start - firstWord + 3) >> 2)
  const aligned = Math.min(firstWord + firstIndex * 4, body.length)
  for (let position = start; position < aligned; position++) if (isControl(body[position])) return position

  let index = firstIndex
  while (index < words.length && !hasControl(words[index] ?? 0)) index += 1
  let position = firstWord + index * 4
  while (position < body.length && !isControl(body[position])) position += 1
  return Math.min(position, body.length)
}

function isControl(byte: number | undefined): boolean {
  return byte !== undefined && byte < 0x20
}

/** Whether a byte of the word has none of its three top bits. */
function hasControl(word: number): boolean {
  return ((word | (word << 1) | (word << 2)) & highBits) !== highBits
}

const highBits = 0x80808080 | 0

function skipEscape(body: Buffer, start: number): number {
  const letter = body[start + 1]
  if (letter === 0x75) {
    for (let position = start + 2; position < start + 6; position++) {
      if (!isHexDigit(body[position])) fail(body, position, 'four hexadecimal digits after "\\u"')
    }
    return start + 6
  }
  if (letter === undefined || escapeLetters[letter] !== 1) fail(body, start + 1, 'a JSON escape after "\\"')
  return start + 2
}

const escapeLetters = new Uint8Array(256)
for (const letter of Buffer.from('"\\/bfnrt')) escapeLetters[letter] = 1

function isHexDigit(byte: number | undefined): boolean {
  if (byte === undefined) return false
  const lower = byte | 0x20
  return isDigit(byte) || (lower >= 0x61 && lower <= 0x66)
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39
}

/** Skips a number, `true`, `false` or `null`. */
function skipScalar(body: Buffer, start: number): number {
  const first = body[start]
  if (first === 0x2d) return skipNumber(body, start + 1)
  if (isDigit(first)) return skipNumber(body, start)
  const literal = literals.find((candidate) => candidate[0] === first)
  const end = start + (literal?.length ?? 0)
  if (literal === undefined || !body.subarray(start, end).equals(literal)) fail(body, start, 'a value')
  return end
}

const literals = ['true', 'false', 'null'].map((literal) => Buffer.from(literal))

function skipNumber(body: Buffer, start: number): number {
  let position = body[start] === 0x30 ? start + 1 : skipDigits(body, start)
  if (body[position] === 0x2e) position = skipDigits(body, position + 1)
  if (((body[position] ?? 0) | 0x20) === 0x65) {
    const sign = body[position + 1]
    position = skipDigits(body, sign === 0x2b || sign === 0x2d ? position + 2 : position + 1)
  }
  return position
}

function skipDigits(body: Buffer, start: number): number {
  let position = start
  while (isDigit(body[position])) position += 1
  if (position === start) fail(body, start, 'a digit')
  return position
}

function fail(body: Buffer, position: number, expected: string): never {
  const place = position >= body.length ? 'it ends too early' : `at byte ${position}`
  throw new BadRequestError(`The request body is not valid JSON: ${place}, ${expected} was expected.`)
}

import { isUtf8 } from 'node:buffer'
import { BadRequestError } from '../errors.ts'
import { byteOf } from './bytes.ts'

/**
 * How deep a request body may nest. Deeper bodies are refused with 400: no client needs them, and recursive parsers
 * of servers overflow.
 */
export const maxBodyDepth = 200

/** A value from this size on is noted while it is checked, so that no reader has to walk through it again, in bytes. */
const MIN_NOTED_BYTES = 1_024
/** Values below this depth are not noted. A part of a message is the sixth. */
const MAX_NOTED_DEPTH = 8

/** Where each large value of a source ends, by its start. */
export type Ends = ReadonlyMap<number, number>

interface Outcome {
  readonly fault: BadRequestError | undefined
  readonly ends: Ends
}

/** What is known of large bodies, for as long as they are kept. */
const known = new WeakMap<Buffer, Outcome>()
const NOTHING: Ends = new Map()

/**
 * Checks that a body is one JSON value in UTF-8: it accepts what `JSON.parse` accepts, up to {@link maxBodyDepth}.
 * Lone surrogate escapes (`\ud800`) are JSON and pass. A body that a {@link JsonCheck} has seen is not read again.
 * @throws {@link BadRequestError} with the byte offset of the first error, never with its text.
 */
export function checkJson(body: Buffer): void {
  let outcome = known.get(body)
  if (outcome === undefined) {
    whole.push(body)
    outcome = whole.finish(body)
  }
  if (outcome.fault !== undefined) throw outcome.fault
}

/** The ends of the large values of a checked source. Values that must be walked through have no entry. */
export function endsOf(source: Buffer): Ends {
  return source.length < MIN_NOTED_BYTES ? NOTHING : (known.get(source)?.ends ?? NOTHING)
}

/** Checks a body while it arrives, so that a large one is checked in the turns in which its chunks come. */
export interface JsonCheck {
  push(chunk: Buffer): void
  /** Notes for {@link checkJson} what was found. `body`: all chunks as one buffer, which must not change any more. */
  finish(body: Buffer): Outcome
}

/** What is read next. The order matters: up to `LITERAL` white space has a meaning. */
const [TEXT, ESCAPE, HEX, NUMBER, LITERAL, VALUE, VALUE_OR_END, KEY, KEY_OR_END, COLON, AFTER, OVER] = [
  0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11,
] as const
/** What has been read of a number. Behind the last four it may end. */
const [MINUS, POINT, EXPONENT, SIGN, ZERO, DIGITS, FRACTION, POWER] = [0, 1, 2, 3, 4, 5, 6, 7] as const
const { quote, comma, colon, backslash, openBracket, closeBracket, openBrace, closeBrace } = byteOf
/** In ASCII `]` follows `[`, and `}` follows `{`, at this distance. */
const CLOSER_DISTANCE = 2
const LITERALS: Readonly<Record<number, string>> = { 116: 'true', 102: 'false', 110: 'null' }

/** Creates a check of one body after the other: `finish` begins the next. */
export function createJsonCheck(): JsonCheck {
  const openers = new Uint8Array(maxBodyDepth + 1)
  /** Where each open container begins. */
  const starts = new Float64Array(maxBodyDepth + 1)
  let ends: Map<number, number> | undefined
  let fault: BadRequestError | undefined
  let state: number = VALUE
  let depth = 0
  let isKey = false
  let number: number = MINUS
  let literal = ''
  /** How much of a literal, or of four hexadecimal digits, has been read. */
  let read = 0
  /** Where the value that is being read began, and where this chunk did. */
  let start = 0
  let offset = 0

  const ended = (end: number) => {
    state = depth === 0 ? OVER : AFTER
    if (end - start < MIN_NOTED_BYTES || depth > MAX_NOTED_DEPTH) return
    ends ??= new Map()
    ends.set(start, end)
  }
  const open = (at: number, byte: number) => {
    depth += 1
    if (depth > maxBodyDepth)
      throw new BadRequestError(`The request body nests deeper than ${maxBodyDepth} levels at byte ${at}.`)
    openers[depth] = byte
    starts[depth] = at
    state = byte === openBrace ? KEY_OR_END : VALUE_OR_END
  }
  const close = (at: number) => {
    start = starts[depth] ?? 0
    depth -= 1
    ended(at + 1)
  }
  const expectation = () => {
    if (state === AFTER) return openers[depth] === openBrace ? '"," or "}"' : '"," or "]"'
    return EXPECTATIONS[state] ?? ''
  }
  const fail = (at: number, expected = expectation()): never => {
    throw new BadRequestError(`The request body is not valid JSON: at byte ${at}, ${expected} was expected.`)
  }

  /** Reads what may follow white space. */
  const token = (at: number, byte: number) => {
    switch (state) {
      case VALUE:
      case VALUE_OR_END:
        if (state === VALUE_OR_END && byte === closeBracket) return close(at)
        start = at
        if (byte === quote) {
          state = TEXT
          isKey = false
        } else if (byte === openBrace || byte === openBracket) open(at, byte)
        else if (byte === 0x2d || isDigit(byte)) {
          state = NUMBER
          number = byte === 0x2d ? MINUS : byte === 0x30 ? ZERO : DIGITS
        } else {
          literal = LITERALS[byte] ?? fail(at)
          state = LITERAL
          read = 1
        }
        return
      case KEY:
      case KEY_OR_END:
        if (state === KEY_OR_END && byte === closeBrace) return close(at)
        if (byte !== quote) fail(at)
        state = TEXT
        isKey = true
        return
      case COLON:
        if (byte !== colon) fail(at)
        state = VALUE
        return
      case AFTER:
        if (byte === comma) state = openers[depth] === openBrace ? KEY : VALUE
        else if (byte === (openers[depth] ?? 0) + CLOSER_DISTANCE) close(at)
        else fail(at)
        return
      default:
        fail(at)
    }
  }

  const scan = (chunk: Buffer) => {
    const { length } = chunk
    // Where the next of these bytes is in this chunk: each is searched again only once it is passed.
    let quoteAt = -1
    let backslashAt = -1
    let controlAt = -1
    for (let i = 0; i < length; ) {
      const byte = chunk[i] ?? 0
      switch (state) {
        case TEXT:
          if (quoteAt < i) quoteAt = findByte(chunk, quote, i)
          if (backslashAt < i) backslashAt = findByte(chunk, backslash, i)
          if (controlAt < i) controlAt = findControl(chunk, i)
          if (controlAt < quoteAt && controlAt < backslashAt)
            fail(offset + controlAt, 'no raw control character in a string')
          if (backslashAt < quoteAt) state = ESCAPE
          else if (quoteAt < length && isKey) state = COLON
          else if (quoteAt < length) ended(offset + quoteAt + 1)
          i = Math.min(backslashAt, quoteAt, length - 1) + 1
          break
        case ESCAPE:
          if (byte !== LETTER_U && ESCAPES[byte] !== 1) fail(offset + i)
          state = byte === LETTER_U ? HEX : TEXT
          read = 0
          i += 1
          break
        case HEX:
          if (!isHexDigit(byte)) fail(offset + i)
          read += 1
          if (read === 4) state = TEXT
          i += 1
          break
        case LITERAL:
          if (byte !== literal.charCodeAt(read)) fail(start)
          read += 1
          i += 1
          if (read === literal.length) ended(offset + i)
          break
        case NUMBER: {
          const next = afterByte(number, byte)
          if (next >= 0) {
            number = next
            i += 1
            if (next === DIGITS) while (isDigit(chunk[i] ?? 0)) i += 1
          } else if (number >= ZERO) ended(offset + i)
          else fail(offset + i)
          break
        }
        default:
          if (!isSpace(byte)) token(offset + i, byte)
          i += 1
      }
    }
    offset += length
  }

  const findFault = (body: Buffer): BadRequestError | undefined => {
    if (!isUtf8(body)) return new BadRequestError('The request body is not valid UTF-8.')
    if (body.length === 0)
      return new BadRequestError('The request body is empty; a JSON object was expected.')
    const isOver = state === OVER || (state === NUMBER && depth === 0 && number >= ZERO)
    if (fault !== undefined || isOver) return fault
    // A number may end anywhere: what must follow is what ends the container.
    if (state === NUMBER && number >= ZERO) state = AFTER
    return new BadRequestError(
      `The request body is not valid JSON: it ends too early, ${expectation()} was expected.`,
    )
  }

  return {
    push: (chunk) => {
      if (fault !== undefined) return
      try {
        scan(chunk)
      } catch (error) {
        if (!(error instanceof BadRequestError)) throw error
        fault = error
      }
    },
    finish: (body) => {
      const outcome = { fault: findFault(body), ends: ends ?? NOTHING }
      if (body.length >= MIN_NOTED_BYTES) known.set(body, outcome)
      ends = fault = undefined
      state = VALUE
      depth = offset = 0
      return outcome
    },
  }
}

const EXPECTATIONS: Readonly<Record<number, string>> = {
  [TEXT]: 'a closing quote',
  [ESCAPE]: 'a JSON escape after "\\"',
  [HEX]: 'four hexadecimal digits after "\\u"',
  [NUMBER]: 'a digit',
  [LITERAL]: 'a value',
  [VALUE]: 'a value',
  [VALUE_OR_END]: 'a value',
  [KEY]: 'a key in double quotes',
  [KEY_OR_END]: 'a key in double quotes',
  [COLON]: '":"',
  [OVER]: 'the end of the body',
}

const LETTER_U = 0x75
const ESCAPES = new Uint8Array(256)
for (const letter of Buffer.from('"\\/bfnrt')) ESCAPES[letter] = 1

/** What has been read of a number after one byte more; negative: the byte is no part of it. */
function afterByte(number: number, byte: number): number {
  if (isDigit(byte)) {
    if (number === MINUS) return byte === 0x30 ? ZERO : DIGITS
    if (number === POINT || number === FRACTION) return FRACTION
    if (number === EXPONENT || number === SIGN || number === POWER) return POWER
    return number === DIGITS ? DIGITS : -1
  }
  if (byte === 0x2e) return number === ZERO || number === DIGITS ? POINT : -1
  if ((byte | 0x20) === 0x65)
    return number === ZERO || number === DIGITS || number === FRACTION ? EXPONENT : -1
  return number === EXPONENT && (byte === 0x2b || byte === 0x2d) ? SIGN : -1
}

function isDigit(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39
}

function isHexDigit(byte: number): boolean {
  const lower = byte | 0x20
  return isDigit(byte) || (lower >= 0x61 && lower <= 0x66)
}

function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09
}

function findByte(chunk: Buffer, byte: number, start: number): number {
  const found = chunk.indexOf(byte, start)
  return found === -1 ? chunk.length : found
}

/** Finds a byte below 0x20. No native search does; such bytes are rare, so four bytes are tested at once. */
function findControl(chunk: Buffer, start: number): number {
  const { length } = chunk
  let at = start
  while (at < length && ((chunk.byteOffset + at) & 3) !== 0) {
    if ((chunk[at] ?? 0) < 0x20) return at
    at += 1
  }
  const wordCount = (length - at) >> 2
  if (wordCount > 0) {
    const words = new Int32Array(chunk.buffer, chunk.byteOffset + at, wordCount)
    let index = 0
    while (index < wordCount && !hasControl(words[index] ?? 0)) index += 1
    at += index * 4
  }
  while (at < length && (chunk[at] ?? 0) >= 0x20) at += 1
  return at
}

/** Whether a byte of the word has none of its three top bits. */
function hasControl(word: number): boolean {
  return ((word | (word << 1) | (word << 2)) & HIGH_BITS) !== HIGH_BITS
}

const HIGH_BITS = 0x80808080 | 0

/** For bodies that are there as a whole. */
const whole = createJsonCheck()

import { toPlainLines } from './plain-text.ts'

/** What stands in the place of a secret. */
export const MASK = '***'
/** Shorter values are no secrets worth the name, and stand in many a harmless word. */
export const LEAST_LENGTH = 8
/** Values that are remembered: those of earlier configurations may still be in the output of what runs. */
const MAX_SECRETS = 1_000

/** Takes secrets out of what is shown, by their value: a name tells little about where a value turns up. */
export interface Scrubber {
  /** Values to be taken out from now on, besides those before. What is shorter than eight characters is left alone. */
  learn(values: Iterable<string>): void
  /** A text without secrets, as they are or in the spelling of a URL, of JSON, in base64 or hex. */
  text(text: string): string
  /** JSON without secrets, and without control characters but line ends and tabs: see `toPlainLines`. */
  value<T>(value: T): T
}

/** Creates a scrubber that knows no secret yet. */
export function createScrubber(values: Iterable<string> = []): Scrubber {
  const known = new Set<string>()
  let pattern: RegExp | undefined
  const learn = (more: Iterable<string>) => {
    const before = known.size
    for (const value of more) if (value.length >= LEAST_LENGTH && known.size < MAX_SECRETS) known.add(value)
    if (known.size === before) return
    // The longest first: a secret may begin like another one.
    const spellings = [...new Set([...known].flatMap(toSpellings))].sort((a, b) => b.length - a.length)
    pattern = new RegExp(spellings.map(toLiteral).join('|'), 'g')
  }
  const text = (given: string) =>
    pattern === undefined || given.length < LEAST_LENGTH ? given : given.replace(pattern, MASK)
  const clean = (given: string) => text(toPlainLines(given))
  learn(values)
  return { learn, text, value: (value) => mapStrings(value, clean) }
}

/** A copy with every text changed, or the value itself where nothing did. */
function mapStrings<T>(value: T, change: (text: string) => string): T {
  // The type says what comes out: texts become texts, and all else keeps its shape.
  return map(value, change) as T
}

function map(value: unknown, change: (text: string) => string): unknown {
  if (typeof value === 'string') return change(value)
  if (typeof value !== 'object' || value === null) return value
  let copy: object | undefined
  for (const [key, before] of Object.entries(value)) {
    const after = map(before, change)
    if (after === before) continue
    copy ??= Array.isArray(value) ? [...value] : { ...value }
    // Not by assignment: a key may be `__proto__`.
    Object.defineProperty(copy, key, { value: after, enumerable: true, configurable: true, writable: true })
  }
  return copy ?? value
}

/** A secret as it is and in the spellings of JSON and of a URL: for most keys these are one. */
export function toTextSpellings(secret: string): string[] {
  const url = encodeURIComponent(secret)
  return [
    secret,
    JSON.stringify(secret).slice(1, -1),
    url,
    url.replace(/%[0-9A-F]{2}/g, (code) => code.toLowerCase()),
    url.replaceAll('%20', '+'),
  ]
}

function toSpellings(secret: string): string[] {
  const bytes = Buffer.from(secret)
  const base64 = [0, 1, 2].map((offset) => toBase64Core(bytes, offset))
  return [
    ...toTextSpellings(secret),
    bytes.toString('hex'),
    ...base64,
    ...base64.map((text) => text.replaceAll('+', '-').replaceAll('/', '_')),
  ]
}

/** What every base64 text holds that has these bytes at this distance from a group of three. */
function toBase64Core(bytes: Buffer, offset: number): string {
  const text = Buffer.concat([Buffer.alloc(offset), bytes]).toString('base64')
  return text.slice(Math.ceil((offset * 8) / 6), Math.floor(((offset + bytes.length) * 8) / 6))
}

function toLiteral(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\/-]/g, '\\$&')
}

import { toPlainLines } from './plain-text.ts'

/** What stands in the place of a secret. */
export const MASK = '***'
/** Shorter values are not treated as secrets: they occur in ordinary words. */
export const LEAST_LENGTH = 8
/** Maximum number of remembered values. Services that run may still print values of earlier configurations. */
const MAX_SECRETS = 1_000

/** Masks secrets in displayed text by their value, because a value can appear anywhere. */
export interface Scrubber {
  /** Adds values to mask. Values shorter than eight characters are ignored. */
  learn(values: Iterable<string>): void
  /** Masks secrets in a text: verbatim, or as a URL, JSON, base64 or hex spells them. */
  text(text: string): string
  /** Masks secrets in JSON and removes control characters except line ends and tabs: see `toPlainLines`. */
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
    const spellings = [...new Set([...known].flatMap(listSpellings))].sort((a, b) => b.length - a.length)
    pattern = new RegExp(spellings.map(escapeRegExp).join('|'), 'g')
  }
  const text = (given: string) =>
    pattern === undefined || given.length < LEAST_LENGTH ? given : given.replace(pattern, MASK)
  const clean = (given: string) => text(toPlainLines(given))
  learn(values)
  return { learn, text, value: (value) => mapStrings(value, clean) }
}

/** A copy with every text changed, or the value itself if nothing changed. */
function mapStrings<T>(value: T, change: (text: string) => string): T {
  // The cast is safe: texts become texts, and everything else keeps its shape.
  return map(value, change) as T
}

function map(value: unknown, change: (text: string) => string): unknown {
  if (typeof value === 'string') return change(value)
  if (typeof value !== 'object' || value === null) return value
  let copy: object | undefined
  for (const key of Object.keys(value)) {
    const before: unknown = (value as Readonly<Record<string, unknown>>)[key]
    if (typeof before === 'number') continue
    const after = map(before, change)
    if (after === before) continue
    copy ??= Array.isArray(value) ? [...value] : { ...value }
    // Not by assignment: a key may be `__proto__`.
    Object.defineProperty(copy, key, { value: after, enumerable: true, configurable: true, writable: true })
  }
  return copy ?? value
}

/** A secret as it is and in the spellings of JSON and of a URL: for most keys these are one. */
export function listTextSpellings(secret: string): string[] {
  const url = encodeURIComponent(secret)
  return [
    secret,
    JSON.stringify(secret).slice(1, -1),
    url,
    url.replace(/%[0-9A-F]{2}/g, (code) => code.toLowerCase()),
    url.replaceAll('%20', '+'),
  ]
}

function listSpellings(secret: string): string[] {
  const bytes = Buffer.from(secret)
  const base64 = [0, 1, 2].map((offset) => encodeBase64Core(bytes, offset))
  return [
    ...listTextSpellings(secret),
    bytes.toString('hex'),
    ...base64,
    ...base64.map((text) => text.replaceAll('+', '-').replaceAll('/', '_')),
  ]
}

/** The part shared by all base64 texts that hold these bytes at this offset from a group of three. */
function encodeBase64Core(bytes: Buffer, offset: number): string {
  const text = Buffer.concat([Buffer.alloc(offset), bytes]).toString('base64')
  return text.slice(Math.ceil((offset * 8) / 6), Math.floor(((offset + bytes.length) * 8) / 6))
}

function escapeRegExp(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\/-]/g, '\\$&')
}

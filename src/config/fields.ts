import { z } from 'zod'
import { DURATION_PATTERN, findDurationSpelling, toDurationMs } from './duration-form.ts'

/** Longest duration a timer can hold, in milliseconds: a `setTimeout` of 2^31 fires at once. */
export const MAX_DURATION_MS = 2_147_483_647

/** A whole number from `min` to `max`. `noun` names what it counts, in the message: `whole number of bytes`. */
export function wholeNumber(noun: string, min: number, max: number) {
  const error = ({ input }: { readonly input?: unknown }) =>
    `must be a whole number${noun === '' ? '' : ` of ${noun}`} from ${min} to ${max}, not ${toShown(input)}`
  return z.int({ error }).min(min, { error }).max(max, { error })
}

/**
 * A duration in milliseconds: whole, at least `min`, at most {@link MAX_DURATION_MS}. A file may write it as a text with
 * units: `10m`, `1h30m`.
 */
export function durationMs(min: number) {
  return duration('milliseconds', 1, min, MAX_DURATION_MS)
}

/** A duration in whole seconds. A file may write it as a text with units. */
export function durationSeconds(min: number) {
  return duration('seconds', 1000, min, Math.floor(MAX_DURATION_MS / 1000))
}

function duration(noun: string, unitMs: number, min: number, max: number) {
  const toAmount = (text: string) => (toDurationMs(text) ?? Number.NaN) / unitMs
  const isAmount = (amount: number) => Number.isInteger(amount) && amount >= min && amount <= max
  const error = ({ input }: { readonly input?: unknown }) =>
    `must be a whole number of ${noun} from ${min} to ${max} or a duration such as "90s", not ${toShown(input)}${toDurationHint(input, noun, unitMs)}`
  return z.union(
    [
      z.int({ error }).min(min, { error }).max(max, { error }),
      z
        .string()
        .regex(DURATION_PATTERN, { error, abort: true })
        .refine((text) => isAmount(toAmount(text)), { error })
        .transform(toAmount),
    ],
    { error },
  )
}

/** The right form of what was written, where it can be told. */
function toDurationHint(input: unknown, noun: string, unitMs: number): string {
  if (typeof input !== 'string') return ''
  const ms = toDurationMs(input)
  if (ms !== undefined) return `, which is ${ms / unitMs} ${noun}`
  if (/^\d+$/.test(input)) return `; write ${Number(input)} for ${noun}, or a unit: "${Number(input)}s"`
  const spelling = findDurationSpelling(input)
  return spelling === undefined ? '; the units are d, h, m, s and ms' : `; write "${spelling}"`
}

/** A string that an operating system can take: argv and environment end at the first NUL. */
export function plainText() {
  return z.string().regex(/^[^\0]*$/, 'must not contain a NUL character')
}

/** The name of an environment variable. */
export function variableName() {
  return z.string().regex(/^[^=\0]+$/, 'is not the name of an environment variable')
}

/** The name of a budget or a group. */
export function budgetName() {
  return z
    .string()
    .regex(
      /^[A-Za-z][\w.-]*$/,
      'is not the name of a budget: letters, digits, ".", "-" and "_", a letter first',
    )
}

/** The largest amount of a budget, and the largest cost. */
export const MAX_AMOUNT = 1_000_000_000

/** What is needed of each budget. */
export function amounts() {
  return z.record(budgetName(), wholeNumber('', 0, MAX_AMOUNT))
}

/** The name of an HTTP header. */
export function headerName() {
  return z.string().regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/, 'is not the name of an HTTP header')
}

/** An http(s) URL without credentials. `hasQuery: false` also refuses a query, for URLs that get a path appended. */
export function httpUrl({ hasQuery }: { readonly hasQuery: boolean }) {
  return z.string().superRefine((text, context) => {
    const message = toUrlFault(text, hasQuery)
    if (message !== undefined) context.addIssue({ code: 'custom', message })
  })
}

/** An object whose values are any JSON. JSON5 also writes `NaN` and `Infinity`, which no request body can carry. */
export function jsonObject() {
  return z.record(z.string(), z.unknown()).superRefine((value, context) => {
    for (const path of findNonFinite(value, [])) {
      context.addIssue({ code: 'custom', path, message: 'NaN and Infinity cannot be sent as JSON' })
    }
  })
}

/** Any JSON value. */
export function jsonValue() {
  return z.json({ error: 'must be a JSON value' })
}

/** What is wrong with a URL, never repeating it: it may hold a password. */
export function toUrlFault(text: string, hasQuery: boolean): string | undefined {
  if (text !== text.trim()) return 'has white space around it'
  if (!URL.canParse(text)) return 'is not a URL; expected one like "http://127.0.0.1:8080/v1"'
  const url = new URL(text)
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    return `must be an http or https URL, not ${url.protocol}`
  if (url.username !== '' || url.password !== '')
    return 'must not hold a user name or password; use apiKey or headers'
  if (!hasQuery && (url.search !== '' || url.hash !== '')) return 'must not have a query or a fragment'
  return undefined
}

function findNonFinite(value: unknown, path: readonly PropertyKey[]): PropertyKey[][] {
  if (typeof value === 'number') return Number.isFinite(value) ? [] : [[...path]]
  if (Array.isArray(value)) return value.flatMap((item, index) => findNonFinite(item, [...path, index]))
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, item]) => findNonFinite(item, [...path, key]))
}

function toShown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value)
  if (Array.isArray(value)) return 'an array'
  return typeof value === 'object' && value !== null ? 'an object' : String(value)
}

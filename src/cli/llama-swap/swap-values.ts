import { isObject, type JsonObject } from '../../json/value.ts'

/** A name of a provider has neither slashes nor spaces; a number after `#` is that of a replica. */
export function toProviderId(id: string): string {
  return id.trim().replaceAll(/[\s/#]+/g, '-') || 'model'
}

/** The base URL of a server, whose routes llama-swap appends to `proxy` with their `/v1`. */
export function toBaseUrl(proxy: string): string {
  const url = (/^[a-z]+:\/\//i.test(proxy) ? proxy : `http://${proxy}`).replace(/\/+$/, '')
  return url.endsWith('/v1') ? url : `${url}/v1`
}

/** Seconds as a person would write them: `90s`, `10m`, `2h`; not more than a timer can hold. */
export function toDuration(seconds: number): string | number {
  if (seconds === 0) return 0
  if (seconds > MAX_SECONDS) return toDuration(MAX_SECONDS)
  if (!Number.isInteger(seconds)) return Math.round(seconds * 1000)
  if (seconds % 3600 === 0) return `${seconds / 3600}h`
  return seconds % 60 === 0 ? `${seconds / 60}m` : `${seconds}s`
}

const MAX_SECONDS = 24 * 24 * 3600

/** A whole number in a range; `undefined` for any other value. */
export function toCount(value: unknown, least: number, most: number): number | undefined {
  const number = Math.floor(toNumber(value) ?? Number.NaN)
  return number >= least ? Math.min(number, most) : undefined
}

/** The object, else an empty one. */
export function toObject(value: unknown): JsonObject {
  return isObject(value) ? value : {}
}

/** A text that says something; numbers are texts, too. */
export function toText(value: unknown): string | undefined {
  if (typeof value === 'number') return String(value)
  return typeof value === 'string' && value.trim() !== '' ? value.trim() : undefined
}

/** A number, also one that is written as a text. */
export function toNumber(value: unknown): number | undefined {
  const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value
  return typeof number === 'number' && Number.isFinite(number) ? number : undefined
}

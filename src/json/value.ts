/** An object of a parsed JSON document. */
export type JsonObject = Readonly<Record<string, unknown>>

/** Whether a parsed value is an object: neither `null` nor a list. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

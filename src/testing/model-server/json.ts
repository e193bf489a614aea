/** A JSON object with unchecked members. */
export type JsonObject = Readonly<Record<string, unknown>>

/** Whether a value is an object with named members: not `null`, not an array. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The value if it is an object, otherwise an empty one: for optional parts of a request. */
export function asObject(value: unknown): JsonObject {
  return isObject(value) ? value : {}
}

/** The objects among the elements of an array; none if it is not an array. */
export function listObjects(value: unknown): readonly JsonObject[] {
  return Array.isArray(value) ? value.filter(isObject) : []
}

import type { JsonObject } from './json.ts'
import { asObject, isObject } from './json.ts'

/**
 * A small value that fits a JSON schema, taken from the text where that is easy: a string is the word
 * after "for" or "in" ("the weather in Paris" gives `Paris`), a number the first number written.
 * Knows const, enum, type, properties, items, minItems, minimum and the first branch of anyOf and oneOf;
 * keywords such as `$ref` and `pattern` are not followed.
 */
export function buildSample(schema: JsonObject, text: string): unknown {
  if ('const' in schema) return schema.const
  const branches = [schema.enum, schema.anyOf, schema.oneOf].find(Array.isArray)
  if (branches !== undefined)
    return branches === schema.enum ? branches[0] : buildSample(asObject(branches[0]), text)
  const type = Array.isArray(schema.type) ? schema.type[0] : schema.type
  if (type === 'object' || isObject(schema.properties))
    return buildSampleObject(asObject(schema.properties), text)
  if (type === 'array') {
    const length = typeof schema.minItems === 'number' ? Math.min(schema.minItems, 10) : 0
    return Array.from({ length }, () => buildSample(asObject(schema.items), text))
  }
  if (type === 'number' || type === 'integer') return buildSampleNumber(schema, text)
  if (type === 'boolean') return true
  if (type === 'null') return null
  return /\b(?:for|in)\s+([\p{L}\p{N}_-]+)/iu.exec(text)?.[1] ?? 'demo'
}

function buildSampleObject(properties: JsonObject, text: string): JsonObject {
  return Object.fromEntries(
    Object.entries(properties).map(([name, property]) => [name, buildSample(asObject(property), text)]),
  )
}

function buildSampleNumber(schema: JsonObject, text: string): number {
  const written = Number(/\d+(?:\.\d+)?/.exec(text)?.[0] ?? 1)
  const number = schema.type === 'integer' ? Math.trunc(written) : written
  return typeof schema.minimum === 'number' ? Math.max(schema.minimum, number) : number
}

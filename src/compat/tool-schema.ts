import { changeEach, getMember, isArray, itemsOf, membersOf, removeMembers, toValue } from '../json/edit.ts'
import type { JsonChild, JsonNode } from '../json/node.ts'
import type { CompatFlags } from './flags.ts'
import type { Rule } from './rule.ts'

/** Removes the JSON-schema keywords of tool parameters that a backend refuses. A property may have such a name: it stays. */
export const toolSchema: Rule = {
  name: 'toolSchemaProfile',
  apply: (body, { compat }) => {
    const { toolSchemaProfile: profile, unsupportedToolSchemaKeywords: keywords = [] } = compat
    if (profile === undefined && keywords.length === 0) return false
    const removed = new Set([...(profile === undefined ? [] : profileKeywords[profile]), ...keywords])
    const isRemoved = (member: JsonChild) =>
      removed.has(member.key) || (profile === 'llamacpp' && isLongMaxLength(member))
    return changeEach(itemsOf(getMember(body, 'tools')), ({ value }) =>
      cleanSchema(getMember(getMember(value, 'function'), 'parameters'), isRemoved),
    )
  },
}

/** llama.cpp turns a schema into a grammar: it refuses most patterns, and repetitions past 2000. */
const longMaxLength = 2000

const profileKeywords: Readonly<Record<NonNullable<CompatFlags['toolSchemaProfile']>, readonly string[]>> = {
  llamacpp: ['pattern'],
  gemini: [
    '$defs',
    '$id',
    '$ref',
    '$schema',
    'additionalProperties',
    'definitions',
    'examples',
    'format',
    'maxItems',
    'maxLength',
    'maxProperties',
    'maximum',
    'minItems',
    'minLength',
    'minProperties',
    'minimum',
    'multipleOf',
    'pattern',
    'patternProperties',
    'uniqueItems',
  ],
  xai: ['maxContains', 'maxItems', 'maxLength', 'minContains', 'minItems', 'minLength'],
}

/** Keywords whose members have free names and schemas as values. */
const schemaMaps = new Set(['properties', 'patternProperties', '$defs', 'definitions', 'dependentSchemas'])

/** Keywords whose value is a schema or an array of schemas. Not `default`, `const` or `enum`: those hold data. */
const schemaKeywords = new Set([
  'additionalItems',
  'additionalProperties',
  'allOf',
  'anyOf',
  'contains',
  'else',
  'if',
  'items',
  'not',
  'oneOf',
  'prefixItems',
  'propertyNames',
  'then',
  'unevaluatedItems',
  'unevaluatedProperties',
])

function cleanSchema(schema: JsonNode | undefined, isRemoved: (member: JsonChild) => boolean): boolean {
  const hadKeywords = removeMembers(schema, isRemoved)
  const hadInside = changeEach(membersOf(schema), ({ key, value }) => {
    if (schemaMaps.has(key))
      return changeEach(membersOf(value), (member) => cleanSchema(member.value, isRemoved))
    if (!schemaKeywords.has(key)) return false
    if (isArray(value)) return changeEach(itemsOf(value), (item) => cleanSchema(item.value, isRemoved))
    return cleanSchema(value, isRemoved)
  })
  return hadKeywords || hadInside
}

function isLongMaxLength({ key, value }: JsonChild): boolean {
  return key === 'maxLength' && Number(toValue(value)) >= longMaxLength
}

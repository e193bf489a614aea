import { expect, test } from 'vitest'
import type { CompatFlags } from '../../src/compat/flags.ts'
import { rewrite, rewriteFields } from './body.ts'

function clean(parameters: unknown, compat: CompatFlags): unknown {
  const result = rewriteFields({ tools: [{ type: 'function', function: { name: 'a', parameters } }] }, compat)
  return (result as { tools: [{ function: { parameters: unknown } }] }).tools[0].function.parameters
}

test.each<[string, CompatFlags, unknown, unknown]>([
  ['no flag', {}, { pattern: 'a', maxLength: 9999 }, { pattern: 'a', maxLength: 9999 }],
  [
    'llamacpp removes patterns',
    { toolSchemaProfile: 'llamacpp' },
    { type: 'string', pattern: '^a', minLength: 1 },
    { type: 'string', minLength: 1 },
  ],
  [
    'llamacpp keeps short lengths',
    { toolSchemaProfile: 'llamacpp' },
    { maxLength: 1999 },
    { maxLength: 1999 },
  ],
  ['llamacpp removes long lengths', { toolSchemaProfile: 'llamacpp' }, { maxLength: 2000 }, {}],
  [
    'xai removes counts',
    { toolSchemaProfile: 'xai' },
    { minItems: 1, maxContains: 2, type: 'array' },
    { type: 'array' },
  ],
  [
    'gemini removes what it refuses',
    { toolSchemaProfile: 'gemini' },
    { $schema: 'x', additionalProperties: false, properties: { a: { format: 'date', enum: ['b'] } } },
    { properties: { a: { enum: ['b'] } } },
  ],
  [
    'keywords of the configuration',
    { unsupportedToolSchemaKeywords: ['title'] },
    { title: 'a', type: 'b' },
    { type: 'b' },
  ],
  [
    'both together',
    { toolSchemaProfile: 'llamacpp', unsupportedToolSchemaKeywords: ['title'] },
    { title: 'a', pattern: 'b' },
    {},
  ],
])('%s', (_, compat, before, after) => {
  expect(clean(before, compat)).toEqual(after)
})

test('keywords are removed wherever a schema is, and data and properties with such names stay', () => {
  const schema = (keyword: object) => ({
    properties: { pattern: { ...keyword, properties: { pattern: { ...keyword } } } },
    items: { ...keyword },
    prefixItems: [{ ...keyword }, true],
    anyOf: [true, { ...keyword }],
    not: { ...keyword },
    $defs: { pattern: { ...keyword } },
    default: { pattern: 'data' },
    const: { pattern: 'data' },
    enum: [{ pattern: 'data' }],
    required: ['pattern'],
  })
  expect(clean(schema({ pattern: 'a' }), { toolSchemaProfile: 'llamacpp' })).toEqual(schema({}))
})

test('the rest of a schema keeps its own spelling', () => {
  const before =
    '{"model":"m","tools":[{"function":{"parameters":{"minimum":-0, "pattern":"a" , "maximum":1e400}}}]}'
  const { text, applied } = rewrite(before, { compat: { toolSchemaProfile: 'llamacpp' } })
  expect(text).toBe(before.replace(', "pattern":"a" ', ''))
  expect(applied).toEqual(['toolSchemaProfile'])
})

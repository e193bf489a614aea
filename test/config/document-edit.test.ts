import fc from 'fast-check'
import JSON5 from 'json5'
import { expect, test } from 'vitest'
import { EditError, editDocument } from '../../src/config/document-edit.ts'

const compat = (flag: string, value: unknown) => ({ path: ['models', 0, 'compat', flag], value })

test('a member is added behind the last one and its comment', () => {
  const text = `// My models.
{
  models: [
    {
      id: 'a', // the small one
      // 4 GiB
      context: 4096 // tokens
      /* nothing more */
    },
  ],
}
`
  expect(
    editDocument(text, [compat('strictMessageKeys', true), compat('maxTokensField', 'max_tokens')]),
  ).toBe(
    `// My models.
{
  models: [
    {
      id: 'a', // the small one
      // 4 GiB
      context: 4096, // tokens
      /* nothing more */
      compat: { strictMessageKeys: true, maxTokensField: 'max_tokens' }
    },
  ],
}
`,
  )
})

test('a value is replaced where it stands', () => {
  const text = `{ models: [{ compat: { maxTokensField: 'max_tokens' /* old */, supportsTools: true } }] }`
  expect(editDocument(text, [compat('maxTokensField', 'max_completion_tokens')])).toBe(
    `{ models: [{ compat: { maxTokensField: 'max_completion_tokens' /* old */, supportsTools: true } }] }`,
  )
})

test.each([
  ['{}', '{ "a": { "b": 1 } }'],
  ['{/**/}', '{/**/\n  a: { b: 1 }\n}'],
  ['{ a: {} }', '{ a: { b: 1 } }'],
  ['{a:{c:2}}', '{a:{c:2, b: 1}}'],
  ['{ a: { c: 2, } }', '{ a: { c: 2, b: 1, } }'],
  ['{"a": {"c": 2}}', '{"a": {"c": 2, "b": 1}}'],
  ['{ a: { // none\n } }', '{ a: { // none\n  b: 1\n} }'],
  ['{ a: { c: 2 // two\n } }', '{ a: { c: 2, // two\n  b: 1\n } }'],
  ['{\r\n\ta: {\r\n\t\tc: 2,\r\n\t},\r\n}', '{\r\n\ta: {\r\n\t\tc: 2,\r\n\t\tb: 1,\r\n\t},\r\n}'],
  ['\uFEFF{ a: {} }', '\uFEFF{ a: { b: 1 } }'],
  ["{ a: 0, 'a': { c: '}' } }", "{ a: 0, 'a': { c: '}', b: 1 } }"],
])('the layout stays: %j', (text, edited) => {
  expect(editDocument(text, [{ path: ['a', 'b'], value: 1 }])).toBe(edited)
})

test('an item is added to a list, and a list is made', () => {
  const value = { id: "it's" }
  expect(editDocument(`{ models: [{ id: 'a' }] }`, [{ path: ['models', 1], value }])).toBe(
    `{ models: [{ id: 'a' }, { id: 'it\\'s' }] }`,
  )
  expect(editDocument('{ id: 1 }', [{ path: ['models', 0, 'id'], value: 'a' }])).toBe(
    `{ id: 1, models: [{ id: 'a' }] }`,
  )
})

test('what an included file holds is not written into this one', () => {
  const text = "{ models: { $include: './models.json5' } }"
  expect(() => editDocument(text, [{ path: ['models', 'x'], value: 1 }])).toThrow(EditError)
  expect(() => editDocument('{ models: 3 }', [{ path: ['models', 'x'], value: 1 }])).toThrow(
    'models holds no object',
  )
})

test('plain JSON stays plain JSON', () => {
  fc.assert(
    fc.property(
      fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 2 })),
      fc.constantFrom(undefined, 2),
      (value, indent) => {
        // JSON has no -0.
        const { x: _, ...rest } = JSON.parse(JSON.stringify(value))
        const edited = editDocument(JSON.stringify(rest, null, indent), [
          { path: ['x', 'y'], value: ["it's", true] },
        ])
        expect(JSON.parse(edited)).toEqual({ ...rest, x: { y: ["it's", true] } })
      },
    ),
  )
})

test('whatever the text, the value is there afterwards and all others and every comment are as before', () => {
  const scalar = fc.oneof(
    fc.integer(),
    fc.constantFrom("'x'", '"y, }"', 'true', 'null', '.5', '0x1F', "'a\\'b'"),
  )
  const gap = fc.constantFrom('', ' ', '\n  ', '// c1 }\n', '/* c2, ] */', '\r\n\t', ' // c3\n  ')
  const key = fc.constantFrom('a', 'b', '"c d"', "'e'", 'f$')
  const { node } = fc.letrec<{ node: string }>((tie) => ({
    node: fc.oneof(
      { maxDepth: 3 },
      scalar.map(String),
      fc
        .tuple(fc.array(fc.tuple(gap, key, gap, tie('node'), gap), { maxLength: 3 }), fc.boolean(), gap)
        .map(([members, hasComma, end]) => {
          const inner = members.map(
            ([before, name, between, value, after]) => `${before}${name}:${between}${value}${after}`,
          )
          return `{${inner.join(',')}${hasComma && inner.length > 0 ? ',' : ''}${end}}`
        }),
      fc
        .tuple(fc.array(fc.tuple(gap, tie('node'), gap), { maxLength: 3 }), gap)
        .map(([items, end]) => `[${items.map((parts) => parts.join('')).join(',')}${end}]`),
    ),
  }))
  const listComments = (text: string) => (text.match(/c\d/g) ?? []).sort()
  fc.assert(
    fc.property(gap, node, key, gap, (before, value, name, after) => {
      const text = `${before}{ ${name}: ${value}${after}}${after}`
      const wanted: Record<string, unknown> = JSON5.parse(text)
      const [top = ''] = Object.keys(wanted)
      const inner = wanted[top]
      const isObject = typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      const path = isObject ? [top, 'new'] : ['new']
      if (isObject) Object.assign(inner, { new: 'n' })
      else wanted.new = 'n'
      const edited = editDocument(text, [{ path, value: 'n' }])
      expect(JSON5.parse(edited)).toEqual(wanted)
      expect(listComments(edited)).toEqual(listComments(text))
      expect(editDocument(edited, [{ path, value: 'n' }])).toBe(edited)
    }),
    { numRuns: 1_000 },
  )
})

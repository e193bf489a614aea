import fc from 'fast-check'
import JSON5 from 'json5'
import { describe, expect, test } from 'vitest'
import { type Entry, findPosition, scanPositions } from '../../src/config/positions.ts'

/** What may stand between two tokens. */
const gap = fc
  .array(
    fc.constantFrom(' ', '\n', '\r\n', '\t', '\u2028', '\uFEFF', '// {"a": [1\n', "/* ' \n ] */", '/***/'),
    {
      maxLength: 3,
    },
  )
  .map((parts) => parts.join(''))
const character = fc.constantFrom(
  'a',
  'Z',
  '7',
  '/',
  '*',
  '{',
  ']',
  ':',
  ',',
  ' ',
  '😀',
  '\\n',
  '\\"',
  "\\'",
  '\\\\',
  '\\x41',
  '\\u00e9',
  '\\\n',
  '\\\r\n',
)
const quoted = fc
  .tuple(fc.array(character, { maxLength: 6 }), fc.constantFrom('"', "'"))
  .map(([characters, quote]) => quote + characters.join('') + quote)
const identifier = fc.constantFrom(
  'a',
  'b',
  '$',
  '_x9',
  'Infinity',
  'null',
  'été',
  'd\\u0061y',
  '\\u0061',
  '__proto__',
  '𐊧',
)
const scalar = fc.oneof(
  quoted,
  fc.constantFrom('null', 'true', 'false', 'NaN', '-Infinity', '+1', '-.5', '5.', '0x1F', '1e-7', '0'),
)
const { value: json5Text } = fc.letrec<{ value: string; array: string; object: string }>((tie) => ({
  value: fc
    .tuple(gap, fc.oneof({ maxDepth: 4, withCrossShrink: true }, scalar, tie('array'), tie('object')), gap)
    .map((parts) => parts.join('')),
  array: fc
    .tuple(fc.array(tie('value'), { maxLength: 4 }), fc.boolean())
    .map(([values, isOpenEnded]) => `[${toList(values, isOpenEnded)}]`),
  object: fc
    .tuple(
      fc.array(fc.tuple(gap, fc.oneof(identifier, quoted), gap, tie('value')), { maxLength: 4 }),
      fc.boolean(),
    )
    .map(
      ([members, isOpenEnded]) =>
        `{${toList(
          members.map(([before, key, after, value]) => `${before}${key}${after}:${value}`),
          isOpenEnded,
        )}}`,
    ),
}))

describe('positions in a JSON5 text', () => {
  test('the scanner finds exactly the paths that JSON5 finds', () => {
    fc.assert(
      fc.property(json5Text, (text) => {
        expect(toPaths(scanPositions(text)).sort()).toEqual(toPaths(JSON5.parse(text)).sort())
      }),
      { numRuns: 2000 },
    )
  })

  test('a stray character at a found place is reported by JSON5 at that place', () => {
    fc.assert(
      fc.property(json5Text, (text) => {
        for (const { line, column } of toEntries(scanPositions(text))) {
          const lines = text.split('\n')
          const changed = lines[line - 1] ?? ''
          lines[line - 1] = `${changed.slice(0, column - 1)}#${changed.slice(column - 1)}`
          expect(() => JSON5.parse(lines.join('\n'))).toThrow(`invalid character '#' at ${line}:${column}`)
        }
      }),
      { numRuns: 500 },
    )
  })

  test('a key has the place of its name, an element that of its value', () => {
    const root = scanPositions("{\n  // first\n  'a': [\n    1, {b: 2},\n  ],\n}")
    expect(findPosition(root, ['a'])).toEqual({ line: 3, column: 3 })
    expect(findPosition(root, ['a', 1])).toEqual({ line: 4, column: 8 })
    expect(findPosition(root, ['a', 1, 'b'])).toEqual({ line: 4, column: 9 })
  })

  test('a path that is not in the text has the place of what would hold it', () => {
    const root = scanPositions('{\n  a: {}\n}')
    expect(findPosition(root, ['a', 'b', 'c'])).toEqual({ line: 2, column: 3 })
    expect(findPosition(root, ['z'])).toEqual({ line: 1, column: 1 })
  })

  test('of two equal keys the last one counts and is marked', () => {
    const root = scanPositions('{ a: { x: 1 },\n "a": { y: 2 } }')
    expect(root.entries?.get('a')).toMatchObject({ line: 2, column: 2, isDuplicate: true })
    expect([...(root.entries?.get('a')?.entries?.keys() ?? [])]).toEqual(['y'])
  })

  test('a megabyte in one string or in one hundred thousand levels is scanned', () => {
    const long = `["${'x\\n'.repeat(300_000)}", 1]`
    expect(findPosition(scanPositions(long), [1])).toEqual({ line: 1, column: long.length - 1 })
    const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`
    expect(findPosition(scanPositions(deep), [0, 0])).toEqual({ line: 1, column: 3 })
  })
})

function toList(items: readonly string[], isOpenEnded: boolean): string {
  return items.join(',') + (isOpenEnded && items.length > 0 ? ',' : '')
}

/** Every path below a scanned or a parsed value, as JSON, so that keys with dots stay apart. */
function toPaths(value: unknown, path: readonly string[] = []): string[] {
  const inner = isEntry(value) ? (value.entries ?? []) : Object.entries(isContainer(value) ? value : {})
  return [JSON.stringify(path), ...[...inner].flatMap(([key, child]) => toPaths(child, [...path, key]))]
}

function isEntry(value: unknown): value is Entry {
  return isContainer(value) && 'isDuplicate' in value
}

function isContainer(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}

function toEntries(entry: Entry): Entry[] {
  return [entry, ...[...(entry.entries?.values() ?? [])].flatMap(toEntries)]
}

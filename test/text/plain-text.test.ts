import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { toPlainText } from '../../src/text/plain-text.ts'

describe('plain text', () => {
  test.each([
    ['colours', '\x1b[1;31mred\x1b[0m', 'red'],
    ['private modes', 'a\x1b[?25lb', 'ab'],
    ['C1 colours', '\x9b31mred', 'red'],
    ['a title', '\x1b]0;title\x07text', 'text'],
    ['a link', '\x1b]8;;http://evil\x1b\\text\x1b]8;;\x1b\\', 'text'],
    ['the clipboard', '\x1b]52;c;ZXZpbA==\x07text', 'text'],
    ['a device string', 'a\x1bPq#0\x1b\\b', 'ab'],
    ['a C1 string', 'a\x9d0;title\x9cb', 'ab'],
    ['a string without an end', '\x1b]0;title', '0;title'],
    ['short sequences', '\x1bc\x1b(Ba\x1b7', 'a'],
    ['a lone escape', 'a\x1b', 'a'],
    ['an escape inside an escape', '\x1b\x1b[31mred', 'red'],
    ['C0 and DEL', 'a\x00\x07\x08\x0b\x7fb', 'ab'],
    ['line ends', 'a\r\nb', 'ab'],
    ['C1', 'a\x85b\x90', 'ab'],
    ['bidirectional controls', 'a\u202eb\u2066c\u200fd\u061c', 'abcd'],
    ['separators', 'a\u2028b\u2029', 'ab'],
  ])('is without %s', (_, text, plain) => {
    expect(toPlainText(text)).toBe(plain)
  })

  test.each(['', 'plain', 'a\tb', '日本語 – “ok” 👍🏽', '</script>', '[31m'])('keeps %j', (text) => {
    expect(toPlainText(text)).toBe(text)
  })

  test('holds no control character, whatever went in', () => {
    const alphabet = [
      '\x1b',
      '[',
      ']',
      '\x07',
      '\\',
      '\x9b',
      '\x9c',
      '\x9d',
      '3',
      ';',
      'm',
      ' ',
      '\u202e',
      'é',
      '\t',
    ]
    const text = fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit: fc.constantFrom(...alphabet) }))
    fc.assert(
      fc.property(text, (input) => {
        const plain = toPlainText(input)
        const codes = [...plain].map((character) => character.codePointAt(0) ?? 0)
        expect(codes.filter((code) => (code < 0x20 && code !== 9) || (code >= 0x7f && code <= 0x9f))).toEqual(
          [],
        )
        expect(plain).not.toMatch(/[\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/)
        expect(toPlainText(plain)).toBe(plain)
      }),
    )
  })
})

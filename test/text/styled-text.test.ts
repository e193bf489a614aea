import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { toPlainText } from '../../src/text/plain-text.ts'
import { splitStyles } from '../../src/text/styled-text.ts'

describe('the looks of a line', () => {
  test.each([
    ['a colour', '\x1b[31mred\x1b[0m end', 'red end', [[0, 3, 'red']]],
    ['a bright colour in bold', 'a \x1b[1;92mok\x1b[m', 'a ok', [[2, 4, 'green bold']]],
    [
      'flags that end by themselves',
      '\x1b[1mA\x1b[22;4mB\x1b[24mC',
      'ABC',
      [
        [0, 1, 'bold'],
        [1, 2, 'underline'],
      ],
    ],
    ['one of 256 colours', '\x1b[38;5;208mo\x1b[39mx', 'ox', [[0, 1, 'red']]],
    ['a grey of 256', '\x1b[38;5;240mgrey', 'grey', undefined],
    ['a true colour', '\x1b[38;2;20;180;200mc', 'c', [[0, 1, 'cyan']]],
    ['a background', '\x1b[41mx\x1b[48;5;31my\x1b[48;2;1;2;31mz', 'xyz', undefined],
    ['inverted colours', '\x1b[7mhidden', 'hidden', undefined],
    ['other sequences inside', '\x1b[33ma\x1b[2Jb\x1b]0;t\x07c', 'abc', [[0, 3, 'yellow']]],
    ['a sequence that is cut', 'a\x1b[3', 'a3', undefined],
    ['none', 'plain', 'plain', undefined],
  ])('%s', (_, line, text, styles) => {
    expect(splitStyles(line)).toEqual(styles === undefined ? { text } : { text, styles })
  })

  test('are within a text that holds no control character, in their order, whatever went in', () => {
    const alphabet = [
      '\x1b[',
      '\x1b',
      '31',
      ';',
      'm',
      '1',
      '\x9b',
      ']',
      '\x07',
      'a',
      '\u202e',
      '\n',
      '38;5;9m',
      '0m',
    ]
    const lines = fc.array(fc.constantFrom(...alphabet)).map((parts) => parts.join(''))
    fc.assert(
      fc.property(lines, (line) => {
        const { text, styles = [] } = splitStyles(line)
        expect(toPlainText(text)).toBe(text)
        let at = 0
        for (const [from, to, names] of styles) {
          expect(from).toBeGreaterThanOrEqual(at)
          expect(to).toBeGreaterThan(from)
          expect(names).toMatch(/^[a-z]+( [a-z]+)*$/)
          at = to
        }
        expect(at).toBeLessThanOrEqual(text.length)
      }),
    )
  })

  test('have a limit for one line, and cost linear time', () => {
    const begun = performance.now()
    const { text, styles } = splitStyles('\x1b[31mx'.repeat(100_000))
    expect([text.length, styles?.length]).toEqual([100_000, 32])
    expect(performance.now() - begun).toBeLessThan(2_000)
  })
})

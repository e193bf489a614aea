import { expect, test } from 'vitest'
import { cut } from '../../src/cli/screen.ts'

test.each([
  ['abcde', 5, 'abcde'],
  ['abcdef', 5, 'abcd…'],
  ['\x1b[1mabcdef\x1b[22m', 5, '\x1b[1mabcd…\x1b[22m'],
  ['ab \x1b[33mcdef\x1b[39m', 5, 'ab \x1b[33mc…\x1b[39m'],
  ['\x1b[1mabcde\x1b[22m', 5, '\x1b[1mabcde\x1b[22m'],
  ['🦙🦙🦙', 2, '🦙…'],
])('%j in %i columns is %j: it fits, and its colours end', (line, columns, text) => {
  expect(cut(line, columns)).toBe(text)
})

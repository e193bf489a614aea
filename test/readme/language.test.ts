import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** Words that hide the subject of a sentence: a process, a client, a user, a program. */
const RIDDLES =
  /\b(?:nobody|somebody|anybody|everybody|whoever)\b|\bthose (?:that|which|who)\b|\bwhat of (?:it|a|the)\b/i

/** A cause of `machines/`, which is API. */
const CODES = /\bnobody-waits\b/g

test.each(['machines', 'src', 'test'])('%s is written in plain words', (folder) => {
  const found = readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => /\.(?:ts|tsx|mjs|json5|md)$/.test(file) && file !== 'readme/language.test.ts')
    .flatMap((file) => {
      const lines = [file.replaceAll('-', ' '), ...readFileSync(join(root, folder, file), 'utf8').split('\n')]
      return lines.flatMap((line, index) =>
        RIDDLES.test(line.replaceAll(CODES, '')) ? [`${folder}/${file}:${index}:${line}`] : [],
      )
    })
  expect(found).toEqual([])
})

test('the README is written in plain words', () => {
  expect(readFileSync(join(root, 'README.md'), 'utf8')).not.toMatch(RIDDLES)
})

test.each(['Nobody asked for it.', 'those that wait', 'What of a file is an entry'])(
  '"%s" is found',
  (text) => {
    expect(RIDDLES.test(text)).toBe(true)
  },
)

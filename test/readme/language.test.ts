import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** Words that hide the subject of a sentence: a process, a client, a user, a program. */
const RIDDLES =
  /\b(?:nobody|somebody|anybody|everybody|whoever)\b|\bthose (?:that|which|who)\b|\bwhat of (?:it|a|the)\b/i

/** A cause of `machines/`, which is API. */
const CODES = /['`]nobody-waits['`]/g

test.each(['machines', 'src'])('%s is written in plain words', (folder) => {
  const found = readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => /\.(?:ts|tsx|mjs)$/.test(file))
    .flatMap((file) => {
      const lines = readFileSync(join(root, folder, file), 'utf8')
        .replaceAll(CODES, "''")
        .split('\n')
      return lines.flatMap((line, index) =>
        RIDDLES.test(line) ? [`${folder}/${file}:${index + 1}:${line}`] : [],
      )
    })
  expect(found).toEqual([])
})

test('event scripts are written in plain words', () => {
  const folder = join(root, 'test/scripts')
  const found = readdirSync(folder).flatMap((file) =>
    [file.replaceAll('-', ' '), ...readFileSync(join(folder, file), 'utf8').split('\n')]
      .map((line) => line.replaceAll(CODES, "''"))
      .flatMap((line) => (RIDDLES.test(line) ? [`${file}: ${line}`] : [])),
  )
  expect(found).toEqual([])
})

test('every page is written in plain words', () => {
  const pages = ['README.md', ...['src', 'machines', 'test'].flatMap(listPages)]
  expect(pages.length).toBeGreaterThan(10)
  const found = pages.flatMap((page) =>
    readFileSync(join(root, page), 'utf8')
      .split('\n')
      .flatMap((line, index) => (RIDDLES.test(line) ? [`${page}:${index + 1}: ${line}`] : [])),
  )
  expect(found).toEqual([])
})

test('the titles of tests are in plain words', () => {
  const found = readdirSync(join(root, 'test'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.test.ts'))
    .flatMap((file) => {
      const text = readFileSync(join(root, 'test', file), 'utf8')
      const titles = text.matchAll(/^ *(?:test|describe)(?:\.\w+(?:\([^)\n]*\))?)*\(\s*(['"`])(.*?)\1/gm)
      return [...titles].flatMap(([, , title = '']) => (RIDDLES.test(title) ? [`${file}: ${title}`] : []))
    })
  expect(found).toEqual([])
})

test.each(['Nobody asked for it.', 'those that wait', 'What of a file is an entry'])(
  '"%s" is found',
  (text) => {
    expect(RIDDLES.test(text)).toBe(true)
  },
)

function listPages(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('README.md'))
    .map((file) => join(folder, file))
}

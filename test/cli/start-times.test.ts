import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { loadStartTimes } from '../../src/cli/start-times.ts'

let folder = ''
let file = ''

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'leasehold-times-'))
  file = join(folder, 'deep', 'start-times.json')
})
afterEach(() => rmSync(folder, { recursive: true }))

test('the median is over the starts of all runs', () => {
  loadStartTimes(file).add('a', 300)
  loadStartTimes(file).add('a', 100)
  const times = loadStartTimes(file)
  expect(times.medianMs('a')).toBe(200)
  times.add('a', 10_000)
  expect(times.medianMs('a')).toBe(300)
  expect(times.medianMs('b')).toBeUndefined()
})

test('only the last nine starts of a service count', () => {
  const times = loadStartTimes(file)
  for (const durationMs of [...Array<number>(20).fill(1), ...Array<number>(9).fill(5)])
    times.add('a', durationMs)
  expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual({ a: Array(9).fill(5) })
})

test('of more than a hundred services the one that has not started for the longest time is forgotten', () => {
  const times = loadStartTimes(file)
  for (let index = 0; index < 100; index += 1) times.add(`s${index}`, 1)
  times.add('s0', 1)
  times.add('new', 1)
  expect(times.medianMs('s0')).toBe(1)
  expect(times.medianMs('s1')).toBeUndefined()
  expect(Object.keys(JSON.parse(readFileSync(file, 'utf8')))).toHaveLength(100)
})

test.each(['', '{', '[]', '{"a":"x"}', '{"a":[-1]}', `{"a":[${'1,'.repeat(40_000)}1]}`])(
  'a file that is spoilt is an empty one, and is replaced (%#)',
  (text) => {
    loadStartTimes(file).add('a', 7)
    writeFileSync(file, text)
    const times = loadStartTimes(file)
    expect(times.medianMs('a')).toBeUndefined()
    times.add('a', 9)
    expect(loadStartTimes(file).medianMs('a')).toBe(9)
  },
)

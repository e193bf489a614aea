import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openHistory } from '../../src/service/past-runs.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'leasehold-history-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

const open = () => openHistory({ path: () => folder, ensure: () => {} })

test('start times and the most that any run occupied are there for the next supervisor', () => {
  const history = open()
  for (const ms of [300, 100, 200]) history.addStart('a', ms)
  history.addRun('a', { ramMiB: 500, vramMiB: 9000 })
  history.addRun('a', { ramMiB: 700 })
  const next = open()
  expect(next.startsOf('a')).toEqual({ medianMs: 200, count: 3 })
  expect(next.needsOf('a')).toEqual({ ramMiB: 700, vramMiB: 9000 })
  expect([next.startsOf('b'), next.needsOf('b')]).toEqual([null, {}])
  expect(statSync(join(folder, 'history.json')).mode & 0o077).toBe(0)
})

test('the last nine runs of a service count, so that a need can become smaller again', () => {
  const history = open()
  history.addRun('a', { ramMiB: 9000 })
  for (let run = 0; run < 9; run += 1) history.addRun('a', { ramMiB: 100 })
  expect(open().needsOf('a')).toEqual({ ramMiB: 100 })
})

test('two supervisors keep what the other wrote of other services', () => {
  const [one, other] = [open(), open()]
  one.addStart('a', 1)
  other.addStart('b', 2)
  one.addStart('c', 3)
  const next = open()
  expect(['a', 'b', 'c'].map((key) => next.startsOf(key)?.medianMs)).toEqual([1, 2, 3])
})

test('the services that have not run for the longest time are forgotten beyond two hundred', () => {
  const history = open()
  for (let n = 0; n <= 200; n += 1) history.addStart(`s${n}`, 1)
  const kept = Object.keys(JSON.parse(readFileSync(join(folder, 'history.json'), 'utf8')))
  expect([kept.length, kept.includes('s0'), kept.at(-1)]).toEqual([200, false, 's200'])
})

test.each(['', '{', '[]', '{"a":{"startsMs":["x"],"peaks":[]}}'])(
  'a spoilt file is an empty one: %s',
  (text) => {
    writeFileSync(join(folder, 'history.json'), text)
    expect(open().startsOf('a')).toBeNull()
  },
)

test('where nothing can be written it is known to this process alone, and nothing fails', () => {
  const history = openHistory({
    path: () => '/dev/null',
    ensure: () => {
      throw new Error('unusable')
    },
  })
  history.addStart('a', 5)
  expect(history.startsOf('a')).toEqual({ medianMs: 5, count: 1 })
})

test('failed starts are remembered beside the others, and do not count for the usual time', () => {
  const history = open()
  history.addStart('a', 300)
  history.addStart('a', 40.4, true)
  expect(open().pastStartsOf('a')).toEqual([
    { ms: 300, failed: false },
    { ms: 40, failed: true },
  ])
  expect(open().startsOf('a')).toEqual({ medianMs: 300, count: 1 })
  for (let n = 0; n < 12; n += 1) history.addStart('a', n, true)
  expect(open().pastStartsOf('a')).toHaveLength(9)
  expect(open().startsOf('a')).toEqual({ medianMs: 300, count: 1 })
})

test('the starts in a file of an earlier version count as successful ones', () => {
  writeFileSync(join(folder, 'history.json'), '{"a":{"startsMs":[5],"peaks":[]}}')
  expect(open().pastStartsOf('a')).toEqual([{ ms: 5, failed: false }])
})

import { expect, test } from 'vitest'
import { readEventData, readLines } from '../../src/cli/event-stream.ts'
import { formatCurl } from '../../src/cli/serve.ts'
import { escapeJson, escapeText, formatTable } from '../../src/cli/terminal.ts'
import { toDurationText } from '../../src/text/duration.ts'

test.each([
  [0, '0.0 s'],
  [449, '0.4 s'],
  [9_949, '9.9 s'],
  [9_950, '10 s'],
  [59_499, '59 s'],
  [59_500, '1 min 0 s'],
  [185_000, '3 min 5 s'],
  [3_599_500, '1 h 0 min'],
  [7_440_000, '2 h 4 min'],
])('%i ms are %s', (ms, text) => {
  expect(toDurationText(ms)).toBe(text)
})

test('the text of others loses its terminal sequences and keeps its lines', () => {
  expect(escapeText('a\x1b[31mb\n\tc\x07\r\nd')).toBe('ab\n\tc\nd')
})

test('JSON for a terminal holds no character that it would obey, and means the same', () => {
  const value = { text: 'a\x1b[31m\x7f\x85\x9b2J\u202eb\u2066\u200fc\u2028ä€😀' }
  const json = escapeJson(JSON.stringify(value))
  expect(json).not.toMatch(/[\p{Cc}\p{Cf}\u2028\u2029]/u)
  expect(json).toContain('ä€😀')
  expect(JSON.parse(json)).toEqual(value)
})

test('columns are as wide as their widest cell, and lines end with their text', () => {
  expect(
    formatTable([
      ['a', 'bb', ''],
      ['ccc', '', 'd'],
      ['e', '', ''],
    ]),
  ).toEqual(['a    bb', 'ccc      d', 'e'])
})

test('a quote in a model name does not end the argument of curl', () => {
  expect(formatCurl({ url: 'http://127.0.0.1:1', model: "it's", hasKey: false, isStream: false })).toContain(
    `{"model":"it'\\''s"`,
  )
})

async function* toBytes(text: string, size: number): AsyncGenerator<Uint8Array> {
  const bytes = Buffer.from(text)
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

test.each([1, 2, 3, 7, 1000])('lines and events are whole in pieces of %i bytes', async (size) => {
  expect(await collect(readLines(toBytes('ä\r\nb\n\nc', size)))).toEqual(['ä', 'b', '', 'c'])
  const stream = ': wait\n\nid: 1\nevent: x\ndata: ä\n\ndata:b\ndata: c\n\ndata: last'
  expect(await collect(readEventData(toBytes(stream, size)))).toEqual(['ä', 'b\nc', 'last'])
})

async function collect(texts: AsyncIterable<string>): Promise<string[]> {
  const all: string[] = []
  for await (const text of texts) all.push(text)
  return all
}

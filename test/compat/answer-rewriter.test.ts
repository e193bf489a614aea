import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createAnswerRewriter } from '../../src/compat/answer-rewriter.ts'

const compat = { toolCallArgumentsEncoding: 'html-entities' } as const
const toChunk = (text: string) =>
  JSON.stringify({ choices: [{ delta: { tool_calls: [{ function: { arguments: text } }] } }] })
const before = toChunk('{&quot;a&quot;:&quot;ä😀&quot;}')
const after = toChunk('{"a":"ä😀"}')
const toStream = (data: string, end: string) =>
  [`: hello${end}`, `event: x${end}id: 7${end}data: ${data}${end}${end}`, `data: [DONE]${end}${end}`].join('')
const expected = `: hello\nid: 7\nevent: x\ndata: ${after}\n\ndata: [DONE]\n\n`
const lineEnds = [
  ['LF', '\n'],
  ['CRLF', '\r\n'],
  ['CR', '\r'],
] as const

describe.each(lineEnds)('an event stream with %s', (_, end) => {
  test('is rewritten event by event, none held back to the next one', () => {
    const rewriter = createAnswerRewriter(compat, true)
    const push = (text: string) => rewriter.push(Buffer.from(text)).toString()
    expect(push(`data: ${before}${end}${end}`)).toBe(`data: ${after}\n\n`)
    expect(push(`data: [DONE]${end}`)).toBe('')
    expect(push(end)).toBe('data: [DONE]\n\n')
    expect(rewriter.end().toString()).toBe('')
  })

  test('is rewritten in the same way wherever the network splits it', () => {
    const bytes = Buffer.from(toStream(before, end))
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: bytes.length }), { maxLength: 12 }), (cuts) => {
        const rewriter = createAnswerRewriter(compat, true)
        const borders = [0, ...cuts.sort((a, b) => a - b), bytes.length]
        const parts = borders.slice(1).map((to, index) => rewriter.push(bytes.subarray(borders[index], to)))
        expect(Buffer.concat([...parts, rewriter.end()]).toString()).toBe(expected)
      }),
    )
  })

  test('keeps a last event without its empty line', () => {
    const rewriter = createAnswerRewriter(compat, true)
    expect(rewriter.push(Buffer.from('data: [DONE]')).toString()).toBe('')
    expect(rewriter.end().toString()).toBe('data: [DONE]\n\n')
  })
})

test('data without a blank after its colon, and in several lines, is read as data', () => {
  const rewriter = createAnswerRewriter(compat, true)
  const [first = '', rest = ''] = [before.slice(0, 1), before.slice(1)]
  expect(rewriter.push(Buffer.from(`data:${first}\ndata:${rest}\n\n`)).toString()).toBe(`data: ${after}\n\n`)
  expect(rewriter.push(Buffer.from('data:a\ndata:b\n\n')).toString()).toBe('data: a\ndata: b\n\n')
})

test('an event without end is not kept for ever', () => {
  const rewriter = createAnswerRewriter(compat, true)
  const chunk = Buffer.alloc(1024 * 1024, 'x')
  expect(() => Array.from({ length: 20 }, () => rewriter.push(chunk))).toThrow(RangeError)
})

test('a byte order mark is no part of the first event', () => {
  const rewriter = createAnswerRewriter(compat, true)
  expect(rewriter.push(Buffer.from('\ufeffdata: a\n\n')).toString()).toBe('data: a\n\n')
})

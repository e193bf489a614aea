import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createLinesEnding, createStreamEnding } from '../../src/transport/completeness.ts'

const data = (value: unknown) => `data: ${typeof value === 'string' ? value : JSON.stringify(value)}\n\n`
const event = (name: string, value: object) => `event: ${name}\n${data({ type: name, ...value })}`
const chunk = (delta: object, finish: string | null = null, index = 0) =>
  data({ id: 'c', choices: [{ index, delta, finish_reason: finish }] })
const usage = data({ choices: [], usage: { prompt_tokens: 1, completion_tokens: 2 }, timings: { n: 1 } })
const done = data('[DONE]')
const long = 'word '.repeat(4_000)

const complete: readonly (readonly [string, string])[] = [
  ['a chat with [DONE]', chunk({ content: 'a' }) + chunk({}, 'stop') + done],
  ['a chat without [DONE]', chunk({ content: 'a' }) + chunk({}, 'stop')],
  ['a chat with usage and without [DONE]', chunk({ content: 'a' }) + chunk({}, 'length') + usage],
  ['a chat with usage and [DONE]', chunk({}, 'stop') + usage + done],
  ['a chat whose finish comes with the last token', chunk({ content: 'a' }, 'stop')],
  ['a chat whose finish precedes a long text', data({ choices: [{ finish_reason: 'stop', delta: long }] })],
  ['a chat that ends in tool calls', chunk({ tool_calls: [{ index: 0 }] }) + chunk({}, 'tool_calls')],
  ['[DONE] alone', done],
  ['[DONE] without a space', 'data:[DONE]\n\n'],
  ['[DONE] after CR LF', `${chunk({ content: 'a' }).replaceAll('\n', '\r\n')}data: [DONE]\r\n\r\n`],
  ['[DONE] after CR', 'data: {}\r\rdata: [DONE]\r\r'],
  ['[DONE] without the empty line', 'data: [DONE]'],
  ['a chat with spaces in its JSON', 'data: {"choices": [{"finish_reason" : "stop"}]}\n\n'],
  [
    'two choices that both finish',
    chunk({}, 'stop', 0) + chunk({ content: 'b' }, null, 1) + chunk({}, 'stop', 1),
  ],
  [
    'completions',
    data({ choices: [{ text: 'a', finish_reason: null }] }) +
      data({ choices: [{ text: '', finish_reason: 'stop' }] }),
  ],
  ['responses', event('response.created', {}) + event('response.completed', { response: { output: [] } })],
  [
    'responses whose last event repeats a long answer',
    event('response.output_text.delta', { delta: 'a' }) +
      event('response.completed', { response: { output: [{ text: long }] } }),
  ],
  ['responses that stop short', event('response.incomplete', { response: {} })],
  ['responses that fail', event('response.failed', { response: {} })],
  [
    'messages',
    event('message_start', {}) +
      event('message_delta', { delta: { stop_reason: 'end_turn' } }) +
      event('message_stop', {}),
  ],
  [
    'messages that end in an error',
    event('message_start', {}) + event('error', { error: { type: 'overloaded_error' } }),
  ],
]

const incomplete: readonly (readonly [string, string])[] = [
  ['nothing', ''],
  ['a chat that breaks off', chunk({ role: 'assistant' }) + chunk({ content: 'a' })],
  [
    'a chat that breaks off in its last chunk',
    `${chunk({ content: 'a' })}data: {"choices":[{"finish_reason":"`,
  ],
  [
    'a chat whose finish reason is empty',
    data({ choices: [{ delta: { content: 'a' }, finish_reason: '' }] }),
  ],
  ['a chat whose model talks of [DONE]', chunk({ content: '\ndata: [DONE]\n\n' })],
  ['a chat whose model talks of finish_reason', chunk({ content: '{"finish_reason":"stop"}' })],
  ['a chat whose model talks of message_stop', chunk({ content: '{"type":"message_stop"}' })],
  ['two choices of which one finishes', chunk({}, 'stop', 0) + chunk({ content: 'b' }, null, 1)],
  ['a long chat that breaks off', chunk({ content: long }).repeat(3)],
  [
    'responses that break off',
    event('response.created', {}) + event('response.output_text.done', { text: 'a' }),
  ],
  ['messages that break off', event('message_start', {}) + event('content_block_stop', { index: 0 })],
  ['a comment', ': [DONE]\n\n'],
]

function isComplete(chunks: readonly Buffer[]): boolean {
  const ending = createStreamEnding()
  for (const one of chunks) ending.add(one)
  return ending.isComplete()
}

describe.each([
  ['complete', complete, true],
  ['incomplete', incomplete, false],
] as const)('%s', (_, corpus, expected) => {
  test.each(corpus)('%s', (__, text) => {
    expect(isComplete([Buffer.from(text)])).toBe(expected)
  })

  test.each(corpus)('%s, cut in two at every byte', (__, text) => {
    const bytes = Buffer.from(text)
    const step = bytes.length > 5_000 ? 97 : 1
    for (let at = 0; at <= bytes.length; at += step)
      expect(isComplete([bytes.subarray(0, at), bytes.subarray(at)])).toBe(expected)
  })

  test.each(corpus)('%s, one byte at a time', (__, text) => {
    expect(isComplete([...Buffer.from(text)].map((byte) => Buffer.from([byte])))).toBe(expected)
  })
})

test('however a text of the model is cut, it is never taken for an ending (fault 43)', () => {
  const words = fc.constantFrom(
    'data: [DONE]',
    '\n',
    '\r\n',
    '"finish_reason":"stop"',
    '"type":"error"',
    'é',
    '\\',
  )
  fc.assert(
    fc.property(fc.array(words, { maxLength: 40 }), fc.integer({ min: 1, max: 70 }), (parts, size) => {
      const bytes = Buffer.from(chunk({ content: parts.join('') }))
      const chunks: Buffer[] = []
      for (let at = 0; at < bytes.length; at += size) chunks.push(bytes.subarray(at, at + size))
      return !isComplete(chunks)
    }),
  )
})

describe('lines of JSON', () => {
  const line = { content: 'aé {"done":true}', done: false }
  const last = { content: '', done: true, counts: { n: [1] } }
  const text = [line, line, last].map((one) => `${JSON.stringify(one)}\n`).join('')
  const isWhole = (chunks: readonly Buffer[]) => {
    const ending = createLinesEnding()
    for (const one of chunks) ending.add(one)
    return ending.isComplete()
  }

  test('are whole with and without the last line end, in chunks of any size', () => {
    for (const whole of [text, text.trimEnd(), `${text}\r\n`, text.replaceAll('\n', '\r\n')])
      for (const size of [1, 7, 1_000]) {
        const bytes = Buffer.from(whole)
        const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
          bytes.subarray(index * size, (index + 1) * size),
        )
        expect(isWhole(chunks)).toBe(true)
      }
  })

  test('are cut when they end before the end of the last line', () => {
    const bytes = Buffer.from(text)
    for (let at = 1; at < bytes.length - 1; at += 1)
      expect([at, isWhole([bytes.subarray(0, at)])]).toEqual([at, false])
  })

  test('without "done" are cut in the middle of a line and whole at its end', () => {
    const bytes = Buffer.from(`{"id":1}\n{"id":{"a":2}}`)
    for (let at = 0; at <= bytes.length; at += 1) {
      const isAtEnd = at === 0 || at === 8 || at === 9 || at === bytes.length
      expect([at, isWhole([bytes.subarray(0, at)])]).toEqual([at, isAtEnd])
    }
  })

  test('a last line that is too long to be parsed is not held against the answer', () => {
    const chunk = Buffer.from(`"${'a'.repeat(700_000)}`)
    expect(isWhole([chunk, chunk, Buffer.from('\n')])).toBe(true)
    expect(isWhole([chunk, chunk])).toBe(true)
  })
})

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createUsageFilter } from '../../src/compat/usage-chunk.ts'

const text = '{"choices":[{"index":0,"delta":{"content":"\\"usage\\" \\"choices\\":[] é"}}]}'
const last = '{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}'
const usage = '{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}'
const timings = '"timings":{"predicted_n":2,"predicted_ms":0.5}'
const timed = `${last.slice(0, -1)},${timings}}`
const usageTimed = `${usage.slice(0, -1)},${timings}}`
const azure = '{"choices":[],"prompt_filter_results":[{"usage":1}],"usage":null}'
const withChoice = '{"choices":[{"delta":{}}],"usage":{"prompt_tokens":1}}'

/** Everything that comes out of a filter for these pieces. */
function filter(pieces: readonly Buffer[]): string {
  const usageFilter = createUsageFilter()
  const sent = pieces.map((piece) => usageFilter.push(piece))
  return Buffer.concat([...sent, usageFilter.end()]).toString()
}

describe('the usage chunk', () => {
  test.each(['\n', '\r\n', '\r'])('is taken out wherever the stream is split (line end %j)', (end) => {
    const toStream = (...data: readonly string[]) =>
      `: comment${end}${[...data, '[DONE]'].map((one) => `data: ${one}${end}${end}`).join('')}`
    const stream = Buffer.from(toStream(azure, text, withChoice, last, usage))
    const cuts = fc.uniqueArray(fc.nat(stream.length), { maxLength: 8 })
    fc.assert(
      fc.property(cuts, (at) => {
        const borders = [0, ...at.toSorted((a, b) => a - b), stream.length]
        const pieces = borders.slice(1).map((to, index) => stream.subarray(borders[index], to))
        expect(filter(pieces)).toBe(toStream(azure, text, withChoice, last))
      }),
      { examples: [[[...stream.keys()]]] },
    )
  })

  test.each(['"choices":null,', ''])('is taken out when its choices are null or absent (%j)', (choices) => {
    const chunk = `{${choices}"usage":{"prompt_tokens":1}}`
    expect(filter([Buffer.from(`data: ${last}\n\ndata: ${chunk}\n\n`)])).toBe(`data: ${last}\n\n`)
  })

  test('stays when it tells of an error', () => {
    const event = 'data: {"error":{"message":"out of memory"},"usage":{"prompt_tokens":1}}\n\n'
    expect(filter([Buffer.from(event)])).toBe(event)
  })

  test.each(['\n', '\r\n', '\r'])(
    'gives its timings to the chunk that ends the answer wherever the stream is split (line end %j)',
    (end) => {
      const toStream = (...data: readonly string[]) =>
        [...data, '[DONE]'].map((one) => `data: ${one}${end}${end}`).join('')
      const stream = Buffer.from(toStream(text, last, usageTimed))
      fc.assert(
        fc.property(fc.uniqueArray(fc.nat(stream.length), { maxLength: 4 }), (at) => {
          const borders = [0, ...at.toSorted((a, b) => a - b), stream.length]
          const pieces = borders.slice(1).map((to, index) => stream.subarray(borders[index], to))
          expect(filter(pieces)).toBe(toStream(text, timed))
        }),
        { examples: [[[...stream.keys()]]] },
      )
    },
  )

  test('leaves timings that the end of the answer has itself', () => {
    const stream = (...data: readonly string[]) => data.map((one) => `data: ${one}\n\n`).join('')
    expect(filter([Buffer.from(stream(timed, usageTimed))])).toBe(stream(timed))
    expect(filter([Buffer.from(stream(text, usageTimed))])).toBe(stream(text))
  })

  test('keeps the end of an answer for the event after it, and gives it up when the stream breaks', () => {
    const usageFilter = createUsageFilter()
    const event = `data: ${last}\n\n`
    expect(usageFilter.push(Buffer.from(`${event}data: {"cho`)).toString()).toBe('')
    expect(usageFilter.cut().toString()).toBe(event)
    expect(filter([Buffer.from(event)])).toBe(event)
  })

  test('is taken out when it is the last event and no line end follows it', () => {
    expect(filter([Buffer.from(`data: ${last}\n\ndata: ${usage}`)])).toBe(`data: ${last}\n\n`)
  })

  test('does not keep complete events waiting, which pass without a copy', () => {
    const usageFilter = createUsageFilter()
    const event = Buffer.from(`data: ${text.replace('usage', 'other')}\n\n`)
    expect(usageFilter.push(event).buffer).toBe(event.buffer)
  })

  test('is not looked for in an event of more than a megabyte, which passes', () => {
    const huge = `data: {"choices":[],"text":"${'x'.repeat(2 ** 21)}"}\n\ndata: [DONE]\n\n`
    const pieces = [...huge.matchAll(/.{1,65536}/gs)].map(([piece]) => Buffer.from(piece))
    expect(filter(pieces)).toBe(huge)
  })
})

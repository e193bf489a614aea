import { expect, test } from 'vitest'
import { createUsageTail, withPace } from '../../src/events/usage.ts'

const read = (...texts: string[]) => {
  const tail = createUsageTail()
  for (const text of texts) tail.add(Buffer.from(text))
  return tail.read()
}

test('usage and timings are read at the end of an answer, however it is cut', () => {
  const text = `${'x'.repeat(9_000)}"usage":{"completion_tokens": 12,"prompt_tokens":34},"timings":{"predicted_per_second":56.5}}`
  const expected = { promptTokens: 34, completionTokens: 12, tokensPerSecond: 56.5 }
  expect(read(text)).toEqual(expected)
  expect(read(...text)).toEqual(expected)
})

test('usage is found wherever a long stream is cut, also where the ring begins anew', () => {
  const usage = '{"usage":{"prompt_tokens":34,"completion_tokens":12}}'
  for (const before of [0, 1, 2_000, 2_020, 2_048, 2_049, 4_095, 6_130])
    for (const size of [1, 7, 500, 2_047, 2_048, 2_049, 5_000]) {
      const text = 'x'.repeat(before) + usage
      const pieces = Array.from({ length: Math.ceil(text.length / size) }, (_, at) =>
        text.slice(at * size, (at + 1) * size),
      )
      expect(read('y', ...pieces)).toEqual({ promptTokens: 34, completionTokens: 12, tokensPerSecond: null })
    }
})

test('tokens of the cache and the pace of the prompt are read where the server says them', () => {
  const details = '"prompt_tokens_details":{"cached_tokens":30}'
  const timings = '"timings":{"prompt_n":4,"prompt_per_second":812.456,"predicted_per_second":50}'
  expect(read(`{"usage":{"prompt_tokens":34,"completion_tokens":1,${details}},${timings}}`)).toEqual({
    promptTokens: 34,
    completionTokens: 1,
    tokensPerSecond: 50,
    cachedTokens: 30,
    promptTokensPerSecond: 812.46,
  })
  expect(read('{"usage":{"input_tokens":3,"cache_read_input_tokens":2}}')?.cachedTokens).toBe(2)
  expect(read('{"usage":{"prompt_tokens":3,"prompt_tokens_details":null}}')).not.toHaveProperty(
    'cachedTokens',
  )
})

test('a name that no number follows is passed over', () => {
  expect(read('{"prompt_tokens":5,"more":{"prompt_tokens":null}}')?.promptTokens).toBe(5)
})

test('a pace has two decimals at most', () => {
  expect(read('{"timings":{"predicted_per_second":10230.179028132992}}')?.tokensPerSecond).toBe(10230.18)
})

test('the words of other protocols mean the same', () => {
  expect(read('{"usage":{"input_tokens":3,"output_tokens":4}}')).toEqual({
    promptTokens: 3,
    completionTokens: 4,
    tokensPerSecond: null,
  })
})

test('what a model says is no usage, and neither is what stands far from the end', () => {
  expect(read(JSON.stringify({ content: '"completion_tokens":99' }))).toBeNull()
  expect(read(`"completion_tokens":99${'x'.repeat(5_000)}`)).toBeNull()
  expect(read()).toBeNull()
})

test('a stream whose server tells no pace has that of its tokens; one that does keeps its word', () => {
  const usage = { promptTokens: 3, completionTokens: 50, tokensPerSecond: null }
  expect(withPace(usage, 2_000)).toEqual({ ...usage, tokensPerSecond: 25 })
  expect(withPace({ ...usage, tokensPerSecond: 80 }, 2_000)).toMatchObject({ tokensPerSecond: 80 })
  expect(withPace(null, 2_000)).toBeNull()
  // Nothing is made up of what came at once, or of no number of tokens.
  expect(withPace(usage, 1)).toEqual(usage)
  expect(withPace({ ...usage, completionTokens: null }, 2_000)?.tokensPerSecond).toBeNull()
  expect(withPace({ ...usage, completionTokens: 1 }, 2_000)?.tokensPerSecond).toBeNull()
})

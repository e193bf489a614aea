import { expect, test } from 'vitest'
import { createUsageTail, withPace } from '../src/usage.ts'

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

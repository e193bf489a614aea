import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { findSum } from '../../src/testing/model-server/arithmetic.ts'
import type { Prompt } from '../../src/testing/model-server/fake-answer.ts'
import { decideAnswer, splitArguments, splitTokens } from '../../src/testing/model-server/fake-answer.ts'
import { buildSample } from '../../src/testing/model-server/sample.ts'

function say(text: string, prompt: Partial<Prompt> = {}): string {
  const base: Prompt = { text, attachments: 0, promptTokens: 1, tools: [], wantsReasoning: false }
  return decideAnswer({ ...base, ...prompt }).tokens.join('')
}

describe('sums', () => {
  test.each([
    ['What is 17 * 3?', '17 * 3', '51'],
    ['2 + 2', '2 + 2', '4'],
    ['please do (2 + 3) * -4 now', '(2 + 3) * -4', '-20'],
    ['0.1 + 0.2', '0.1 + 0.2', '0.3'],
    ['2 + 3 * 4 - 6 / 2.', '2 + 3 * 4 - 6 / 2', '11'],
    ['10 - 2 - 3', '10 - 2 - 3', '5'],
    ['12345678901234567890 * 10 + 7', '12345678901234567890 * 10 + 7', '123456789012345678907'],
    ['1 / 3', '1 / 3', '0.333333333333'],
    ['2 ÷ 3', '2 ÷ 3', '0.666666666667'],
    ['-1 / -8', '-1 / -8', '0.125'],
    ['-0.0000000000001 / 1', '-0.0000000000001 / 1', '0'],
  ])('%j has the sum %j, which is %s', (text, expression, value) => {
    expect(findSum(text)).toEqual({ expression, value })
  })

  test.each([
    '',
    'hello',
    '42',
    '-5',
    'on 2026-01-31',
    '31/01/2026',
    '1 2 3',
    '3 +',
    '(1 + 2',
    '1..2 + 3',
    'v1+2x',
    '()',
  ])('%j has no sum', (text) => {
    expect(findSum(text)).toBeUndefined()
  })

  test('a division by zero has no value', () => {
    expect(findSum('1 / (2 - 2) + 1')).toEqual({ expression: '1 / (2 - 2) + 1', value: null })
    expect(say('1 / 0')).toBe('1 / 0 has no value: it divides by zero.')
  })

  test('a text over 2,000 characters is not searched', () => {
    expect(findSum(`${' '.repeat(1995)}2 + 2`)).toBeDefined()
    expect(findSum(`${' '.repeat(1996)}2 + 2`)).toBeUndefined()
  })

  test('any whole-number sum is exact', () => {
    fc.assert(
      fc.property(fc.bigInt(), fc.bigInt(), fc.constantFrom('+', '-', '*'), (a, b, sign) => {
        const exact = sign === '+' ? a + b : sign === '-' ? a - b : a * b
        expect(findSum(`${a} ${sign} ${b}`)?.value).toBe(String(exact))
      }),
    )
  })

  test('any text is searched without an error', () => {
    const text = fc.string({ unit: fc.constantFrom(...'0123456789.+-*/() x') })
    fc.assert(fc.property(text, (value) => void findSum(value)))
  })
})

describe('answers', () => {
  test('"count to N" counts, up to 100,000', () => {
    expect(say('Please count to 5.')).toBe('1 2 3 4 5')
    expect(say('count to 100001')).toBe('You said: "count to 100001"')
  })

  test('anything else is echoed, with a word about attachments', () => {
    expect(say('hello there')).toBe('You said: "hello there"')
    expect(say('hi', { attachments: 1 })).toBe(
      'You said: "hi" There was also 1 attachment, which a demo cannot see.',
    )
  })

  test('an empty prompt is told what the demo can do', () => {
    expect(say(' ')).toMatch(/^Hello, I am a demo and not a model\./)
  })

  test('a long echo is cut, and not within a character', () => {
    expect(say(`${'a'.repeat(1999)}😀`)).toBe(`You said: "${'a'.repeat(1999)}…"`)
  })

  test('the tokens of any text are the text', () => {
    fc.assert(fc.property(fc.string(), (text) => splitTokens(text).join('') === text))
  })

  test('the pieces of any arguments are the arguments', () => {
    fc.assert(fc.property(fc.json(), (json) => splitArguments(json).join('') === json))
    expect(splitArguments('{"a":",,","b":2}')).toEqual(['{', '"a":",', ',', '",', '"b":2}'])
  })

  test('maxTokens cuts the answer and says so', () => {
    const base: Prompt = {
      text: 'count to 9',
      attachments: 0,
      promptTokens: 3,
      tools: [],
      wantsReasoning: false,
    }
    expect(decideAnswer({ ...base, maxTokens: 2 })).toEqual({
      reasoning: [],
      tokens: ['1', ' 2'],
      finish: 'length',
      promptTokens: 3,
      completionTokens: 2,
    })
    expect(decideAnswer({ ...base, maxTokens: 9 }).finish).toBe('stop')
  })

  test('any JSON object is asked for with an empty schema', () => {
    expect(JSON.parse(say('hi', { schema: {} }))).toEqual({ answer: 'hi' })
  })
})

describe('samples', () => {
  test('a schema is filled from the text', () => {
    const schema = {
      type: 'object',
      properties: {
        city: { type: 'string' },
        days: { type: 'integer', minimum: 5 },
        size: { type: 'number' },
        isMetric: { type: 'boolean' },
        unit: { enum: ['c', 'f'] },
        version: { const: 7 },
        nothing: { type: ['null', 'string'] },
        tags: { type: 'array', items: { type: 'string' } },
        points: { type: 'array', minItems: 2, items: { type: 'number' } },
        either: { anyOf: [{ type: 'boolean' }, { type: 'string' }] },
        inner: { properties: { name: {} } },
      },
    }
    expect(buildSample(schema, 'the weather in Zürich-West with 3.5 for me')).toEqual({
      city: 'Zürich-West',
      days: 5,
      size: 3.5,
      isMetric: true,
      unit: 'c',
      version: 7,
      nothing: null,
      tags: [],
      points: [3.5, 3.5],
      either: true,
      inner: { name: 'Zürich-West' },
    })
  })

  test('a text without hints gives demo values', () => {
    expect(buildSample({ properties: { name: {}, count: { type: 'integer' } } }, '')).toEqual({
      name: 'demo',
      count: 1,
    })
  })
})

import { describe, expect, test } from 'vitest'
import { hasAnswerRules, rewriteAnswer } from '../../src/compat/response.ts'

describe('toolCallArgumentsEncoding: html-entities', () => {
  const compat = { toolCallArgumentsEncoding: 'html-entities' }
  const answer = (kind: 'message' | 'delta', text: string) => ({
    id: 'x',
    choices: [
      {
        index: 0,
        [kind]: { role: 'assistant', tool_calls: [{ id: 'c', function: { name: 'a', arguments: text } }] },
      },
    ],
    usage: { total_tokens: 1 },
  })

  test.each([
    ['{"cmd":"a &amp;&amp; b &lt;c&gt;"}', '{"cmd":"a && b <c>"}'],
    ['{"cmd":"say &quot;hi&quot; &#39;x&#x27; &apos;"}', '{"cmd":"say \\"hi\\" \'x\' \'"}'],
    ['{"cmd":"a&#10;b"}', '{"cmd":"a\\nb"}'],
    ['{&quot;cmd&quot;:&quot;a&quot;}', '{"cmd":"a"}'],
    ['{"a":"&amp;quot;"}', '{"a":"&quot;"}'],
    ['{"a":"&AMP;&#x1F600;"}', '{"a":"&\u{1f600}"}'],
    ['{"a":12345678901234567890,"b":"&lt;"}', '{"a":12345678901234567890,"b":"<"}'],
  ])('decodes %s', (before, after) => {
    expect(rewriteAnswer(answer('message', before), compat)).toEqual(answer('message', after))
    expect(rewriteAnswer(answer('delta', before), compat)).toEqual(answer('delta', after))
  })

  test.each(['{"a":"b"}', '', '{"a":"&nosuch; &#1114112; a & b"}'])('leaves %j alone', (text) => {
    expect(rewriteAnswer(answer('delta', text), compat)).toBeUndefined()
  })

  test('leaves the answer it was given as it is, and copies only what changes', () => {
    const before = answer('message', '{"a":"&lt;"}')
    const copy = structuredClone(before)
    expect(rewriteAnswer(before, compat)).toHaveProperty('usage', before.usage)
    expect(before).toEqual(copy)
  })

  test('leaves text alone', () => {
    expect(rewriteAnswer({ choices: [{ delta: { content: '&lt;' } }] }, compat)).toBeUndefined()
  })
})

describe('visibleReasoningDetailTypes', () => {
  const compat = { visibleReasoningDetailTypes: ['reasoning.text', 'reasoning.summary'] }
  const hidden = { type: 'reasoning.encrypted', data: 'x' }

  test('visible details become text before the content', () => {
    const reasoning_details = [
      { type: 'reasoning.text', text: 'a' },
      hidden,
      { type: 'reasoning.summary', summary: 'b' },
    ]
    expect(rewriteAnswer({ choices: [{ delta: { content: 'c', reasoning_details } }] }, compat)).toEqual({
      choices: [{ delta: { content: 'abc', reasoning_details: [hidden] } }],
    })
    expect(rewriteAnswer({ choices: [{ message: { content: null, reasoning_details } }] }, compat)).toEqual({
      choices: [{ message: { content: 'ab', reasoning_details: [hidden] } }],
    })
  })

  test('other details change nothing', () => {
    const answer = { choices: [{ delta: { content: 'c', reasoning_details: [hidden] } }] }
    expect(rewriteAnswer(answer, compat)).toBeUndefined()
    expect(rewriteAnswer(answer, {})).toBeUndefined()
  })

  test('goes together with decoded arguments', () => {
    const delta = {
      reasoning_details: [{ type: 'reasoning.text', text: 'a' }],
      tool_calls: [{ function: { arguments: '{"a":"&lt;"}' } }],
    }
    expect(
      rewriteAnswer({ choices: [{}, { delta }] }, { ...compat, toolCallArgumentsEncoding: 'html-entities' }),
    ).toEqual({
      choices: [
        {},
        {
          delta: {
            content: 'a',
            reasoning_details: [],
            tool_calls: [{ function: { arguments: '{"a":"<"}' } }],
          },
        },
      ],
    })
  })
})

test('answers of another shape change nothing', () => {
  const compat = { toolCallArgumentsEncoding: 'html-entities', visibleReasoningDetailTypes: ['a'] }
  for (const answer of [null, 1, 'x', [], {}, { choices: null }, { choices: [null, 1, { delta: null }] }]) {
    expect(rewriteAnswer(answer, compat)).toBeUndefined()
  }
})

test('answers need parsing only where a flag can change them', () => {
  expect(hasAnswerRules({})).toBe(false)
  expect(hasAnswerRules({ visibleReasoningDetailTypes: [], toolCallArgumentsEncoding: 'other' })).toBe(false)
  expect(hasAnswerRules({ visibleReasoningDetailTypes: ['a'] })).toBe(true)
  expect(hasAnswerRules({ toolCallArgumentsEncoding: 'html-entities' })).toBe(true)
})

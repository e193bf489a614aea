import { expect, test } from 'vitest'
import { rewrite, rewriteMessages } from './body.ts'

const compat = { requiresStringContent: true }
const text = (value: string) => ({ type: 'text', text: value })
const image = { type: 'image_url', image_url: { url: 'data:image/png;base64,AA==' } }

test.each([
  ['one part', [text('a')], 'a'],
  ['parts, joined with a line feed', [text('a'), text(''), text('b')], 'a\n\nb'],
  ['no part', [], ''],
  ['a part with a mark', [{ ...text('a'), cache_control: { type: 'ephemeral' } }], 'a'],
  ['an image stays, with its text', [text('a'), image], [text('a'), image]],
  ['a part of another type stays', [{ type: 'refusal', refusal: 'a' }], [{ type: 'refusal', refusal: 'a' }]],
  ['a part without text stays', [{ type: 'text' }], [{ type: 'text' }]],
  ['strings in an array stay', ['a'], ['a']],
  ['null stays', null, null],
  ['a string stays', 'a', 'a'],
])('requiresStringContent: %s', (_, before, after) => {
  expect(rewriteMessages([{ role: 'user', content: before }], compat)).toEqual([
    { role: 'user', content: after },
  ])
})

test('text keeps its own escapes, lone surrogates included, and shares memory with the body', () => {
  const first = '\\ud800 \\u0041\\/\\"'
  const body = (content: string) => `{"model":"m","messages":[{"n":-0,"content" : ${content},"role":"user"}]}`
  const parts = `[ {"text":"${first}","type":"text"} , {"type":"text","text":"\\udc00é"}]`
  const { text: rewritten, pieces, applied } = rewrite(body(parts), { compat })
  expect(rewritten).toBe(body(`"${first}\\n\\udc00é"`))
  expect(pieces.map(String)).toContain(first)
  expect(applied).toEqual(['requiresStringContent'])
})

test('each of duplicate contents is flattened by itself', () => {
  const before = '{"model":"m","messages":[{"content":[{"type":"text","text":"a"}],"content":null}]}'
  expect(rewrite(before, { compat }).text).toBe('{"model":"m","messages":[{"content":"a","content":null}]}')
})

test('content stays an array without the flag', () => {
  const messages = [{ role: 'user', content: [text('a')] }]
  expect(rewriteMessages(messages, {})).toEqual(messages)
})

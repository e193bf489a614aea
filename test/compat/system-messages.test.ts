import { describe, expect, test } from 'vitest'
import { rewrite, rewriteFields, rewriteMessages } from './body.ts'

const user = { role: 'user', content: 'x' }
const system = (content: unknown) => ({ role: 'system', content })
const parts = (...texts: readonly string[]) => texts.map((text) => ({ type: 'text', text }))
const merge = { laterSystemMessages: 'merge' } as const

describe('laterSystemMessages: merge', () => {
  test.each([
    [
      [system('a'), user, system('b'), { role: 'developer', content: 'c' }],
      [system('a\n\nb\n\nc'), user],
    ],
    [
      [user, system('b')],
      [system('b'), user],
    ],
    [[system(parts('a')), system(parts('b', 'c'))], [system(parts('a', 'b\n\nc'))]],
    [
      [system('a'), user, system(parts('b'))],
      [system('a\n\nb'), user],
    ],
  ])('of %j makes %j', (messages, expected) => {
    expect(rewriteMessages(messages, merge)).toEqual(expected)
  })

  test('leaves a chat alone whose only system message is the first', () => {
    const text = '{"model":"m","messages":[ {"role" : "system","content":"a"},{"role":"user"}]}'
    expect(rewrite(text, { compat: merge })).toMatchObject({ text, applied: [] })
  })

  test.each([
    [{ system: 'a' }, 'a\n\nb'],
    [{}, 'b'],
    [{ system: parts('a') }, parts('a', 'b')],
  ])('moves those of the messages API into its system text (%j)', (fields, expected) => {
    const body = { ...fields, messages: [user, system(parts('b')), user] }
    expect(rewriteFields(body, merge, { route: 'messages' })).toEqual({
      system: expected,
      messages: [user, user],
    })
  })

  test.each([
    [
      { instructions: 'a', input: [system('b'), user] },
      { instructions: 'a\n\nb', input: [user] },
    ],
    [
      { input: [system('a'), user, system([{ type: 'input_text', text: 'b' }])] },
      { instructions: 'a\n\nb', input: [user] },
    ],
    [{ input: [system('a'), user] }, { input: [system('a'), user] }],
    [{ input: 'text' }, { input: 'text' }],
  ])('moves those of the responses API into its instructions (%j)', (fields, expected) => {
    expect(rewriteFields(fields, merge, { route: 'responses' })).toEqual(expected)
  })
})

test('laterSystemMessages: user gives later ones another role, where they stand', () => {
  const compat = { laterSystemMessages: 'user' } as const
  const messages = [system('a'), user, system('b')]
  expect(rewriteMessages(messages, compat)).toEqual([system('a'), user, { ...user, content: 'b' }])
})

test('without the flag they stay', () => {
  const messages = [system('a'), user, system('b')]
  expect(rewriteMessages(messages, {})).toEqual(messages)
})

test('a later system message that holds more than text keeps its place, as the user', () => {
  const image = [{ type: 'image_url', image_url: { url: 'data:' } }]
  expect(rewriteMessages([system('a'), user, system(image), system('b')], merge)).toEqual([
    system('a\n\nb'),
    user,
    { role: 'user', content: image },
  ])
})

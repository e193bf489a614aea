import { describe, expect, test } from 'vitest'
import { rewrite, rewriteFields } from './body.ts'

describe('params', () => {
  test('are sent for what the client did not send', () => {
    const params = { temperature: 0.2, top_p: 0.9, stop: ['x'] }
    expect(rewriteFields({ temperature: 1, top_p: null }, {}, { params })).toEqual({
      temperature: 1,
      top_p: null,
      stop: ['x'],
    })
  })

  test('come after the flags and win over them', () => {
    const compat = { supportsTemperature: false }
    expect(rewriteFields({ temperature: 1 }, compat, { params: { temperature: 0.2 } })).toEqual({
      temperature: 0.2,
    })
    expect(rewriteFields({}, {}, { params: { reasoning_effort: 'low' } })).toEqual({
      reasoning_effort: 'low',
    })
  })

  test('without a value change nothing', () => {
    expect(
      rewrite({ model: 'm' }, { params: { temperature: undefined, extra_body: { a: undefined } } }).applied,
    ).toEqual([])
    expect(rewrite({ model: 'm' }, { params: { extra_body: null } }).applied).toEqual([])
  })

  test('apply on every route', () => {
    const params = { dimensions: 5, extra_body: { a: 1 } }
    expect(rewriteFields({}, {}, { route: 'embeddings', params })).toEqual({ dimensions: 5, a: 1 })
  })
})

describe('dropParams', () => {
  test('are not sent, and what params say of them is', () => {
    const { text, applied } = rewrite(
      { temperature: 1, top_p: 0.5, seed: 1, model: 'm' },
      { dropParams: ['temperature', 'top_p'], params: { temperature: 0.2 } },
    )
    expect(JSON.parse(text)).toEqual({ seed: 1, model: 'm', temperature: 0.2 })
    expect(applied).toEqual(['dropParams', 'params'])
  })

  test('go before a rule can translate them, and after a rule has put them in', () => {
    const compat = { thinkingFormat: 'qwen', maxTokensField: 'max_tokens' } as const
    const options = { dropParams: ['reasoning_effort', 'max_completion_tokens', 'stream_options'] }
    const fields = { reasoning_effort: 'high', max_completion_tokens: 5, stream: true }
    expect(rewriteFields(fields, compat, options)).toEqual({ stream: true })
  })

  test('apply on every route, and are counted among what is not sent', () => {
    const options = { route: 'embeddings', dropParams: ['user'] } as const
    expect(rewrite({ model: 'm', user: 'ann', input: 'x' }, options).dropped).toEqual(['user'])
  })

  test('that the body does not have leave its bytes alone', () => {
    const text = '{"model":"m", "seed":12345678901234567890 }'
    expect(rewrite(text, { dropParams: ['temperature'] })).toMatchObject({ text, applied: [] })
  })
})

describe('the token limit', () => {
  test.each([
    ['chat', {}, { max_tokens: 7 }],
    ['chat', { maxTokensField: 'max_completion_tokens' }, { max_completion_tokens: 7 }],
    ['completions', {}, { max_tokens: 7 }],
    ['messages', {}, { max_tokens: 7 }],
    ['responses', {}, { max_output_tokens: 7 }],
    ['embeddings', {}, {}],
    ['other', {}, {}],
  ] as const)('has the name of the route %s with %j', (route, compat, expected) => {
    expect(rewriteFields({}, compat, { route, maxTokens: 7 })).toEqual(expected)
    expect(rewriteFields({}, compat, { route, params: { maxTokens: 7 }, maxTokens: 9 })).toEqual(expected)
  })

  test.each(['maxTokens', 'max_tokens', 'max_completion_tokens'])('may be called %s in params', (name) => {
    expect(rewriteFields({}, {}, { params: { [name]: 7 } })).toEqual({ max_tokens: 7 })
    const sent = { max_completion_tokens: 3 }
    expect(rewriteFields(sent, {}, { params: { [name]: 7 } })).toEqual(sent)
  })

  test.each(['max_tokens', 'max_completion_tokens'])('leaves a client that sent %s alone', (field) => {
    expect(rewriteFields({ [field]: 3 }, {}, { maxTokens: 7 })).toEqual({ [field]: 3 })
  })
})

describe('extra_body', () => {
  test('wins over the client, the flags and the other params, in place', () => {
    const params = { top_k: 1, extra_body: { top_k: 2, store: true, n: 4, chat_template_kwargs: { b: 2 } } }
    const text = '{"n": 1 ,"model":"m","chat_template_kwargs":{"a":1},"store":false}'
    expect(rewrite(text, { params }).text).toBe(
      '{"n": 4 ,"model":"m","chat_template_kwargs":{"b":2},"top_k":2,"store":true}',
    )
  })

  test('is reported apart from the defaults', () => {
    expect(rewrite({ model: 'm' }, { params: { a: 1, extra_body: { b: 1 } } }).applied).toEqual([
      'params',
      'extra_body',
    ])
    expect(rewrite({ model: 'm', a: 1, b: 1 }, { params: { a: 1, extra_body: { b: 1 } } }).applied).toEqual(
      [],
    )
  })

  test('writes a name like __proto__ as any other', () => {
    const extra: unknown = JSON.parse('{"__proto__":{"a":1}}')
    expect(rewrite({ model: 'm' }, { params: { extra_body: extra } }).text).toBe(
      '{"model":"m","__proto__":{"a":1}}',
    )
  })
})

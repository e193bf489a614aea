import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { CompatFlags } from '../../src/compat/flags.ts'
import { peekBody, type Route, rewriteBody } from '../../src/compat/rewrite.ts'
import { BadRequestError } from '../../src/errors.ts'
import { chatBody, flagSettings, jsonText, objectOfUnknowns } from './arbitraries.ts'
import { rewrite } from './body.ts'

const routes: readonly Route[] = ['chat', 'completions', 'embeddings', 'responses', 'messages', 'other']

describe('peekBody', () => {
  test.each([
    ['{"model":"a"}', { model: 'a', stream: false }],
    ['{"messages":[{"model":"no"}],"stream":true,"model":"a/b"}', { model: 'a/b', stream: true }],
    ['{"model":"a","model":"b","stream":true,"stream":false}', { model: 'b', stream: false }],
    ['{"model":1,"model":"b"}', { model: 'b', stream: false }],
    ['{"mod\\u0065l":"\\u0061"}', { model: 'a', stream: false }],
    ['{"model":"\\ud800"}', { model: '\ud800', stream: false }],
    [' {} ', { model: undefined, stream: false }],
    ['{"model":null,"stream":true}', { model: undefined, stream: true }],
    ['{"model":"a","model":null}', { model: undefined, stream: false }],
    ['{"model":""}', { model: '', stream: false }],
    ['{"stream":"true"}', { model: undefined, stream: false }],
  ])('reads %s', (text, expected) => {
    expect(peekBody(Buffer.from(text))).toEqual(expected)
  })

  test.each([
    'null',
    '1',
    '[]',
    '"model"',
    '{"model":7}',
    '{"model":false}',
    '{"model":{}}',
    '{"model":["a"]}',
    '{"model":"a"',
    '',
  ])('refuses %j with 400', (text) => {
    expect(() => peekBody(Buffer.from(text))).toThrow(BadRequestError)
    expect(() => peekBody(Buffer.from(text))).toThrow(expect.objectContaining({ status: 400 }))
  })

  test('names the parameter when the model is not a string', () => {
    expect(() => peekBody(Buffer.from('{"model":7}'))).toThrow(expect.objectContaining({ param: 'model' }))
  })

  test('reads what JSON.parse reads', () => {
    fc.assert(
      fc.property(jsonText, jsonText, (other, stream) => {
        const text = `{"a":${other},"stream":${stream},"model":"m","b":${other}}`
        expect(peekBody(Buffer.from(text))).toEqual({ model: 'm', stream: JSON.parse(text).stream === true })
      }),
    )
  })
})

describe('rewriteBody', () => {
  test('a body that needs no rewrite differs only in the value of its model', () => {
    fc.assert(
      fc.property(fc.constantFrom(...routes), objectOfUnknowns, jsonText, (route, message, unknown) => {
        const before = ` {"unknown" : ${unknown}, "model":`
        const after = ` ,"messages":[${message}, {"role":"user","content":"\\ud800"}]}\n`
        const body = Buffer.from(`${before}"local/m"${after}`)
        const { pieces, byteLength, applied } = rewriteBody(body, { route, model: 'm', compat: {} })
        expect(pieces.map(String)).toEqual([before, '"m"', after])
        expect(pieces[0]?.buffer).toBe(body.buffer)
        expect(pieces[2]?.buffer).toBe(body.buffer)
        expect(byteLength).toBe(Buffer.concat(pieces).length)
        expect(applied).toEqual(['model'])
      }),
    )
  })

  test('a body that needs nothing at all is one piece of itself', () => {
    const body = Buffer.from('{"model":"\\u006d","n":-0}')
    const { pieces, applied } = rewriteBody(body, { route: 'chat', model: 'm', compat: {} })
    expect(pieces).toEqual([body])
    expect(pieces[0]?.buffer).toBe(body.buffer)
    expect(applied).toEqual([])
  })

  test.each([
    ['{"model":"a","x":1,"model":"b"}', '{"model":"m","x":1,"model":"m"}'],
    ['{"mod\\u0065l" : "a"}', '{"mod\\u0065l" : "m"}'],
    ['{"x":1}', '{"x":1,"model":"m"}'],
    ['{}', '{"model":"m"}'],
    ['{"model":null}', '{"model":"m"}'],
  ])('gives %s its model', (text, expected) => {
    expect(rewrite(text).text).toBe(expected)
  })

  test('escapes the model it writes', () => {
    expect(rewrite('{"model":"a"}', { model: 'a"\n\ud800' }).text).toBe('{"model":"a\\"\\n\\ud800"}')
  })

  test('rewriting twice is rewriting once, and a change has a name, for every flag', () => {
    fc.assert(
      fc.property(chatBody, fc.constantFrom(...flagSettings), (body, compat) => {
        const once = rewrite(body, { compat })
        const twice = rewrite(once.text, { compat })
        expect(once.applied.length > 0).toBe(once.text !== JSON.stringify(body))
        expect(twice.text).toBe(once.text)
        expect(twice.applied).toEqual([])
      }),
      { numRuns: 3000 },
    )
  })

  test('any flags together give JSON of the length that is announced, and once is enough', () => {
    // A translation of labels is not the same twice when it gives a label that it also takes.
    const settings = flagSettings.filter((compat) => compat.reasoningEffortMap === undefined)
    const flags = fc.subarray(settings).map((chosen): CompatFlags => Object.assign({}, ...chosen))
    fc.assert(
      fc.property(chatBody, flags, (body, compat) => {
        const { text, bytes, byteLength } = rewrite(body, { compat })
        expect(() => JSON.parse(text)).not.toThrow()
        expect(byteLength).toBe(bytes.length)
        expect(rewrite(text, { compat }).text).toBe(text)
      }),
      { numRuns: 1000 },
    )
  })

  test('what no rule knows survives every flag as it came', () => {
    fc.assert(
      fc.property(
        objectOfUnknowns,
        jsonText,
        fc.constantFrom(...flagSettings),
        (message, unknown, compat) => {
          const part = `{"type":"image_url","url":${unknown}}`
          const text = `{"u":${unknown},"messages":[${message},{"role":"developer","content":[${part}]}],"u" : ${unknown}}`
          const result = rewrite(text, { compat }).text
          expect(result).toContain(`{"u":${unknown},"messages":[`)
          expect(result).toContain(`"u" : ${unknown}`)
          expect(result).toContain(`"content":[${part}]`)
          if (compat.strictMessageKeys !== true) expect(result).toContain(message)
        },
      ),
    )
  })

  test('chat rules leave the other routes alone', () => {
    const body = JSON.stringify({
      model: 'm',
      stream: true,
      temperature: 1,
      max_tokens: 1,
      tools: [{ function: { strict: true } }],
      messages: [{ role: 'developer', content: [{ type: 'text', text: 'a' }] }],
      thinking: { type: 'enabled' },
    })
    for (const route of routes.filter((name) => name !== 'chat')) {
      for (const compat of flagSettings.filter((flags) => !('laterSystemMessages' in flags)))
        expect(rewrite(body, { route, compat }).text).toBe(body)
    }
  })

  test('refuses what is not an object', () => {
    expect(() => rewrite('[]')).toThrow(/must be a JSON object/)
  })
})

import { describe, expect, test } from 'vitest'
import { buildErrorEnding, toErrorApi, toErrorBody } from '../../src/compat/error-shapes.ts'
import { toOpenAiError } from '../../src/compat/openai-error.ts'

const unknown = toOpenAiError(new Error('?'))
const at = { requestId: 'r1', isFirst: true }

test.each([
  ['/v1/messages', 'messages'],
  ['/v1/messages?beta=true', 'messages'],
  ['/v1/messages/count_tokens', 'messages'],
  ['/v1/responses?x', 'responses'],
  ['/v1/chat/completions', 'openai'],
  ['/v1/messages-of-mine', 'openai'],
  ['/api/services', 'openai'],
] as const)('the errors of %s are those of %s', (path, api) => {
  expect(toErrorApi(path)).toBe(api)
})

describe('an answer that is an error', () => {
  test('of the messages API is as Anthropic has it, with our code', () => {
    expect(toErrorBody('messages', unknown)).toEqual({
      type: 'error',
      error: { ...unknown.body.error, type: 'api_error' },
    })
    expect(toErrorBody('messages', { ...unknown, status: 404 })).toMatchObject({
      error: { type: 'not_found_error', code: 'LEASEHOLD_INTERNAL' },
    })
  })

  test.each(['openai', 'responses'] as const)('of %s is as OpenAI has it', (api) => {
    expect(toErrorBody(api, unknown)).toBe(unknown.body)
  })
})

describe('a stream that fails', () => {
  test('of chat completions ends in an error event and a cut connection', () => {
    expect(buildErrorEnding('openai', unknown.body, at)).toEqual({
      text: `event: error\ndata: ${JSON.stringify(unknown.body)}\n\n`,
      isClean: false,
    })
  })

  test('of messages ends in the error event of Anthropic', () => {
    const read = ({ text }: { readonly text: string }) =>
      JSON.parse(text.replace(/^event: error\ndata: /, ''))
    const ours = buildErrorEnding('messages', unknown.body, at)
    expect(read(ours)).toEqual({ type: 'error', error: { ...unknown.body.error, type: 'api_error' } })
    const theirs = { type: 'error', error: { type: 'overloaded_error', message: 'x' } }
    expect(read(buildErrorEnding('messages', theirs, at))).toEqual(theirs)
    expect(read(buildErrorEnding('messages', { error: 'plain' }, at))).toMatchObject({
      error: { type: 'api_error', message: 'plain' },
    })
  })

  test('of responses ends cleanly after response.failed, which is not the first event', () => {
    const { text, isClean } = buildErrorEnding('responses', unknown.body, at)
    const events = [...text.matchAll(/event: (.*)\ndata: (.*)\n\n/g)]
    expect(events.map(([, type]) => type)).toEqual(['response.created', 'response.failed'])
    expect(JSON.parse(events[1]?.[2] ?? '')).toMatchObject({
      type: 'response.failed',
      response: { id: 'resp_r1', status: 'failed', error: { code: 'LEASEHOLD_INTERNAL' } },
    })
    expect(isClean).toBe(true)
    const later = buildErrorEnding('responses', unknown.body, { ...at, isFirst: false })
    expect(later.text).toMatch(/^event: response.failed\n/)
  })
})

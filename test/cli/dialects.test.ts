import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { readChatAnswer } from '../../src/cli/chat-answer.ts'
import { type Api, dialects } from '../../src/cli/dialects.ts'
import { AnswerError, UsageError } from '../../src/cli/exit-codes.ts'
import { createModelServer } from '../../src/testing/model-server/model-server.ts'
import { createPlace } from './command-line.ts'

const apis = ['openai-completions', 'openai-responses', 'anthropic-messages'] as const satisfies Api[]
/** Each API has its own word for a whole answer. */
const finishes = {
  'openai-completions': 'stop',
  'openai-responses': 'completed',
  'anthropic-messages': 'end_turn',
}
const turn = { model: 'demo', prompt: 'What is 6 * 7?', images: [] }

describe.each(apis)('%s', (api) => {
  const dialect = dialects[api]

  test.each([true, false])('is asked and read, streamed: %s', async (stream) => {
    await using server = createModelServer({ models: ['demo'] })
    const { url } = await server.listen()
    const pieces: string[] = []
    const response = await fetch(url + dialect.path, {
      method: 'POST',
      headers: { ...dialect.headers, 'content-type': 'application/json' },
      body: JSON.stringify({ ...dialect.toBody({ ...turn, system: 'Be short.' }), stream }),
    })
    const answer = await readChatAnswer(response, (text) => pieces.push(text), dialect)
    expect(answer.text).toBe('6 * 7 = 42.')
    expect(pieces.join('')).toBe(answer.text)
    expect(pieces.length > 1).toBe(stream)
    expect(Object.values(answer.usage ?? {})).toEqual(expect.arrayContaining([expect.any(Number)]))
    expect(answer.finishReason).toBe(finishes[api])
  })

  test('an image and a limit arrive at the server', async () => {
    await using server = createModelServer({ models: ['demo'] })
    const { url } = await server.listen()
    const image = { type: 'image/png', base64: 'iVBORw0KGgo=' }
    const response = await fetch(url + dialect.path, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(dialect.toBody({ ...turn, images: [image], maxTokens: 2 })),
    })
    const answer = await readChatAnswer(response, () => {}, dialect)
    expect(answer.finishReason).toMatch(/^(length|max_output_tokens|max_tokens)$/)
    expect(JSON.stringify(dialect.toBody({ ...turn, images: [image] }))).toContain(image.base64)
  })

  test('a stream that is cut, a refusal inside it and an unknown form are failures', async () => {
    const open = (body: string) =>
      readChatAnswer(
        new Response(body, { headers: { 'content-type': 'text/event-stream' } }),
        () => {},
        dialect,
      )
    await expect(open('data: {"type":"ping"}\n\n')).rejects.toMatchObject({
      code: 'LEASEHOLD_STREAM_TRUNCATED',
    })
    const error = { message: 'no room', type: 'overloaded_error' }
    await expect(open(`data: ${JSON.stringify({ type: 'error', error })}\n\n`)).rejects.toMatchObject({
      message: 'no room',
    })
    for (const odd of ['null', '7', '<html>'])
      await expect(open(`data: ${odd}\n\n`)).rejects.toBeInstanceOf(AnswerError)
  })

  test.each(['local', 'gateway'])('infer model run asks its provider in it: %s', async (transport) => {
    await using place = await createPlace()
    place.configure(['--control'])
    const config = JSON.parse(readFileSync(join(place.folder, 'leasehold.json5'), 'utf8'))
    config.models.providers.demo.api = api
    place.write('leasehold.json5', JSON.stringify(config))
    const serving = transport === 'gateway' ? place.start('serve') : undefined
    await serving?.until(/listens on/)
    const asked = await place.run(
      'infer',
      'model',
      'run',
      '--prompt',
      turn.prompt,
      '--model',
      'calc',
      '--json',
    )
    expect(asked.stderr).toBe('')
    expect(JSON.parse(asked.stdout)).toMatchObject({
      ok: true,
      transport,
      provider: 'demo',
      model: 'sums',
      outputs: [{ text: '6 * 7 = 42.' }],
      finishReason: finishes[api],
    })
    if (serving === undefined) return
    const state = await fetch(`http://127.0.0.1:${place.modelPort}/__control`).then((got) => got.json())
    expect(state.counts).toMatchObject({ [dialect.path]: 1 })
    serving.child.kill('SIGTERM')
    expect((await serving.ended).code).toBe(0)
  })
})

test('the error of a failed response is told, which lies one level deeper', async () => {
  const response = { object: 'response', error: { code: 'LEASEHOLD_SPAWN_FAILED', message: 'no such file' } }
  const event = JSON.stringify({ type: 'response.failed', response })
  const headers = { 'content-type': 'text/event-stream' }
  await expect(
    readChatAnswer(new Response(`data: ${event}\n\n`, { headers }), () => {}, dialects['openai-responses']),
  ).rejects.toMatchObject({ code: 'LEASEHOLD_SPAWN_FAILED', message: 'no such file' })
})

test('thinking is said in the words of each API, and a word that Anthropic does not have is refused', () => {
  const say = (api: Api, thinking: string) => dialects[api].toBody({ ...turn, thinking, maxTokens: 100 })
  expect(say('openai-completions', 'low')).toMatchObject({ reasoning_effort: 'low', max_tokens: 100 })
  expect(say('openai-responses', 'low')).toMatchObject({
    reasoning: { effort: 'low' },
    max_output_tokens: 100,
  })
  expect(say('anthropic-messages', 'low')).toMatchObject({
    thinking: { type: 'enabled', budget_tokens: 2_048 },
    max_tokens: 2_148,
  })
  expect(say('anthropic-messages', 'none')).toMatchObject({ thinking: { type: 'disabled' }, max_tokens: 100 })
  expect(() => say('anthropic-messages', 'extreme')).toThrow(UsageError)
})

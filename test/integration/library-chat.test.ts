// @module-tag waits

import type OpenAI from 'openai'
import { describe, expect, test } from 'vitest'
import { ask, createLibrary, longQuestion } from './library.ts'

const oneToFifty = Array.from({ length: 50 }, (_, index) => index + 1)

describe('the openai package with the supervisor’s fetch', () => {
  test('a chat starts the server and gets its answer', async () => {
    await using library = await createLibrary()
    const { choices } = await library.openai.chat.completions.create({
      model: 'demo/demo',
      messages: ask('What is 17 * 3?'),
    })
    expect(choices[0]?.message.content).toBe('17 * 3 = 51.')
    expect(library.all('process.spawned')).toHaveLength(1)
    expect(library.supervisor.snapshot().services[0]).toMatchObject({ state: 'ready', leases: 0 })
  })

  test('a streamed chat arrives in pieces and ends with its finish reason', async () => {
    await using library = await createLibrary()
    const chunks: OpenAI.ChatCompletionChunk[] = []
    for await (const chunk of await stream(library.openai, 'count to 9')) chunks.push(chunk)
    expect(chunks.length).toBeGreaterThan(9)
    expect(toText(chunks)).toBe('1 2 3 4 5 6 7 8 9')
    expect(chunks.flatMap(({ choices }) => choices).at(-1)?.finish_reason).toBe('stop')
    expect(library.all('request.ended')).toMatchObject([{ outcome: 'done', code: null }])
  })

  test('the list of models is answered without starting anything', async () => {
    await using library = await createLibrary({ providers: ['chat', 'code'] })
    const { data } = await library.openai.models.list()
    expect(data.map(({ id }) => id)).toEqual(['chat/demo', 'code/demo'])
    expect(data[0]).toMatchObject({ owned_by: 'chat', state: 'down.cold' })
    expect(library.all('lease.requested')).toEqual([])
  })

  test('fifty first requests at once share one start, and each gets its own answer (fault 10)', async () => {
    await using library = await createLibrary({ flags: ['--load-ms', '100'] })
    const answers = await Promise.all(
      oneToFifty.map((number) =>
        library.openai.chat.completions.create({
          model: 'demo/demo',
          messages: ask(`What is ${number} + 0?`),
        }),
      ),
    )
    expect(answers.map(({ choices }) => choices[0]?.message.content)).toEqual(
      oneToFifty.map((number) => `${number} + 0 = ${number}.`),
    )
    expect(library.all('process.spawned')).toHaveLength(1)
    expect((await library.seen()).counts['/v1/chat/completions']).toBe(50)
  })

  test('requests to a ready service are not preceded by a probe', async () => {
    await using library = await createLibrary({ leasehold: { heartbeatMs: 600_000 } })
    await library.supervisor.start('demo')
    const before = await library.seen()
    for (let index = 0; index < 10; index += 1)
      await library.openai.chat.completions.create({ model: 'demo/demo', messages: ask('1 + 1') })
    const { counts } = await library.seen()
    expect(before.counts['/health']).toBeGreaterThan(0)
    expect(counts).toEqual({ ...before.counts, '/v1/chat/completions': 10 })
  })

  test('a caller that aborts its stream leaves the others alone', async () => {
    await using library = await createLibrary({ flags: ['--token-delay-ms', '5'] })
    const leaving = await stream(library.openai, longQuestion)
    const staying = await stream(library.openai, 'count to 100')
    for await (const _ of leaving) break
    await library.until('request.ended', ({ outcome }) => outcome === 'cancelled')
    const chunks: OpenAI.ChatCompletionChunk[] = []
    for await (const chunk of staying) chunks.push(chunk)
    expect(toText(chunks)).toMatch(/^1 2 3 .* 99 100$/)
    expect(library.supervisor.snapshot().services[0]).toMatchObject({ state: 'ready', leases: 0 })
  })

  test('a request that cannot be served is an error with our code in the shape of OpenAI', async () => {
    await using library = await createLibrary({ flags: ['--fail-load', 'exit'] })
    await expect(
      library.openai.chat.completions.create({ model: 'demo/demo', messages: ask('hello') }),
    ).rejects.toMatchObject({ status: 503, code: 'LEASEHOLD_EXITED_BEFORE_READY' })
    await expect(
      library.openai.chat.completions.create({ model: 'demo/dmeo', messages: ask('hello') }),
    ).rejects.toMatchObject({ status: 404, code: 'LEASEHOLD_MODEL_UNKNOWN' })
  })
})

function stream(openai: OpenAI, question: string) {
  return openai.chat.completions.create({ model: 'demo/demo', messages: ask(question), stream: true })
}

function toText(chunks: readonly OpenAI.ChatCompletionChunk[]): string {
  return chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join('')
}

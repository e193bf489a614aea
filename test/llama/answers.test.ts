// @module-tag proof

import type OpenAI from 'openai'
import { expect, test } from 'vitest'
import {
  ask,
  countText,
  createLlama,
  describeWithLlama,
  endlessModel,
  question,
  slowCountModel,
} from './llama-server.ts'
import { toPieces } from './model.ts'

const doors = ['library', 'gateway'] as const

const weather: OpenAI.ChatCompletionTool = {
  type: 'function',
  function: {
    name: 'get_weather',
    parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
  },
}
const weatherCall = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Brno"}}\n</tool_call>'
const thought = '<think>\nOne and one, hm.\n</think>\n\nTwo.'

describeWithLlama('a real llama-server', () => {
  test.each(doors)('is started by the first request and answers it, through the %s', async (door) => {
    await using llama = await createLlama()
    const { choices, usage } = await llama.openai[door].chat.completions.create(question)
    expect(choices).toMatchObject([{ message: { content: countText }, finish_reason: 'stop' }])
    expect(usage).toMatchObject({ completion_tokens: 401 })
    expect(llama.all('process.spawned')).toHaveLength(1)
    expect(llama.all('health.verdict').at(-1)).toMatchObject({ verdict: { kind: 'ready', status: 200 } })
    expect(llama.service()).toMatchObject({ state: 'ready', ownership: 'owned', leases: 0 })
  })

  test.each(doors)('streams every token once and in order, through the %s', async (door) => {
    await using llama = await createLlama()
    const answer = await readStream(
      await llama.openai[door].chat.completions.create({ ...question, stream: true }),
    )
    expect(answer).toMatchObject({ text: countText, finishReason: 'stop' })
    expect(answer.pieces.length).toBeGreaterThanOrEqual(400)
    expect(llama.all('request.ended')).toMatchObject([{ outcome: 'done', code: null }])
  })

  test('shows its timings in the last chunk, as it does without leasehold', async () => {
    await using llama = await createLlama()
    await llama.supervisor.start('llama')
    const read = async (stream: AsyncIterable<object>) => {
      const chunks: object[] = []
      for await (const chunk of stream) chunks.push(chunk)
      return chunks.map((chunk) => Object.keys(chunk).sort().join())
    }
    const client = llama.openai.library
    const direct = client.withOptions({ baseURL: `${llama.serverUrl}/v1`, fetch: globalThis.fetch })
    const asked = { ...question, max_tokens: 3, stream: true } as const
    const shapes = await read(await client.chat.completions.create(asked))
    expect(shapes).toEqual(await read(await direct.chat.completions.create(asked)))
    expect(shapes.at(-1)).toContain('timings')
  })

  test('states its context size: that of one slot, under every name that clients look for', async () => {
    await using llama = await createLlama({ flags: ['--ctx-size', '1024', '--parallel', '2'] })
    const list = async () => (await llama.openai.gateway.models.list()).data
    for (const name of ['context_length', 'max_tokens']) expect((await list())[0]).not.toHaveProperty(name)
    expect(llama.all('process.spawned')).toEqual([])
    await llama.supervisor.start('llama')
    const size = 512
    await expect
      .poll(list)
      .toMatchObject([
        { context_length: size, context_window: size, max_model_len: size, meta: { n_ctx: size } },
      ])
    await llama.supervisor.stop('llama')
    expect((await list())[0]).not.toHaveProperty('context_length')
  })

  test('says what its model can do: as its file says while it is down, as the server says while it is up', async () => {
    await using llama = await createLlama()
    const read = async () => {
      const [model] = (await llama.openai.gateway.models.list()).data
      const { architecture, capabilities } = model as unknown as Record<string, unknown>
      return { architecture, capabilities }
    }
    const said = {
      architecture: { input_modalities: ['text'], output_modalities: ['text'] },
      capabilities: ['completion', 'tools', 'thinking'],
    }
    expect(await read()).toEqual(said)
    expect(llama.all('process.spawned')).toEqual([])
    await llama.supervisor.start('llama')
    const [listed] = llama.supervisor.models()
    await expect.poll(() => llama.supervisor.models()[0]?.context_length).toBeGreaterThan(0)
    expect(listed?.state).toBe('ready')
    expect(await read()).toEqual(said)
  })

  test('serves many streams at once, each whole', async () => {
    await using llama = await createLlama()
    const streams = Array.from({ length: 12 }, async (_, index) => {
      const door = index % 2 === 0 ? 'library' : 'gateway'
      return readStream(await llama.openai[door].chat.completions.create({ ...question, stream: true }))
    })
    for (const { text } of await Promise.all(streams)) expect(text).toBe(countText)
    expect(llama.all('process.spawned')).toHaveLength(1)
  })

  test.each(doors)('calls a tool, streamed and not, through the %s', async (door) => {
    await using llama = await createLlama({ model: { pieces: toPieces(weatherCall) } })
    const { chat } = llama.openai[door]
    const request = { ...question, tools: [weather] }
    const { choices } = await chat.completions.create(request)
    const call = { type: 'function', function: { name: 'get_weather', arguments: '{"city": "Brno"}' } }
    expect(choices).toMatchObject([{ message: { tool_calls: [call] }, finish_reason: 'tool_calls' }])
    const answer = await readStream(await chat.completions.create({ ...request, stream: true }))
    expect(answer).toMatchObject({
      toolName: 'get_weather',
      toolArguments: '{"city": "Brno"}',
      finishReason: 'tool_calls',
    })
  })

  test('shows its reasoning apart from its answer, streamed and not', async () => {
    await using llama = await createLlama({ model: { pieces: toPieces(thought) } })
    const { chat } = llama.openai.gateway
    const { choices } = await chat.completions.create(question)
    expect(choices).toMatchObject([{ message: { content: 'Two.', reasoning_content: 'One and one, hm.\n' } }])
    const answer = await readStream(await chat.completions.create({ ...question, stream: true }))
    expect(answer).toMatchObject({ reasoning: 'One and one, hm.\n', text: 'Two.' })
  })

  test('embeds texts', async () => {
    await using llama = await createLlama({ flags: ['--embeddings'] })
    const { data } = await llama.openai.gateway.embeddings.create({
      model: 'llama/demo',
      input: ['one', 'two'],
    })
    expect(data.map(({ embedding }) => embedding.length)).toEqual([64, 64])
  })

  test('never blocks on its log, because leasehold reads it', async () => {
    // Without a reader of its log llama.cpp stops answering after some hundred requests.
    await using llama = await createLlama()
    for (let index = 0; index < 150; index += 1) {
      const { choices } = await llama.openai.library.chat.completions.create({ ...question, max_tokens: 3 })
      expect(choices[0]?.message.content).toBe('0 1 2')
    }
  })
})

describeWithLlama('what a real llama-server is sent', () => {
  test('holds text parts as one text, a line each, where requiresStringContent is set', async () => {
    await using llama = await createLlama({ flags: ['--verbose'], compat: { requiresStringContent: true } })
    const parts = ['Hello', 'there'].map((text) => ({ type: 'text' as const, text }))
    const answer = await llama.openai.gateway.chat.completions.create({
      model: 'llama/demo',
      messages: [{ role: 'user', content: parts }],
    })
    expect(answer).toMatchObject({ __verbose: { prompt: expect.stringContaining('user\nHello\nthere<') } })
  })

  test('comes back as its own error when it cannot be taken', async () => {
    await using llama = await createLlama({ compat: { requiresStringContent: true } })
    const { chat } = llama.openai.gateway
    const picture = { type: 'image_url' as const, image_url: { url: 'data:image/png;base64,AAAA' } }
    const image = chat.completions.create({
      model: 'llama/demo',
      messages: [{ role: 'user', content: [{ type: 'text', text: 'What is this?' }, picture] }],
    })
    await expect(image).rejects.toMatchObject({
      status: 500,
      message: expect.stringContaining('image input is not supported'),
    })
    await expect(
      chat.completions.create({ model: 'llama/demo', messages: ask('a'.repeat(5000)), stream: true }),
    ).rejects.toMatchObject({ status: 400, type: 'exceed_context_size_error' })
    await expect(
      llama.openai.gateway.embeddings.create({ model: 'llama/demo', input: 'one' }),
    ).rejects.toMatchObject({ status: 501, message: expect.stringContaining('--embeddings') })
    // None of it is the server's end.
    expect(await chat.completions.create({ ...question, max_tokens: 2 })).toMatchObject({
      choices: [{ message: { content: '0 1' } }],
    })
    expect(llama.all('process.spawned')).toHaveLength(1)
  })

  test('carries the key of the provider, which no argument shows', async () => {
    await using llama = await createLlama({
      provider: { apiKey: 'secret' },
      service: { env: { LLAMA_API_KEY: 'secret' } },
    })
    const { choices } = await llama.openai.gateway.chat.completions.create({ ...question, max_tokens: 2 })
    expect(choices[0]?.message.content).toBe('0 1')
    expect((await fetch(`${llama.serverUrl}/v1/models`)).status).toBe(401)
  })

  test('is answered 401 when the key is wrong, and the answer is passed on', async () => {
    await using llama = await createLlama({
      provider: { apiKey: 'wrong' },
      service: { env: { LLAMA_API_KEY: 'secret' } },
    })
    await expect(llama.openai.gateway.chat.completions.create(question)).rejects.toMatchObject({
      status: 401,
      message: expect.stringContaining('Invalid API Key'),
    })
  })
})

describeWithLlama('a client that leaves a real llama-server', () => {
  test.each(doors)('in the middle of a stream frees its slot and its lease, through the %s', async (door) => {
    await using llama = await createLlama({ model: endlessModel })
    const stream = await llama.openai[door].chat.completions.create({ ...question, stream: true })
    for await (const _ of stream) break
    expect(await llama.until('request.ended')).toMatchObject({ outcome: 'cancelled' })
    expect(llama.service()).toMatchObject({ state: 'ready', leases: 0 })
    await expect.poll(() => countBusySlots(llama.serverUrl), { timeout: 5_000 }).toBe(0)
  })

  test('leaves the others alone', async () => {
    await using llama = await createLlama({ model: slowCountModel })
    const [leaving, staying] = await Promise.all([
      llama.openai.gateway.chat.completions.create({ ...question, stream: true }),
      llama.openai.gateway.chat.completions.create({ ...question, stream: true }),
    ])
    for await (const _ of leaving) break
    expect(await readStream(staying)).toMatchObject({ text: countText, finishReason: 'stop' })
  })
})

async function countBusySlots(serverUrl: string): Promise<number> {
  const slots: { readonly is_processing: boolean }[] = await (await fetch(`${serverUrl}/slots`)).json()
  return slots.filter(({ is_processing }) => is_processing).length
}

/** A stream, put together. */
async function readStream(stream: AsyncIterable<OpenAI.ChatCompletionChunk>) {
  const choices: OpenAI.ChatCompletionChunk.Choice[] = []
  for await (const chunk of stream) choices.push(...chunk.choices)
  const deltas: readonly (OpenAI.ChatCompletionChunk.Choice.Delta & {
    readonly reasoning_content?: string
  })[] = choices.map(({ delta }) => delta)
  const calls = deltas.flatMap(({ tool_calls = [] }) => tool_calls)
  const pieces = deltas.flatMap(({ content }) => content || [])
  return {
    pieces,
    text: pieces.join(''),
    reasoning: deltas.map(({ reasoning_content = '' }) => reasoning_content).join(''),
    toolName: calls.map((call) => call.function?.name ?? '').join(''),
    toolArguments: calls.map((call) => call.function?.arguments ?? '').join(''),
    finishReason: choices.at(-1)?.finish_reason,
  }
}

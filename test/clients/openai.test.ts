import { createHash, randomBytes } from 'node:crypto'
import OpenAI, { toFile } from 'openai'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ask } from '../integration/library.ts'
import { collect, type Doors, doors, openDoors, toOpenAi } from './doors.ts'

const model = 'demo/demo'
const weather = {
  name: 'get_weather',
  parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
}
const weatherTool = { type: 'function', function: weather } as const
const weatherQuestion = ask('get_weather in Brno')

let house: Doors
beforeAll(async () => {
  house = await openDoors()
})
afterAll(() => house[Symbol.asyncDispose]())

describe.each(doors)('the openai client, through the %s,', (door) => {
  let openai: OpenAI
  beforeAll(() => {
    openai = toOpenAi(house.ways[door], { maxRetries: 0 })
  })

  test('chats', async () => {
    const { choices, usage } = await openai.chat.completions.create({ model, messages: ask('count to 3') })
    expect(choices).toMatchObject([{ message: { content: '1 2 3' }, finish_reason: 'stop' }])
    expect(usage).toMatchObject({ completion_tokens: 3 })
  })

  test('streams a chat, and its usage at the end', async () => {
    const stream = await openai.chat.completions.create({
      model,
      messages: ask('count to 50'),
      stream: true,
      stream_options: { include_usage: true },
    })
    const chunks = await collect(stream)
    const pieces = chunks.flatMap(({ choices }) => choices[0]?.delta.content ?? [])
    expect(pieces).toHaveLength(50)
    expect(pieces.join('')).toBe(toCount(50))
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { completion_tokens: 50 } })
  })

  test('streams with its helper', async () => {
    const deltas: string[] = []
    const stream = openai.chat.completions.stream({ model, messages: ask('count to 9') })
    stream.on('content', (delta) => deltas.push(delta))
    const { choices } = await stream.finalChatCompletion()
    expect(choices).toMatchObject([{ message: { content: toCount(9) }, finish_reason: 'stop' }])
    expect(deltas).toHaveLength(9)
  })

  test('calls a tool', async () => {
    const { choices } = await openai.chat.completions.create({
      model,
      messages: weatherQuestion,
      tools: [weatherTool],
    })
    expect(choices).toMatchObject([
      {
        message: { tool_calls: [{ function: { name: 'get_weather', arguments: '{"city":"Brno"}' } }] },
        finish_reason: 'tool_calls',
      },
    ])
  })

  test.each([false, true])('runs a tool and tells what it said (stream: %s)', async (stream) => {
    const asked: string[] = []
    const answer = (args: string) => {
      asked.push(args)
      return 'sunny'
    }
    const tools = [{ type: 'function', function: { ...weather, description: '', function: answer } }] as const
    const body = { model, messages: weatherQuestion, tools }
    const runner = stream
      ? openai.chat.completions.runTools({ ...body, stream })
      : openai.chat.completions.runTools(body)
    expect(await runner.finalContent()).toBe('The tool answered: sunny')
    expect(asked).toEqual(['{"city":"Brno"}'])
  })

  test('gets the same embeddings as numbers, as base64 and by default', async () => {
    const create = (format: { readonly encoding_format?: 'float' | 'base64' }) =>
      openai.embeddings.create({ model, input: ['one', 'two'], ...format })
    const [floats, base64, byDefault] = await Promise.all([
      create({ encoding_format: 'float' }),
      create({ encoding_format: 'base64' }),
      create({}),
    ])
    expect(floats.data.map(({ embedding }) => embedding.length)).toEqual([16, 16])
    expect(byDefault.data).toEqual(floats.data)
    expect(base64.data.map(({ embedding }) => toNumbers(String(embedding)))).toEqual(
      floats.data.map(({ embedding }) => embedding),
    )
  })

  test('gets a response', async () => {
    const response = await openai.responses.create({ model, input: 'count to 4' })
    expect(response).toMatchObject({ status: 'completed', output_text: toCount(4) })
  })

  test('streams a response', async () => {
    const stream = await openai.responses.create({ model, input: 'count to 4', stream: true })
    const events = await collect(stream)
    const deltas = events.filter((event) => event.type === 'response.output_text.delta')
    expect(deltas.map(({ delta }) => delta).join('')).toBe(toCount(4))
    expect(events.at(-1)?.type).toBe('response.completed')
  })

  test('calls a tool in a response', async () => {
    const { output } = await openai.responses.create({
      model,
      input: 'get_weather in Brno',
      tools: [{ type: 'function', strict: false, ...weather }],
    })
    expect(output).toMatchObject([
      { type: 'function_call', name: 'get_weather', arguments: '{"city":"Brno"}' },
    ])
  })

  test('completes a prompt, whole and streamed', async () => {
    const whole = await openai.completions.create({ model, prompt: 'count to 5' })
    expect(whole.choices[0]?.text).toBe(toCount(5))
    const stream = await openai.completions.create({ model, prompt: 'count to 5', stream: true })
    const chunks = await collect(stream)
    expect(chunks.map(({ choices }) => choices[0]?.text).join('')).toBe(toCount(5))
  })

  test('lists the models and finds one', async () => {
    const { data } = await openai.models.list()
    expect(data).toMatchObject([{ id: model, object: 'model', owned_by: 'demo' }])
    expect(await openai.models.retrieve(model)).toEqual(data[0])
  })

  test('gets speech, byte for byte', async () => {
    const own = new OpenAI({ baseURL: `http://127.0.0.1:${house.library.port}/v1`, apiKey: 'unused' })
    const [through, direct] = await Promise.all(
      [openai, own].map(async ({ audio }) => {
        const answer = await audio.speech.create({ model, voice: 'alloy', input: 'hello' })
        expect(answer.headers.get('content-type')).toBe('audio/wav')
        return Buffer.from(await answer.arrayBuffer())
      }),
    )
    expect(through?.length).toBeGreaterThan(1000)
    expect(toSha256(through)).toBe(toSha256(direct))
  })

  test('sends a file, byte for byte, whatever its name and its bytes', async () => {
    const bytes = Buffer.concat([
      randomBytes(500_000),
      Buffer.from('\r\n--x--\r\n"model"\r\n\r\nother\r\n\0'),
    ])
    const file = await toFile(bytes, 'Žluťoučký "kůň".wav')
    const { text } = await openai.audio.transcriptions.create({ model, file })
    expect(text).toContain(`${bytes.length} bytes, sha256 ${toSha256(bytes)}`)
    expect(text).toContain('Žluťoučký')
  })

  test('gets pictures', async () => {
    const { data } = await openai.images.generate({ model, prompt: 'grey', n: 2 })
    const pictures = data?.map(({ b64_json = '' }) =>
      Buffer.from(b64_json, 'base64').toString('latin1', 1, 4),
    )
    expect(pictures).toEqual(['PNG', 'PNG'])
  })
})

describe.each(doors)('a client that leaves in the middle of a stream, through the %s,', (door) => {
  const leavings = {
    aborts: (stream: { readonly controller: AbortController }) => stream.controller.abort(),
    'reads no further': () => {},
  }

  test.each(Object.entries(leavings))(
    'because it %s frees the server and gives its lease back',
    async (_, leave) => {
      await using own = await openDoors({ flags: ['--stall-mid-stream-after', '2'] })
      const stream = await toOpenAi(own.ways[door]).chat.completions.create({
        model,
        messages: ask('count to 9'),
        stream: true,
      })
      let text = ''
      for await (const { choices } of stream) {
        text += choices[0]?.delta.content ?? ''
        if (text !== '1 2') continue
        expect(own.service().leases).toBe(1)
        leave(stream)
        break
      }
      await expect.poll(() => own.service().leases).toBe(0)
      await expect.poll(async () => (await own.library.seen()).counts.aborted).toBe(1)
      expect(own.library.all('request.ended')).toMatchObject([{ outcome: 'cancelled' }])
      expect(own.service().state).toBe('ready')
    },
  )
})

function toCount(last: number): string {
  return Array.from({ length: last }, (_, index) => index + 1).join(' ')
}

function toNumbers(base64: string): readonly number[] {
  const { buffer, byteOffset, length } = Buffer.from(base64, 'base64')
  return [...new Float32Array(buffer.slice(byteOffset, byteOffset + length))]
}

function toSha256(bytes: Buffer | undefined): string {
  return createHash('sha256')
    .update(bytes ?? '')
    .digest('hex')
}

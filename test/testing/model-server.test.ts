import { createHash } from 'node:crypto'
import OpenAI, { toFile } from 'openai'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createModelServer } from '../../src/testing/model-server/model-server.ts'
import { defaultSettings } from '../../src/testing/model-server/option-fields.ts'

const server = createModelServer({ models: ['demo', 'org/other'] })
let url = ''
let client: OpenAI

beforeAll(async () => {
  url = (await server.listen()).url
  client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'unused', maxRetries: 0 })
})
beforeEach(() => server.set({ ...defaultSettings(), models: ['demo', 'org/other'] }))
afterAll(() => server.close())

const tools: OpenAI.ChatCompletionTool[] = [
  {
    type: 'function',
    function: {
      name: 'get_weather',
      parameters: { type: 'object', properties: { city: { type: 'string' }, days: { type: 'integer' } } },
    },
  },
]

async function post(path: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(`${url}${path}`, {
    method: 'POST',
    headers,
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })
}

/** The events of a stream as they were on the wire. */
async function readEvents(response: Response): Promise<{ event: string | undefined; data: string }[]> {
  const text = await response.text()
  return text
    .split('\n\n')
    .filter((block) => block !== '')
    .map((block) => ({
      event: /^event: (.*)$/m.exec(block)?.[1],
      data: /^data: (.*)$/m.exec(block)?.[1] ?? '',
    }))
}

describe('chat completions', () => {
  test('a chat is answered with usage and timings', async () => {
    const answer = await client.chat.completions.create({
      model: 'org/other',
      messages: [
        { role: 'system', content: 'Be brief.' },
        {
          role: 'user',
          content: [
            { type: 'text', text: 'What is' },
            { type: 'text', text: '17 * 3?' },
          ],
        },
      ],
    })
    expect(answer).toMatchObject({
      object: 'chat.completion',
      model: 'org/other',
      system_fingerprint: 'leasehold-demo',
      choices: [{ index: 0, finish_reason: 'stop', message: { role: 'assistant', content: '17 * 3 = 51.' } }],
      usage: { prompt_tokens: 7, completion_tokens: 5, total_tokens: 12 },
      timings: { predicted_n: 5, prompt_n: 7 },
    })
  })

  test('a model that is not served is answered by the first one', async () => {
    const answer = await client.chat.completions.create({
      model: 'x',
      messages: [{ role: 'user', content: 'hi' }],
    })
    expect(answer.model).toBe('demo')
  })

  test('a streamed chat gives the same text and ends properly', async () => {
    const stream = client.chat.completions.stream({
      model: 'demo',
      messages: [{ role: 'user', content: 'count to 20' }],
      stream_options: { include_usage: true },
    })
    const answer = await stream.finalChatCompletion()
    expect(answer.choices[0]?.message.content).toBe(
      Array.from({ length: 20 }, (_, index) => index + 1).join(' '),
    )
    expect(answer.choices[0]?.finish_reason).toBe('stop')
    expect(answer.usage).toMatchObject({ prompt_tokens: 3, completion_tokens: 20 })
  })

  test('a stream on the wire is what llama.cpp sends', async () => {
    const messages = [{ role: 'user', content: 'count to 2' }]
    const response = await post('/v1/chat/completions', { messages, stream: true }, { 'x-demo-nonce': 'n1' })
    expect(response.headers.get('content-type')).toBe('text/event-stream')
    expect(response.headers.get('x-demo-nonce')).toBe('n1')
    const events = await readEvents(response)
    expect(events.at(-1)?.data).toBe('[DONE]')
    const chunks = events.slice(0, -1).map(({ data }) => JSON.parse(data))
    expect(chunks.map(({ choices }) => choices[0])).toEqual([
      { index: 0, finish_reason: null, delta: { role: 'assistant', content: null } },
      { index: 0, finish_reason: null, delta: { content: '1' } },
      { index: 0, finish_reason: null, delta: { content: ' 2' } },
      { index: 0, finish_reason: 'stop', delta: {} },
    ])
    expect(chunks.every(({ id }) => id === 'chatcmpl-n1')).toBe(true)
    expect(chunks.at(-1).timings.predicted_n).toBe(2)
    expect(chunks.some((chunk) => 'usage' in chunk)).toBe(false)
  })

  test('usage comes in a chunk without choices, and only when asked for', async () => {
    const body = {
      messages: [{ role: 'user', content: 'hi' }],
      stream: true,
      stream_options: { include_usage: true },
    }
    const events = await readEvents(await post('/v1/chat/completions', body))
    const [finish, usage] = events.slice(-3, -1).map(({ data }) => JSON.parse(data))
    expect(finish.timings).toBeUndefined()
    expect(usage).toMatchObject({ choices: [], usage: { completion_tokens: 3 }, timings: { predicted_n: 3 } })
  })

  test('a tool that the user names is called', async () => {
    const answer = await client.chat.completions.create({
      model: 'demo',
      tools,
      messages: [{ role: 'user', content: 'Call get_weather for Paris, 3 days' }],
    })
    expect(answer.choices[0]).toMatchObject({
      finish_reason: 'tool_calls',
      message: {
        content: '',
        tool_calls: [
          { type: 'function', function: { name: 'get_weather', arguments: '{"city":"Paris","days":3}' } },
        ],
      },
    })
  })

  test('a streamed tool call comes in pieces, its name in the first', async () => {
    const messages = [{ role: 'user' as const, content: 'get_weather in Rome' }]
    const answer = await client.chat.completions
      .stream({ model: 'demo', tools, messages })
      .finalChatCompletion()
    const call = answer.choices[0]?.message.tool_calls?.[0]
    expect(call).toMatchObject({ function: { name: 'get_weather', arguments: '{"city":"Rome","days":1}' } })
    const events = await readEvents(await post('/v1/chat/completions', { messages, tools, stream: true }))
    const deltas = events.slice(1, -2).map(({ data }) => JSON.parse(data).choices[0].delta.tool_calls[0])
    expect(deltas[0]).toMatchObject({
      index: 0,
      type: 'function',
      function: { name: 'get_weather', arguments: '{' },
    })
    expect(deltas.slice(1)).toEqual([
      { index: 0, function: { arguments: '"city":"Rome",' } },
      { index: 0, function: { arguments: '"days":1}' } },
    ])
  })

  test('tool_choice forces a tool or forbids all', async () => {
    const messages = [{ role: 'user' as const, content: 'get_weather' }]
    const none = await client.chat.completions.create({ model: 'demo', tools, messages, tool_choice: 'none' })
    expect(none.choices[0]?.message.content).toBe('You said: "get_weather"')
    const forced = await client.chat.completions.create({
      model: 'demo',
      tools,
      messages: [{ role: 'user', content: 'hi' }],
      tool_choice: 'required',
    })
    expect(forced.choices[0]?.finish_reason).toBe('tool_calls')
  })

  test('a tool result is repeated', async () => {
    const call = { id: 'c1', type: 'function' as const, function: { name: 'get_weather', arguments: '{}' } }
    const answer = await client.chat.completions.create({
      model: 'demo',
      tools,
      messages: [
        { role: 'user', content: 'get_weather' },
        { role: 'assistant', content: null, tool_calls: [call] },
        { role: 'tool', tool_call_id: 'c1', content: 'sunny' },
      ],
    })
    expect(answer.choices[0]?.message.content).toBe('The tool answered: sunny')
  })

  test('a tool is called once where an agent adds turns of its own, and only where it is asked for', async () => {
    const context = {
      role: 'user' as const,
      content: [{ type: 'text' as const, text: 'Active get_weather calls: none' }],
    }
    const question = { role: 'user' as const, content: 'What is 12 * 12?' }
    const ask = async (messages: OpenAI.ChatCompletionMessageParam[]) =>
      (await client.chat.completions.create({ model: 'demo', tools, messages })).choices[0]?.message
    // The question, and what the agent adds to it.
    expect((await ask([question, context]))?.content).toBe('12 * 12 = 144.')
    // A name in passing is no order, unless the tool is to be called.
    const told = 'Is get_weather right for Bern? Call the tool.'
    expect((await ask([{ role: 'user', content: told }]))?.tool_calls).toHaveLength(1)
    expect((await ask([{ role: 'user', content: 'Why is get_weather broken?' }]))?.tool_calls).toBeUndefined()
    const asked = { role: 'user' as const, content: 'Please use the tool get_weather for Bern' }
    const call = { id: 'c1', type: 'function' as const, function: { name: 'get_weather', arguments: '{}' } }
    expect((await ask([asked, context]))?.tool_calls).toMatchObject([{ function: { name: 'get_weather' } }])
    const answered = [
      asked,
      { role: 'assistant' as const, content: null, tool_calls: [call] },
      { role: 'tool' as const, tool_call_id: 'c1', content: 'sunny' },
    ]
    expect((await ask([...answered, context]))?.content).toBe('The tool answered: sunny')
  })

  test('a response format is obeyed', async () => {
    const schema = { type: 'object', properties: { city: { type: 'string' } } }
    const answer = await client.chat.completions.create({
      model: 'demo',
      messages: [{ role: 'user', content: 'who lives in Bern?' }],
      response_format: { type: 'json_schema', json_schema: { name: 'answer', schema } },
    })
    expect(JSON.parse(answer.choices[0]?.message.content ?? '')).toEqual({ city: 'Bern' })
  })

  test('thinking comes before the answer, when it is switched on and asked for', async () => {
    const ask = async (more: object) => {
      const messages = [{ role: 'user', content: 'hi' }]
      const response = await post('/v1/chat/completions', { messages, ...more })
      const { choices } = JSON.parse(await response.text())
      return choices[0].message.reasoning_content
    }
    expect(await ask({ reasoning_effort: 'low' })).toBeUndefined()
    server.set({ reasoning: true })
    expect(await ask({})).toBeUndefined()
    expect(await ask({ reasoning_effort: 'none' })).toBeUndefined()
    const thought = 'The user wrote 1 word. A demo answers by rule.'
    expect(await ask({ reasoning_effort: 'low' })).toBe(thought)
    expect(await ask({ thinking: { type: 'enabled' } })).toBe(thought)
    expect(await ask({ enable_thinking: true })).toBe(thought)
    expect(await ask({ chat_template_kwargs: { enable_thinking: true } })).toBe(thought)

    const body = { messages: [{ role: 'user', content: 'hi' }], reasoning_effort: 'low', stream: true }
    const events = await readEvents(await post('/v1/chat/completions', body))
    const keys = events.slice(0, -1).flatMap(({ data }) => Object.keys(JSON.parse(data).choices[0].delta))
    expect([...new Set(keys)]).toEqual(['role', 'content', 'reasoning_content'])
    expect(keys.indexOf('reasoning_content')).toBeLessThan(keys.lastIndexOf('content'))
  })

  test.each([
    ['{"messages":', 400, /parse_error/],
    ['[]', 400, /JSON object/],
    ['{}', 400, /'messages' is required/],
    ['{"messages":"x"}', 400, /to be an array/],
  ])('the body %j is refused with %i', async (body, status, message) => {
    const response = await post('/v1/chat/completions', body)
    expect(response.status).toBe(status)
    expect(await response.json()).toMatchObject({
      error: { message: expect.stringMatching(message), code: status },
    })
  })
})

describe('the other routes', () => {
  test('a completion is answered whole and as a stream', async () => {
    const whole = await client.completions.create({ model: 'demo', prompt: '2 + 2' })
    expect(whole).toMatchObject({
      object: 'text_completion',
      choices: [{ text: '2 + 2 = 4.', finish_reason: 'stop' }],
      usage: { completion_tokens: 5 },
    })
    let text = ''
    const finishes = new Set<string | null>()
    for await (const chunk of await client.completions.create({
      model: 'demo',
      prompt: '2 + 2',
      stream: true,
    })) {
      text += chunk.choices[0]?.text ?? ''
      finishes.add(chunk.choices[0]?.finish_reason ?? null)
    }
    expect(text).toBe('2 + 2 = 4.')
    expect([...finishes]).toEqual([null, 'stop'])
  })

  test('a text has one vector, of length 1, as numbers and as base64', async () => {
    const ask = async (encoding_format: 'float' | 'base64' | undefined, input: string | string[]) =>
      (await client.embeddings.create({ model: 'demo', input, encoding_format })).data.map(
        ({ embedding }) => embedding,
      )
    const [one, other] = await ask('float', ['one', 'other'])
    expect(one).toHaveLength(16)
    expect(Math.hypot(...(one ?? []))).toBeCloseTo(1)
    expect(one).not.toEqual(other)
    // The client asks for base64 by itself and decodes it.
    expect(await ask(undefined, 'one')).toEqual([one])
    expect(server.requests.at(-1)?.body).toContain('"encoding_format":"base64"')
    const long = await client.embeddings.create({ model: 'demo', input: 'one', dimensions: 100 })
    expect(long.data[0]?.embedding).toHaveLength(100)
  })

  test('a response is answered whole', async () => {
    const answer = await client.responses.create({ model: 'demo', input: 'What is 6 * 7?' })
    expect(answer.output_text).toBe('6 * 7 = 42.')
    expect(answer).toMatchObject({ status: 'completed', usage: { input_tokens: 5, output_tokens: 5 } })
    const cut = await client.responses.create({ model: 'demo', input: 'count to 9', max_output_tokens: 2 })
    expect(cut).toMatchObject({ status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' } })
  })

  test('a streamed response has all its events in order', async () => {
    const stream = await client.responses.create({ model: 'demo', input: 'count to 2', stream: true })
    const events = []
    for await (const event of stream) events.push(event)
    expect(events.map(({ type }) => type)).toEqual([
      'response.created',
      'response.in_progress',
      'response.output_item.added',
      'response.content_part.added',
      'response.output_text.delta',
      'response.output_text.delta',
      'response.output_text.done',
      'response.content_part.done',
      'response.output_item.done',
      'response.completed',
    ])
    expect(events.map(({ sequence_number }) => sequence_number)).toEqual(events.map((_, index) => index))
    const final = await client.responses.stream({ model: 'demo', input: 'count to 2' }).finalResponse()
    expect(final.output_text).toBe('1 2')
  })

  test('a response calls a tool, and repeats its result', async () => {
    const definition = {
      type: 'function' as const,
      name: 'get_time',
      parameters: { type: 'object', properties: {} },
      strict: false,
    }
    const final = await client.responses
      .stream({ model: 'demo', input: 'get_time', tools: [definition] })
      .finalResponse()
    expect(final.output[0]).toMatchObject({ type: 'function_call', name: 'get_time', arguments: '{}' })
    const answer = await client.responses.create({
      model: 'demo',
      input: [{ type: 'function_call_output', call_id: 'c1', output: 'noon' }],
    })
    expect(answer.output_text).toBe('The tool answered: noon')
  })

  test('an Anthropic message is answered whole', async () => {
    const body = {
      model: 'demo',
      max_tokens: 9,
      messages: [{ role: 'user', content: [{ type: 'text', text: '2 + 2' }] }],
    }
    expect(await (await post('/v1/messages', body)).json()).toMatchObject({
      type: 'message',
      role: 'assistant',
      content: [{ type: 'text', text: '2 + 2 = 4.' }],
      stop_reason: 'end_turn',
      usage: { input_tokens: 3, output_tokens: 5 },
    })
  })

  test('a streamed Anthropic message has all its events in order', async () => {
    const body = { max_tokens: 1, stream: true, messages: [{ role: 'user', content: 'count to 2' }] }
    const events = await readEvents(await post('/v1/messages', body))
    expect(events.map(({ event }) => event)).toEqual([
      'message_start',
      'content_block_start',
      'content_block_delta',
      'content_block_stop',
      'message_delta',
      'message_stop',
    ])
    expect(events.every(({ event, data }) => JSON.parse(data).type === event)).toBe(true)
    expect(JSON.parse(events[4]?.data ?? '')).toMatchObject({
      delta: { stop_reason: 'max_tokens' },
      usage: { output_tokens: 1 },
    })
  })

  test('an Anthropic message uses tools', async () => {
    const definition = { name: 'get_weather', input_schema: { properties: { city: { type: 'string' } } } }
    const messages: unknown[] = [{ role: 'user', content: 'get_weather for Oslo' }]
    const whole = await post('/v1/messages', { tools: [definition], messages })
    expect(await whole.json()).toMatchObject({
      stop_reason: 'tool_use',
      content: [{ type: 'tool_use', name: 'get_weather', input: { city: 'Oslo' } }],
    })
    const events = await readEvents(
      await post('/v1/messages', { tools: [definition], messages, stream: true }),
    )
    const json = events.map(({ data }) => JSON.parse(data).delta?.partial_json ?? '').join('')
    expect(json).toBe('{"city":"Oslo"}')
    messages.push({ role: 'user', content: [{ type: 'tool_result', tool_use_id: 't', content: 'rain' }] })
    const after = await post('/v1/messages', { tools: [definition], messages })
    expect(await after.json()).toMatchObject({ content: [{ text: 'The tool answered: rain' }] })
  })

  test('documents are ranked by the words they share with the query', async () => {
    const documents = ['a red car', 'the blue sea', { text: 'Blue and RED' }]
    const response = await post('/v1/rerank', { query: 'red blue', documents, top_n: 2 })
    expect(await response.json()).toMatchObject({
      results: [
        { index: 2, relevance_score: 1 },
        { index: 0, relevance_score: 0.5 },
      ],
    })
  })

  test('speech is a valid WAV file', async () => {
    const answer = await client.audio.speech.create({ model: 'demo', voice: 'alloy', input: 'hi' })
    expect(answer.headers.get('content-type')).toBe('audio/wav')
    const wav = Buffer.from(await answer.arrayBuffer())
    expect(wav.toString('latin1', 0, 4) + wav.toString('latin1', 8, 16)).toBe('RIFFWAVEfmt ')
    expect(wav.readUInt32LE(4)).toBe(wav.length - 8)
    expect(wav.readUInt32LE(40)).toBe(wav.length - 44)
  })

  test('a transcription names the file, its size and its hash', async () => {
    const bytes = Buffer.from(Array.from({ length: 1000 }, (_, index) => index % 256))
    const file = await toFile(bytes, 'voice.wav')
    const sha256 = createHash('sha256').update(bytes).digest('hex')
    const answer = await client.audio.transcriptions.create({ model: 'demo', file })
    expect(answer).toEqual({
      text: `voice.wav: 1000 bytes, sha256 ${sha256}`,
      file: 'voice.wav',
      bytes: 1000,
      sha256,
    })
    expect((await post('/v1/audio/transcriptions', '{}')).status).toBe(400)
  })

  test('an image is a PNG', async () => {
    const answer = await client.images.generate({ model: 'demo', prompt: 'a pixel', n: 2 })
    expect(answer.data).toHaveLength(2)
    const png = Buffer.from(answer.data?.[1]?.b64_json ?? '', 'base64')
    expect(png.subarray(0, 8)).toEqual(Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]))
  })

  test('the models are listed, and found one by one', async () => {
    const models = await client.models.list()
    expect(models.data).toMatchObject([
      { id: 'demo', owned_by: 'leasehold-demo' },
      { id: 'org/other', owned_by: 'leasehold-demo' },
    ])
    expect(await client.models.retrieve('org/other')).toMatchObject({ id: 'org/other' })
    expect((await fetch(`${url}/v1/models/org/other`)).status).toBe(200)
    expect((await fetch(`${url}/v1/models/none`)).status).toBe(404)
  })

  test('health is open, also to HEAD, and an unknown path is not found', async () => {
    expect(await (await fetch(`${url}/health`)).text()).toBe('{"status":"ok"}')
    expect((await fetch(`${url}/v1/health`, { method: 'HEAD' })).status).toBe(200)
    for (const path of ['/', '/v1/nope', '/v1/chat/completions', '/__control']) {
      const response = await fetch(`${url}${path}`)
      expect(response.status).toBe(404)
      expect(await response.json()).toEqual({
        error: { message: 'File Not Found', type: 'not_found_error', code: 404 },
      })
    }
  })
})

describe('the ledger', () => {
  test('a request is kept to the letter and counted by its path', async () => {
    const before = server.counts['/v1/chat/completions'] ?? 0
    const body = '{ "messages": [],\n "seed": 12345678901234567890 }'
    await post('/v1/chat/completions?a=1', body, { 'x-trace': 't1' })
    expect(server.requests.at(-1)).toMatchObject({
      method: 'POST',
      path: '/v1/chat/completions?a=1',
      headers: { 'x-trace': 't1' },
      body,
    })
    expect(server.counts['/v1/chat/completions']).toBe(before + 1)
  })

  test('the requests kept and the paths counted have a limit', async () => {
    await using other = createModelServer()
    const { url: otherUrl } = await other.listen()
    for (let index = 0; index < 1010; index += 1) await (await fetch(`${otherUrl}/${index}`)).text()
    expect(other.requests).toHaveLength(1000)
    expect(other.requests[0]?.path).toBe('/10')
    expect(Object.keys(other.counts).length).toBeLessThanOrEqual(101)
    expect(other.counts.other).toBe(1010 - 99)
  })
})

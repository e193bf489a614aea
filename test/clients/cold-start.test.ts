// @module-tag waits

import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { streamText } from 'ai'
import { describe, expect, test } from 'vitest'
import { ask } from '../integration/library.ts'
import { hasCurl, runCurl } from './curl.ts'
import {
  catchError,
  collect,
  countRequests,
  type Doors,
  doors,
  openDoors,
  toOpenAi,
  type Way,
} from './doors.ts'

const model = 'demo/demo'
const question = { model, messages: ask('count to 9'), stream: true } as const
const answer = '1 2 3 4 5 6 7 8 9'

const slow = { flags: ['--load-ms', '200'], leasehold: { coldStartCommentsMs: 20 } }
const failing = { ...slow, flags: [...slow.flags, '--fail-load', 'exit'] }

/** Every client that can stream, and what it makes of the answer to the question. */
const clients: Readonly<Record<string, (way: Way) => Promise<string>>> = {
  'the openai client': async (way) => {
    const chunks = await collect(await toOpenAi(way).chat.completions.create(question))
    return chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join('')
  },
  'the openai client, read as plainly as can be': async (way) => {
    let text = ''
    for await (const chunk of await toOpenAi(way).chat.completions.create(question))
      text += (chunk.choices[0] as (typeof chunk.choices)[number]).delta.content ?? ''
    return text
  },
  "the openai client's helper": async (way) => {
    const stream = toOpenAi(way).chat.completions.stream(question)
    return (await stream.finalChatCompletion()).choices[0]?.message.content ?? ''
  },
  "the openai client's responses": async (way) => {
    const stream = await toOpenAi(way).responses.create({ model, input: 'count to 9', stream: true })
    const events = await collect(stream)
    // Unlike an error of the other APIs, one of this API is an event that the client passes on.
    const failed = events.find((event) => event.type === 'response.failed')
    if (failed !== undefined) throw Object.assign(new Error(), failed.response.error)
    return events.map((event) => (event.type === 'response.output_text.delta' ? event.delta : '')).join('')
  },
  'the Vercel AI SDK': async (way) => {
    const provider = createOpenAICompatible({ name: 'leasehold', ...way })
    const { fullStream } = streamText({
      model: provider.chatModel(model),
      prompt: 'count to 9',
      onError: () => {},
    })
    let text = ''
    for await (const part of fullStream) {
      if (part.type === 'error') throw part.error
      if (part.type === 'text-delta') text += part.text
    }
    return text
  },
}

describe.each(Object.entries(clients))('%s', (_, read) => {
  test.each(doors)(
    'gets its whole answer from a server that loads for long, through the %s (fault 17)',
    async (door) => {
      await using house = await openDoors(slow)
      const { way, sent } = countRequests(house.ways[door])
      expect(await read(way)).toBe(answer)
      expect(sent).toHaveLength(1)
      expect(house.library.all('process.spawned')).toHaveLength(1)
    },
  )

  test('is told of a start that fails while it waits', async () => {
    await using house = await openDoors(failing)
    const { way, sent } = countRequests(house.ways.gateway)
    const error = await catchError(read(way))
    expect(error).toMatchObject({
      code: 'LEASEHOLD_EXITED_BEFORE_READY',
      message: expect.stringContaining('failed to load model'),
    })
    expect(sent).toHaveLength(1)
  })
})

test("the openai client's helper for responses has the failure in its response", async () => {
  await using house = await openDoors(failing)
  const stream = toOpenAi(house.ways.gateway).responses.stream({ model, input: 'count to 9' })
  const types = (await collect(stream)).map(({ type }) => type)
  expect(types).toEqual(['response.created', 'response.failed'])
  expect((await stream.finalResponse()).error).toMatchObject({ code: 'LEASEHOLD_EXITED_BEFORE_READY' })
})

test('a server that compresses is understood after comments, too', async () => {
  await using house = await openDoors({ ...slow, flags: [...slow.flags, '--gzip'] })
  expect(await clients['the openai client']?.(house.ways.gateway)).toBe(answer)
})

test('the openai client is told of a server that, once ready, refuses after comments were sent', async ({
  expect,
}) => {
  await using house = await openDoors({ ...slow, flags: [...slow.flags, '--reject-tools'] })
  const stream = await toOpenAi(house.ways.gateway).chat.completions.create({
    ...question,
    tools: [{ type: 'function', function: { name: 'f' } }],
  })
  // The server's own words, with ours below them.
  expect(await catchError(collect(stream))).toMatchObject({
    message: expect.stringMatching(/tools param requires --jinja flag[\s\S]*leasehold: /),
  })
  await expect.poll(() => house.service()).toMatchObject({ state: 'ready', leases: 0 })
})

/** As openai-go up to 3.30 reads a stream: an empty line always ends an event, and every event must hold JSON. */
function readAsOpenAiGo(text: string): string {
  let answer = ''
  let data = ''
  for (const line of text.split('\n')) {
    if (line.startsWith('data: ')) data += line.slice('data: '.length)
    if (line !== '') continue
    if (data === '[DONE]') return answer
    answer += JSON.parse(data).choices[0]?.delta.content ?? ''
    data = ''
  }
  throw new Error('no [DONE]')
}

test('a client that takes every empty line for the end of an event reads a cold start', async () => {
  await using house = await openDoors(slow)
  const { baseURL, fetch } = house.ways.gateway
  const response = await fetch(`${baseURL}/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(question),
  })
  const text = await response.text()
  expect(text).toMatch(/^: leasehold /)
  expect(readAsOpenAiGo(text)).toBe(answer)
})

describe.skipIf(!hasCurl)('the bytes that curl gets from a cold start', () => {
  test('begin with comments that say what is true, and go on with the answer', async () => {
    await using house = await openDoors(slow)
    const { exitCode, text } = await runStream(house)
    expect(exitCode).toBe(0)
    const [, comments = '', events = ''] = /^((?:: [^\n]*\n)+)(.*)$/s.exec(text) ?? []
    const states = house.library.all('service.state').map(({ to }) => to)
    for (const comment of comments.trimEnd().split('\n')) {
      const [, state] = /^: leasehold demo is (\S+) for \d+ s(?:[,;] [^\n]+)?$/.exec(comment) ?? []
      expect(states).toContain(state)
      expect(state).toMatch(/^(?:probing|starting\.)/)
    }
    expect(events).toMatch(/^data: \{.*\}\n\ndata: \[DONE\]\n\n$/s)
    expect(events).not.toMatch(/^:/m)
    expect(toText(events)).toBe(answer)
  })

  test('are only the answer when comments are off, and when the server is up', async () => {
    await using house = await openDoors({ ...slow, leasehold: { coldStartCommentsMs: 0 } })
    const cold = await runStream(house)
    const warm = await runStream(house)
    for (const { text } of [cold, warm]) {
      expect(text).toMatch(/^data: /)
      expect(text).not.toMatch(/^:/m)
      expect(toText(text)).toBe(answer)
    }
  })

  test('end in an error event and a cut connection when the start fails', async () => {
    await using house = await openDoors(failing)
    const { exitCode, text } = await runStream(house)
    expect(exitCode).toBe(18)
    expect(text).toMatch(/^: leasehold .*\nevent: error\ndata: .*LEASEHOLD_EXITED_BEFORE_READY.*\n\n$/s)
    expect(text).not.toContain('[DONE]')
  })
})

describe.each(doors)(
  'a server whose health says 200 while it answers 503 "Loading model", through the %s,',
  (door) => {
    const flags = ['--load-ms', '500', '--health-while-loading', '200']

    test.each([
      [false, flags],
      [true, flags],
      [false, [...flags, '--gzip']],
    ])('is waited for: the client never sees the 503 (stream: %s, flags: %j)', async (stream, flags) => {
      await using house = await openDoors({ flags })
      const { way, sent } = countRequests(house.ways[door])
      const openai = toOpenAi(way)
      const { stream: _, ...body } = question
      const text = stream
        ? await clients['the openai client']?.(way)
        : (await openai.chat.completions.create(body)).choices[0]?.message.content
      expect(text).toBe(answer)
      expect(sent).toHaveLength(1)
      expect(house.library.all('request.responded')).toMatchObject([{ status: 200 }])
      const { counts } = await house.library.seen()
      expect(counts['/v1/chat/completions']).toBeGreaterThan(1)
    })
  },
)

function runStream(house: Doors) {
  const url = `${house.url}/v1/chat/completions`
  return runCurl(url, '--no-buffer', '--json', JSON.stringify(question))
}

/** What the model says in a stream of events. */
function toText(events: string): string {
  return [...events.matchAll(/"delta":\{"content":"(.*?)"\}/g)].map(([, piece]) => piece).join('')
}

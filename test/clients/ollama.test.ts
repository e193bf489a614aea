import { Ollama } from 'ollama'
import { describe, expect, test } from 'vitest'
import { openHouseWithServer } from '../gateway/house.ts'
import { openDoors } from './doors.ts'

const weather = {
  type: 'function',
  function: {
    name: 'weather',
    description: 'The weather of a place.',
    parameters: { type: 'object', properties: { place: { type: 'string' } }, required: ['place'] },
  },
}

async function collect<Part>(parts: AsyncIterable<Part>): Promise<Part[]> {
  const collected: Part[] = []
  for await (const part of parts) collected.push(part)
  return collected
}

describe("Ollama's client", () => {
  test('chats with a cold start in between, whole and streamed, and sees what runs', async () => {
    await using doors = await openDoors()
    const ollama = new Ollama({ host: doors.url })
    const { models } = await ollama.list()
    const [{ name } = { name: '' }] = models
    expect(doors.service().state).toBe('down.cold')
    const messages = [{ role: 'user', content: 'What is 17 * 3?' }]
    const answer = await ollama.chat({ model: name, messages })
    expect(answer).toMatchObject({ model: name, done: true, done_reason: 'stop' })
    expect(answer.message.content).toContain('51')
    expect(answer.eval_count).toBeGreaterThan(0)
    expect(answer.load_duration).toBeGreaterThan(0)
    const parts = await collect(
      await ollama.chat({ model: `${name}:latest`, messages, stream: true, options: { temperature: 0 } }),
    )
    expect(parts.map(({ message }) => message.content).join('')).toContain('51')
    expect(parts.map(({ done }) => done)).toEqual([...parts.slice(1).map(() => false), true])
    expect(await ollama.ps()).toMatchObject({ models: [{ name }] })
  })

  test('generates, embeds, shows, loads and unloads', async () => {
    await using doors = await openDoors()
    const ollama = new Ollama({ host: doors.url })
    const [{ name: model } = { name: '' }] = (await ollama.list()).models
    expect(await ollama.generate({ model, prompt: '' })).toMatchObject({ done_reason: 'load' })
    expect(doors.service().state).toMatch(/^ready/)
    expect(
      (await ollama.generate({ model, prompt: 'What is 2 + 2?', system: 'Be short.' })).response,
    ).toContain('4')
    const parts = await collect(await ollama.generate({ model, prompt: 'What is 2 + 2?', stream: true }))
    expect(parts.map(({ response }) => response).join('')).toContain('4')
    const { embeddings } = await ollama.embed({ model, input: ['one', 'two'] })
    expect(embeddings.map((vector) => vector.length > 0)).toEqual([true, true])
    expect((await ollama.embeddings({ model, prompt: 'one' })).embedding).toEqual(embeddings[0])
    expect((await ollama.show({ model })).capabilities).toContain('completion')
    expect(await ollama.generate({ model, prompt: '', keep_alive: 0 })).toMatchObject({
      done_reason: 'unload',
    })
    expect(doors.service().state).toBe('down.cold')
  })

  test('calls tools, with arguments as an object, and answers them', async () => {
    await using doors = await openDoors()
    const ollama = new Ollama({ host: doors.url })
    const [{ name: model } = { name: '' }] = (await ollama.list()).models
    const question = { role: 'user', content: 'What is the weather in Lisbon? Call the tool.' }
    for (const stream of [false, true] as const) {
      const calls = stream
        ? (
            await collect(await ollama.chat({ model, messages: [question], tools: [weather], stream: true }))
          ).flatMap(({ message }) => message.tool_calls ?? [])
        : ((await ollama.chat({ model, messages: [question], tools: [weather] })).message.tool_calls ?? [])
      expect(calls).toEqual([{ function: { name: 'weather', arguments: expect.any(Object) } }])
      const answer = await ollama.chat({
        model,
        messages: [
          question,
          { role: 'assistant', content: '', tool_calls: calls },
          { role: 'tool', tool_name: 'weather', content: 'rain' },
        ],
        tools: [weather],
      })
      expect(answer.done).toBe(true)
    }
  })

  test('is told of a model that is not there, and of a failure, in its own shape', async () => {
    await using doors = await openDoors()
    const ollama = new Ollama({ host: doors.url })
    await expect(
      ollama.chat({ model: 'absent', messages: [{ role: 'user', content: 'x' }] }),
    ).rejects.toThrow(/absent/)
    const answer = await fetch(`${doors.url}/api/chat`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"model":"absent","messages":[{}]}',
    })
    expect([answer.status, await answer.json()]).toEqual([
      404,
      { error: expect.stringContaining('absent'), code: 'LEASEHOLD_MODEL_UNKNOWN' },
    ])
    await expect(ollama.pull({ model: 'absent' })).rejects.toThrow(/neither fetches nor changes models/)
  })

  test('stops a service with a key of the control surface alone', async () => {
    const keys = { apiKeys: ['client-key-0001'], controlKeys: ['control-key-0001'] }
    await using house = await openHouseWithServer({ leasehold: keys })
    await house.supervisor.start('local')
    const unload = (key: string) =>
      house.post('/api/generate', { model: 'demo', keep_alive: 0 }, { headers: { 'x-api-key': key } })
    const refused = await unload('client-key-0001')
    expect([refused.status, house.service().state]).toEqual([401, 'ready'])
    expect(await refused.json()).toMatchObject({ code: 'LEASEHOLD_KEY_REQUIRED' })
    expect((await unload('control-key-0001')).status).toBe(200)
    expect(house.service().state).toBe('down.cold')
  })

  test('has the limits of every route: of a body, of all that wait, and of an answer', async () => {
    await using house = await openHouseWithServer({
      leasehold: { maxBodyBytes: 10_000, maxQueuedBytes: 10_000 },
    })
    const ask = (path: string, body: object, init: RequestInit = {}) =>
      house.post(path, { model: 'demo', stream: false, ...body }, init)
    const chat = (characters: number, init?: RequestInit) =>
      ask('/api/chat', { messages: [{ role: 'user', content: 'x'.repeat(characters) }] }, init)
    const tooLarge = await chat(20_000)
    expect([tooLarge.status, await tooLarge.json()]).toEqual([
      413,
      { error: expect.stringContaining('10000 bytes'), code: 'LEASEHOLD_BAD_REQUEST' },
    ])
    await house.supervisor.start('local')
    house.server.set({ hang: true })
    const leaving = new AbortController()
    const waiting = chat(6_000, { signal: leaving.signal }).catch(() => {})
    await expect.poll(() => house.supervisor.requests()).toMatchObject([{ state: 'sending' }])
    const surplus = await chat(6_000)
    expect([surplus.status, await surplus.json()]).toMatchObject([503, { code: 'LEASEHOLD_OVERLOADED' }])
    leaving.abort()
    await waiting
    await expect.poll(() => house.service().leases).toBe(0)
    house.server.set({ hang: false })
    expect((await chat(6_000)).status).toBe(200)
    const tooLong = await ask('/api/embed', { input: Array.from({ length: 500 }, () => 'x') })
    expect([tooLong.status, await tooLong.json()]).toEqual([
      502,
      { error: expect.stringContaining('larger than 10000 bytes'), code: 'LEASEHOLD_UPSTREAM_FAILED' },
    ])
    await expect.poll(() => house.service().leases).toBe(0)
  })

  test('may send its body without a type, as litellm does, or with that of a form, as curl does', async () => {
    await using house = await openHouseWithServer()
    const ask = (path: string, headers: Record<string, string> = {}) =>
      fetch(house.url + path, {
        method: 'POST',
        headers,
        // A text would get a type of its own.
        body: Buffer.from('{"model":"demo","prompt":"What is 2 + 2?","messages":[],"stream":false}'),
      })
    const form = { 'content-type': 'application/x-www-form-urlencoded' }
    for (const headers of [{}, form]) {
      const answer = await ask('/api/generate', headers)
      expect([answer.status, (await answer.json()).response]).toEqual([200, '2 + 2 = 4.'])
      // Routes that do something else keep their rule.
      for (const path of ['/v1/chat/completions', '/infill', '/api/stop', '/api/services/local/stop'])
        expect((await ask(path, headers)).status).toBe(415)
      // A form of a page may come without asking, and says where it comes from.
      for (const page of [{ origin: 'http://evil.example' }, { origin: 'null' }])
        expect((await ask('/api/generate', { ...headers, ...page })).status).toBe(403)
      expect((await ask('/api/generate', { ...headers, 'sec-fetch-site': 'cross-site' })).status).toBe(403)
    }
    expect((await ask('/api/generate', { 'content-type': 'text/html' })).status).toBe(415)
  })

  test('is told of a body that is nested too deep', async () => {
    await using house = await openHouseWithServer()
    const answer = await fetch(`${house.url}/api/chat`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: `{"model":"demo","format":${'{"a":'.repeat(9_000)}1${'}'.repeat(9_001)}`,
    })
    expect([answer.status, await answer.json()]).toMatchObject([400, { code: 'LEASEHOLD_BAD_REQUEST' }])
  })
})

import { expect, test } from 'vitest'
import { type CapturedBodies, createBodyCapture } from '../../src/request/body-capture.ts'
import { type House, openHouseWithServer } from './house.ts'

const chat = {
  model: 'demo',
  messages: [{ role: 'user', content: 'What is 6 * 7? My key is sk-very-secret-1.' }],
}

const ask = async (house: House, body: object = chat): Promise<string> => {
  const response = await house.post('/v1/chat/completions', body)
  await response.text()
  return response.headers.get('x-leasehold-request-id') ?? ''
}
const read = async (house: House, id: string): Promise<{ status: number; bodies: CapturedBodies }> => {
  const response = await fetch(`${house.url}/api/requests/${id}/bodies`)
  return { status: response.status, bodies: (await response.json()) as CapturedBodies }
}

test('the bodies of a request are not kept unless the configuration asks for it', async () => {
  await using house = await openHouseWithServer()
  expect((await read(house, await ask(house))).status).toBe(404)
  expect(house.supervisor.snapshot().config.capturesBodies).toBe(false)
})

test('with captureBodies the last ones are kept, with secrets masked and to a limit', async () => {
  await using house = await openHouseWithServer({
    leasehold: { captureBodies: true },
    provider: { apiKey: 'sk-very-secret-1' },
  })
  expect(house.supervisor.snapshot().config.capturesBodies).toBe(true)
  const first = await ask(house)
  const { bodies } = await read(house, first)
  expect(bodies.request).toMatchObject({ type: 'application/json', bytes: JSON.stringify(chat).length })
  expect(bodies.request.text).toContain('What is 6 * 7? My key is ***.')
  expect(bodies.answer?.text).toContain('42')
  // No list and no event has any of it.
  const lists = await Promise.all(
    ['requests?ended=9', 'events?last=99&follow=0', 'services'].map(async (path) =>
      (await fetch(`${house.url}/api/${path}`)).text(),
    ),
  )
  expect(lists.join()).not.toMatch(/6 \* 7|very-secret/)

  // A stream as it was sent, and a large body only in part: not even half of a secret at the cut.
  const content = `${'x'.repeat(65_536 - 58)}sk-very-secret-1${'y'.repeat(200_000)}`
  const large = { model: 'demo', stream: true, messages: [{ role: 'user', content }] }
  const second = await read(house, await ask(house, large))
  expect(second.bodies.request.bytes).toBe(JSON.stringify(large).length)
  expect(second.bodies.request.text?.length).toBe(65_536)
  expect(second.bodies.request.text).not.toContain('sk-very')
  expect(second.bodies.answer?.type).toBe('text/event-stream')
  expect(second.bodies.answer?.text).toContain('data: [DONE]')

  for (let more = 0; more < 50; more += 1) await ask(house)
  expect((await read(house, first)).status).toBe(404)

  // What was kept goes when the configuration takes it back.
  const last = await ask(house)
  expect((await read(house, last)).status).toBe(200)
  const { config } = house.supervisor
  await house.supervisor.replaceConfig({
    ...config,
    leasehold: { ...config.leasehold, captureBodies: false },
  })
  expect((await read(house, last)).status).toBe(404)
  await house.supervisor.replaceConfig(config)
  expect((await read(house, last)).status).toBe(404)
})

test('with captureBodies the headers of both sides are kept, and credentials are masked by name and by value', async () => {
  await using house = await openHouseWithServer({
    leasehold: { captureBodies: true, apiKeys: ['key-of-client-1'] },
    provider: { apiKey: 'sk-very-secret-1' },
  })
  const headers = {
    authorization: 'Bearer key-of-client-1',
    cookie: 'session=of-a-person',
    'x-goog-api-key': 'not-known-here',
    'x-forwarded-access-token': 'not-known-either',
    'x-note': 'it quotes sk-very-secret-1 and is long',
    'x-ratelimit-remaining-tokens': '12',
  }
  const path = '/v1/chat/completions?api_key=unknown-too&max_tokens=7&note=key-of-client-1'
  const response = await house.post(path, chat, { headers })
  await response.text()
  const id = response.headers.get('x-leasehold-request-id') ?? ''
  const key = { headers: { authorization: 'Bearer key-of-client-1' } }
  const answer = await fetch(`${house.url}/api/requests/${id}/bodies`, key)
  const text = await answer.text()
  const { request, answer: got }: CapturedBodies = JSON.parse(text)

  expect(request).toMatchObject({
    method: 'POST',
    path: '/v1/chat/completions?api_key=***&max_tokens=7&note=***',
  })
  const sent = Object.fromEntries(request.headers)
  expect(sent).toMatchObject({
    authorization: '***',
    cookie: '***',
    'x-goog-api-key': '***',
    'x-forwarded-access-token': '***',
    'x-note': 'it quotes *** and is long',
    'x-ratelimit-remaining-tokens': '12',
    'content-type': 'application/json',
  })
  expect(got?.status).toBe(200)
  expect(Object.fromEntries(got?.headers ?? [])).toMatchObject({
    'content-type': 'application/json; charset=utf-8',
    'x-leasehold-request-id': id,
  })
  expect(text).not.toMatch(/not-known|of-a-person|unknown-too|very-secret|key-of-client/)
})

test('of many headers the first 16 KiB are kept, without half of a secret at the cut', () => {
  const scrub = (text: string) => text.replaceAll('sk-very-secret-1', '***')
  const { watch, find } = createBodyCapture(() => true, scrub)
  const headers = {
    'x-long': `${'x'.repeat(16_384 - 9)}sk-very-secret-1${'y'.repeat(20_000)}`,
    'x-later': 'left out',
  }
  const request = { method: 'POST', path: '/v1/chat/completions', headers, body: Buffer.from('{}') }
  const client = watch('x', request, {
    onHead: () => {},
    onData: () => true,
    onEnd: () => {},
    onError: () => {},
  })
  const cookies = Array.from({ length: 150 }, (_, index) => `a=${index}`)
  client.onHead(201, { 'set-cookie': cookies, 'x-later': 'left out' })
  const { request: sent, answer } = find('x') ?? {}
  expect(sent?.headers.map(([name]) => name)).toEqual(['x-long'])
  expect(sent?.headers[0]?.[1].slice(-5)).toBe('x***…')
  expect(answer).toMatchObject({ status: 201, headers: Array(100).fill(['set-cookie', '***']) })
})

test('with captureBodies a client is still told of its wait before the answer', () => {
  const { watch } = createBodyCapture(
    () => true,
    (text) => text,
  )
  const told: unknown[] = []
  const client = {
    onEarly: (headers: unknown) => void told.push(headers),
    onHead: () => {},
    onData: () => true,
    onEnd: () => {},
    onError: () => {},
  }
  const request = { method: 'POST', path: '/v1/chat/completions', headers: {}, body: Buffer.from('{}') }
  watch('x', request, client).onEarly?.({ 'x-leasehold-queued': '3' })
  expect(told).toEqual([{ 'x-leasehold-queued': '3' }])
})

import { expect, test } from 'vitest'
import { openHouseWithServer, readAll } from './house.ts'

const QUESTION = { messages: [{ role: 'user', content: '1+1' }] }

/** Reads server-sent events until one of them fits. */
async function readUntil(url: string, fits: (data: { type?: string; name?: string }) => boolean) {
  const leaving = new AbortController()
  const { body, status, headers } = await fetch(url, { signal: leaving.signal })
  let text = ''
  const decoder = new TextDecoder()
  const seen: Record<string, unknown>[] = []
  for await (const chunk of body ?? []) {
    text += decoder.decode(chunk, { stream: true })
    const parts = text.split('\n\n')
    text = parts.pop() ?? ''
    for (const part of parts) seen.push(JSON.parse(part.replace(/^data: /, '')))
    if (seen.some(fits)) break
  }
  leaving.abort()
  return { seen, status, type: headers.get('content-type') }
}

test('GET /api/inspect tells a late viewer of every machine that lives', async () => {
  await using house = await openHouseWithServer()
  const { service } = house.service()
  const { seen, status, type } = await readUntil(
    `${house.url}/api/inspect`,
    (data) => data.type === '@xstate.actor' && data.name === service,
  )
  expect([status, type]).toEqual([200, 'text/event-stream'])
  expect(seen[0]).toMatchObject({ type: '@xstate.actor', _version: '0.7.2', name: expect.any(String) })
})

test('GET /api/inspect ends when the gateway closes', async () => {
  const house = await openHouseWithServer()
  const response = await fetch(`${house.url}/api/inspect`)
  const reading = readAll(response)
  await house[Symbol.asyncDispose]()
  expect(await reading).toMatchObject({ isBroken: false })
})

test('the requests under way are listed, and one of them is cancelled: its client is told, its lease is free', async () => {
  await using house = await openHouseWithServer({ server: { tokenDelayMs: 60_000 } })
  const asking = house.post('/v1/chat/completions', { ...QUESTION, stream: true })
  await expect
    .poll(async () => (await (await fetch(`${house.url}/api/requests`)).json()).requests)
    .toEqual([
      {
        id: expect.any(String),
        ref: 'local/demo',
        service: house.service().key,
        state: expect.stringMatching(/sending|streaming/),
        ageMs: expect.any(Number),
        client: 'node',
        timings: {
          waitMs: expect.any(Number),
          loadMs: 0,
          firstByteMs: expect.any(Number),
          streamMs: expect.any(Number),
        },
        bytes: expect.any(Number),
        chunks: expect.any(Number),
      },
    ])
  expect(house.service().leases).toBe(1)
  const [request] = house.supervisor.requests()
  const answer = await fetch(`${house.url}/api/requests/${request?.id}`, { method: 'DELETE' })
  expect(await answer.json()).toEqual({ id: request?.id, cancelled: true })
  expect(house.service().leases).toBe(0)
  expect(house.supervisor.requests()).toEqual([])
  const { text, isBroken } = await asking.then(readAll)
  expect(isBroken || text.includes('cancelled through the control API')).toBe(true)
  expect(house.events.find(({ type }) => type === 'request.ended')).toMatchObject({ outcome: 'cancelled' })
})

test('a request that is not under way cannot be cancelled', async () => {
  await using house = await openHouseWithServer()
  await house.post('/v1/chat/completions', QUESTION)
  expect(house.supervisor.requests()).toEqual([])
  const answer = await fetch(`${house.url}/api/requests/unknown`, { method: 'DELETE' })
  expect(answer.status).toBe(404)
  expect((await answer.json()).error.message).toContain('no request "unknown"')
})

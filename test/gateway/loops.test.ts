import { connect } from 'node:net'
import { hostname } from 'node:os'
import { afterEach, describe, expect, test } from 'vitest'
import { parseConfig } from '../../src/config/load.ts'
import { createGateway } from '../../src/gateway/server.ts'
import { createSupervisor } from '../../src/supervisor/supervisor.ts'
import { createModelServer } from '../../src/testing/model-server/model-server.ts'
import { createRawServer, takeFreePort } from '../transport/raw-server.ts'
import { type House, openHouse, openHouseWithServer } from './house.ts'

const closing: AsyncDisposable[] = []
afterEach(async () => {
  for (const one of closing.splice(0).reverse()) await one[Symbol.asyncDispose]()
})
const keep = <One extends AsyncDisposable>(one: One): One => {
  closing.push(one)
  return one
}
/** Requests that were taken on: one that is refused as a loop asks for no lease. */
const started = ({ events }: { events: readonly { type: string; id?: string }[] }) =>
  new Set(events.filter(({ type }) => type === 'lease.requested').map(({ id }) => id)).size

describe('a request that comes back', () => {
  test('by another address of the gateway is refused at once, and says so', async () => {
    let target = 0
    const detour = keep(
      await createRawServer((socket, head) => {
        const on = connect(target, '127.0.0.1')
        on.on('error', () => {})
        on.write(head, 'latin1')
        socket.pipe(on).pipe(socket)
      }),
    )
    const house = keep(
      await openHouse({
        serverUrl: detour.url,
        leasehold: { heartbeatMs: 3_600_000, allowedHosts: [`127.0.0.1:${detour.port}`] },
      }),
    )
    target = house.port
    const response = await house.post('/v1/chat/completions', { model: 'local/demo' })
    expect([response.status, response.headers.get('x-should-retry')]).toEqual([508, 'false'])
    expect(await response.json()).toMatchObject({
      error: {
        code: 'LEASEHOLD_LOOP',
        message: expect.stringMatching(/came back to this leasehold \(.* → .*\)/),
      },
    })
    expect(house.events.filter(({ type }) => type === 'request.ended')).toHaveLength(2)
  })

  test('ends between two gateways that name each other as replicas while both servers are down', async () => {
    const [down, portB] = [await takeFreePort(), await takeFreePort()]
    const toProvider = (other: number) => ({
      baseUrl: `http://127.0.0.1:${down}/v1`,
      replicas: [{ baseUrl: `http://127.0.0.1:${other}/v1` }],
    })
    const a = keep(await openHouse({ serverUrl: '', provider: toProvider(portB) }))
    const b = keep(
      await openHouse({ serverUrl: '', provider: toProvider(a.port), leasehold: { port: portB } }),
    )
    const response = await a.post('/v1/chat/completions', { model: 'local/demo' })
    expect(response.status).toBeGreaterThanOrEqual(500)
    const { error } = (await response.json()) as { error: { code: string } }
    expect(error.code).toMatch(/^LEASEHOLD_/)
    expect(started(a)).toBeLessThanOrEqual(1)
    expect(started(b)).toBeLessThanOrEqual(1)
  })
})

test('two gateways that list each other as replicas hand requests over once, and never back (row 18)', async () => {
  const server = createModelServer({ firstTokenMs: 100 })
  keep({ [Symbol.asyncDispose]: () => server.close() })
  const { url } = await server.listen()
  const portB = await takeFreePort()
  const toProvider = (other: number) => ({ replicas: [{ baseUrl: `http://127.0.0.1:${other}/v1` }] })
  const quiet = { heartbeatMs: 3_600_000 }
  const a = keep(await openHouse({ serverUrl: url, provider: toProvider(portB), leasehold: quiet }))
  const b = keep(
    await openHouse({ serverUrl: url, provider: toProvider(a.port), leasehold: { ...quiet, port: portB } }),
  )
  const ask = async () => {
    const response = await a.post('/v1/chat/completions', {
      model: 'demo',
      messages: [{ role: 'user', content: 'hello' }],
    })
    await response.text()
    return response.status
  }
  for (const { supervisor } of [a, b]) for (const id of ['local', 'local#2']) await supervisor.start(id)
  // With a request under way each looks busier than the other.
  const asked = Array.from({ length: 16 }, ask)
  expect(await Promise.all(asked)).toEqual(asked.map(() => 200))
  const ended = ({ events }: House) => events.filter(({ type }) => type === 'request.ended').length
  expect(ended(a)).toBe(16)
  expect(ended(b)).toBeGreaterThan(0)
})

test('a replica that is a leasehold gets requests of another leasehold where its provider is one, too', async () => {
  const fars = [keep(await openHouseWithServer()), keep(await openHouseWithServer())] as const
  const middle = keep(
    await openHouse({
      serverUrl: fars[0].url,
      provider: { models: [{ id: 'local/demo' }], replicas: [{ baseUrl: `${fars[1].url}/v1` }] },
    }),
  )
  const near = keep(
    await openHouse({ serverUrl: middle.url, provider: { models: [{ id: 'local/local/demo' }] } }),
  )
  const ask = async () => {
    const messages = [{ role: 'user', content: 'hello' }]
    const response = await near.post('/v1/chat/completions', { model: 'local/local/local/demo', messages })
    await response.text()
    return response.status
  }
  for (const id of ['local', 'local#2']) await middle.supervisor.start(id)
  const asked = Array.from({ length: 8 }, ask)
  expect(await Promise.all(asked)).toEqual(asked.map(() => 200))
  expect(started(fars[0])).toBeGreaterThan(0)
  expect(started(fars[1])).toBeGreaterThan(0)
})

test('a chain of two gateways serves', async () => {
  const far = keep(await openHouseWithServer())
  const near = keep(await openHouse({ serverUrl: far.url, provider: { models: [{ id: 'local/demo' }] } }))
  const response = await near.post('/v1/chat/completions', {
    model: 'local/local/demo',
    messages: [{ role: 'user', content: 'hello' }],
  })
  expect(response.status).toBe(200)
  await response.text()
  expect(started(far)).toBe(1)
})

test('a remote provider gets the priority and the mark, and what the client sent of both is not passed through', async () => {
  const server = keep(
    await createRawServer((socket) =>
      socket.end('HTTP/1.1 200 OK\r\ncontent-length: 11\r\nconnection: close\r\n\r\n{"data":[]}'),
    ),
  )
  const house = keep(await openHouse({ serverUrl: server.url, leasehold: { heartbeatMs: 3_600_000 } }))
  const ask = (headers: Record<string, string>) =>
    house.post('/v1/chat/completions', { model: 'local/demo' }, { headers })
  await ask({ 'x-leasehold-priority': '900', 'x-leasehold-hop': 'abc#1' })
  await ask({})
  const [first = '', second = ''] = server.received.filter((text) => text.startsWith('POST'))
  expect(first).toMatch(/^x-leasehold-priority: 100\r$/m)
  expect(first).toMatch(/^x-leasehold-hop: abc#1, [0-9a-f]{12}#1\r$/m)
  expect(second).not.toContain('x-leasehold-priority')
  expect(second).toMatch(/^x-leasehold-hop: [0-9a-f]{12}#2\r$/m)
})

test('the library and the door of Ollama read the priority and the mark of a request as the gateway does', async () => {
  const server = keep(
    await createRawServer((socket) =>
      socket.end('HTTP/1.1 200 OK\r\ncontent-length: 11\r\nconnection: close\r\n\r\n{"data":[]}'),
    ),
  )
  const house = keep(await openHouse({ serverUrl: server.url, leasehold: { heartbeatMs: 3_600_000 } }))
  const headers = {
    'content-type': 'application/json',
    'x-leasehold-priority': '7',
    'x-leasehold-hop': 'abc#1',
  }
  const body = JSON.stringify({ model: 'local/demo', messages: [{ role: 'user', content: 'x' }] })
  const asked = { method: 'POST', headers, body }
  await house.supervisor.fetch('http://leasehold/v1/chat/completions', asked)
  await fetch(`${house.url}/api/chat`, asked)
  const posts = server.received.filter((text) => text.startsWith('POST'))
  expect(posts).toHaveLength(2)
  for (const post of posts) {
    expect(post).toMatch(/^x-leasehold-priority: 7\r$/m)
    expect(post).toMatch(/^x-leasehold-hop: abc#1, [0-9a-f]{12}#\d\r$/m)
  }
})

test('a request that has passed four gateways goes no further', async () => {
  const house = keep(await openHouseWithServer())
  const ask = async (hops: string) =>
    (
      await house.post(
        '/v1/chat/completions',
        { model: 'demo', messages: [] },
        { headers: { 'x-leasehold-hop': hops } },
      )
    ).status
  expect(await ask('a#1, b#2, c#3')).not.toBe(508)
  expect(await ask('a#1, b#2, c#3, d#4')).toBe(508)
  expect(await ask('x'.repeat(600))).toBe(508)
})

test.each(['localhost', '127.0.0.1', hostname()])(
  'a gateway that takes a port which a provider names at %s does not listen',
  async (name) => {
    const port = await takeFreePort()
    const providers = { self: { baseUrl: `http://${name}:${port}/v1` } }
    const config = parseConfig(JSON.stringify({ models: { providers } }))
    const supervisor = createSupervisor({ config })
    const gateway = createGateway({ supervisor, port })
    await expect(gateway.listen()).rejects.toMatchObject({
      code: 'LEASEHOLD_LISTEN_FAILED',
      message: expect.stringContaining('provider "self"'),
    })
    await gateway.close()
    await supervisor.close({ force: true })
  },
)

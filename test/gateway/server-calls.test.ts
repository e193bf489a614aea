import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { findFreePort } from '../../src/testing/real-host.ts'
import { type House, openHouse } from './house.ts'

interface Behaviour {
  readonly onRequest?: (request: IncomingMessage, response: ServerResponse) => void
  readonly onUpgrade?: (socket: Duplex) => void
}

/** A server that behaves as a test wants. */
async function openServer({ onRequest, onUpgrade }: Behaviour) {
  const server = createServer((request, response) => {
    if (request.url === '/v1/models') return void response.end(JSON.stringify({ data: [{ id: 'demo' }] }))
    onRequest?.(request, response)
  })
  const tunnels: Duplex[] = []
  server.on('upgrade', (_, socket) => {
    tunnels.push(socket)
    socket.on('error', () => {})
    socket.write('HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\r\n')
    onUpgrade?.(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    [Symbol.asyncDispose]: async () => {
      for (const tunnel of tunnels) tunnel.destroy()
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

const toUpgrade = ({ port }: House, path = '/upstream/local/live?start=1') =>
  `GET ${path} HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: abc\r\n\r\n`

/** A client of a tunnel, once the tunnel is open; `read` is what it has read after the head. */
async function openTunnel(house: House, options: { readonly allowHalfOpen?: boolean } = {}) {
  const socket = connect({ port: house.port, host: '127.0.0.1', ...options })
  socket.on('error', () => {})
  const chunks: Buffer[] = []
  socket.on('data', (chunk) => chunks.push(chunk))
  socket.write(toUpgrade(house))
  const all = () => Buffer.concat(chunks).toString('latin1')
  await expect.poll(all).toMatch(/^HTTP\/1.1 101 .*\r\n\r\n/s)
  return { socket, read: () => all().replace(/^.*?\r\n\r\n/s, '') }
}

const requestEvents = ({ events }: House) => events.filter(({ type }) => type.startsWith('request.'))
const settled = (house: House) => expect.poll(() => house.service().leases).toBe(0)

describe('a request for the server itself', () => {
  test('is among the open requests, in the events and in the metrics as any other', async () => {
    let held: ServerResponse | undefined
    await using server = await openServer({
      onRequest: (_, response) => {
        held = response.writeHead(200, { 'content-type': 'text/plain' })
        response.write('begun')
      },
    })
    await using house = await openHouse({ serverUrl: server.url })
    const answer = await fetch(`${house.url}/upstream/local/page?secret=1&start=1`)
    const id = answer.headers.get('x-leasehold-request-id') ?? ''
    const listed = async () => (await (await fetch(`${house.url}/api/requests`)).json()).requests
    const { key } = house.service()
    expect(await listed()).toMatchObject([
      { id, ref: 'local/demo', state: 'streaming', service: key, client: 'node' },
    ])
    held?.end()
    await answer.text()
    await settled(house)
    await expect.poll(listed).toEqual([])
    expect(requestEvents(house)).toMatchObject([
      { type: 'request.started', requestId: id, route: '/upstream/local/page', ref: 'local/demo' },
      { type: 'request.responded', requestId: id, status: 200 },
      { type: 'request.ended', requestId: id, outcome: 'done', code: null },
    ])
    const metrics = await (await fetch(`${house.url}/metrics`)).text()
    expect(metrics).toContain(
      'leasehold_requests_total{provider="local",model="demo",route="/upstream",outcome="done"} 1',
    )
  })

  test.each([
    ['/props?model=local/demo', undefined, '/props'],
    ['/tokenize', { model: 'local/demo', content: 'x' }, '/tokenize'],
    ['/api/generate', { model: 'demo', prompt: 'x', stream: false }, '/api/generate'],
    ['/api/embed', { model: 'demo', input: 'x' }, '/api/embed'],
  ])('is counted under the route of the client: %s', async (path, body, route) => {
    await using server = await openServer({
      onRequest: (_, response) =>
        void response.writeHead(200, { 'content-type': 'application/json' }).end('{}'),
    })
    await using house = await openHouse({ serverUrl: server.url })
    const answer = body === undefined ? await fetch(house.url + path) : await house.post(path, body)
    expect(answer.status).toBe(200)
    await answer.text()
    await settled(house)
    expect(requestEvents(house)[0]).toMatchObject({ type: 'request.started', route, ref: 'local/demo' })
    const metrics = await (await fetch(`${house.url}/metrics`)).text()
    expect(metrics).toContain(`route="${route}",outcome="done"} 1`)
  })

  test('fails with the code of its failure, and is cancelled when its client leaves', async () => {
    let arrivals = 0
    await using server = await openServer({
      onRequest: ({ url }, response) => {
        arrivals += 1
        if (url === '/broken') response.destroy()
      },
    })
    await using house = await openHouse({ serverUrl: server.url })
    expect((await fetch(`${house.url}/upstream/local/broken`)).status).toBe(502)
    const leaving = new AbortController()
    const left = fetch(`${house.url}/upstream/local/slow`, { signal: leaving.signal }).catch(() => {})
    await expect.poll(() => arrivals).toBe(2)
    leaving.abort()
    await left
    await settled(house)
    expect(requestEvents(house).filter(({ type }) => type === 'request.ended')).toMatchObject([
      { outcome: 'failed', code: 'LEASEHOLD_UPSTREAM_FAILED' },
      { outcome: 'cancelled', code: 'LEASEHOLD_ABORTED' },
    ])
  })

  test('can be cancelled through the control surface, and its client is told', async () => {
    await using server = await openServer({})
    await using house = await openHouse({ serverUrl: server.url })
    const answer = fetch(`${house.url}/upstream/local/slow`)
    await expect.poll(() => house.supervisor.requests()).toMatchObject([{ state: 'sending' }])
    const [{ id } = { id: '' }] = house.supervisor.requests()
    expect(house.supervisor.cancel(id)).toBe(true)
    const { status } = await answer
    expect(status).toBe(499)
    expect(await (await answer).text()).toContain('cancelled through the control API')
    await settled(house)
  })

  test('reads a server that leasehold does not start without ?start=1', async () => {
    await using server = await openServer({ onRequest: (_, response) => void response.end('page') })
    await using house = await openHouse({ serverUrl: server.url })
    expect(house.service().state).toBe('down.cold')
    const answer = await fetch(`${house.url}/upstream/local/`)
    expect([answer.status, await answer.text()]).toEqual([200, 'page'])
  })

  test('is told that such a server is not there, and nothing of a start', async () => {
    await using house = await openHouse({ serverUrl: `http://127.0.0.1:${await findFreePort()}` })
    const answer = await fetch(`${house.url}/upstream/local/`)
    expect(answer.status).toBe(503)
    const { error } = await answer.json()
    expect(error.code).toBe('LEASEHOLD_NOT_REACHABLE')
    expect(error.message).not.toContain('?start=1')
  })
})

describe('a tunnel', () => {
  test('is among the open requests, counts as done, and ends when it is cancelled', async () => {
    await using server = await openServer({ onUpgrade: (socket) => socket.pipe(socket) })
    await using house = await openHouse({ serverUrl: server.url })
    const first = await openTunnel(house)
    expect(house.supervisor.requests()).toMatchObject([{ ref: 'local/demo', state: 'streaming' }])
    first.socket.end('bye')
    await once(first.socket, 'close')
    expect(first.read()).toBe('bye')
    await settled(house)
    expect(requestEvents(house).at(-1)).toMatchObject({ type: 'request.ended', outcome: 'done' })
    const second = await openTunnel(house)
    const [{ id } = { id: '' }] = house.supervisor.requests()
    const closed = once(second.socket, 'close')
    house.supervisor.cancel(id)
    await closed
    await settled(house)
    expect(requestEvents(house).at(-1)).toMatchObject({ outcome: 'cancelled', code: 'LEASEHOLD_ABORTED' })
  })

  test('brings a client that has closed its side the last words of the server', async () => {
    await using server = await openServer({
      onUpgrade: (socket) => {
        let text = ''
        socket.on('data', (chunk) => {
          text += chunk
        })
        // As a server does that answers a close frame after some work.
        socket.once('end', () => setTimeout(() => socket.end(`heard ${text}`), 50))
      },
    })
    await using house = await openHouse({ serverUrl: server.url })
    const { socket, read } = await openTunnel(house, { allowHalfOpen: true })
    socket.end('question')
    await once(socket, 'end')
    expect(read()).toBe('heard question')
    socket.destroy()
    await settled(house)
  })

  test('brings a slow client everything that the server sent before it closed', async () => {
    const bytes = 8_000_000
    let hasClosed = false
    await using server = await openServer({
      onUpgrade: (socket) => {
        socket.end(Buffer.alloc(bytes, 'x'))
        socket.once('close', () => {
          hasClosed = true
        })
      },
    })
    await using house = await openHouse({ serverUrl: server.url })
    const socket: Socket = connect(house.port, '127.0.0.1')
    socket.pause()
    socket.write(toUpgrade(house))
    await expect.poll(() => house.service().leases).toBe(1)
    let size = 0
    const sizeOf = (chunk: Buffer) => {
      size += chunk.length
      socket.pause()
      setTimeout(() => socket.resume(), 1)
    }
    socket.on('data', sizeOf).resume()
    await once(socket, 'close')
    expect(size).toBeGreaterThan(bytes)
    expect(hasClosed).toBe(true)
    await settled(house)
  })

  test.each([true, false])('ends with the service that is stopped, by force: %s', async (force) => {
    await using server = await openServer({ onUpgrade: (socket) => socket.resume() })
    const providers = {
      local: { baseUrl: `${server.url}/v1`, models: [{ id: 'demo' }] },
    }
    await using house = await openHouse({ serverUrl: server.url, rest: { models: { providers } } })
    const { socket } = await openTunnel(house)
    const closed = once(socket, 'close')
    const stopping = house.supervisor.stop('local', { force })
    if (!force) {
      await expect.poll(() => house.service().state).toBe('leased.draining')
      // A second stop, by force, ends the drain.
      await house.supervisor.stop('local', { force: true })
    }
    await closed
    await stopping
    await settled(house)
    expect(requestEvents(house).at(-1)).toMatchObject({ outcome: 'failed', code: 'LEASEHOLD_STOPPED' })
  })

  test('counts as a connection, and closing the gateway ends it', async () => {
    await using server = await openServer({ onUpgrade: (socket) => socket.resume() })
    await using house = await openHouse({ serverUrl: server.url, leasehold: { maxConnections: 1 } })
    const { socket } = await openTunnel(house)
    const refused = await fetch(`${house.url}/health`)
    expect([refused.status, (await refused.json()).error.code]).toEqual([503, 'LEASEHOLD_OVERLOADED'])
    const closed = once(socket, 'close')
    await house.gateway.close()
    await closed
    await settled(house)
  })
})

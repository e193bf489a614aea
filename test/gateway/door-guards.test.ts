import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { expect, test } from 'vitest'
import { findFreePort } from '../../src/testing/real-host.ts'
import { type House, type HouseOptions, openHouse, openSocket, sendRaw } from './house.ts'

const toAnswer = (head: string, body: string) => `${head}\r\ncontent-length: ${body.length}\r\n\r\n${body}`
const MODELS = toAnswer('HTTP/1.1 200 OK\r\ncontent-type: application/json', '{"data":[{"id":"demo"}]}')

/** A server that is a model server to health checks, and answers everything else as it is told. */
async function openServer(answer: (socket: Socket, text: string) => void) {
  const sockets = new Set<Socket>()
  const texts: string[] = []
  // It never closes its side by itself.
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('data', (chunk) => {
      const text = String(chunk)
      if (text.startsWith('GET /v1/models ')) return void socket.write(MODELS)
      texts.push(text)
      answer(socket, text)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    /** What it was sent, without health checks. */
    read: () => texts.join(''),
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

async function openRunning(serverUrl: string, options: Partial<HouseOptions> = {}): Promise<House> {
  const house = await openHouse({ serverUrl, ...options })
  await house.supervisor.start('local')
  return house
}

const toHead = ({ port }: House, line: string, headers: readonly string[] = []) =>
  [`${line} HTTP/1.1`, `host: 127.0.0.1:${port}`, ...headers, '\r\n'].join('\r\n')
const WEB_SOCKET = ['connection: Upgrade', 'upgrade: websocket', 'sec-websocket-key: abc']

async function ask(house: House, text: string) {
  const socket = await openSocket(house.port)
  let answer = ''
  socket.on('error', () => {})
  socket.on('data', (chunk) => {
    answer += chunk
  })
  socket.write(text)
  return { socket, read: () => answer }
}

test('a client that resets its connection while it asks for a WebSocket harms no one', async () => {
  await using server = await openServer(() => {})
  await using house = await openHouse({ serverUrl: server.url })
  for (let count = 0; count < 10; count += 1) {
    const socket = connect(house.port, '127.0.0.1')
    socket.on('error', () => {})
    await once(socket, 'connect')
    socket.write(toHead(house, 'GET /upstream/unknown/x', WEB_SOCKET))
    socket.resetAndDestroy()
  }
  expect((await fetch(`${house.url}/health`)).status).toBe(200)
})

test.each(['end', 'resetAndDestroy'] as const)(
  'a client that asks for a WebSocket and leaves with %s gives up its place in the queue',
  async (leave) => {
    const busy = createServer((socket) => {
      socket.on('error', () => {})
      socket.on('data', () => socket.end(toAnswer('HTTP/1.1 503 Busy', '')))
    })
    busy.listen(0, '127.0.0.1')
    await once(busy, 'listening')
    await using house = await openHouse({
      serverUrl: `http://127.0.0.1:${(busy.address() as AddressInfo).port}`,
    })
    const { socket } = await ask(house, toHead(house, 'GET /upstream/local/x?start=1', WEB_SOCKET))
    await expect.poll(() => house.service().queue.length).toBe(1)
    socket[leave]()
    await expect.poll(() => house.service().queue.length).toBe(0)
    socket.destroy()
    busy.close()
  },
)

test('a server that declines a WebSocket has its answer passed on, and nothing that follows reaches it', async () => {
  await using server = await openServer((socket) =>
    socket.write(toAnswer('HTTP/1.1 404 Not Found\r\nset-cookie: a=b', 'no')),
  )
  await using house = await openRunning(server.url)
  const { socket, read } = await ask(
    house,
    `${toHead(house, 'GET /upstream/local/live', WEB_SOCKET)}GET /second HTTP/1.1\r\n\r\n`,
  )
  await once(socket, 'close')
  expect(read().replace(/x-leasehold-request-id: \S+\r\n/, '')).toBe(
    'HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno',
  )
  expect(server.read()).not.toContain('/second')
  await expect.poll(() => house.service().leases).toBe(0)
})

test('a WebSocket whose client has gone ends, even when its server says nothing more', async () => {
  await using server = await openServer((socket, text) => {
    if (text.includes('upgrade'))
      socket.write('HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\r\n')
  })
  await using house = await openRunning(server.url)
  const { socket, read } = await ask(house, toHead(house, 'GET /upstream/local/live', WEB_SOCKET))
  await expect.poll(read).toContain('101')
  socket.end('bye')
  await expect.poll(() => house.service().leases).toBe(0)
  expect(server.read()).toContain('bye')
})

test('wrong keys are slowed down for a WebSocket, too', async () => {
  await using server = await openServer(() => {})
  await using house = await openHouse({
    serverUrl: server.url,
    leasehold: { apiKeys: ['client-key-0001'] },
  })
  const startedAtMs = performance.now()
  for (let count = 0; count < 12; count += 1) {
    const { socket, read } = await ask(
      house,
      toHead(house, 'GET /upstream/local/x', [...WEB_SOCKET, 'authorization: Bearer wrong']),
    )
    await once(socket, 'close')
    expect(read()).toMatch(/^HTTP\/1\.1 401 /)
  }
  expect(performance.now() - startedAtMs).toBeGreaterThan(250)
})

test('the body of a request that Node sends without one keeps its framing', async () => {
  await using server = await openServer((socket) => socket.write(toAnswer('HTTP/1.1 200 OK', 'ok')))
  await using house = await openRunning(server.url)
  const body = 'GET /second HTTP/1.1\r\n\r\n'
  const answer = await sendRaw(
    house.port,
    `${toHead(house, 'DELETE /upstream/local/x', ['transfer-encoding: chunked'])}${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`,
  )
  expect(answer.status).toBe(200)
  expect(server.read()).toMatch(
    /^DELETE \/x HTTP\/1\.1\r\n.*transfer-encoding: chunked\r\n.*\r\n\r\n18\r\nGET \/second/s,
  )
})

test('a client that waits to be asked for its body is asked', async () => {
  await using server = await openServer((socket, text) => {
    if (text.includes('body')) socket.write(toAnswer('HTTP/1.1 200 OK', 'ok'))
  })
  await using house = await openRunning(server.url)
  const { socket, read } = await ask(
    house,
    toHead(house, 'PUT /upstream/local/x', ['expect: 100-continue', 'content-length: 4']),
  )
  await expect.poll(read).toBe('HTTP/1.1 100 Continue\r\n\r\n')
  socket.write('body')
  await expect.poll(read).toMatch(/HTTP\/1\.1 200 OK.*ok$/s)
  socket.destroy()
})

test('a status that HTTP does not have is told as an error of the server', async () => {
  await using server = await openServer((socket) => socket.write(toAnswer('HTTP/1.1 000 Odd', 'ok')))
  await using house = await openRunning(server.url)
  const answer = await fetch(`${house.url}/upstream/local/x`)
  expect([answer.status, await answer.text()]).toEqual([502, expect.stringContaining('Invalid status code')])
  await expect.poll(() => house.service().leases).toBe(0)
})

test('an id that is not UTF-8 is a bad request', async () => {
  await using server = await openServer(() => {})
  await using house = await openHouse({ serverUrl: server.url })
  expect((await fetch(`${house.url}/upstream/%E0%A4/x`)).status).toBe(400)
})

test('a client that takes nothing of the answer of a server loses its lease', async () => {
  await using server = await openServer((socket) =>
    socket.write(toAnswer('HTTP/1.1 200 OK', 'x'.repeat(30_000_000))),
  )
  await using house = await openRunning(server.url, { leasehold: { writeStallMs: 200 } })
  const socket = await openSocket(house.port)
  socket.on('error', () => {})
  socket.pause()
  socket.write(toHead(house, 'GET /upstream/local/x'))
  await expect.poll(() => house.service().leases).toBe(1)
  await expect.poll(() => house.service().leases, { timeout: 5_000 }).toBe(0)
  socket.destroy()
})

test("a client that takes nothing of a stream of Ollama's API loses its lease", async () => {
  const event = `data: ${JSON.stringify({ choices: [{ delta: { content: 'x'.repeat(10_000) } }] })}\n\n`
  await using server = await openServer((socket) =>
    socket.write(`HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n${event.repeat(2_000)}`),
  )
  await using house = await openRunning(server.url, { leasehold: { writeStallMs: 200 } })
  const body = '{"model":"demo","messages":[{"role":"user","content":"x"}]}'
  const socket = await openSocket(house.port)
  socket.on('error', () => {})
  socket.pause()
  const headers = ['content-type: application/json', `content-length: ${body.length}`]
  socket.write(toHead(house, 'POST /api/chat', headers) + body)
  await expect.poll(() => house.service().leases).toBe(1)
  await expect.poll(() => house.service().leases, { timeout: 5_000 }).toBe(0)
  socket.destroy()
})

test('the answer for a page of a listed origin varies by origin, whatever the server says', async () => {
  const origin = 'https://chat.example'
  await using server = await openServer((socket) =>
    socket.write(toAnswer('HTTP/1.1 200 OK\r\nvary: accept', 'ok')),
  )
  await using house = await openRunning(server.url, { leasehold: { allowedOrigins: [origin] } })
  const answer = await fetch(`${house.url}/upstream/local/x`, { headers: { origin } })
  expect(answer.headers.get('vary')).toBe('origin, accept')
})

test('OPTIONS starts nothing, TRACE is not passed on, and HEAD stops nothing', async () => {
  await using server = await openServer((socket) => socket.write(toAnswer('HTTP/1.1 200 OK', 'ok')))
  const provider = { localService: { command: process.execPath } }
  await using house = await openHouse({ serverUrl: server.url, provider })
  expect((await sendRaw(house.port, toHead(house, 'OPTIONS /upstream/local/x'))).status).toBe(409)
  expect(house.service().state).toBe('down.cold')
  await house.supervisor.start('local')
  expect((await sendRaw(house.port, toHead(house, 'TRACE /upstream/local/x'))).status).toBe(405)
  expect((await fetch(`${house.url}/unload`, { method: 'HEAD' })).status).toBe(404)
  expect([house.service().state, server.read()]).toEqual(['ready', ''])
})

test('a circle of gateways is found at a route of llama.cpp, too', async () => {
  const port = await findFreePort()
  await using near = await openHouse({ serverUrl: `http://127.0.0.1:${port}` })
  await using far = await openHouse({ serverUrl: near.url, leasehold: { port } })
  await near.supervisor.start('local')
  await far.supervisor.start('local')
  const answer = await fetch(`${near.url}/props?model=local/demo`)
  expect([answer.status, (await answer.json()).error.code]).toEqual([508, 'LEASEHOLD_LOOP'])
})

import type { Socket } from 'node:net'
import { getGlobalDispatcher, MockAgent, setGlobalDispatcher } from 'undici'
import { expect, test } from 'vitest'
import { MAX_HEALTH_BODY_BYTES, ProbeError, probe } from '../../src/health/probe.ts'
import { createModelServer } from '../../src/testing/model-server/model-server.ts'
import { createVirtualClock } from '../../src/testing/virtual-clock.ts'
import { createRawServer, takeFreePort } from '../transport/raw-server.ts'

const key = 'Bearer for-the-provider-only'

/** Probes with a clock that stands still, so that no limit is reached unless a test moves it. */
function ask(url: string, { clock = createVirtualClock(), signal }: AskOptions = {}) {
  return probe({ url, headers: { authorization: key }, timeoutMs: 700, clock }, signal)
}

interface AskOptions {
  readonly clock?: ReturnType<typeof createVirtualClock>
  readonly signal?: AbortSignal
}

/** The verdict on a server that answers every connection with these bytes and leaves it open. */
async function askRaw(answer: string | ((socket: Socket) => void), path = '/health') {
  await using server = await createRawServer((socket) => {
    if (typeof answer === 'string') socket.write(answer, 'latin1')
    else answer(socket)
  })
  return await ask(server.url + path)
}

const head = 'HTTP/1.1 200 OK\r\n'

test('a port on which nothing listens is refused', async () => {
  expect(await ask(`http://127.0.0.1:${await takeFreePort()}/health`)).toEqual({
    kind: 'refused',
    detail: 'connection refused',
  })
})

test('a listener that is refused once connected is not sent the request', async () => {
  let bytes = 0
  await using server = await createRawServer((socket) => {
    socket.on('data', (chunk) => {
      bytes += chunk.length
    })
  })
  const connections: boolean[] = []
  const verdict = await probe({
    url: `${server.url}/health`,
    headers: { authorization: key },
    clock: createVirtualClock(),
    refuse: () => connections.push(true) > 0,
  })
  expect(verdict.kind).not.toBe('ready')
  expect({ bytes, connections }).toEqual({ bytes: 0, connections: [true] })
})

test('nothing is refused where nothing listens', async () => {
  const verdict = await probe({
    url: `http://127.0.0.1:${await takeFreePort()}/health`,
    headers: {},
    clock: createVirtualClock(),
    refuse: () => {
      throw new Error('nothing has accepted a connection')
    },
  })
  expect(verdict.kind).toBe('refused')
})

test('a server is ready once it answers, and is asked with the provider key on a connection of its own', async () => {
  await using server = await createRawServer((socket) => socket.write(`${head}content-length: 2\r\n\r\n{}`))
  for (const _ of [1, 2]) expect(await ask(`${server.url}/health?deep=1`)).toMatchObject({ kind: 'ready' })
  expect(server.received).toHaveLength(2)
  for (const request of server.received) {
    expect(request).toMatch(/^GET \/health\?deep=1 HTTP\/1\.1\r\n/)
    expect(request).toMatch(/^authorization: Bearer for-the-provider-only\r$/im)
    expect(request).toMatch(/^connection: close\r$/im)
  }
  await expect.poll(() => server.open).toBe(0)
})

test('a listener that never answers is loading when the time is up, and its connection is closed (fault 16)', async () => {
  await using server = await createRawServer(() => {})
  const clock = createVirtualClock()
  const verdict = ask(`${server.url}/health`, { clock })
  await expect.poll(() => server.received[0]).toContain('\r\n\r\n')
  await clock.advanceTo(700)
  expect(await verdict).toEqual({ kind: 'loading', detail: 'no answer within 700 ms' })
  await expect.poll(() => server.open).toBe(0)
  expect(clock.pending).toBe(0)
})

test('an answer that is already here counts although the time is up (fault 29)', async () => {
  const clock = createVirtualClock()
  await using server = await createRawServer((socket) => {
    // The answer is on its way and the loop is stalled, so that it and the limit are due in the same turn.
    socket.write(`${head}content-length: 2\r\n\r\n{}`)
    void clock.advanceTo(700)
    const untilMs = performance.now() + 50
    while (performance.now() < untilMs);
  })
  expect(await ask(`${server.url}/health`, { clock })).toMatchObject({ kind: 'ready' })
})

test('a body that drips for ever is cut when the time is up (fault 26)', async () => {
  await using server = await createRawServer((socket) => socket.write(`${head}content-length: 900\r\n\r\n{`))
  const clock = createVirtualClock()
  const verdict = ask(`${server.url}/health`, { clock })
  await expect.poll(() => server.received[0]).toContain('\r\n\r\n')
  await clock.advanceTo(700)
  expect(await verdict).toEqual({ kind: 'loading', detail: 'no answer within 700 ms' })
  await expect.poll(() => server.open).toBe(0)
})

test('a body of a gigabyte is cut after the first 64 KiB (fault 26)', async () => {
  let sentBytes = 0
  await using server = await createRawServer((socket) => {
    socket.write(`${head}content-length: 1073741824\r\n\r\n`)
    const chunk = Buffer.alloc(65_536, 'x')
    const push = () => {
      while (!socket.destroyed && sentBytes < 2 ** 30) {
        sentBytes += chunk.length
        if (!socket.write(chunk)) return void socket.once('drain', push)
      }
    }
    push()
  })
  expect(await ask(`${server.url}/health`)).toMatchObject({ kind: 'ready' })
  await expect.poll(() => server.open).toBe(0)
  expect(sentBytes).toBeGreaterThan(MAX_HEALTH_BODY_BYTES)
  expect(sentBytes).toBeLessThan(2 ** 28)
})

test('a redirect is not followed, and its target learns nothing (fault 19, peer O-b)', async () => {
  await using target = await createRawServer((socket) => socket.write(`${head}content-length: 2\r\n\r\n{}`))
  await using server = createModelServer({ redirectHealth: `${target.url}/stolen` })
  const { url } = await server.listen()
  expect(await ask(`${url}/health`)).toEqual({
    kind: 'foreign',
    status: 302,
    detail: `302 redirects to ${target.url}/stolen`,
  })
  expect(server.requests[0]?.headers.authorization).toBe(key)
  expect(target.received).toEqual([])
})

test('a proxy that the embedder has set up globally sees neither the probe nor the key', async () => {
  await using server = createModelServer()
  const { url } = await server.listen()
  const before = getGlobalDispatcher()
  const proxy = new MockAgent()
  proxy.disableNetConnect()
  setGlobalDispatcher(proxy)
  try {
    expect(await ask(`${url}/health`)).toMatchObject({ kind: 'ready' })
  } finally {
    setGlobalDispatcher(before)
    await proxy.close()
  }
})

test.each([
  ['SSH', 'SSH-2.0-OpenSSH_9.2\r\n\r\n', 'foreign'],
  ['garbage', '\x00\xff\x13\x37\r\n\r\n', 'foreign'],
  ['two lengths', `${head}content-length: 2\r\ncontent-length: 3\r\n\r\n{}x`, 'foreign'],
  [
    'a length and chunks',
    `${head}content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n`,
    'foreign',
  ],
  ['a broken header line', `${head}a b\r\n\r\n`, 'foreign'],
  ['a folded header', `${head}x: 1\r\n y\r\ncontent-length: 2\r\n\r\n{}`, 'foreign'],
  ['a head of a megabyte', `${head}x: ${'y'.repeat(2 ** 20)}\r\n\r\n`, 'foreign'],
  ['a thousand times 100 Continue', 'HTTP/1.1 100 Continue\r\n\r\n'.repeat(1000), 'loading'],
  [
    'an upgrade that was not requested',
    'HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n',
    'loading',
  ],
] as const)('an answer of %s is not readiness, and breaks nothing', async (_, answer, kind) => {
  expect(await askRaw(answer)).toMatchObject({ kind })
})

test.each([
  ['before its head', ''],
  ['in its head', 'HTTP/1.1 200 O'],
  ['in its body', `${head}content-length: 10\r\n\r\n{`],
])('an answer that ends %s is not readiness', async (_, answer) => {
  expect(await askRaw((socket) => socket.end(answer))).toMatchObject({ kind: 'loading' })
})

test('a web page in place of the list of models is foreign (fault 18)', async () => {
  await using server = createModelServer({ wrongServer: true })
  const { url } = await server.listen()
  expect(await ask(`${url}/v1/models`)).toMatchObject({ kind: 'foreign', status: 200 })
})

test('a caller who has left closes the connection, before or during the probe', async () => {
  await using server = await createRawServer(() => {})
  const leaving = new AbortController()
  const verdict = ask(`${server.url}/health`, { signal: leaving.signal })
  await expect.poll(() => server.received[0]).toContain('\r\n\r\n')
  leaving.abort()
  await verdict
  await expect.poll(() => server.open).toBe(0)
  await ask(`${server.url}/health`, { signal: AbortSignal.abort() })
  expect(server.received).toHaveLength(1)
})

test('a health check that cannot be made because its request is wrong says nothing about the server', async () => {
  await using server = await createRawServer((socket) => socket.write(`${head}content-length: 2\r\n\r\n{}`))
  const clock = createVirtualClock()
  const headers = { authorization: 'Bearer a\nb' }
  await expect(probe({ url: `${server.url}/health`, headers, clock })).rejects.toThrow(ProbeError)
  await expect(probe({ url: 'not a URL', headers: {}, clock })).rejects.toThrow(ProbeError)
})

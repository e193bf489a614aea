import { spawnSync } from 'node:child_process'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { networkInterfaces } from 'node:os'
import { afterEach, describe, expect, onTestFinished, test } from 'vitest'
import { GatewayError } from '../../src/errors.ts'
import { toHosts } from '../../src/gateway/hosts.ts'
import { createGateway } from '../../src/gateway/server.ts'
import { type House, openHouseWithServer, openSocket, readAnswer, sendRaw } from './house.ts'

const hasSs = spawnSync('ss', ['-V']).status === 0

const sockets: Socket[] = []
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy()
})

async function open(port: number, text = ''): Promise<Socket> {
  const socket = await openSocket(port)
  sockets.push(socket)
  socket.write(text)
  return socket
}

/** The server behind a house's gateway, as Node's own channel tells of it. */
async function findServer({ url, port }: House): Promise<unknown> {
  let found: unknown
  const note = (message: unknown) => {
    const { server, socket } = message as { server: unknown; socket: Socket }
    if (socket.localPort === port) found = server
  }
  subscribe('http.server.request.start', note)
  await fetch(`${url}/health`)
  unsubscribe('http.server.request.start', note)
  return found
}

const toHead = (port: number, framing: string) =>
  `POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Type: application/json\r\n${framing}\r\n\r\n`

const chat = JSON.stringify({ model: 'local/demo', messages: [{ role: 'user', content: 'count to 9' }] })

describe('a client that is slow', () => {
  const limits = { headersTimeout: 200, requestTimeout: 400, connectionsCheckingInterval: 20 }

  test.each([
    ['says nothing', '', /^$|^HTTP\/1\.1 408 /],
    ['says half a word', 'POS', /^HTTP\/1\.1 408 /],
    ['never ends its head', 'GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nX: ', /^HTTP\/1\.1 408 /],
    [
      'never ends its body',
      'POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{"model":',
      /^HTTP\/1\.1 408 /,
    ],
    [
      'never ends its chunks',
      'POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"mod',
      /^HTTP\/1\.1 408 /,
    ],
  ])('and %s is cut off in time (faults 62, 65, peers S-10, N-1)', async (_, text, answer) => {
    await using house = await openHouseWithServer({ limits })
    const socket = await open(house.port, text.replace('PORT', String(house.port)))
    let received = ''
    socket.on('data', (chunk) => {
      received += chunk
    })
    await once(socket, 'close')
    expect(received).toMatch(answer)
    expect(house.events.filter(({ type }) => type.startsWith('lease.'))).toEqual([])
    // On a busy host an honest client may be too slow for these limits, too, once.
    await expect
      .poll(async () => (await house.post('/v1/chat/completions', JSON.parse(chat))).status)
      .toBe(200)
  })

  test('is cut off by the limits that are shipped, where Node with the same ones has not looked yet (fault 62, peers S-10, N-1)', {
    tags: ['proof'],
  }, async () => {
    // It is made first, so that Node's look at it comes before any as rare at the gateway.
    const plain = createServer({ headersTimeout: 10_000, requestTimeout: 60_000 })
    onTestFinished(() => void plain.close())
    plain.listen(0, '127.0.0.1')
    await once(plain, 'listening')
    const waiting = await open((plain.address() as AddressInfo).port, 'GET / HTTP/1.1\r\n')
    let heard = ''
    waiting.on('data', (chunk) => {
      heard += chunk
    })
    await using house = await openHouseWithServer()
    expect(await findServer(house)).toMatchObject({
      headersTimeout: 10_000,
      requestTimeout: 60_000,
      keepAliveTimeout: 5_000,
      connectionsCheckingInterval: 1_000,
    })
    const slow = await open(house.port, 'GET / HTTP/1.1\r\n')
    expect((await readAnswer(slow)).status).toBe(408)
    expect([heard, waiting.closed]).toEqual(['', false])
  })

  test('does not keep others waiting, even if it comes five hundred times (fault 62)', async () => {
    await using house = await openHouseWithServer()
    const head = `POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:${house.port}\r\n`
    await Promise.all(Array.from({ length: 500 }, () => open(house.port, head)))
    expect((await house.post('/v1/chat/completions', JSON.parse(chat))).status).toBe(200)
    expect((await fetch(`${house.url}/health`)).status).toBe(200)
  })
})

describe('connections', () => {
  test.skipIf(!hasSs)(
    'may wait in a queue as long as the kernel allows, up to 4,096 of them (fault 63)',
    async () => {
      await using house = await openHouseWithServer()
      const allowed = Number(readFileSync('/proc/sys/net/core/somaxconn', 'utf8'))
      const { stdout } = spawnSync('ss', ['-ltnH', `sport = :${house.port}`], { encoding: 'utf8' })
      const [, , backlog] = stdout.trim().split(/\s+/)
      expect(Number(backlog)).toBe(Math.min(4_096, allowed))
    },
  )

  test('beyond the limit are answered with 503 at once, and the others go on (faults 63, 107)', async () => {
    await using house = await openHouseWithServer({ leasehold: { maxConnections: 3 } })
    const get = `GET /health HTTP/1.1\r\nHost: 127.0.0.1:${house.port}\r\n\r\n`
    const served = []
    for (let count = 0; count < 3; count += 1) served.push(await open(house.port, get))
    for (const socket of served) expect((await readAnswer(socket)).status).toBe(200)
    const { status, head, body } = await sendRaw(house.port, get)
    expect(status).toBe(503)
    expect(head).toMatch(/^retry-after: 1\r$/im)
    expect(head).toMatch(/^connection: close\r$/im)
    expect(JSON.parse(body).error.code).toBe('LEASEHOLD_OVERLOADED')
    served[0]?.write(get)
    expect(served[0] && (await readAnswer(served[0])).status).toBe(200)
    served[1]?.destroy()
    await expect.poll(async () => (await sendRaw(house.port, get)).status).toBe(200)
  })

  test('come two thousand at once and are all served (fault 63)', async () => {
    await using house = await openHouseWithServer()
    const get = `GET /health HTTP/1.1\r\nHost: 127.0.0.1:${house.port}\r\nConnection: close\r\n\r\n`
    const answers = await Promise.all(Array.from({ length: 2_000 }, () => sendRaw(house.port, get)))
    expect(answers.filter(({ status }) => status !== 200)).toEqual([])
  })

  test('carry five hundred requests in one write, answered in order (fault 63)', async () => {
    await using house = await openHouseWithServer()
    const socket = await open(house.port)
    let text = ''
    socket.on('data', (chunk) => {
      text += chunk
    })
    for (let index = 0; index < 500; index += 1)
      socket.write(`GET /v1/models/${index} HTTP/1.1\r\nHost: 127.0.0.1:${house.port}\r\n\r\n`)
    const numbers = () =>
      [...text.matchAll(/There is no model \\"(\d+)\\"/g)].map(([, index]) => Number(index))
    await expect.poll(() => numbers().length).toBe(500)
    expect(numbers()).toEqual(Array.from({ length: 500 }, (_, index) => index))
  })
})

const outside = Object.values(networkInterfaces())
  .flat()
  .find((found) => found?.family === 'IPv4' && !found.internal)?.address

describe('beyond loopback', () => {
  test('a gateway without keys does not listen', async () => {
    await using house = await openHouseWithServer()
    await using gateway = createGateway({ supervisor: house.supervisor, host: '0.0.0.0', port: 0 })
    await expect(gateway.listen()).rejects.toThrow(GatewayError)
    await expect(gateway.listen()).rejects.toThrow(/keys new/)
  })

  test('a gateway with keys is called by its addresses, never by 0.0.0.0, and always asks for a key', async () => {
    await using house = await openHouseWithServer({
      leasehold: { host: '0.0.0.0', apiKeys: ['a-key-of-more-than-16'] },
    })
    const ask = (host: string, key?: string) =>
      sendRaw(
        house.port,
        `GET /v1/models HTTP/1.1\r\nHost: ${host}:${house.port}\r\n${key === undefined ? '' : `X-Api-Key: ${key}\r\n`}\r\n`,
      )
    expect((await ask('127.0.0.1', 'a-key-of-more-than-16')).status).toBe(200)
    expect((await ask('127.0.0.1')).status).toBe(401)
    expect((await ask('0.0.0.0', 'a-key-of-more-than-16')).status).toBe(403)
    if (outside !== undefined) expect((await ask(outside, 'a-key-of-more-than-16')).status).toBe(200)
    const { config } = house.supervisor
    await house.supervisor.replaceConfig({ ...config, leasehold: { ...config.leasehold, apiKeys: [] } })
    expect((await ask('127.0.0.1', 'a-key-of-more-than-16')).status).toBe(401)
  })

  test.skipIf(outside === undefined)('one address has fewer connections than all', async () => {
    await using house = await openHouseWithServer({
      leasehold: { host: '0.0.0.0', apiKeys: ['a-key-of-more-than-16'], maxClientConnections: 1 },
    })
    const ask = (host: string) =>
      fetch(`http://${host}:${house.port}/health`, { headers: { connection: 'close' } })
    for (let count = 0; count < 4; count += 1) await open(house.port)
    expect((await ask('127.0.0.1')).status).toBe(200)
    const { connect } = await import('node:net')
    const first = connect(house.port, outside ?? '')
    sockets.push(first)
    await once(first, 'connect')
    expect((await ask(outside ?? '')).status).toBe(503)
    first.destroy()
    await expect.poll(async () => (await ask(outside ?? '')).status).toBe(200)
  })

  test('the names of an address are literal, so that no name of a stranger is among them', () => {
    const interfaces = {
      lo: [{ address: '127.0.0.1' }],
      eth0: [{ address: '10.0.0.5' }, { address: 'fe80::1' }],
    }
    expect(toHosts('0.0.0.0', 80, interfaces).sort()).toEqual(
      ['10.0.0.5:80', '127.0.0.1:80', '[::1]:80', '[fe80::1]:80', 'localhost:80'].sort(),
    )
    expect(toHosts('::', 80, interfaces)).toContain('10.0.0.5:80')
    expect(toHosts('10.0.0.5', 80, interfaces)).not.toContain('[fe80::1]:80')
  })
})

describe('bodies that wait', () => {
  const leasehold = { maxQueuedBytes: 1_000 }
  const large = `${chat.slice(0, -1)},"x":"${'y'.repeat(700)}"}`

  test('may hold so many bytes together; one more is refused before its body is read (fault 107)', async () => {
    await using house = await openHouseWithServer({ leasehold, server: { loadMs: 600_000 } })
    const waiting = await open(house.port, toHead(house.port, `Content-Length: ${large.length}`) + large)
    await expect.poll(() => house.service().queue.length).toBe(1)
    const { status, head, body } = await sendRaw(house.port, toHead(house.port, 'Content-Length: 700'))
    expect(status).toBe(503)
    expect(head).toMatch(/^retry-after: 1\r$/im)
    expect(JSON.parse(body).error).toMatchObject({
      code: 'LEASEHOLD_OVERLOADED',
      type: 'service_unavailable',
    })
    const chunk = `2bc\r\n${' '.repeat(0x2bc)}\r\n`
    const chunked = await sendRaw(house.port, toHead(house.port, 'Transfer-Encoding: chunked') + chunk)
    expect(chunked.status).toBe(503)
    // A small one still fits beside it.
    const small = await open(house.port, toHead(house.port, `Content-Length: ${chat.length}`) + chat)
    await expect.poll(() => house.service().queue.length).toBe(2)
    small.destroy()
    waiting.destroy()
    await expect.poll(() => house.service().queue.length).toBe(0)
    await open(house.port, toHead(house.port, `Content-Length: ${large.length}`) + large)
    await expect.poll(() => house.service().queue.length).toBe(1)
  })

  test('are counted until the answer begins, and a body that is alone may be larger', async () => {
    await using house = await openHouseWithServer({ leasehold, server: { stallMidStreamAfter: 2 } })
    const huge = JSON.stringify({ ...JSON.parse(chat), stream: true, x: 'y'.repeat(5_000) })
    const framed = toHead(house.port, `Content-Length: ${huge.length}`) + huge
    for (let count = 1; count <= 3; count += 1) {
      await open(house.port, framed)
      await expect
        .poll(() => house.events.filter(({ type }) => type === 'request.responded').length)
        .toBe(count)
    }
  })
})

describe('a client that asks before it sends', () => {
  test('is asked for a body that may come (fault 64)', async () => {
    await using house = await openHouseWithServer()
    const socket = await open(
      house.port,
      toHead(house.port, `Content-Length: ${chat.length}\r\nExpect: 100-continue`),
    )
    const [first] = await once(socket, 'data')
    expect(String(first)).toBe('HTTP/1.1 100 Continue\r\n\r\n')
    const answer = readAnswer(socket)
    socket.write(chat)
    expect((await answer).status).toBe(200)
  })

  test.each([
    ['more than may come', 'Content-Length: 99999999999\r\nExpect: 100-continue', 413],
    ['something else', `Content-Length: ${chat.length}\r\nExpect: a miracle`, 417],
  ])('for %s is refused before the body (fault 64)', async (_, framing, status) => {
    await using house = await openHouseWithServer()
    const answer = await sendRaw(house.port, toHead(house.port, framing))
    expect([answer.status, answer.head.includes('100 Continue')]).toEqual([status, false])
    expect(house.server.counts['/v1/chat/completions']).toBeUndefined()
  })
})

test('a client that closes its side has left: its request ends, as nothing tells it from one that is gone (fault 60)', async () => {
  await using house = await openHouseWithServer({ server: { loadMs: 600_000 } })
  const socket = await open(house.port)
  socket.write(toHead(house.port, `Content-Length: ${chat.length}`) + chat)
  await expect.poll(() => house.service().queue.length).toBe(1)
  socket.end()
  await expect.poll(() => house.service().queue.length).toBe(0)
  await expect
    .poll(() => house.events.filter(({ type }) => type === 'request.ended'))
    .toMatchObject([{ outcome: 'cancelled' }])
})

test('a gateway that closes does not wait for incomplete requests, but for every answer in progress', async () => {
  await using house = await openHouseWithServer({ server: { stallMidStreamAfter: 2 } })
  const stream = JSON.stringify({ ...JSON.parse(chat), stream: true })
  const answered = await open(house.port, toHead(house.port, `Content-Length: ${stream.length}`) + stream)
  await once(answered, 'data')
  const asking = [
    await open(house.port),
    await open(house.port, 'GET / HT'),
    await open(house.port, `${toHead(house.port, 'Content-Length: 500')}{"model":`),
  ]
  // Connections are taken in the order in which they come.
  expect((await fetch(`${house.url}/health`)).status).toBe(200)
  const closed = house.gateway.close()
  await Promise.all(asking.map((socket) => once(socket, 'close')))
  expect(answered.destroyed).toBe(false)
  answered.destroy()
  await closed
})

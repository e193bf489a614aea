import type { Socket } from 'node:net'
import fc from 'fast-check'
import { afterEach, describe, expect, test } from 'vitest'
import { createModelServer } from '../../src/testing/model-server/model-server.ts'
import { createVirtualClock, settle } from '../../src/testing/virtual-clock.ts'
import {
  createUpstream,
  type Upstream,
  type UpstreamCall,
  type UpstreamRequest,
} from '../../src/transport/upstream.ts'
import { createRawServer } from './raw-server.ts'

const clock = createVirtualClock()
const upstreams: Upstream[] = []

afterEach(async () => {
  for (const upstream of upstreams.splice(0)) {
    const closed = upstream.close()
    await clock.advanceTo(clock.now() + 10_000)
    await closed
  }
})

function open(url: string): Upstream {
  const upstream = createUpstream(url, clock)
  upstreams.push(upstream)
  return upstream
}

function toRequest(body: readonly Buffer[] = [Buffer.from('{}')], isStream = false): UpstreamRequest {
  const bodyBytes = body.reduce((bytes, piece) => bytes + piece.length, 0)
  const headers = { 'content-type': 'application/json' }
  return { method: 'POST', path: '/v1/chat/completions', headers, body, bodyBytes, isStream }
}

/** One answer as it came; `outcomes` must end up with exactly one entry. */
interface Answer {
  readonly call: UpstreamCall
  readonly statuses: number[]
  readonly headers: Readonly<Record<string, string | string[] | undefined>>[]
  readonly chunks: Buffer[]
  readonly outcomes: (Error | 'end')[]
  /** Resolves with the outcome. */
  readonly over: Promise<Error | 'end'>
}

/** Sends a request; `isHungry` says whether the reader takes more at once. */
function send(upstream: Upstream, request = toRequest(), isHungry = () => true): Answer {
  const statuses: number[] = []
  const headers: Answer['headers'] = []
  const chunks: Buffer[] = []
  const outcomes: Answer['outcomes'] = []
  let settleOver: (outcome: Error | 'end') => void = () => {}
  const over = new Promise<Error | 'end'>((resolve) => {
    settleOver = resolve
  })
  const end = (outcome: Error | 'end') => {
    outcomes.push(outcome)
    settleOver(outcome)
  }
  const call = upstream.send(request, {
    onHead: (status, received) => {
      statuses.push(status)
      headers.push(received)
    },
    onData: (chunk) => {
      chunks.push(chunk)
      return isHungry()
    },
    onEnd: () => end('end'),
    onError: end,
  })
  return { call, statuses, headers, chunks, outcomes, over }
}

const ok = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'

test('small chunks of one read are delivered as one, in order and before the end', async () => {
  await using server = await createRawServer((socket) => {
    socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n')
    socket.write('3\r\none\r\n4\r\n two\r\n6\r\n three\r\n0\r\n\r\n')
  })
  const { over, chunks } = send(open(server.url))
  expect(await over).toBe('end')
  expect(Buffer.concat(chunks).toString()).toBe('one two three')
  expect(chunks.length).toBeLessThan(3)
})

test('a reader that fails at a chunk ends the answer', async () => {
  await using server = await createRawServer((socket) => {
    socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n')
  })
  const { over } = send(open(server.url), toRequest(), () => {
    throw new Error('full of bugs')
  })
  expect(await over).toEqual(new Error('full of bugs'))
})

/** Writes as fast as it is read, until `totalBytes` or the end of the connection. */
function flood(socket: Socket, totalBytes: number, onSent: (bytes: number) => void): void {
  const chunk = Buffer.alloc(65_536, 'x')
  let sentBytes = 0
  const push = () => {
    while (!socket.destroyed && sentBytes < totalBytes) {
      sentBytes += chunk.length
      onSent(sentBytes)
      if (!socket.write(chunk)) return void socket.once('drain', push)
    }
  }
  push()
}

describe('a request', () => {
  test('states the length of its body and is never chunked', async () => {
    await using server = await createRawServer((socket) => socket.end(ok))
    const pieces = [Buffer.alloc(40_000, 'a'), Buffer.alloc(40_000, 'b')]
    expect(await send(open(server.url), toRequest(pieces)).over).toBe('end')
    expect(await send(open(server.url), toRequest()).over).toBe('end')
    expect(await send(open(server.url), toRequest([])).over).toBe('end')
    const heads = server.received.map((text) => text.slice(0, text.indexOf('\r\n\r\n')))
    expect(heads.map((head) => /^content-length: (\d+)$/im.exec(head)?.[1])).toEqual(['80000', '2', '0'])
    for (const head of heads) expect(head).not.toMatch(/transfer-encoding/i)
  })

  test('arrives byte for byte, however its body is cut into pieces', async () => {
    await using server = createModelServer()
    const upstream = open((await server.listen()).url)
    const piece = fc.oneof(
      fc.string({ unit: 'grapheme', maxLength: 20 }).map((text) => Buffer.from(text)),
      fc.integer({ min: 0, max: 120_000 }).map((length) => Buffer.alloc(length, 'aé')),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 12 }), async (pieces) => {
        expect(await send(upstream, toRequest(pieces)).over).toBe('end')
        expect(server.requests.at(-1)?.body === Buffer.concat(pieces).toString()).toBe(true)
      }),
      { numRuns: 60 },
    )
  })

  test('that is aborted before it is connected never reaches the server', async () => {
    await using server = await createRawServer(() => {})
    const { call, over, outcomes } = send(open(server.url))
    const reason = new Error('left')
    call.abort(reason)
    expect(await over).toBe(reason)
    expect(outcomes).toEqual([reason])
    expect(server.received.join('')).toBe('')
  })

  test('that is aborted closes its connection, and says so once', async () => {
    await using server = await createRawServer(() => {})
    const { call, over, outcomes } = send(open(server.url))
    await expect.poll(() => server.received[0]).toContain('\r\n\r\n')
    const reason = new Error('left')
    call.abort(reason)
    call.abort(new Error('left again'))
    expect(await over).toBe(reason)
    await expect.poll(() => server.closed).toBe(1)
    expect(outcomes).toEqual([reason])
  })

  test('that was aborted while its reader was full closes its connection all the same', async () => {
    await using server = await createRawServer((socket) => {
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n')
      flood(socket, 2 ** 30, () => {})
    })
    const { call, over, chunks } = send(open(server.url), toRequest(), () => false)
    await expect.poll(() => chunks.length).toBe(1)
    call.abort(new Error('left'))
    expect(await over).toBeInstanceOf(Error)
    await expect.poll(() => server.closed).toBe(1)
  })
})

describe('an answer', () => {
  test('pauses its server while the reader is full, and comes whole when the reader goes on', async () => {
    const totalBytes = 64 * 2 ** 20
    let sentBytes = 0
    await using server = await createRawServer((socket) => {
      socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${totalBytes}\r\n\r\n`)
      flood(socket, totalBytes, (bytes) => {
        sentBytes = bytes
      })
    })
    let isHungry = false
    const { call, chunks, over } = send(open(server.url), toRequest(), () => isHungry)
    // The server stops writing once the buffers between us are full: twenty turns without a byte.
    let stillTurns = 0
    for (let before = -1; stillTurns < 20; before = sentBytes) {
      stillTurns = sentBytes > 0 && sentBytes === before ? stillTurns + 1 : 0
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    expect(chunks).toHaveLength(1)
    expect(sentBytes).toBeLessThan(totalBytes / 2)
    isHungry = true
    call.resume()
    expect(await over).toBe('end')
    expect(chunks.reduce((bytes, chunk) => bytes + chunk.length, 0)).toBe(totalBytes)
  })

  test('begins with its final status: informational ones are passed over (fault 56)', async () => {
    const hints = 'HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n'.repeat(3)
    await using server = await createRawServer((socket) => socket.end(hints + ok))
    const { statuses, headers, over } = send(open(server.url))
    expect(await over).toBe('end')
    expect(statuses).toEqual([200])
    expect(headers[0]).not.toHaveProperty('link')
  })

  test.each([
    ['before its head', ''],
    ['in its head', 'HTTP/1.1 200 OK\r\ncontent-le'],
    ['before its announced end', 'HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok'],
    ['between two chunks', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n'],
    ['with bytes that are not HTTP', 'SSH-2.0-OpenSSH\r\n\r\n'],
    ['with two lengths', 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok'],
    ['in a thousand times 100 Continue', 'HTTP/1.1 100 Continue\r\n\r\n'.repeat(1_000)],
    ['in a head of a megabyte', `HTTP/1.1 200 OK\r\nx: ${'y'.repeat(2 ** 20)}`],
  ])('that ends %s is an error, told once', async (_, bytes) => {
    await using server = await createRawServer((socket) => socket.end(bytes))
    const { over, outcomes } = send(open(server.url))
    expect(await over).toBeInstanceOf(Error)
    await settle()
    expect(outcomes).toHaveLength(1)
  })

  test('of a port on which nothing listens is an error', async () => {
    const server = await createRawServer(() => {})
    await server[Symbol.asyncDispose]()
    expect(await send(open(server.url)).over).toMatchObject({ cause: { code: 'ECONNREFUSED' } })
  })
})

describe('closing', () => {
  const waitOf = async (upstream: Upstream) => {
    const startedMs = clock.now()
    let closedMs: number | undefined
    const closed = upstream.close().then(() => {
      closedMs = clock.now()
    })
    // The connections are destroyed first, which takes turns of the loop and no time of the clock.
    for (let turn = 0; turn < 50; turn += 1) await settle()
    await clock.advanceTo(startedMs + 10_000)
    await closed
    return (closedMs ?? Number.NaN) - startedMs
  }

  test('does not wait when nothing was cut', async () => {
    await using server = createModelServer()
    const upstream = createUpstream((await server.listen()).url, clock)
    expect(await send(upstream).over).toBe('end')
    expect(await waitOf(upstream)).toBe(0)
  })

  test.each([
    ['stream', true, 100],
    ['plain answer', false, 1_200],
  ])('cuts a %s under way and waits until llama.cpp can have noticed', async (_, isStream, waitMs) => {
    await using server = await createRawServer(() => {})
    const upstream = createUpstream(server.url, clock)
    const { over } = send(upstream, toRequest(undefined, isStream))
    await expect.poll(() => server.received[0]).toContain('\r\n\r\n')
    expect(await waitOf(upstream)).toBe(waitMs)
    expect(await over).toBeInstanceOf(Error)
    await expect.poll(() => server.open).toBe(0)
  })

  test('waits only for what is left of the time since an abort', async () => {
    await using server = await createRawServer(() => {})
    const upstream = createUpstream(server.url, clock)
    const { call, over } = send(upstream)
    await expect.poll(() => server.received[0]).toContain('\r\n\r\n')
    call.abort(new Error('left'))
    await over
    await clock.advanceTo(clock.now() + 700)
    expect(await waitOf(upstream)).toBe(500)
  })

  test('ends the idle connections to the server', async () => {
    await using server = await createRawServer((socket) => socket.write(ok))
    const upstream = createUpstream(server.url, clock)
    expect(await send(upstream).over).toBe('end')
    expect(server.open).toBe(1)
    await upstream.close()
    await expect.poll(() => server.open).toBe(0)
  })

  test('makes a later request fail at once', async () => {
    await using server = await createRawServer((socket) => socket.end(ok))
    const upstream = createUpstream(server.url, clock)
    await upstream.close()
    expect(await send(upstream).over).toBeInstanceOf(Error)
    expect(server.received).toEqual([])
  })
})

describe('kept connections', () => {
  test('are used again for as long as the server leaves them open', async () => {
    await using server = await createRawServer((socket) => {
      const answer = (text = '') => text.endsWith('{}') && socket.write(ok)
      answer(server.received.at(-1))
      socket.on('data', (chunk) => answer(chunk.toString()))
    })
    const upstream = open(server.url)
    for (let round = 0; round < 10; round += 1) {
      expect(await send(upstream).over).toBe('end')
      await settle()
    }
    expect(server.received).toHaveLength(1)
  })
})

import type { Socket } from 'node:net'
import { describe, expect, test } from 'vitest'
import { createVirtualClock } from '../../src/testing/virtual-clock.ts'
import { createRawServer } from '../transport/raw-server.ts'
import { openHouse, openHouseWithServer, openSocket, readAll } from './house.ts'

const chat = { model: 'local/demo', messages: [{ role: 'user', content: 'count to 9' }] }
const streamed = { ...chat, stream: true }
const withUsage = { ...streamed, stream_options: { include_usage: true } }
const rewritten = { toolCallArgumentsEncoding: 'html-entities' }
const sse = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n'
const models = 'HTTP/1.1 200 OK\r\ncontent-length: 11\r\nconnection: close\r\n\r\n{"data":[]}'

describe('a stream that breaks', () => {
  test.each([
    ['crashes', { crashMidStreamAfter: 3 }],
    ['ends without its ending', { truncateAfter: 3 }],
    ['ends without its ending where only the connection ends it', { truncateAfter: 3, closeDelimited: true }],
    ['crashes where only the connection ends it', { crashMidStreamAfter: 3, closeDelimited: true }],
  ])('because the server %s ends in an error event and a cut connection (fault 42)', async (_, server) => {
    await using house = await openHouseWithServer({ server })
    const response = await house.post('/v1/chat/completions', streamed)
    expect(response.status).toBe(200)
    const { text, isBroken } = await readAll(response)
    expect(isBroken).toBe(true)
    expect(text.match(/"content":"/g)).toHaveLength(3)
    const [, data = ''] = /\n\nevent: error\ndata: (.*)\n\n$/.exec(text) ?? []
    expect(JSON.parse(data)).toMatchObject({
      error: { type: 'upstream_error', code: expect.stringMatching(/^LEASEHOLD_/) },
    })
    expect(text).not.toContain('[DONE]')
    await expect.poll(() => house.service().leases).toBe(0)
  })

  test('and is not a stream of events is cut without a word', async () => {
    await using server = await createRawServer((socket, head) => {
      socket.end(
        head.startsWith('POST')
          ? 'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"id":'
          : models,
      )
    })
    await using house = await openHouse({ serverUrl: server.url })
    const { text, isBroken } = await readAll(await house.post('/v1/chat/completions', chat))
    expect([text, isBroken]).toEqual(['{"id":', true])
  })
})

describe('a stream that is whole', () => {
  test.each([
    ['with [DONE]', {}],
    ['without [DONE]', { omitDone: true }],
    ['where only the connection ends it', { closeDelimited: true }],
    ['without [DONE] where only the connection ends it', { omitDone: true, closeDelimited: true }],
    ['compressed', { gzip: true }],
  ])('%s ends cleanly, byte for byte', async (_, server) => {
    await using house = await openHouseWithServer({ server })
    const headers = { 'content-type': 'application/json', 'x-demo-nonce': '1' }
    const direct = await fetch(`${(await house.server.listen()).url}/v1/chat/completions`, {
      method: 'POST',
      headers,
      body: JSON.stringify(streamed),
    })
    const response = await house.post('/v1/chat/completions', streamed, { headers })
    const steady = (text: string) => text.replace(/"created":\d+/g, '')
    const { text, isBroken } = await readAll(response)
    expect(isBroken).toBe(false)
    expect(text).toContain('"timings":{')
    expect(steady(text)).toBe(steady((await readAll(direct)).text))
    expect(text.includes('[DONE]')).toBe(!('omitDone' in server))
    expect(response.headers.get('x-leasehold-model')).toBe('local/demo')
    expect(response.headers.get('x-leasehold-request-id')).toBeTruthy()
  })
})

describe('the usage of a stream', () => {
  const usage = /"choices":\[\],.*"usage":\{/

  test.each([{}, { stream_options: {} }, { stream_options: { include_usage: false } }])(
    'is not shown to a client that sent %j',
    async (options) => {
      await using house = await openHouseWithServer()
      const response = await house.post('/v1/chat/completions', { ...streamed, ...options })
      const { text } = await readAll(response)
      expect(text).not.toMatch(usage)
      expect(text).toMatch(/"finish_reason":"stop".*\n\ndata: \[DONE\]\n\n$/)
    },
  )

  test('is shown to a client that asked for it, and counted in both cases', async () => {
    await using house = await openHouseWithServer()
    const shown = await house.post('/v1/chat/completions', withUsage)
    expect((await readAll(shown)).text).toMatch(usage)
    await readAll(await house.post('/v1/chat/completions', streamed))
    const ends = house.events.filter(({ type }) => type === 'request.ended')
    expect(ends).toMatchObject([{ usage: { completionTokens: 9 } }, { usage: { completionTokens: 9 } }])
  })
})

describe('a lease', () => {
  test('is held until the last byte of the answer', async () => {
    await using house = await openHouseWithServer({ server: { stallMidStreamAfter: 2 } })
    const leaving = new AbortController()
    const response = await house.post('/v1/chat/completions', streamed, { signal: leaving.signal })
    const reader = response.body?.getReader()
    expect((await reader?.read())?.done).toBe(false)
    expect(house.service()).toMatchObject({ state: 'leased.open', leases: 1 })
    leaving.abort()
    await expect.poll(() => house.service()).toMatchObject({ state: 'ready', leases: 0 })
  })

  test.each([
    ['before the head of the answer', { slowHeadersMs: 600_000 }],
    ['before the first token', { firstTokenMs: 600_000 }],
    ['in the middle of the stream', { stallMidStreamAfter: 2 }],
  ])('ends when the client leaves %s, and so does the work of the server', async (_, server) => {
    await using house = await openHouseWithServer({ server })
    const leaving = new AbortController()
    const answer = house.post('/v1/chat/completions', streamed, { signal: leaving.signal }).then(
      (response) => readAll(response),
      () => 'left',
    )
    await expect.poll(() => house.server.counts['/v1/chat/completions']).toBe(1)
    await expect.poll(() => house.service().leases).toBe(1)
    leaving.abort()
    await expect.poll(() => house.server.counts.aborted).toBe(1)
    await expect.poll(() => house.service().leases).toBe(0)
    await answer
    expect(house.events.at(-1)).toMatchObject({ type: 'request.ended', outcome: 'cancelled' })
  })

  test('that is still waited for ends with its client, who never reaches the server', async () => {
    await using house = await openHouseWithServer({ server: { loadMs: 600_000 } })
    const leaving = new AbortController()
    const answer = house.post('/v1/chat/completions', chat, { signal: leaving.signal }).catch(() => 'left')
    await expect.poll(() => house.service().queue.length).toBe(1)
    leaving.abort()
    await expect.poll(() => house.service().queue.length).toBe(0)
    expect(await answer).toBe('left')
    expect(house.server.counts['/v1/chat/completions']).toBeUndefined()
  })
})

describe('a server that falls silent in the middle of a stream', () => {
  test.each([
    ['stallTimeoutMs', 30_000, { stallTimeoutMs: 30_000 }],
    ['ten minutes where nothing else is said', 600_000, {}],
  ])(
    'though it is healthy, is cut off after %s, and so is the client, with a word (faults 33, 45, race R12)',
    async (_, stallMs, provider) => {
      const clock = createVirtualClock()
      await using house = await openHouseWithServer({ clock, server: { stallMidStreamAfter: 2 }, provider })
      const response = await house.post('/v1/chat/completions', streamed)
      const answer = readAll(response.clone())
      let heard = ''
      for await (const text of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
        heard += text
        if (heard.match(/"content":"/g)?.length === 2) break
      }
      const { url } = await house.server.listen()

      await clock.advanceTo(clock.now() + stallMs - 1_000)
      expect((await fetch(`${url}/health`)).status).toBe(200)
      expect([house.service().leases, house.server.counts.aborted]).toEqual([1, 0])

      await clock.advanceTo(clock.now() + 2_000)
      await expect.poll(() => house.server.counts.aborted).toBe(1)
      const { text, isBroken } = await answer
      expect(isBroken).toBe(true)
      const [, data = ''] = /\nevent: error\ndata: (.*)\n\n$/.exec(text) ?? []
      expect(JSON.parse(data)).toMatchObject({ error: { code: 'LEASEHOLD_STREAM_STALLED' } })
      expect(house.service().leases).toBe(0)
    },
  )
})

/** Hands on every piece as it comes. @returns whether the stream was cut */
async function hearAll(response: Response, hear: (text: string) => void): Promise<boolean> {
  try {
    for await (const text of response.body?.pipeThrough(new TextDecoderStream()) ?? []) hear(text)
    return false
  } catch {
    return true
  }
}

describe('an event that waits for the usage of the stream', () => {
  const finish = 'data: {"choices":[{"delta":{},"finish_reason":"stop"}],"timings":{"predicted_n":2}}\n\n'
  const begun = `data: {"choices":[{"delta":{"content":"a"}}]}\n\n${finish}`

  test.each([
    ['falls silent', {}],
    ['falls silent, though its answers are rewritten', rewritten],
  ])('reaches the client before the error when the server %s (fault 45)', async (_, compat) => {
    await using server = await createRawServer((socket, head) => {
      if (head.startsWith('GET')) return void socket.end(models)
      socket.write(`${sse}connection: close\r\n\r\n${begun}data: {"choi`)
    })
    const clock = createVirtualClock()
    const provider = { stallTimeoutMs: 30_000, models: [{ id: 'demo', compat }] }
    await using house = await openHouse({ serverUrl: server.url, clock, provider })
    const response = await house.post('/v1/chat/completions', streamed)
    let heard = ''
    const isBroken = hearAll(response, (text) => {
      heard += text
    })
    await expect.poll(() => heard).toMatch(/"content":"a"/)
    expect(heard).not.toContain('finish_reason')
    await clock.advanceTo(clock.now() + 31_000)
    expect(await isBroken).toBe(true)
    const events = heard.replaceAll(/^: .*\n/gm, '')
    expect(events.slice(0, begun.length)).toBe(begun)
    expect(events.slice(begun.length)).toMatch(/^event: error\ndata: .*LEASEHOLD_STREAM_STALLED.*\n\n$/)
  })
})

describe('comments while a server thinks in the middle of its answer', () => {
  test.each(['\n\n', '\r\n\r\n', '\r\r'])('stand between events only (%j)', async (border) => {
    const event = `data: {"choices":[{"delta":{"content":"a"}}]}${border}`
    const sockets: Socket[] = []
    await using server = await createRawServer((socket, head) => {
      if (head.startsWith('GET')) return void socket.end(models)
      sockets.push(socket)
      socket.write(`${sse}connection: close\r\n\r\n${event.slice(0, -1)}`)
    })
    const clock = createVirtualClock()
    await using house = await openHouse({ serverUrl: server.url, clock })
    const response = await house.post('/v1/chat/completions', withUsage)
    let heard = ''
    const reading = (async () => {
      for await (const text of response.body?.pipeThrough(new TextDecoderStream()) ?? []) heard += text
    })()
    await fetch(`${house.url}/health`)
    await clock.advanceTo(clock.now() + 20_000)
    sockets[0]?.write(`${event.slice(-1)}${event}`)
    await expect.poll(() => heard).toBe(event + event)

    await clock.advanceTo(clock.now() + 10_000)
    await expect.poll(() => heard).toBe(`${event}${event}: leasehold waits for more of the answer\n`)
    sockets[0]?.end(`data: [DONE]${border}`)
    await reading
    expect(heard.slice((event + event).length)).toBe(
      `: leasehold waits for more of the answer\ndata: [DONE]${border}`,
    )
  })

  const event = 'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
  const comment = ': leasehold waits for more of the answer\n'

  test.each([
    ['after the head alone', '/v1/chat/completions', streamed, {}, '', ''],
    ['while an event is rewritten', '/v1/chat/completions', withUsage, rewritten, event, 'data: {"cho'],
    ['while the usage is waited for', '/v1/chat/completions', streamed, {}, event, 'data: {"cho'],
    ['of /v1/messages', '/v1/messages', streamed, {}, 'event: ping\ndata: {"type":"ping"}\n\n', ''],
    [
      'of /v1/responses',
      '/v1/responses',
      { model: 'local/demo', stream: true },
      {},
      'data: {"type":"x"}\n\n',
      '',
    ],
    ["after a server's own comment", '/v1/chat/completions', streamed, {}, `${event}: ping\n\n`, ''],
  ])('go on %s, each with one line end, and part no event', async (_, path, body, compat, whole, half) => {
    const sockets: Socket[] = []
    await using server = await createRawServer((socket, head) => {
      if (head.startsWith('GET')) return void socket.end(models)
      sockets.push(socket)
      socket.write(`${sse}connection: close\r\n\r\n${whole}${half}`)
    })
    const clock = createVirtualClock()
    const provider = { models: [{ id: 'demo', compat }] }
    await using house = await openHouse({ serverUrl: server.url, clock, provider })
    const response = await house.post(path, body)
    let heard = ''
    const isBroken = hearAll(response, (text) => {
      heard += text
    })
    await expect.poll(() => heard).toContain(whole.slice(0, -10))
    const before = heard
    for (let spoken = 1; spoken <= 3; spoken++) {
      await clock.advanceTo(clock.now() + (spoken === 1 ? 10_000 : 5_000))
      await expect.poll(() => heard.slice(before.length)).toMatch(comment.repeat(spoken))
    }
    expect(heard).not.toMatch(/: leasehold [^\n]*\n\n/)
    const rest = half === '' ? 'data: [DONE]\n\n' : 'ices":[{"delta":{"content":"b"}}]}\n\ndata: [DONE]\n\n'
    sockets[0]?.end(rest)
    await isBroken
    expect(heard.replaceAll(comment, '')).toContain(`${before}${half}${rest}`)
  })

  test('are not written into a stream whose length is stated', async () => {
    const body = 'data: {"choices":[{"delta":{"content":"a"}}]}\n\ndata: [DONE]\n\n'
    const sockets: Socket[] = []
    await using server = await createRawServer((socket, head) => {
      if (head.startsWith('GET')) return void socket.end(models)
      sockets.push(socket)
      socket.write(`${sse}content-length: ${body.length}\r\n\r\n${body.slice(0, -14)}`)
    })
    const clock = createVirtualClock()
    await using house = await openHouse({ serverUrl: server.url, clock })
    const response = await house.post('/v1/chat/completions', withUsage)
    await clock.advanceTo(clock.now() + 20_000)
    sockets[0]?.write(body.slice(-14))
    expect(await readAll(response)).toEqual({ text: body, isBroken: false })
  })
})

describe('a client that does not read', () => {
  const totalBytes = 64 * 2 ** 20

  /** A server whose answer is as long as it can be written; says how much it got rid of. */
  async function openFlood() {
    let sentBytes = 0
    const chunk = Buffer.from(`data: ${'x'.repeat(65_528)}\n\n`)
    const server = await createRawServer((socket, head) => {
      if (head.startsWith('GET')) return void socket.end(models)
      socket.write(`${sse}connection: close\r\n\r\n`)
      const push = () => {
        while (!socket.destroyed && sentBytes < totalBytes) {
          sentBytes += chunk.length
          if (!socket.write(chunk)) return void socket.once('drain', push)
        }
        socket.end('data: [DONE]\n\n')
      }
      push()
    })
    return { server, sentBytes: () => sentBytes }
  }

  async function openStalled(port: number) {
    const body = JSON.stringify(streamed)
    const socket = await openSocket(port)
    socket.pause()
    socket.write(
      `POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    )
    return socket
  }

  /** Waits until a number that grows has stood still for twenty looks at it. */
  async function untilStill(read: () => number): Promise<void> {
    let looks = 0
    let before = -1
    await expect
      .poll(
        () => {
          looks = read() > 0 && read() === before ? looks + 1 : 0
          before = read()
          return looks
        },
        { interval: 5, timeout: 20_000 },
      )
      .toBeGreaterThan(20)
  }

  test('makes the server wait, and gets everything when it reads on (fault 46)', async () => {
    const { server, sentBytes } = await openFlood()
    await using _ = server
    await using house = await openHouse({ serverUrl: server.url })
    const socket = await openStalled(house.port)
    await untilStill(sentBytes)
    expect(sentBytes()).toBeLessThan(totalBytes / 2)
    let receivedBytes = 0
    let tail = ''
    socket.on('data', (chunk) => {
      receivedBytes += chunk.length
      tail = (tail + chunk.toString('latin1')).slice(-40)
    })
    socket.resume()
    await expect.poll(() => tail, { timeout: 20_000 }).toMatch(/data: \[DONE\]\n\n\r\n0\r\n\r\n$/)
    expect(receivedBytes).toBeGreaterThan(totalBytes)
    socket.destroy()
  })

  test('is cut off after writeStallMs, and its lease with it (fault 61)', async () => {
    const clock = createVirtualClock()
    const { server, sentBytes } = await openFlood()
    await using _ = server
    await using house = await openHouse({ serverUrl: server.url, clock, leasehold: { writeStallMs: 20_000 } })
    const socket = await openStalled(house.port)
    await untilStill(sentBytes)
    expect(house.service().leases).toBe(1)
    await clock.advanceTo(clock.now() + 19_000)
    expect(house.service().leases).toBe(1)
    await clock.advanceTo(clock.now() + 2_000)
    await expect.poll(() => house.service().leases).toBe(0)
    socket.destroy()
  })
})

// @module-tag proof

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createRawServer, type RawServer } from '../transport/raw-server.ts'
import { type House, openHouse, openSocket } from './house.ts'
import { inboundCases, toInbound } from './inbound-cases.ts'

let server: RawServer
let house: House
/** What the model server gets of the plain request. */
let plain = ''

const answerTo = (head: string) => {
  const body = head.startsWith('POST') ? '{}' : '{"data":[]}'
  return `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: ${body.length}\r\n\r\n${body}`
}
/** The hop mark counts the requests of a gateway. */
const listForwarded = () =>
  server.received
    .filter((text) => !text.startsWith('GET '))
    .map((text) => text.replace(/^(x-leasehold-hop: \w+)#\d+\r$/m, '$1#N\r'))

/** Sends bytes and reads until the connection is closed, or a first answer is whole. */
async function send(bytes: string): Promise<string> {
  const socket = await openSocket(house.port)
  let text = ''
  await new Promise<void>((resolve) => {
    socket.once('close', () => resolve())
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1')
      const final = text.replace(/^HTTP\/1\.1 100 Continue\r\n\r\n/, '')
      const length = Number(/^content-length: (\d+)\r$/im.exec(final)?.[1])
      const headEnd = final.indexOf('\r\n\r\n')
      if (headEnd >= 0 && final.length >= headEnd + 4 + length) resolve()
    })
    socket.write(bytes.replaceAll('PORT', String(house.port)), 'latin1')
  })
  socket.destroy()
  return text
}

beforeAll(async () => {
  server = await createRawServer((socket, head) => socket.end(answerTo(head)))
  const limits = { headersTimeout: 400, requestTimeout: 800, connectionsCheckingInterval: 50 }
  house = await openHouse({ serverUrl: server.url, limits, leasehold: { heartbeatMs: 3_600_000 } })
  expect(await send(toInbound({}))).toMatch(/^HTTP\/1\.1 200 /)
  plain = listForwarded()[0] ?? ''
  expect(plain).toMatch(/^POST \/v1\/chat\/completions HTTP\/1\.1\r\n/)
})
afterAll(async () => {
  await house[Symbol.asyncDispose]()
  await server[Symbol.asyncDispose]()
})

test('the corpus is as large as promised (promise P18)', () => {
  expect(inboundCases.length).toBeGreaterThanOrEqual(120)
  expect(new Set(inboundCases.map(({ bytes }) => bytes)).size).toBe(inboundCases.length)
})

describe('raw bytes from a client', () => {
  test.concurrent.each(inboundCases.filter(({ outcome }) => outcome === 'refused'))(
    '$name: refused, and nothing reaches the model server (fault 113, promise P18)',
    async ({ bytes }) => {
      const answer = await send(bytes)
      expect(answer).toMatch(/^$|^HTTP\/1\.1 [45]\d\d /)
    },
  )

  test('of all that was refused nothing reached the model server (faults 113, 114, promise P18)', () => {
    expect(listForwarded()).toEqual([plain])
  })

  test.each(inboundCases.filter(({ outcome }) => outcome === 'served'))(
    '$name, byte for byte (fault 114, promise P18)',
    async ({ bytes }) => {
      const before = listForwarded().length
      expect(await send(bytes)).toMatch(/^(HTTP\/1\.1 100 Continue\r\n\r\n)?HTTP\/1\.1 200 /)
      const [forwarded, ...more] = listForwarded().slice(before)
      expect(more).toEqual([])
      expect(forwarded).toBe(plain)
    },
  )

  test('leaves a gateway that serves as before', async () => {
    expect(await send(toInbound({}))).toMatch(/^HTTP\/1\.1 200 /)
    expect(listForwarded().at(-1)).toBe(plain)
    expect(house.service()).toMatchObject({ leases: 0, queue: [] })
  })
})

/** A random number generator that can be told where to begin: a failure prints the seed. */
function createRandom(seed: number): (below: number) => number {
  let state = seed >>> 0
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

/** Bytes that parsers stumble over. */
const SPICE = [
  '\r\n',
  '\n',
  '\r',
  '\0',
  ' ',
  '\t',
  ':',
  ';',
  ',',
  '0',
  'ffffffff',
  '\xff',
  'HTTP/1.1',
  'chunked',
  '\r\n\r\n',
  'Host: evil.com\r\n',
  'Content-Length: 3\r\n',
  'Transfer-Encoding: chunked\r\n',
]

function mutate(bytes: string, random: (below: number) => number): string {
  let result = bytes
  for (let count = 1 + random(4); count > 0; count -= 1) {
    const at = random(result.length + 1)
    const length = random(12)
    const choice = random(5)
    const piece =
      choice === 0
        ? ''
        : choice === 1
          ? String.fromCharCode(random(256))
          : choice === 2
            ? result.slice(at, at + length).repeat(2)
            : (SPICE[random(SPICE.length)] ?? '')
    result =
      choice === 4
        ? result.slice(0, at)
        : result.slice(0, at) + piece + result.slice(at + (choice === 3 ? 0 : length))
  }
  return result
}

const RUNS = Number(process.env.FUZZ_RUNS ?? 300)
const SEED = Number(process.env.FUZZ_SEED ?? 1)

test(`${RUNS} mutations of good and bad requests crash nothing, and what is forwarded is whole and framed once (promise P18)`, {
  timeout: 30_000 + RUNS * 100,
}, async () => {
  const random = createRandom(SEED)
  const before = listForwarded().length
  const all = Array.from({ length: RUNS }, () =>
    mutate(inboundCases[random(inboundCases.length)]?.bytes.slice(0, 2_000) ?? '', random),
  )
  for (let index = 0; index < RUNS; index += 50) {
    const answers = await Promise.all(all.slice(index, index + 50).map(send))
    for (const [at, answer] of answers.entries())
      expect([answer === '' || /^HTTP\/1\.1 \d{3} /.test(answer), SEED, all[index + at]]).toEqual([
        true,
        SEED,
        all[index + at],
      ])
  }
  // A client that left before its request was sent leaves an empty connection.
  for (const text of listForwarded()
    .slice(before)
    .filter((one) => one !== '')) {
    const end = text.indexOf('\r\n\r\n')
    const head = text.slice(0, end)
    const lengths = [...head.matchAll(/^content-length: (\d+)$/gim)].map(([, length]) => Number(length))
    expect([text, SEED, lengths]).toEqual([text, SEED, [text.length - end - 4]])
    expect([SEED, head]).toEqual([SEED, expect.not.stringMatching(/^transfer-encoding:|\0|\r(?!\n)/im)])
    expect([SEED, head.match(/^host: .*$/gim)]).toEqual([SEED, [`host: ${new URL(server.url).host}`]])
    expect(JSON.parse(Buffer.from(text.slice(end + 4), 'latin1').toString())).toMatchObject({ model: 'demo' })
  }
  expect(await send(toInbound({}))).toMatch(/^HTTP\/1\.1 200 /)
  await expect.poll(() => house.service()).toMatchObject({ leases: 0, queue: [] })
})

import { createRequire } from 'node:module'
import type { Socket } from 'node:net'
import { Pool } from 'undici'
import { expect, onTestFinished, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { settle } from '../../src/testing/virtual-clock.ts'
import { createUpstream } from '../../src/transport/upstream.ts'
import { createRawServer } from './raw-server.ts'

/** The clock of undici's own timeouts, which no fake timers reach: one for the whole worker. */
const timers: { tick(ms: number): void } = createRequire(import.meta.url)('undici/lib/util/timers.js')

/** An hour passes for undici: a timer that is new is armed by the first step and due at the next. */
async function passAnHour(): Promise<void> {
  for (let step = 0; step < 3; step += 1) {
    timers.tick(1_200_000)
    await settle()
  }
}

const half = 'HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nok'

test.each([
  ['before its head', '', 'UND_ERR_HEADERS_TIMEOUT', `${half}ok`],
  ['in the middle of its body', half, 'UND_ERR_BODY_TIMEOUT', 'ok'],
])(
  'an answer that is silent for an hour %s comes whole, which undici by itself would not wait for (fault 44, peer U-1)',
  async (_, begun, code, rest) => {
    const sockets: Socket[] = []
    await using server = await createRawServer((socket) => {
      sockets.push(socket)
      socket.write(begun)
    })
    const upstream = createUpstream(server.url, systemClock)
    onTestFinished(() => upstream.close())
    const outcomes: (Error | 'end')[] = []
    let text = ''
    upstream.send(
      { method: 'GET', path: '/', headers: {}, body: [], bodyBytes: 0, isStream: true },
      {
        onHead: () => {},
        onData: (chunk) => {
          text += chunk
          return true
        },
        onEnd: () => outcomes.push('end'),
        onError: (error) => outcomes.push(error),
      },
    )
    const bare = new Pool(server.url)
    onTestFinished(() => bare.destroy())
    let bareText = ''
    const bareOutcome = bare
      .request({ method: 'GET', path: '/' })
      .then(async ({ body }) => {
        for await (const chunk of body) bareText += chunk
        return 'end'
      })
      .catch((error: unknown) => error)
    const arrived = begun === '' ? '' : 'ok'
    await expect.poll(() => [sockets.length, text, bareText]).toEqual([2, arrived, arrived])

    await passAnHour()
    expect(await bareOutcome).toMatchObject({ code })
    expect(outcomes).toEqual([])

    for (const socket of sockets) socket.end(rest)
    await expect.poll(() => outcomes).toEqual(['end'])
    expect(text).toBe('okok')
  },
)

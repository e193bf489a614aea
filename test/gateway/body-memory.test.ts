import { once } from 'node:events'
import { createServer, request, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { openHouse } from './house.ts'

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

const STREAMS = 4
const BODY_BYTES = 8_000_000

/** Bytes of all buffers that are still in use. */
function countBytes(): number {
  collectGarbage()
  return process.memoryUsage().arrayBuffers
}

test.each(['content-length', 'transfer-encoding'])(
  'the bodies of streams are released when their answers begin, however they came (%s)',
  async (framing) => {
    const streams: ServerResponse[] = []
    const server = createServer((message, response) => {
      if (message.method === 'GET') return response.end('{"object":"list","data":[]}')
      message.resume()
      message.once('end', () => {
        streams.push(response)
        response.writeHead(200, { 'content-type': 'text/event-stream' }).write(': begun\n\n')
      })
    })
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const { port } = server.address() as AddressInfo
    await using house = await openHouse({ serverUrl: `http://127.0.0.1:${port}` })
    const text = JSON.stringify({
      model: 'local/demo',
      stream: true,
      messages: [{ role: 'user', content: 'x'.repeat(BODY_BYTES) }],
    })
    const body = Buffer.from(text)
    const before = countBytes()
    const clients = await Promise.all(
      Array.from({ length: STREAMS }, async () => {
        const call = request({
          port: house.port,
          method: 'POST',
          path: '/v1/chat/completions',
          headers: {
            'content-type': 'application/json',
            ...(framing === 'content-length' ? { 'content-length': body.length } : {}),
          },
        })
        call.on('error', () => {})
        call.end(body)
        const [response] = await once(call, 'response')
        response.on('error', () => {}).resume()
        return call
      }),
    )
    expect(streams).toHaveLength(STREAMS)
    // The collector needs a few turns until the last listener is gone.
    await expect.poll(() => countBytes() - before, { timeout: 10_000 }).toBeLessThan(BODY_BYTES)
    for (const stream of streams) stream.end('data: [DONE]\n\n')
    for (const client of clients) client.destroy()
    server.closeAllConnections()
    server.close()
  },
)

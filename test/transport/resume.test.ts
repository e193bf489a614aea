import { expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { createUpstream } from '../../src/transport/upstream.ts'
import { createRawServer } from './raw-server.ts'

test('an answer that is resumed before more of it has come delivers nothing', async () => {
  let goOn = () => {}
  await using server = await createRawServer((socket) => {
    socket.write('HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab')
    goOn = () => socket.end('cd')
  })
  const upstream = createUpstream(server.url, systemClock)
  const chunks: string[] = []
  await new Promise<void>((resolve, reject) => {
    const call = upstream.send(
      { method: 'GET', path: '/', headers: {}, body: [], bodyBytes: 0, isStream: true },
      {
        onHead: () => {},
        onData: (chunk) => {
          chunks.push(chunk.toString())
          // The reader is full; it asks for more as soon as it has taken this piece.
          setImmediate(() => {
            call.resume()
            call.resume()
            goOn()
          })
          return false
        },
        onEnd: resolve,
        onError: reject,
      },
    )
  })
  await upstream.close()
  expect(chunks).toEqual(['ab', 'cd'])
})

import { expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { parseConfig } from '../../src/config/load.ts'
import { resolveCandidates } from '../../src/config/model-ref.ts'
import { createUpstreams } from '../../src/request/upstreams.ts'
import { createRawServer } from '../transport/raw-server.ts'

test('no request of a generation uses a connection of the one before, though it is open and idle (fault 50)', async () => {
  let connections = 0
  const answeredBy: number[] = []
  await using server = await createRawServer((socket) => {
    connections += 1
    const connection = connections
    const answer = () => {
      answeredBy.push(connection)
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok')
    }
    answer()
    // Head and body of a request come in one piece or in two; the head begins with its method.
    socket.on('data', (chunk) => chunk.toString().includes('POST ') && answer())
  })
  const provider = { baseUrl: `${server.url}/v1`, models: [{ id: 'm' }] }
  const config = parseConfig(JSON.stringify({ models: { providers: { p: provider } } }))
  const [target] = resolveCandidates(config, 'p/m', { failover: false })
  if (target === undefined) throw new Error('a target was expected')
  const upstreams = createUpstreams(systemClock)
  const ask = async (generation: string) => {
    // The connection of the answer before is idle only when that answer has been dealt with.
    await new Promise((resolve) => setImmediate(resolve))
    await new Promise<void>((resolve, reject) =>
      upstreams.of(target, generation).send(
        {
          method: 'POST',
          path: '/x',
          headers: {},
          body: [Buffer.from('{}')],
          bodyBytes: 2,
          isStream: false,
        },
        { onHead: () => {}, onData: () => true, onEnd: resolve, onError: reject },
      ),
    )
  }
  for (const generation of ['g.1', 'g.1', 'g.2', 'g.2']) await ask(generation)
  expect(answeredBy).toEqual([1, 1, 2, 2])
  expect(server.closed).toBe(0)
  await upstreams.disconnectAll()
  await expect.poll(() => server.open).toBe(0)
})

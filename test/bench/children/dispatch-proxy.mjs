// The yardstick: the least that node:http and undici's `dispatch` need to read a body, pass it on and pass back
// what comes. It knows nothing of models, leases or failures.
import { createServer } from 'node:http'
import { Pool } from 'undici'
import { options, serveParent } from './parent.mjs'

const pool = new Pool(`http://127.0.0.1:${options.upstreamPort}`, { connections: null, pipelining: 1 })
const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
  const chunks = []
  request.on('data', (chunk) => chunks.push(chunk))
  request.once('end', () => {
    const { host, connection, 'content-length': _, ...headers } = request.headers
    const body = chunks.length === 1 ? chunks[0] : Buffer.concat(chunks)
    let running
    response.on('drain', () => running?.resume())
    response.once('close', () => {
      if (!response.writableFinished) running?.abort(new Error('the client left'))
    })
    pool.dispatch(
      { method: request.method, path: request.url, headers, body },
      {
        onRequestStart: (controller) => {
          running = controller
        },
        onResponseStart: (_, status, { connection, 'keep-alive': __, 'transfer-encoding': ___, ...sent }) => {
          response.writeHead(status, sent)
        },
        onResponseData: (controller, chunk) => {
          if (!response.write(chunk)) controller.pause()
        },
        onResponseEnd: () => response.end(),
        onResponseError: () => response.destroy(),
      },
    )
  })
})
server.listen(0, '127.0.0.1', 4096, () => serveParent({ port: server.address().port }))

// A model server that loads for a while: 503 until then, as llama.cpp. Its answer says when it became ready, in the
// host's monotonic time. Run by the gateway under test: `node late-server.mjs PORT LOAD_MS prints|silent`.
import { createServer } from 'node:http'
import { nowUs } from './now.mjs'

const [port, loadMs, kind] = process.argv.slice(2)
let readyAtUs

const server = createServer((request, response) => {
  request.resume()
  if (readyAtUs === undefined)
    return response
      .writeHead(503, { 'content-type': 'application/json' })
      .end('{"error":{"message":"Loading model","type":"unavailable_error","code":503}}')
  const isModels = request.url.endsWith('/models')
  const body = JSON.stringify(isModels ? { object: 'list', data: [{ id: 'bench' }] } : { readyAtUs })
  response.writeHead(200, { 'content-type': 'application/json' }).end(body)
})
server.listen(Number(port), '127.0.0.1', () => {
  // Never the same load twice: a poll must not happen to be in step with it.
  setTimeout(
    () => {
      readyAtUs = nowUs()
      if (kind === 'prints') process.stdout.write('model loaded\n')
    },
    Number(loadMs) * (1 + Math.random()),
  )
})

// The way of one warm streaming request through the code: how many files and functions it meets, and which files it is
// handed on through. A move is a call from one file to another on the stack of the grant, of the dispatch, or of a write.
// Run: npm run build && node test/bench/walk.mjs [--files]
import { once } from 'node:events'
import { createServer, request, ServerResponse } from 'node:http'
import { Session } from 'node:inspector/promises'
import { Pool } from 'undici'
import { Actor } from 'xstate'
import { parseConfig } from '../../dist/src/config/load.js'
import { createGateway } from '../../dist/src/gateway/server.js'
import { createSupervisor } from '../../dist/src/supervisor/supervisor.js'

const HOUSE = /\/dist\/((?:src|machines)\/[^:)]+)\.js/
/** The executor of charts calls an effect as xstate would: it is no place that a request is handed to. */
const EXECUTOR = /^src\/statechart\//
const MODEL = 'walk/model'

Error.stackTraceLimit = 200

const server = createServer((incoming, response) => {
  incoming.resume().once('end', () => {
    if (incoming.method === 'GET') return response.end('{"object":"list","data":[{"id":"model"}]}')
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write('data: {"choices":[{"delta":{"content":"a"}}]}\n\n')
    setTimeout(() => response.end('data: [DONE]\n\n'), 20)
  })
}).listen(0, '127.0.0.1')
await once(server, 'listening')
const baseUrl = `http://127.0.0.1:${server.address().port}/v1`
const config = parseConfig(
  JSON.stringify({ models: { providers: { walk: { baseUrl, models: [{ id: 'model' }] } } } }),
  { file: 'walk' },
)
const supervisor = createSupervisor({ config })
const gateway = createGateway({ supervisor, port: 0 })
const { port } = await gateway.listen()

const ways = { there: [], back: [] }
const { dispatch } = Pool.prototype
Pool.prototype.dispatch = function (...given) {
  ways.there.push(listFiles(new Error('there').stack))
  return dispatch.apply(this, given)
}
// The grant may come back on a stack of its own.
const { send } = Actor.prototype
Actor.prototype.send = function (event) {
  if (event.type === 'lease.granted') ways.there.push(listFiles(new Error('granted').stack))
  return send.call(this, event)
}
const { write } = ServerResponse.prototype
ServerResponse.prototype.write = function (...given) {
  if (!this.isOfServer) ways.back.push(listFiles(new Error('back').stack))
  return write.apply(this, given)
}
server.prependListener('request', (_, response) => {
  response.isOfServer = true
})

for (let round = 0; round < 50; round += 1) await ask()
const session = new Session()
session.connect()
await session.post('Profiler.enable')
await session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: false })
await session.post('Profiler.takePreciseCoverage')
ways.there.length = 0
ways.back.length = 0
await ask()
const { result } = await session.post('Profiler.takePreciseCoverage')
session.disconnect()

const files = new Map()
for (const { url, functions } of result) {
  const name = HOUSE.exec(`${url})`)?.[1]
  const called = functions.filter(({ functionName, ranges }) => functionName !== '' && ranges[0].count > 0)
  const anonymous = functions.filter(({ functionName, ranges }) => functionName === '' && ranges[0].count > 0)
  const count = called.length + anonymous.length
  if (name !== undefined && count > 0) files.set(name, count)
}
const functions = [...files.values()].reduce((sum, count) => sum + count, 0)
console.log(`${files.size} files, ${functions} functions`)
for (const [name, stacks] of Object.entries({ there: ways.there, back: ways.back.slice(0, 1) })) {
  console.log(`${name}: ${countMoves(stacks)} moves`)
  for (const stack of stacks) console.log(`  ${stack.join(' → ')}`)
}
if (process.argv.includes('--files'))
  for (const [name, count] of [...files].sort()) console.log(`${String(count).padStart(4)}  ${name}`)

await gateway.close()
await supervisor.close()
server.closeAllConnections()
server.close()

/** The files of a stack, the outermost first; one that calls itself is named once. */
function listFiles(stack) {
  return stack
    .split('\n')
    .flatMap((line) => HOUSE.exec(line)?.[1] ?? [])
    .filter((file) => !EXECUTOR.test(file))
    .reverse()
    .filter((file, index, all) => file !== all[index - 1])
}

/** Hand-overs from file to file; stacks that begin alike share them. */
function countMoves(stacks) {
  const moves = stacks.flatMap((stack) => stack.slice(1).map((_, index) => stack.slice(0, index + 2).join()))
  return new Set(moves).size
}

async function ask() {
  const body = JSON.stringify({ model: MODEL, stream: true, messages: [{ role: 'user', content: 'Hi' }] })
  const sent = request({
    host: '127.0.0.1',
    port,
    path: '/v1/chat/completions',
    method: 'POST',
    headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
  })
  sent.end(body)
  const [response] = await once(sent, 'response')
  if (response.statusCode !== 200) throw new Error(`the walk met ${response.statusCode}`)
  for await (const _ of response);
}

// The server behind every proxy: as little as answers. A request says in its headers what it wants:
// `x-bench-events`: so many stamped events, one in 10 ms; `x-bench-bytes`: an answer so large; else a small JSON.
import { createServer } from 'node:http'
import { nowUs } from './now.mjs'
import { serveParent } from './parent.mjs'

const SMALL = Buffer.from(
  '{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"bench","choices":[{"index":0,"message":{"role":"assistant","content":"Four."},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}',
)
/** What a probe wants to see before it calls a server ready. */
const MODELS = Buffer.from('{"object":"list","data":[{"id":"bench","object":"model"}]}')
const EVENT_BYTES = 150
const EVENT_EVERY_MS = 10
const LAST = Buffer.from(
  'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n',
)
const BLOCK = Buffer.alloc(65_536, 'x')

/** Streams in ten groups, one of which is due every millisecond: events come evenly, not in bursts. */
const groups = Array.from({ length: EVENT_EVERY_MS }, () => new Set())
let group = 0
let opened = 0
let isTicking = false

const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
  request.resume().once('end', () => {
    const { 'x-bench-events': events, 'x-bench-bytes': bytes } = request.headers
    if (events !== undefined) stream(response, Number(events))
    else if (bytes !== undefined) flood(response, Number(bytes))
    else sendJson(response, request.method === 'GET' ? MODELS : SMALL)
  })
})
server.listen(0, '127.0.0.1', 4096, () => serveParent({ port: server.address().port }))

function sendJson(response, body) {
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': body.length }).end(body)
}

function stream(response, left) {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  response.flushHeaders()
  opened += 1
  const open = { response, left, group: groups[opened % groups.length] }
  open.group.add(open)
  response.once('close', () => open.group.delete(open))
  if (isTicking) return
  isTicking = true
  tick(Math.floor(nowUs() / 1e3))
}

/** Catches up with the clock: timers are late, and the rate must not suffer. */
function tick(fromMs) {
  const nowMs = Math.floor(nowUs() / 1e3)
  for (let ms = fromMs; ms < nowMs; ms += 1) {
    group = (group + 1) % groups.length
    for (const open of groups[group]) sendEvent(open)
  }
  isTicking = groups.some(({ size }) => size > 0)
  if (isTicking) setTimeout(tick, 1, nowMs)
}

function sendEvent(open) {
  const { response, group } = open
  if (open.left === 0) {
    group.delete(open)
    return response.end(LAST)
  }
  open.left -= 1
  const head = `data: {"at":"${nowUs().toFixed(0).padStart(16, '0')}","choices":[{"index":0,"delta":{"content":"`
  response.write(`${head}${'o'.repeat(EVENT_BYTES - head.length - 8)}"}}]}\n\n`)
}

function flood(response, bytes) {
  response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': bytes })
  let left = bytes
  const more = () => {
    while (left > 0) {
      const size = Math.min(left, BLOCK.length)
      left -= size
      if (!response.write(size === BLOCK.length ? BLOCK : BLOCK.subarray(0, size))) return
    }
    response.end()
  }
  response.on('drain', more)
  more()
}

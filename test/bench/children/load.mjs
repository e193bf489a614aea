// A client that costs little: keep-alive connections on bare sockets, one request in flight on each, its bytes
// made once, answers found by their content-length. Reports what every request took.
import { connect } from 'node:net'
import { serveParent } from './parent.mjs'

const TOO_LONG_MS = 60_000
const HEAD_END = Buffer.from('\r\n\r\n')

serveParent({}, async ({ port, path, headers = {}, bodyBytes, body, connections, count, pauseMs = 0 }) => {
  const payload = body ?? '"'.padEnd(bodyBytes, ' ')
  const head = [
    `POST ${path} HTTP/1.1`,
    `host: 127.0.0.1:${port}`,
    'content-type: application/json',
    `content-length: ${Buffer.byteLength(payload)}`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
  ]
  const bytes = Buffer.from(`${head.join('\r\n')}\r\n\r\n${payload}`)
  const latenciesUs = new Float64Array(count)
  const run = { port, bytes, count, pauseMs, sent: 0, latenciesUs }
  const startedAtMs = performance.now()
  await Promise.all(Array.from({ length: Math.min(connections, count) }, () => drive(run)))
  const elapsedMs = performance.now() - startedAtMs
  latenciesUs.sort()
  return {
    p50Us: latenciesUs[Math.floor(count * 0.5)],
    p99Us: latenciesUs[Math.floor(count * 0.99)],
    perSecond: (count / elapsedMs) * 1e3,
  }
})

/** Sends one request after the other on one connection, with a pause between, until the run has had enough. */
function drive(run) {
  return new Promise((resolve, reject) => {
    const socket = connect({ port: run.port, host: '127.0.0.1', noDelay: true })
    socket.setTimeout(TOO_LONG_MS, () => socket.destroy(new Error('no answer')))
    let held
    let sentAtMs = 0
    let index = 0
    const next = () => {
      if (run.sent === run.count) return socket.destroy()
      index = run.sent
      run.sent += 1
      sentAtMs = performance.now()
      socket.write(run.bytes)
    }
    socket.once('connect', next)
    socket.on('data', (chunk) => {
      held = held === undefined ? chunk : Buffer.concat([held, chunk])
      const size = toAnswerBytes(held)
      if (size === undefined || held.length < size) return
      if (held.indexOf('HTTP/1.1 200') !== 0) return socket.destroy(new Error(held.toString('latin1')))
      held = undefined
      run.latenciesUs[index] = (performance.now() - sentAtMs) * 1e3
      if (run.pauseMs === 0) next()
      else setTimeout(next, run.pauseMs)
    })
    socket.once('error', reject)
    socket.once('close', () => (run.sent === run.count ? resolve() : reject(new Error('the server hung up'))))
  })
}

/** Size of the answer that begins here, once its head is whole. */
function toAnswerBytes(held) {
  const end = held.indexOf(HEAD_END)
  if (end < 0) return undefined
  const [, length] = /\r\ncontent-length: (\d+)/i.exec(held.toString('latin1', 0, end)) ?? []
  if (length === undefined) throw new Error('an answer without content-length')
  return end + HEAD_END.length + Number(length)
}

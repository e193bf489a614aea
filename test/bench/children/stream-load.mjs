// Reads many event streams at once and finds out how old each event is when it arrives: the server stamps it
// with the same clock. The first part of every stream is not counted; it has the connections to open.
import { connect } from 'node:net'
import { nowUs } from './now.mjs'
import { serveParent } from './parent.mjs'

const STAMP = Buffer.from('"at":"')
const STAMP_DIGITS = 16
const TOO_LONG_MS = 60_000

const open = new Set()

serveParent({}, async ({ port, body, streams, events, skipped, isHeld = false }) => {
  if (port === undefined) {
    for (const socket of open) socket.destroy()
    return {}
  }
  const bytes = Buffer.from(
    `POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\ncontent-type: application/json\r\n` +
      `x-bench-events: ${events}\r\nconnection: close\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  )
  const agesUs = []
  const begun = []
  const ended = Array.from({ length: streams }, () => {
    const stream = read(port, bytes, skipped, agesUs)
    begun.push(stream.begun)
    return stream.ended
  })
  if (isHeld) {
    for (const end of ended) end.catch(() => {})
    await Promise.all(begun)
    return {}
  }
  await Promise.all(ended)
  const sorted = Float64Array.from(agesUs).sort()
  return {
    events: sorted.length,
    p50Us: sorted[Math.floor(sorted.length * 0.5)],
    p99Us: sorted[Math.floor(sorted.length * 0.99)],
  }
})

function read(port, bytes, skipped, agesUs) {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  open.add(socket)
  socket.setTimeout(TOO_LONG_MS, () => socket.destroy(new Error('no event')))
  socket.once('connect', () => socket.write(bytes))
  let rest = Buffer.alloc(0)
  let seen = 0
  socket.on('data', (chunk) => {
    const atUs = nowUs()
    const text = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    let from = 0
    for (let at = text.indexOf(STAMP); at >= 0; at = text.indexOf(STAMP, from)) {
      if (at + STAMP.length + STAMP_DIGITS > text.length) break
      from = at + STAMP.length + STAMP_DIGITS
      seen += 1
      if (seen > skipped) agesUs.push(atUs - Number(text.latin1Slice(at + STAMP.length, from)))
    }
    rest = text.subarray(Math.max(from, text.length - STAMP.length - STAMP_DIGITS))
  })
  const ended = new Promise((resolve, reject) => {
    socket.once('error', reject)
    socket.once('close', () => {
      open.delete(socket)
      if (rest.includes('[DONE]')) resolve()
      else reject(new Error(`a stream broke off: ${rest.toString('latin1')}`))
    })
  })
  return { begun: new Promise((resolve) => socket.once('data', resolve)), ended }
}

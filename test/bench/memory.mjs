// What the gateway keeps in memory: idle, per open stream, per queued request, and while a large answer goes to a
// reader that is slower than the server.
// Run: node test/bench/memory.mjs [--quick] [--json FILE]
import { once } from 'node:events'
import { connect } from 'node:net'
import { fileURLToPath } from 'node:url'
import { startChild, toFreePort, toRssBytes } from './children.mjs'
import { runAlone } from './figures.mjs'
import { MODEL, toProviders } from './peers.mjs'

const SERVER = fileURLToPath(new URL('children/late-server.mjs', import.meta.url))
const BODY = JSON.stringify({ model: MODEL, stream: true, messages: [{ role: 'user', content: 'Hello.' }] })
const MB = 1e6
/** The slow reader takes this much at once and rests a moment, about 60 MB/s at most. */
const SIP_BYTES = 512 * 1024
const REST_MS = 8

/** @returns {Promise<import('./figures.mjs').Report>} */
export async function measure({ quick }) {
  const upstream = await startChild('upstream')
  try {
    const idleBytes = await measureIdle(upstream.port)
    const streamBytes = await measureStreams(upstream.port, quick ? 10 : 500)
    const queuedBytes = await measureQueue(quick ? 10 : 1_000)
    const answerMb = quick ? 10 : 300
    const grownBytes = await measureSlowReader(upstream.port, answerMb * MB)
    const row = (what, bytes, unit, divisor) => ({ what, RSS: bytes / divisor, unit })
    return {
      title: 'Memory',
      rows: [
        row('idle gateway', idleBytes, 'MB', MB),
        row('open stream', streamBytes, 'KB', 1e3),
        row('queued request of 2 KB', queuedBytes, 'KB', 1e3),
        row(`growth: ${answerMb} MB answer, slow reader`, grownBytes, 'MB', MB),
      ],
      targets: [
        { number: 'idle gateway, MB', value: idleBytes / MB, atMost: 75 },
        { number: 'open stream, KB', value: streamBytes / 1e3, atMost: 60 },
        { number: 'queued request, KB', value: queuedBytes / 1e3, atMost: 20 },
        { number: `${answerMb} MB answer, slow reader, MB`, value: grownBytes / MB, atMost: 16 },
      ],
    }
  } finally {
    await upstream.end()
  }
}

function measureIdle(upstreamPort) {
  return withGateway(toProviders(upstreamPort), async (gateway) => {
    await send(gateway.port, BODY).done
    return toSettledRss(gateway)
  })
}

function measureStreams(upstreamPort, streams) {
  return withGateway(toProviders(upstreamPort), async (gateway) => {
    const load = await startChild('stream-load')
    try {
      const ask = (count) =>
        load.ask({ port: gateway.port, body: BODY, streams: count, events: 1e6, skipped: 1e6, isHeld: true })
      // One stream before the others: the code that all of them share is not theirs to pay.
      await ask(1)
      const beforeBytes = await toSettledRss(gateway)
      await ask(streams)
      return ((await toSettledRss(gateway)) - beforeBytes) / streams
    } finally {
      await load.end()
    }
  })
}

/** Requests that wait for a server which never becomes ready. */
async function measureQueue(count) {
  const port = await toFreePort()
  const localService = {
    command: process.execPath,
    args: [SERVER, String(port), '600000', 'silent'],
    healthUrl: `http://127.0.0.1:${port}/health`,
    stopGraceMs: 1_000,
    maxQueue: count + 1,
  }
  return withGateway(toProviders(port, { localService }), async (gateway) => {
    const body = JSON.stringify({ model: MODEL, messages: [{ role: 'user', content: 'x'.repeat(2_000) }] })
    const waiting = [send(gateway.port, body)]
    await untilQueued(gateway, 1)
    const beforeBytes = await toSettledRss(gateway)
    for (let sent = 0; sent < count; sent += 1) waiting.push(send(gateway.port, body))
    await untilQueued(gateway, count + 1)
    const grownBytes = (await toSettledRss(gateway)) - beforeBytes
    for (const { socket, done } of waiting) {
      done.catch(() => {})
      socket.destroy()
    }
    return grownBytes / count
  })
}

/** The largest RSS of the whole way, over what it was before. */
function measureSlowReader(upstreamPort, bytes) {
  return withGateway(toProviders(upstreamPort), async (gateway) => {
    await sip(gateway.port, bytes / 10)
    const beforeBytes = await toSettledRss(gateway)
    let peakBytes = beforeBytes
    const watch = setInterval(() => {
      peakBytes = Math.max(peakBytes, toRssBytes(gateway.pid))
    }, 20)
    await sip(gateway.port, bytes).finally(() => clearInterval(watch))
    return peakBytes - beforeBytes
  })
}

async function sip(port, bytes) {
  const { socket, done } = send(port, BODY, `x-bench-bytes: ${bytes}\r\n`)
  let sipped = 0
  socket.on('data', (chunk) => {
    sipped += chunk.length
    if (sipped < SIP_BYTES) return
    sipped = 0
    socket.pause()
    setTimeout(() => socket.resume(), REST_MS)
  })
  const got = await done
  if (got < bytes) throw new Error(`${got} of ${bytes} bytes arrived`)
}

async function withGateway(providers, use) {
  const gateway = await startChild('gateway', { providers })
  try {
    return await use(gateway)
  } finally {
    await gateway.end()
  }
}

async function toSettledRss(gateway) {
  await gateway.ask('collect garbage')
  return toRssBytes(gateway.pid)
}

async function untilQueued(gateway, count) {
  while ((await gateway.ask('queue length')).queued < count)
    await new Promise((resolve) => setTimeout(resolve, 10))
}

/** One request on a connection of its own. `done`: how many bytes came, once the connection is closed. */
function send(port, body, headers = '') {
  const socket = connect({ port, host: '127.0.0.1' })
  const head = `POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\ncontent-type: application/json\r\n`
  socket.write(
    `${head}${headers}connection: close\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  )
  let bytes = 0
  socket.on('data', (chunk) => {
    bytes += chunk.length
  })
  return { socket, done: once(socket, 'close').then(() => bytes) }
}

await runAlone(import.meta.url, measure)

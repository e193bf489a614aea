// What sleep saves: the time to a first byte of a server that is cold, asleep, or awake. The server is a script that takes
// 300 ms to load and 60 ms to wake, so that what is beyond that is leasehold's own.
// Run: node test/bench/sleep.mjs [--quick] [--json FILE]
import { request } from 'node:http'
import { fileURLToPath } from 'node:url'
import { startChild, toFreePort } from './children.mjs'
import { quantile, runAlone } from './figures.mjs'
import { toProviders } from './peers.mjs'

const SERVER = fileURLToPath(new URL('../fixtures/sleeper.mjs', import.meta.url))
const LOAD_MS = 300
const WAKE_MS = 60

/** @returns {Promise<import('./figures.mjs').Report>} */
export async function measure({ quick }) {
  const count = quick ? 2 : 20
  const port = await toFreePort()
  const localService = {
    command: process.execPath,
    args: [
      '--expose-gc',
      SERVER,
      ...['--port', String(port), '--load-ms', String(LOAD_MS), '--wake-ms', String(WAKE_MS)],
    ],
    healthUrl: `http://127.0.0.1:${port}/health`,
    sleep: {
      afterMs: 100,
      request: [{ path: '/sleep?level=1' }],
      wake: [{ path: '/wake_up' }],
      check: { path: '/is_sleeping', field: 'is_sleeping' },
    },
  }
  const gateway = await startChild('gateway', { providers: toProviders(port, { localService }) })
  const times = { cold: [], asleep: [], awake: [] }
  try {
    for (let round = 0; round < count; round += 1) {
      times.cold.push(await ask(gateway.port))
      times.awake.push(await ask(gateway.port))
      await untilAsleep(gateway.port)
      times.asleep.push(await ask(gateway.port))
      await gateway.ask('stop the service')
    }
  } finally {
    await gateway.end()
  }
  const toRow = (server, valuesMs) => ({
    server,
    requests: String(valuesMs.length),
    'p50, ms': quantile(valuesMs, 0.5),
    'p90, ms': quantile(valuesMs, 0.9),
  })
  return {
    title: `Sleep: time to a first byte of a server that loads in ${LOAD_MS} ms and wakes in ${WAKE_MS} ms`,
    rows: [
      toRow('cold: it is started', times.cold),
      toRow('asleep: it is woken', times.asleep),
      toRow('awake', times.awake),
    ],
    targets: [
      {
        number: 'p50 of a wake, times a cold start',
        value: quantile(times.asleep, 0.5) / quantile(times.cold, 0.5),
        atMost: 0.5,
      },
    ],
  }
}

/** The time to a first byte of an answer, in milliseconds. */
function ask(port) {
  const startedAtMs = performance.now()
  return send(port, '/upstream/bench/v1/seen?start=1').then(({ status, atMs }) => {
    if (status !== 200) throw new Error(`the answer is ${status}`)
    return atMs - startedAtMs
  })
}

async function untilAsleep(port) {
  for (;;) {
    const { body } = await send(port, '/api/services')
    if (JSON.parse(body).services[0].state === 'ready.asleep') return
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

function send(port, path) {
  return new Promise((resolve, reject) => {
    const sent = request({ port, path, agent: false })
    sent.once('error', reject)
    sent.once('response', async (response) => {
      const atMs = performance.now()
      let body = ''
      response.setEncoding('utf8')
      for await (const part of response) body += part
      resolve({ status: response.statusCode, atMs, body })
    })
    sent.end()
  })
}

await runAlone(import.meta.url, measure)

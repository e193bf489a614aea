// What a cold start costs beyond the server's own: from the moment it is ready to the first byte of the answer to
// the request that started it. With LEASEHOLD_LLAMA_SERVER set to a command line without a port
// (`llama-server -m model.gguf`) a real server is started too, with and without us in front.
// Run: node test/bench/cold-start.mjs [--quick] [--json FILE]
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { request } from 'node:http'
import { fileURLToPath } from 'node:url'
import { nowUs } from './children/now.mjs'
import { startChild, toFreePort } from './children.mjs'
import { median, quantile, runAlone } from './figures.mjs'
import { MODEL, toProviders } from './peers.mjs'

const BODY = JSON.stringify({ model: MODEL, messages: [{ role: 'user', content: 'Hello.' }], max_tokens: 1 })
const SERVER = fileURLToPath(new URL('children/late-server.mjs', import.meta.url))

/** @returns {Promise<import('./figures.mjs').Report>} */
export async function measure({ quick }) {
  const count = quick ? 2 : 20
  const loadMs = quick ? 50 : 300
  const printing = await measureOurs(count, (port) => [process.execPath, SERVER, port, loadMs, 'prints'])
  const silent = await measureOurs(count, (port) => [process.execPath, SERVER, port, loadMs, 'silent'])
  const rows = [toRow('prints a line when it is ready', printing), toRow('prints nothing', silent)]
  const real = process.env.LEASEHOLD_LLAMA_SERVER
  rows.push(
    real === undefined
      ? { server: 'llama-server', starts: 'not here' }
      : toRow('llama-server, over the same without us', await measureReal(quick ? 1 : 10, real.split(' '))),
  )
  return {
    title: 'Cold start: first byte after the server is ready',
    rows,
    targets: [
      { number: 'p50 of a server that prints, ms', value: median(printing), atMost: 10 },
      { number: 'p50 of a server that prints nothing, ms', value: median(silent), atMost: 30 },
    ],
  }
}

function toRow(server, valuesMs) {
  return {
    server,
    starts: String(valuesMs.length),
    'p50, ms': quantile(valuesMs, 0.5),
    'p90, ms': quantile(valuesMs, 0.9),
  }
}

async function measureOurs(count, toCommand) {
  const valuesMs = []
  await withGateway(toCommand, async (gateway) => {
    for (let start = 0; start < count; start += 1) {
      const { firstByteAtUs, body } = await send(gateway.port)
      valuesMs.push((firstByteAtUs - JSON.parse(body).readyAtUs) / 1e3)
      await gateway.ask('stop the service')
    }
  })
  return valuesMs
}

/** Starts in turns, once without us, polling every 2 ms, once with us: the differences of the times to a first byte. */
async function measureReal(count, command) {
  const valuesMs = []
  const toCommand = (port) => [...command, '--port', port]
  await withGateway(toCommand, async (gateway) => {
    for (let start = 0; start < count; start += 1) {
      const aloneUs = await startAlone(toCommand)
      const startedAtUs = nowUs()
      const { firstByteAtUs } = await send(gateway.port)
      valuesMs.push((firstByteAtUs - startedAtUs - aloneUs) / 1e3)
      await gateway.ask('stop the service')
    }
  })
  return valuesMs
}

async function withGateway(toCommand, use) {
  const port = await toFreePort()
  const [command, ...args] = toCommand(port).map(String)
  const localService = { command, args, healthUrl: `http://127.0.0.1:${port}/health`, stopGraceMs: 1_000 }
  const gateway = await startChild('gateway', { providers: toProviders(port, { localService }) })
  try {
    await use(gateway)
  } finally {
    await gateway.end()
  }
}

async function startAlone(toCommand) {
  const port = await toFreePort()
  const [command, ...args] = toCommand(port).map(String)
  const startedAtUs = nowUs()
  const child = spawn(command, args, { stdio: 'ignore' })
  const exited = once(child, 'exit')
  try {
    while ((await send(port, 'GET', '/health').catch(() => ({}))).status !== 200) {
      if (child.exitCode !== null) throw new Error(`${command} ended with ${child.exitCode}`)
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
    const { firstByteAtUs } = await send(port)
    return firstByteAtUs - startedAtUs
  } finally {
    child.kill('SIGKILL')
    await exited
  }
}

function send(port, method = 'POST', path = '/v1/chat/completions') {
  return new Promise((resolve, reject) => {
    const sent = request({
      port,
      method,
      path,
      agent: false,
      headers: { 'content-type': 'application/json' },
    })
    sent.once('error', reject)
    sent.once('response', async (response) => {
      const firstByteAtUs = nowUs()
      response.setEncoding('utf8')
      let body = ''
      for await (const text of response) body += text
      if (method === 'POST' && response.statusCode !== 200) return reject(new Error(body))
      resolve({ firstByteAtUs, body, status: response.statusCode })
    })
    sent.end(method === 'POST' ? BODY : undefined)
  })
}

await runAlone(import.meta.url, measure)

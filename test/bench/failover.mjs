// How long a request waits when the machine that serves it dies: killed, or silent as with a pulled cable. And the rate of
// questions that members ask each other over NATS. Real `leasehold serve` processes and model servers; needs a nats-server.
// Run: node test/bench/failover.mjs [--quick] [--json FILE]
import { mkdir, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseConfig } from '../../dist/src/config/load.js'
import { findFreePort } from '../../dist/src/testing/real-host.js'
import { quantile, runAlone } from './figures.mjs'
import { measureWithNats, openLink, secret, serve } from './nats.mjs'

const modelServer = fileURLToPath(new URL('../../dist/src/testing/demo-server.js', import.meta.url))

/** @returns {Promise<import('./figures.mjs').Report>} */
export function measure({ quick }) {
  return measureWithNats('A machine of a cluster dies', async (url, folder) => {
    const one = await measureAsks(url, quick ? 200 : 2000, 1)
    const many = await measureAsks(url, quick ? 1000 : 20_000, 32)
    const killed = []
    const silent = []
    for (let round = 0; round < (quick ? 1 : 5); round += 1) {
      killed.push(...(await measureFailover(url, join(folder, `killed-${round}`), 'SIGKILL')))
      silent.push(...(await measureFailover(url, join(folder, `silent-${round}`), 'SIGSTOP')))
    }
    const [killedMs, silentMs] = [quantile(killed, 0.5), quantile(silent, 0.5)]
    return {
      rows: [
        { what: 'questions to a member over NATS, one after the other, per second', measured: one },
        { what: 'the same, 32 at once, per second', measured: many },
        { what: 'kill -9, until the answer from elsewhere: p50, ms', measured: killedMs },
        { what: 'the same: the longest, ms', measured: Math.max(...killed) },
        { what: 'silence (SIGSTOP), until the answer from elsewhere: p50, ms', measured: silentMs },
        { what: 'the same: the longest, ms', measured: Math.max(...silent) },
      ],
      targets: [
        { number: 'failover after kill -9, ms', value: killedMs, atMost: 100 },
        { number: 'failover after silence, ms', value: silentMs, atMost: 4000 },
      ],
    }
  })
}

function openQuestioner(url, member) {
  const cluster = { servers: [url], secret, member, address: 'http://127.0.0.1:1' }
  return openLink(parseConfig(JSON.stringify({ leasehold: { cluster } })).leasehold.cluster, 'bench')
}

/** Questions per second, some at once. */
async function measureAsks(url, count, atOnce) {
  const [asking, asked] = [await openQuestioner(url, 'asking'), await openQuestioner(url, 'asked')]
  const ask = async () => {
    const { outcome } = await asking.prove('asked', 'bench', 5000)
    if (outcome !== 'alive') throw new Error(`a question ended with ${outcome}`)
  }
  let left = count
  const askOn = async () => {
    for (; left > 0; left -= 1) await ask()
  }
  // Its subscription reaches the server after it is connected.
  while ((await asking.prove('asked', 'bench', 5000)).outcome !== 'alive') await wait(5)
  const begunMs = performance.now()
  await Promise.all(Array.from({ length: atOnce }, askOn))
  const perSecond = count / ((performance.now() - begunMs) / 1000)
  await Promise.all([asking.close(), asked.close()])
  return Math.round(perSecond)
}

/** Eight requests wait for the first byte of a machine, another one has the model up, and the first one dies. */
async function measureFailover(url, folder, signal) {
  await mkdir(folder)
  const boxes = await Promise.all([
    openBox(url, folder, 'tower', undefined),
    openBox(url, folder, 'attic', ['--first-token-ms', '60000']),
    openBox(url, folder, 'cellar', []),
  ])
  const [tower, attic, cellar] = boxes
  try {
    await attic.post('/api/services/llama/start')
    await tower.untilService('attic', ({ state }) => state === 'ready')
    const ask = async (model) => {
      const messages = [{ role: 'user', content: 'hello' }]
      const answer = await tower.post('/v1/chat/completions', { model, messages })
      await answer.text()
      if (!answer.ok) throw new Error(`a request ended with ${answer.status}`)
      return performance.now()
    }
    const times = Array.from({ length: 8 }, () => ask('llama/m'))
    await tower.untilService('attic', ({ leases }) => leases === 8)
    await cellar.post('/api/services/llama/start')
    await tower.untilService('cellar', ({ state }) => state === 'ready')
    // What is measured is the failover, not the first request of a process.
    for (let index = 0; index < 30; index += 1) await ask('cellar:llama/m')
    const begunMs = performance.now()
    attic.child.kill(signal)
    return (await Promise.all(times)).map((ms) => ms - begunMs)
  } finally {
    await Promise.all(boxes.map(({ end }) => end()))
  }
}

async function openBox(url, parent, member, flags) {
  const folder = join(parent, member)
  await mkdir(folder)
  const [port, modelPort] = [await findFreePort(), await findFreePort()]
  const args = [modelServer, '--port', String(modelPort), '--models', 'm', ...(flags ?? [])]
  const llama = {
    baseUrl: `http://127.0.0.1:${modelPort}/v1`,
    models: [{ id: 'm' }],
    localService: { command: process.execPath, args, stopGraceMs: 500 },
  }
  const cluster = { servers: [url], secret, member, prefix: basename(parent) }
  const file = join(folder, 'leasehold.json5')
  const providers = flags === undefined ? {} : { llama }
  await writeFile(file, JSON.stringify({ leasehold: { port, cluster }, models: { providers } }), {
    mode: 0o600,
  })
  const { child, untilPrinted, end } = serve(file, folder)
  await untilPrinted('listens on')
  const address = `http://127.0.0.1:${port}`
  return {
    child,
    /** Waits until this member knows of the model at another one what is asked for. */
    untilService: async (name, fits) => {
      for (;;) {
        const { members } = await (await fetch(`${address}/api/members`)).json()
        const service = members.find((one) => one.member === name)?.services.llama
        if (service !== undefined && fits(service)) return
        await wait(20)
      }
    },
    post: (path, body = {}) =>
      fetch(address + path, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      }),
    end,
  }
}

await runAlone(import.meta.url, measure)

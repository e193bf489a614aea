// What a small request pays for features: the gateway with none of them, and with API keys, a budget, a log at `info`,
// metrics that were read, and one page open.
// Run: node test/bench/features.mjs [--quick] [--json FILE]
import { get } from 'node:http'
import { startChild, toCpuUs } from './children.mjs'
import { compare, median, runAlone } from './figures.mjs'
import { toProviders } from './peers.mjs'
import { BODY } from './requests.mjs'

const NONE = 'no feature'
const ALL = 'every feature'
const KEY = 'bench-key-of-thirty-two-characters'
const HEADERS = { authorization: `Bearer ${KEY}` }
const ROUNDS = 7
const CONNECTIONS = 16

/** @returns {Promise<import('./figures.mjs').Report>} */
export async function measure({ quick }) {
  const count = quick ? 50 : 4_000
  const upstream = await startChild('upstream')
  const providers = toProviders(upstream.port)
  const gateways = {
    [NONE]: await startChild('gateway', { providers }),
    [ALL]: await startChild('gateway', {
      providers,
      leasehold: { apiKeys: [KEY], budgets: { ramMiB: 1_000_000 } },
      logLevel: 'info',
    }),
  }
  const load = await startChild('load')
  const viewers = await startChild('viewers', { port: gateways[ALL].port, headers: HEADERS })
  const run = ({ port }) =>
    load.ask({
      port,
      path: '/v1/chat/completions',
      headers: HEADERS,
      body: BODY,
      connections: CONNECTIONS,
      count,
    })
  const rounds = []
  try {
    await readMetrics(gateways[ALL].port)
    await viewers.ask({ pages: 1 })
    for (const gateway of Object.values(gateways)) await run(gateway)
    for (let round = 0; round < (quick ? 1 : ROUNDS); round += 1) {
      const figures = {}
      for (const [name, gateway] of Object.entries(gateways)) {
        const cpuUs = toCpuUs(gateway.pid)
        const result = await run(gateway)
        figures[name] = { ...result, cpuUs: (toCpuUs(gateway.pid) - cpuUs) / count }
      }
      rounds.push(figures)
    }
    if ((await viewers.ask({ pages: 0 })).messages === 0) throw new Error('no viewer was told anything')
  } finally {
    for (const child of [viewers, load, ...Object.values(gateways), upstream]) await child.end()
  }
  return {
    title: 'Every feature on',
    rows: Object.keys(gateways).map((gateway) => ({
      gateway,
      'CPU, µs': median(rounds.map((round) => round[gateway].cpuUs)),
      'CPU, times none': compare(rounds, gateway, NONE, ({ cpuUs }) => cpuUs),
      'requests/s': median(rounds.map((round) => round[gateway].perSecond)),
    })),
    targets: [
      {
        number: 'CPU per request with every feature, times none',
        value: compare(rounds, ALL, NONE, ({ cpuUs }) => cpuUs),
        atMost: 1.25,
      },
    ],
  }
}

function readMetrics(port) {
  return new Promise((resolve, reject) => {
    get({ port, path: '/metrics', headers: HEADERS }, (answer) => answer.resume().once('end', resolve)).once(
      'error',
      reject,
    )
  })
}

await runAlone(import.meta.url, measure)

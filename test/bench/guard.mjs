// Fails when a small request costs more CPU than is recorded, times bare dispatch in the same run.
// Run: npm run bench -- requests --guard   (record anew: --record)
import { readFileSync, writeFileSync } from 'node:fs'
import { startChild, toCpuUs } from './children.mjs'
import { toProviders } from './peers.mjs'
import { BODY } from './requests.mjs'

const FILE = new URL('guard.json', import.meta.url)
/** The rounds are short and take turns, so what loads the host loads both; the best one is the least disturbed. */
const ROUNDS = 12
const REQUESTS = 4_000
const CONNECTIONS = 16
/** Above the recorded figure by this share is a loss. Rounds of one tree differ by less, best against best. */
const MARGIN = 0.2

/** CPU per request, times bare dispatch: of the best round of each. */
export async function measureRatio(rounds = ROUNDS) {
  const upstream = await startChild('upstream')
  const bare = await startChild('dispatch-proxy', { upstreamPort: upstream.port })
  const gateway = await startChild('gateway', { providers: toProviders(upstream.port) })
  const load = await startChild('load')
  const run = async (peer) => {
    const beforeUs = toCpuUs(peer.pid)
    await load.ask({
      port: peer.port,
      path: '/v1/chat/completions',
      body: BODY,
      connections: CONNECTIONS,
      count: REQUESTS,
    })
    return (toCpuUs(peer.pid) - beforeUs) / REQUESTS
  }
  const figures = { bare: [], gateway: [] }
  try {
    await run(bare)
    await run(gateway)
    for (let round = 0; round < rounds; round += 1) {
      figures.bare.push(await run(bare))
      figures.gateway.push(await run(gateway))
    }
  } finally {
    for (const child of [load, gateway, bare, upstream]) await child.end()
  }
  return Math.min(...figures.gateway) / Math.min(...figures.bare)
}

/** @returns the exit code */
export async function guard({ record = false } = {}) {
  const { major } = /^v(?<major>\d+)/.exec(process.version).groups
  const known = JSON.parse(readFileSync(FILE, 'utf8'))
  const ratio = Math.round((await measureRatio()) * 100) / 100
  if (record) {
    writeFileSync(FILE, `${JSON.stringify({ ...known, [major]: ratio }, null, 2)}\n`)
    console.log(`recorded for Node ${major}: ${ratio} times bare dispatch`)
    return 0
  }
  const recorded = known[major]
  if (recorded === undefined) {
    console.log(`CPU per small request: ${ratio} times bare dispatch; nothing is recorded for Node ${major}`)
    return 0
  }
  const most = recorded * (1 + MARGIN)
  const verdict = ratio <= most ? 'kept' : 'LOST'
  console.log(
    `CPU per small request: ${ratio} times bare dispatch (recorded ${recorded}, at most ${most.toFixed(2)}): ${verdict}`,
  )
  return ratio <= most ? 0 : 1
}

// What a cluster costs: the time to list a new machine, claims, and an idle member beside 1, 3 and 20 others. The others are
// members without models in this process; the one that is measured is a real `leasehold serve`. Needs a nats-server.
// Run: node test/bench/cluster.mjs [--quick] [--json FILE]
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { systemClock } from '../../dist/src/clock.js'
import { joinCluster } from '../../dist/src/cluster/joined-cluster.js'
import { loadLibraries } from '../../dist/src/cluster/libraries.js'
import { createStartClaims } from '../../dist/src/cluster/start-claims.js'
import { parseConfig } from '../../dist/src/config/load.js'
import { findFreePort } from '../../dist/src/testing/real-host.js'
import { PROOF_HEADER } from '../../dist/src/transport/member-proof.js'
import { quantile, runAlone } from './figures.mjs'
import { measureWithNats, openLink, secret, serve } from './nats.mjs'

const libraries = await loadLibraries()

/** @returns {Promise<import('./figures.mjs').Report>} */
export function measure({ quick }) {
  return measureWithNats('A cluster', async (url, folder) => {
    const claims = await measureClaims(url, quick ? 20 : 200)
    const listings = []
    for (let round = 0; round < (quick ? 2 : 5); round += 1) listings.push(await measureListing(url))
    const idle = []
    for (const others of quick ? [1] : [1, 3, 20])
      idle.push({ others, ...(await measureIdle(url, folder, others, quick ? 1000 : 30_000)) })
    const listMs = quantile(listings, 0.5)
    // Twenty are told in the table; the target is for a few.
    const cpu = Math.max(...idle.filter(({ others }) => others <= 3).map(({ cpuPercent }) => cpuPercent))
    return {
      rows: [
        { what: 'a claim on a start, taken and released: p50, ms', measured: quantile(claims, 0.5) },
        { what: 'the same: p99, ms', measured: quantile(claims, 0.99) },
        { what: 'a new member, from its start to its models in another list: p50, ms', measured: listMs },
        ...idle.flatMap(({ others, cpuPercent, rssMiB }) => [
          { what: `an idle member beside ${others}: CPU, percent of a core`, measured: cpuPercent },
          { what: `an idle member beside ${others}: memory, MiB`, measured: rssMiB },
        ]),
      ],
      targets: [
        { number: 'a new member is listed, ms', value: listMs, atMost: 1000 },
        { number: 'idle member, percent of a core', value: cpu, atMost: 1.5 },
      ],
    }
  })
}

function toCluster(url, member, address) {
  // Twenty members in one process answer each other late.
  const cluster = { servers: [url], secret, member, address, probeMs: 5000 }
  return parseConfig(JSON.stringify({ leasehold: { cluster } })).leasehold.cluster
}

async function measureClaims(url, count) {
  const config = toCluster(url, 'claimer', 'http://127.0.0.1:1')
  const self = { member: 'claimer', boot: 'bench' }
  const link = await openLink(config, self.boot)
  const claims = createStartClaims({ config, self, link, clock: systemClock, libraries })
  const times = []
  for (let index = 0; index < count + 1; index += 1) {
    const beganMs = performance.now()
    const claim = await claims.take('bench')
    if (claim.outcome === 'won') await claims.release('bench', claim.revision)
    // The first one makes the bucket.
    if (index > 0) times.push(performance.now() - beganMs)
  }
  await link.close()
  return times
}

/** A member without a supervisor: it has a card, and gives it over HTTP. */
async function joinAs(url, member, services = {}) {
  let cluster
  const door = createServer((request, response) => {
    const hop = cluster?.neighbourhood.admit(request.method, request.url, request.headers)
    const text = JSON.stringify(cluster?.card() ?? {})
    if (hop !== undefined) response.setHeader(PROOF_HEADER, cluster.proveAnswer(hop, text))
    response.setHeader('content-type', 'application/json')
    response.end(text)
  })
  door.listen(0, '127.0.0.1')
  await once(door, 'listening')
  cluster = await joinCluster({
    config: toCluster(url, member, `http://127.0.0.1:${door.address().port}`),
    clock: systemClock,
    describe: () => services,
    onOffers: () => {},
    publish: () => {},
    onRevoked: () => {},
    libraries,
  })
  return {
    cluster,
    close: async () => {
      await cluster.close()
      door.closeAllConnections()
      door.close()
    },
  }
}

async function untilSeen({ cluster }, count) {
  while (cluster.members().filter(({ state }) => state === 'open').length < count) await wait(5)
}

async function measureListing(url) {
  const old = await joinAs(url, 'old')
  await untilSeen(old, 1)
  const beganMs = performance.now()
  const added = await joinAs(url, 'added')
  await untilSeen(old, 2)
  const ms = performance.now() - beganMs
  await added.close()
  await old.close()
  return ms
}

async function measureIdle(url, folder, others, ms) {
  const port = await findFreePort()
  const file = join(folder, 'member.json5')
  const models = Array.from({ length: 100 }, (_, index) => ({ id: `model-${index}` }))
  const cluster = { servers: [url], secret, member: 'measured' }
  const llama = { baseUrl: 'http://127.0.0.1:1/v1', models }
  await writeFile(file, JSON.stringify({ leasehold: { port, cluster }, models: { providers: { llama } } }), {
    mode: 0o600,
  })
  const { child, untilPrinted, end } = serve(file, folder)
  const members = await Promise.all(
    Array.from({ length: others }, (_, index) => joinAs(url, `other-${index}`)),
  )
  await untilPrinted('is there', others)
  await wait(quickRest(ms))
  const before = await readCpuMs(child.pid)
  await wait(ms)
  const cpuPercent = ((await readCpuMs(child.pid)) - before) / (ms / 100)
  const [, rss = '0'] = /VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${child.pid}/status`, 'utf8')) ?? []
  await end()
  await Promise.all(members.map(({ close }) => close()))
  return { cpuPercent, rssMiB: Number(rss) / 1024 }
}

/** The start is over before the measurement begins, and what runs often is compiled. */
function quickRest(ms) {
  return Math.min(ms, 10_000)
}

async function readCpuMs(pid) {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  // Clock ticks of user and system time: 100 in a second on Linux.
  return (Number(fields[11]) + Number(fields[12])) * 10
}

await runAlone(import.meta.url, measure)

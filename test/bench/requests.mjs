// What a small JSON request pays for the gateway, beside the proxies that know nothing of models.
// Run: node test/bench/requests.mjs [--quick] [--json FILE]
import { startChild, toCpuUs } from './children.mjs'
import { compare, median, runAlone } from './figures.mjs'
import { MODEL, PEERS, startPeers } from './peers.mjs'

/** A small chat request. */
export const BODY = JSON.stringify({
  model: MODEL,
  messages: [{ role: 'user', content: 'What is two and two?' }],
  max_tokens: 16,
  temperature: 0.2,
})

/** @returns {Promise<import('./figures.mjs').Report>} */
export async function measure({ quick }) {
  const { peers, end } = await startPeers()
  const load = await startChild('load')
  const run = (peer, connections, count) =>
    load.ask({ port: peer.port, path: '/v1/chat/completions', body: BODY, connections, count })
  const rounds = { 1: [], 16: [], 64: [] }
  try {
    for (const peer of Object.values(peers)) await run(peer, 16, quick ? 50 : 4_000)
    for (let round = 0; round < (quick ? 1 : 5); round += 1)
      for (const connections of [1, 16, 64]) {
        const count = quick ? 100 : connections === 1 ? 2_000 : 8_000
        const figures = {}
        for (const [name, peer] of Object.entries(peers)) {
          const cpuUs = toCpuUs(peer.pid)
          const result = await run(peer, connections, count)
          figures[name] = { ...result, cpuUs: (toCpuUs(peer.pid) - cpuUs) / count }
        }
        rounds[connections].push(figures)
      }
  } finally {
    await load.end()
    await end()
  }
  return { title: 'Small JSON requests', rows: toRows(rounds), targets: toTargets(rounds) }
}

function toRows(rounds) {
  return Object.entries(rounds).flatMap(([connections, figures]) =>
    PEERS.map((peer) => {
      const added = (toFigure) => compare(figures, peer, 'direct', toFigure, (a, b) => a - b) ?? 'not here'
      const of = (toFigure) =>
        median(figures.flatMap((round) => (round[peer] === undefined ? [] : [toFigure(round[peer])])))
      return {
        connections,
        through: peer,
        'added p50, µs': added(({ p50Us }) => p50Us),
        'added p99, µs': added(({ p99Us }) => p99Us),
        'requests/s': of(({ perSecond }) => perSecond) ?? '-',
        'CPU, µs': of(({ cpuUs }) => cpuUs) ?? '-',
        'CPU, times bare dispatch': compare(figures, peer, 'bare dispatch', ({ cpuUs }) => cpuUs) ?? '-',
      }
    }),
  )
}

function toTargets(rounds) {
  const cpu = (figures) => compare(figures, 'leasehold', 'bare dispatch', ({ cpuUs }) => cpuUs)
  const rate = (figures) => compare(figures, 'leasehold', 'llama-swap', ({ perSecond }) => perSecond)
  return [
    { number: 'CPU at c=16, times bare dispatch', value: cpu(rounds[16]), atMost: 2 },
    { number: 'CPU at c=64, times bare dispatch', value: cpu(rounds[64]), atMost: 2 },
    { number: 'throughput at c=16, times llama-swap', value: rate(rounds[16]), atLeast: 1.5 },
    { number: 'throughput at c=64, times llama-swap', value: rate(rounds[64]), atLeast: 1.5 },
    {
      number: 'added p50 at c=1, times llama-swap',
      value: toAddedRatio(rounds[1], 'llama-swap'),
      atMost: 0.7,
    },
  ]
}

/** How our added p50 stands to another proxy's: the ratio of medians, since one round's difference may be nothing. */
function toAddedRatio(figures, peer) {
  const added = (name) =>
    compare(
      figures,
      name,
      'direct',
      ({ p50Us }) => p50Us,
      (a, b) => a - b,
    )
  const theirs = added(peer)
  return theirs === null ? null : added('leasehold') / theirs
}

await runAlone(import.meta.url, measure)

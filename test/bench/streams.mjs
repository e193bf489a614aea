// What an event of a stream pays for the gateway: 100 events of 150 bytes a second in every stream.
// Run: node test/bench/streams.mjs [--quick] [--json FILE]
import { startChild, toCpuUs } from './children.mjs'
import { compare, median, runAlone } from './figures.mjs'
import { MODEL, PEERS, startPeers } from './peers.mjs'

const BODY = JSON.stringify({ model: MODEL, stream: true, messages: [{ role: 'user', content: 'Count.' }] })
const PER_SECOND = 100

/** @returns {Promise<import('./figures.mjs').Report>} */
export async function measure({ quick }) {
  const sizes = quick ? [1, 5] : [1, 64, 500]
  const events = quick ? 30 : 4 * PER_SECOND
  const { peers, end } = await startPeers()
  const load = await startChild('stream-load')
  const run = (peer, streams) =>
    load.ask({ port: peer.port, body: BODY, streams, events, skipped: events / 4 })
  const rounds = Object.fromEntries(sizes.map((size) => [size, []]))
  try {
    for (const peer of Object.values(peers)) await run(peer, quick ? 1 : 64)
    for (let round = 0; round < (quick ? 1 : 3); round += 1)
      for (const streams of sizes) {
        const figures = {}
        for (const [name, peer] of Object.entries(peers)) {
          const cpuUs = toCpuUs(peer.pid)
          const result = await run(peer, streams)
          figures[name] = { ...result, cpuUs: (toCpuUs(peer.pid) - cpuUs) / (streams * events) }
        }
        rounds[streams].push(figures)
      }
  } finally {
    await load.end()
    await end()
  }
  return {
    title: 'Streams, 100 events/s of 150 bytes each',
    rows: toRows(rounds),
    targets: toTargets(rounds[sizes[1]], sizes[1]),
  }
}

function toRows(rounds) {
  return Object.entries(rounds).flatMap(([streams, figures]) =>
    PEERS.map((peer) => {
      const added = (toFigure) => compare(figures, peer, 'direct', toFigure, (a, b) => a - b) ?? 'not here'
      return {
        streams,
        through: peer,
        'added p50, µs': added(({ p50Us }) => p50Us),
        'added p99, µs': added(({ p99Us }) => p99Us),
        'CPU per event, µs':
          median(figures.flatMap((round) => (round[peer] === undefined ? [] : [round[peer].cpuUs]))) ?? '-',
        'CPU, times bare dispatch': compare(figures, peer, 'bare dispatch', ({ cpuUs }) => cpuUs) ?? '-',
      }
    }),
  )
}

function toTargets(figures, streams) {
  const added = (peer) =>
    compare(
      figures,
      peer,
      'direct',
      ({ p50Us }) => p50Us,
      (a, b) => a - b,
    )
  const nginx = added('nginx')
  return [
    {
      number: `added p50 of ${streams} streams, times nginx`,
      value: nginx === null ? null : added('leasehold') / nginx,
      atMost: 2.5,
    },
    {
      number: `CPU per event of ${streams} streams, times bare dispatch`,
      value: compare(figures, 'leasehold', 'bare dispatch', ({ cpuUs }) => cpuUs),
      atMost: 1.1,
    },
  ]
}

await runAlone(import.meta.url, measure)

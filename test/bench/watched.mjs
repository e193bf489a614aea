// What a request pays for a viewer: the gateway with nobody watching, with one page open, and with four, in turn.
// Run: node test/bench/watched.mjs [--quick] [--json FILE]
import { startChild, toCpuUs } from './children.mjs'
import { compare, median, runAlone } from './figures.mjs'
import { MODEL, toProviders } from './peers.mjs'

const BODY = JSON.stringify({ model: MODEL, messages: [{ role: 'user', content: 'What is two and two?' }] })
const NOBODY = 'nobody watches'
/** How many pages are open. */
const VIEWERS = { [NOBODY]: 0, 'one page': 1, 'four pages': 4 }
/** Requests of a round, by connections: one at a time as a person asks, and as fast as it goes. */
const COUNTS = { 1: 1_500, 16: 6_000 }

/** @returns {Promise<import('./figures.mjs').Report>} */
export async function measure({ quick }) {
  const upstream = await startChild('upstream')
  const gateway = await startChild('gateway', { providers: toProviders(upstream.port) })
  const load = await startChild('load')
  const viewers = await startChild('viewers', { port: gateway.port })
  const run = (connections, count) =>
    load.ask({ port: gateway.port, path: '/v1/chat/completions', body: BODY, connections, count })
  const rounds = { 1: [], 16: [] }
  let told = 0
  try {
    await run(16, quick ? 50 : 5_000)
    for (let round = 0; round < (quick ? 1 : 9); round += 1)
      for (const connections of Object.keys(COUNTS).map(Number)) {
        const count = quick ? 50 : COUNTS[connections]
        const figures = {}
        for (const [name, pages] of Object.entries(VIEWERS)) {
          await viewers.ask({ pages })
          const cpuUs = toCpuUs(gateway.pid)
          const result = await run(connections, count)
          figures[name] = { ...result, cpuUs: (toCpuUs(gateway.pid) - cpuUs) / count }
          told += (await viewers.ask({ pages: 0 })).messages
        }
        rounds[connections].push(figures)
      }
  } finally {
    for (const child of [viewers, load, gateway, upstream]) await child.end()
  }
  if (told === 0) throw new Error('no viewer was told anything')
  return { title: 'With a viewer', rows: toRows(rounds), targets: toTargets(rounds) }
}

function toRows(rounds) {
  return Object.entries(rounds).flatMap(([connections, figures]) =>
    Object.keys(VIEWERS).map((name) => {
      const of = (toFigure) => median(figures.map((round) => toFigure(round[name])))
      return {
        connections,
        viewers: name,
        'p50, µs': of(({ p50Us }) => p50Us),
        'p99, µs': of(({ p99Us }) => p99Us),
        'requests/s': of(({ perSecond }) => perSecond),
        'CPU, µs': of(({ cpuUs }) => cpuUs),
        'p50, times nobody': compare(figures, name, NOBODY, ({ p50Us }) => p50Us),
      }
    }),
  )
}

function toTargets(rounds) {
  return Object.entries(rounds).map(([connections, figures]) => ({
    number: `p50 at c=${connections} with one page, times nobody`,
    value: compare(figures, 'one page', NOBODY, ({ p50Us }) => p50Us),
    atMost: 1.05,
  }))
}

await runAlone(import.meta.url, measure)

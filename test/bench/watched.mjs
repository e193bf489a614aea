// What a request pays for a viewer: the gateway with no page, with one page open (at the overview, at the machines), and
// with four, in turn. No page twice: what differs between these two is noise. Each round begins with another, because
// what ran before matters too.
// Run: node test/bench/watched.mjs [--quick] [--json FILE]
import { startChild, toCpuUs } from './children.mjs'
import { compare, median, runAlone } from './figures.mjs'
import { MODEL, toProviders } from './peers.mjs'

const BODY = JSON.stringify({ model: MODEL, messages: [{ role: 'user', content: 'What is two and two?' }] })
const NO_PAGE = 'no page'
/** How many pages are open, and at which view. */
const VIEWERS = {
  [NO_PAGE]: { pages: 0 },
  'no page, again': { pages: 0 },
  'one page': { pages: 1 },
  'one page, at the machines': { pages: 1, view: 'machines' },
  'four pages': { pages: 4 },
}
/** Each order of them comes as often. */
const ROUNDS = 3 * Object.keys(VIEWERS).length
/** What is sent in a round: as many as a model server answers, and as fast as it goes. */
const LOADS = {
  '100 a second': { connections: 1, count: 300, pauseMs: 9 },
  'one after the other': { connections: 1, count: 1_500 },
  '16 at a time': { connections: 16, count: 6_000 },
}

/** @returns {Promise<import('./figures.mjs').Report>} */
export async function measure({ quick }) {
  const upstream = await startChild('upstream')
  const gateway = await startChild('gateway', { providers: toProviders(upstream.port) })
  const load = await startChild('load')
  const viewers = await startChild('viewers', { port: gateway.port })
  const run = (what) => load.ask({ port: gateway.port, path: '/v1/chat/completions', body: BODY, ...what })
  const rounds = Object.fromEntries(Object.keys(LOADS).map((name) => [name, []]))
  let told = 0
  try {
    await run({ connections: 16, count: quick ? 50 : 5_000 })
    for (let round = 0; round < (quick ? 1 : ROUNDS); round += 1)
      for (const [how, { count: usual, ...more }] of Object.entries(LOADS)) {
        const count = quick ? 50 : usual
        const figures = {}
        for (const [name, shown] of rotate(Object.entries(VIEWERS), round)) {
          await viewers.ask(shown)
          const cpuUs = toCpuUs(gateway.pid)
          const result = await run({ ...more, count })
          figures[name] = { ...result, cpuUs: (toCpuUs(gateway.pid) - cpuUs) / count }
          told += (await viewers.ask({ pages: 0 })).messages
        }
        rounds[how].push(figures)
      }
  } finally {
    for (const child of [viewers, load, gateway, upstream]) await child.end()
  }
  if (told === 0) throw new Error('no viewer was told anything')
  return { title: 'With a viewer', rows: toRows(rounds), targets: toTargets(rounds) }
}

function rotate(list, by) {
  const at = by % list.length
  return [...list.slice(at), ...list.slice(0, at)]
}

function toRows(rounds) {
  return Object.entries(rounds).flatMap(([requests, figures]) =>
    Object.keys(VIEWERS).map((name) => {
      const of = (toFigure) => median(figures.map((round) => toFigure(round[name])))
      return {
        requests,
        viewers: name,
        'p50, µs': of(({ p50Us }) => p50Us),
        'p99, µs': of(({ p99Us }) => p99Us),
        'requests/s': of(({ perSecond }) => perSecond),
        'CPU, µs': of(({ cpuUs }) => cpuUs),
        'p50, times no page': compare(figures, name, NO_PAGE, ({ p50Us }) => p50Us),
      }
    }),
  )
}

function toTargets({ '100 a second': figures }) {
  const value = compare(figures, 'one page', NO_PAGE, ({ p50Us }) => p50Us)
  return [{ number: 'p50 at 100 requests a second with one page, times no page', value, atMost: 1.05 }]
}

await runAlone(import.meta.url, measure)

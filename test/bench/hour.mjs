// A page that is kept open for an hour: 100 services, 200 requests a second and some streams. Does memory stay flat?
// One page stays at the overview; another goes through every view. It runs only when it is named.
// Run: node --expose-gc test/bench/run.mjs hour [--quick] [--json FILE]   (--quick: some seconds)
import { existsSync } from 'node:fs'
import { startChild, toCpuUs, toRssBytes } from './children.mjs'
import { runAlone } from './figures.mjs'
import { CHROMIUM, openBrowser, pause, toResting } from './page.mjs'
import { toProviders } from './peers.mjs'

const BUSY = Array.from({ length: 5 }, (_, index) => `busy-${index}`)
const RESTING = 95
const VIEWS = [
  '#/',
  '#/requests',
  '#/service/busy-3',
  '#/timeline',
  '#/try',
  '#/machines',
  '#/service/model-7',
]
/** An hour: twelve looks at memory, thirty slices of ten seconds before each. A new view for each slice. */
const WHOLE = { looks: 12, slices: 30, sliceMs: 10_000 }
const QUICK = { looks: 4, slices: 1, sliceMs: 300 }
/** The lists of what is kept have filled, and V8 has settled, after so many looks. */
const SETTLED = 2

/** @returns {Promise<import('./figures.mjs').Report>} */
export async function measure({ quick }) {
  if (!existsSync(CHROMIUM)) return { title: 'A page open for an hour', rows: [], targets: toTargets([]) }
  const { looks: count, slices, sliceMs } = quick ? QUICK : WHOLE
  const upstreams = await Promise.all(BUSY.map(() => startChild('upstream')))
  const busy = BUSY.map((id, index) => [id, toProviders(upstreams[index].port, { models: [{ id }] }).bench])
  const gateway = await startChild('gateway', {
    providers: { ...Object.fromEntries(busy), ...toResting(RESTING) },
  })
  const load = await startChild('load')
  const streams = await startChild('stream-load')
  const browser = await openBrowser()
  const looks = []
  try {
    const pages = [await browser.open(gateway.port, '#/'), await browser.open(gateway.port, '#/')]
    await pages[0].rows(BUSY.length + RESTING)
    for (let look = 0; look < count; look += 1) {
      const before = { cpuS: await browser.cpuS(), gatewayUs: toCpuUs(gateway.pid), atMs: performance.now() }
      let sent = 0
      for (let slice = 0; slice < slices; slice += 1) {
        const at = look * slices + slice
        await pages[1].go(VIEWS[at % VIEWS.length])
        sent += await work({ load, streams, port: gateway.port, model: BUSY[at % BUSY.length], ms: sliceMs })
      }
      const seconds = (performance.now() - before.atMs) / 1_000
      const spent = {
        pages: (await browser.cpuS()) - before.cpuS,
        gateway: (toCpuUs(gateway.pid) - before.gatewayUs) / 1e6,
      }
      looks.push({
        look: `${look + 1} of ${count}`,
        ...(await takeLook({ pages, gateway, seconds, sent, spent })),
      })
      console.error(JSON.stringify(looks.at(-1)))
    }
  } finally {
    await browser.close()
    for (const child of [streams, load, gateway, ...upstreams]) await child.end()
  }
  return { title: 'A page open for an hour', rows: looks, targets: toTargets(looks) }
}

/** 200 small requests a second, and four streams of the whole slice. */
async function work({ load, streams, port, model, ms }) {
  const body = (more) =>
    JSON.stringify({ model, ...more, messages: [{ role: 'user', content: 'What is two and two?' }] })
  const count = ms / 5
  await Promise.all([
    load.ask({ port, path: '/v1/chat/completions', body: body({}), connections: 4, count, pauseMs: 19 }),
    streams.ask({ port, body: body({ stream: true }), streams: 4, events: ms / 10, skipped: 0 }),
  ])
  return count + 4
}

async function takeLook({ pages, gateway, seconds, sent, spent }) {
  await pause(1_000)
  const [still, moved] = [await pages[0].look(), await pages[1].look()]
  const { heapBytes } = await gateway.ask('collect garbage')
  return {
    minutes: performance.now() / 60_000,
    'requests/s': sent / seconds,
    'heap of the page at the overview, MB': still.heap / 1e6,
    'heap of the page that moves, MB': moved.heap / 1e6,
    'elements of both': still.elements + moved.elements,
    'both pages, % of a core': (spent.pages / seconds) * 100,
    'gateway, % of a core': (spent.gateway / seconds) * 100,
    'heap of the gateway, MB': heapBytes / 1e6,
    'memory of the gateway, MB': toRssBytes(gateway.pid) / 1e6,
  }
}

/** The end, times where memory had settled: the larger of the last two looks, because a look is one moment. */
function toTargets(looks) {
  const toGrowth = (column) => {
    if (looks.length === 0) return null
    const settled = Math.max(...looks.slice(SETTLED, SETTLED + 2).map((look) => look[column]))
    return Math.max(...looks.slice(-2).map((look) => look[column])) / settled
  }
  return [
    'heap of the page at the overview, MB',
    'heap of the page that moves, MB',
    'heap of the gateway, MB',
    'memory of the gateway, MB',
  ].map((column) => ({
    number: `${column.replace(', MB', '')} at the end, times ten minutes after the start`,
    value: toGrowth(column),
    atMost: 1.1,
  }))
}

await runAlone(import.meta.url, measure)

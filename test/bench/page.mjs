// What the live page costs in a real Chromium: while nothing changes, when it is opened, and while requests flood it.
// CPU time, not the clock, wherever the system tells it: a busy host must not count.
// Run: node test/bench/page.mjs [--quick] [--json FILE]   ($CHROMIUM: another browser than Debian's)
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { startChild, toCpuUs, toFreePort } from './children.mjs'
import { quantile, runAlone } from './figures.mjs'
import { MODEL, toProviders } from './peers.mjs'

export const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium'
const DEMO = fileURLToPath(new URL('../../dist/src/testing/demo-server.js', import.meta.url))
const BODY = JSON.stringify({ model: MODEL, messages: [{ role: 'user', content: 'What is two and two?' }] })
/** Times that are measured, in milliseconds. */
const IDLE_MS = 20_000
const FLOOD_MS = 60_000
/** Views that are open while requests flood the gateway, each as long. */
const FLOODED = { overview: '#/', requests: '#/requests', timeline: '#/timeline', service: `#/service/bench` }
/** Events that there are when the page is opened: a request has about eight. */
const REQUESTS_BEFORE = 1_300

/** @returns {Promise<import('./figures.mjs').Report>} */
export async function measure({ quick }) {
  const rows = []
  const figures = {}
  const browser = existsSync(CHROMIUM) ? await openBrowser() : null
  try {
    for (const services of [30, 100])
      rows.push(await measureIdle(browser, services, quick ? 1_000 : IDLE_MS, figures))
    rows.push(await measureOpening(browser, quick ? 20 : REQUESTS_BEFORE, quick ? 1 : 5, figures))
    for (const [view, hash] of Object.entries(FLOODED))
      rows.push(await measureFlood(browser, view, hash, quick ? 2_000 : FLOOD_MS, figures))
  } finally {
    await browser?.close()
  }
  const value = (name) => figures[name] ?? null
  return {
    title: 'The live page',
    rows,
    targets: [
      { number: 'page, 30 services, nothing changes: % of a core', value: value('idle 30'), atMost: 3 },
      { number: 'page, 100 services, nothing changes: % of a core', value: value('idle 100'), atMost: 3 },
      { number: 'gateway for it, 100 services: % of a core', value: value('gateway 100'), atMost: 3 },
      { number: 'list after its data, ms', value: value('list'), atMost: 300 },
      { number: 'script of a draw in a flood, p50, ms', value: value('draw'), atMost: 4 },
      { number: 'longest task in a flood, ms of CPU', value: value('task'), atMost: 50 },
      { number: 'elements', value: value('elements'), atMost: 2_500 },
    ],
  }
}

/** Nothing changes but the countdown of one service. */
async function measureIdle(browser, services, ms, figures) {
  const what = `nothing changes, ${services} services`
  if (browser === null) return toRow(what)
  const port = await toFreePort()
  const ready = {
    baseUrl: `http://127.0.0.1:${port}/v1`,
    localService: {
      command: process.execPath,
      args: [DEMO, '--port', String(port)],
      healthUrl: `http://127.0.0.1:${port}/health`,
      idleStopMs: 3_600_000,
    },
    models: [{ id: 'm' }],
  }
  const gateway = await startChild('gateway', { providers: { ready, ...toResting(services - 1) } })
  try {
    await fetch(`http://127.0.0.1:${gateway.port}/api/services/ready/start`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{}',
    })
    const alone = await during(ms, async () => toCpuUs(gateway.pid))
    const page = await browser.open(gateway.port, '#/')
    await page.rows(services)
    // The first looks tell what the events do not.
    await pause(ms)
    const before = await page.look()
    const cpuS = await page.cpuS()
    const cpu = await during(ms, async () => toCpuUs(gateway.pid))
    const spentS = (await page.cpuS()) - cpuS
    const after = await page.look()
    await page.close()
    const seconds = cpu.ms / 1_000
    figures[`idle ${services}`] = (spentS / seconds) * 100
    figures[`gateway ${services}`] = Math.max(0, cpu.by / cpu.ms / 10 - alone.by / alone.ms / 10)
    figures.elements = Math.max(figures.elements ?? 0, after.elements)
    return toRow(what, {
      page: figures[`idle ${services}`],
      gateway: figures[`gateway ${services}`],
      questions: ((after.questions - before.questions) / seconds) * 60,
      kilobytes: ((after.bytes - before.bytes) / seconds) * 60e-3,
      script: ((after.scriptS - before.scriptS) / seconds) * 1_000,
      heap: after.heap - before.heap,
      elements: after.elements,
    })
  } finally {
    await gateway.end()
  }
}

/** The page is opened where much has happened. */
async function measureOpening(browser, requests, times, figures) {
  const what = 'opened, 30 services, 10,000 events'
  if (browser === null) return toRow(what)
  return withHouse(async (house) => {
    await house.load(requests)
    const took = []
    let last
    for (let time = 0; time < times; time += 1) {
      const page = await browser.open(house.port, '#/')
      await page.rows(30)
      last = await page.look()
      took.push(await page.listAfterMs())
      await page.close()
    }
    figures.list = quantile(took, 0.5)
    return toRow(what, { list: figures.list, elements: last.elements })
  })
}

/** 200 requests a second. */
async function measureFlood(browser, view, hash, ms, figures) {
  const what = `200 requests/s, ${view}`
  if (browser === null) return toRow(what)
  return withHouse(async (house) => {
    await house.load(20)
    const page = await browser.open(house.port, '#/')
    await page.rows(30)
    await page.go(hash)
    // The lists of what is kept fill first.
    await house.load(ms / 10)
    const before = await page.look()
    await page.trace()
    const cpuS = await page.cpuS()
    const begun = performance.now()
    await house.load(ms / 5)
    const seconds = (performance.now() - begun) / 1_000
    const spentS = (await page.cpuS()) - cpuS
    const { draws, tasks } = await page.traced()
    const after = await page.look()
    await page.close()
    const p50 = quantile(draws, 0.5)
    figures.draw = Math.max(figures.draw ?? 0, p50)
    figures.task = Math.max(figures.task ?? 0, ...tasks)
    figures.elements = Math.max(figures.elements ?? 0, after.elements)
    return toRow(what, {
      page: (spentS / seconds) * 100,
      perSecond: ms / 5 / seconds,
      draw: p50,
      drawMost: Math.max(...draws),
      task: Math.max(...tasks),
      heap: after.heap - before.heap,
      elements: after.elements,
    })
  })
}

function toRow(what, one = {}) {
  return {
    what,
    'page, % of a core': one.page,
    'gateway for it, %': one.gateway,
    'questions/min': one.questions,
    'kB/min': one.kilobytes,
    'requests/s': one.perSecond,
    'script, ms/s': one.script,
    'draw p50, ms': one.draw,
    'draw most, ms': one.drawMost,
    'longest task, ms': one.task,
    'list after its data, ms': one.list,
    'heap, kB more': one.heap === undefined ? undefined : one.heap / 1_000,
    elements: one.elements,
  }
}

/** A gateway with one service that answers at once, and 29 that rest. */
async function withHouse(use) {
  const upstream = await startChild('upstream')
  const providers = { ...toProviders(upstream.port), ...toResting(29) }
  const gateway = await startChild('gateway', { providers })
  const load = await startChild('load')
  /** So many requests, at most 200 a second. */
  const send = (count) =>
    load.ask({
      port: gateway.port,
      path: '/v1/chat/completions',
      body: BODY,
      connections: 4,
      count: Math.round(count),
      pauseMs: 19,
    })
  try {
    return await use({ port: gateway.port, load: send })
  } finally {
    for (const child of [load, gateway, upstream]) await child.end()
  }
}

/** Services that are configured and have not been asked for. */
export function toResting(count) {
  return Object.fromEntries(
    Array.from({ length: count }, (_, index) => [
      `model-${index}`,
      {
        baseUrl: `http://127.0.0.1:${20_001 + index}/v1`,
        localService: { command: process.execPath, args: ['-e', `/* ${index} */`] },
        models: [{ id: `m${index}` }],
      },
    ]),
  )
}

async function during(ms, read) {
  const [before, begun] = [await read(), performance.now()]
  await pause(ms)
  return { by: (await read()) - before, ms: performance.now() - begun }
}

export function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

/** Runs in the page, before its own script: when the data came, and when the rows were there. */
function watchList() {
  const times = { data: 0, rows: 0 }
  globalThis.benchTimes = times
  const { fetch } = globalThis
  globalThis.fetch = async (...given) => {
    const response = await fetch(...given)
    if (times.data === 0 && String(given[0]).endsWith('/api/services')) {
      const { json } = response
      response.json = async () => {
        const value = await json.call(response)
        if (times.data === 0) times.data = performance.now()
        return value
      }
    }
    return response
  }
  new MutationObserver(() => {
    if (times.rows === 0 && document.querySelectorAll('tr.one').length >= 30) times.rows = performance.now()
  }).observe(document, { childList: true, subtree: true })
}

export async function openBrowser() {
  const { chromium } = await import('playwright-core')
  const browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update'],
  })
  const whole = await browser.newBrowserCDPSession()
  /** CPU time of what draws pages, in seconds. */
  const readCpuS = async () => {
    const { processInfo } = await whole.send('SystemInfo.getProcessInfo')
    return processInfo.reduce((sum, { type, cpuTime }) => (type === 'renderer' ? sum + cpuTime : sum), 0)
  }
  const open = async (port, hash) => {
    const context = await browser.newContext({ viewport: { width: 1440, height: 900 } })
    const page = await context.newPage()
    page.setDefaultTimeout(120_000)
    await page.addInitScript(watchList)
    const cdp = await context.newCDPSession(page)
    await cdp.send('Performance.enable', { timeDomain: 'threadTicks' })
    let questions = 0
    let bytes = 0
    page.on('requestfinished', async (request) => {
      questions += 1
      const sizes = await request.sizes().catch(() => null)
      bytes += sizes?.responseBodySize ?? 0
    })
    await page.goto(`http://127.0.0.1:${port}/${hash}`)
    let events = []
    whole.on('Tracing.dataCollected', ({ value }) => events.push(...value))
    return {
      rows: (count) =>
        page
          .locator('tr.one')
          .nth(count - 1)
          .waitFor(),
      go: async (to) => {
        await page.evaluate((place) => location.assign(place), to)
        await pause(1_000)
      },
      listAfterMs: () => page.evaluate(() => globalThis.benchTimes.rows - globalThis.benchTimes.data),
      cpuS: readCpuS,
      look: async () => {
        await cdp.send('HeapProfiler.collectGarbage')
        const { metrics } = await cdp.send('Performance.getMetrics')
        const find = (name) => metrics.find((one) => one.name === name)?.value ?? 0
        return {
          scriptS: find('ScriptDuration'),
          heap: find('JSHeapUsedSize'),
          elements: await page.evaluate(() => document.querySelectorAll('*').length),
          questions,
          bytes,
        }
      },
      trace: async () => {
        events = []
        await whole.send('Tracing.start', {
          transferMode: 'ReportEvents',
          traceConfig: {
            includedCategories: ['devtools.timeline', 'disabled-by-default-devtools.timeline'],
          },
        })
      },
      /** CPU time of each draw of the page and of each task of its thread, in milliseconds. */
      traced: async () => {
        const done = new Promise((resolve) => whole.once('Tracing.tracingComplete', resolve))
        await whole.send('Tracing.end')
        await done
        const drawing = events.filter(({ name, dur }) => name === 'FireAnimationFrame' && dur > 0)
        const { pid, tid } = drawing[0] ?? {}
        const tasks = events.filter((one) => one.name === 'RunTask' && one.pid === pid && one.tid === tid)
        const toMs = ({ tdur, dur }) => (tdur ?? dur) / 1_000
        return { draws: drawing.map(toMs), tasks: tasks.map(toMs) }
      },
      close: async () => {
        whole.removeAllListeners('Tracing.dataCollected')
        await context.close()
      },
    }
  }
  return { open, cpuS: readCpuS, close: () => browser.close() }
}

await runAlone(import.meta.url, measure)

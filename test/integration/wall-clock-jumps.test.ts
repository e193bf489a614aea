import { expect, test } from 'vitest'
import type { SupervisorEvent } from '../../src/events/events.ts'
import type { SupervisorSnapshot } from '../../src/service/snapshot.ts'
import { findFreePort } from '../../src/testing/real-host.ts'
import { createPlace, type Running } from '../cli/command-line.ts'
import { readAll } from '../gateway/house.ts'
import { demoServer } from './library.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

/** Sets the time of day of a process ahead by a day whenever it gets SIGUSR2. */
const hook = `
  const real = Date
  let days = 0
  globalThis.Date = class extends real {
    constructor(...given) {
      super(...(given.length > 0 ? given : [Date.now()]))
    }
    static now() {
      return real.now() + days * ${DAY_MS}
    }
  }
  process.on('SIGUSR2', () => {
    days += 1
    console.error('days ahead: ' + days)
  })`

test('a time of day that jumps by a day ends no lease, no idle time and no back-off (fault 109, peer O-d)', {
  timeout: 120_000,
}, async () => {
  await using place = await createPlace({
    NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(hook)}`,
  })
  const { gatewayPort, modelPort } = place
  const toProvider = (port: number, args: readonly string[]) => ({
    baseUrl: `http://127.0.0.1:${port}/v1`,
    localService: {
      command: process.execPath,
      args,
      healthUrl: `http://127.0.0.1:${port}/health`,
      idleStopMs: HOUR_MS,
    },
    models: [{ id: 'm' }],
  })
  const flags = ['--control', '--stall-mid-stream-after', '2']
  const providers = {
    demo: toProvider(modelPort, [demoServer, '--port', String(modelPort), ...flags]),
    broken: toProvider(await findFreePort(), ['--eval', 'process.exit(3)']),
  }
  const leasehold = { port: gatewayPort, heartbeatMs: 50, backoffMs: HOUR_MS, backoffMaxMs: HOUR_MS }
  place.write('leasehold.json5', JSON.stringify({ leasehold, models: { providers } }))
  const gateway = place.start('serve', '--json')
  await gateway.until(/gateway\.listening/)

  const ask = (model: string, signal?: AbortSignal) =>
    fetch(`http://127.0.0.1:${gatewayPort}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model, stream: true, messages: [{ role: 'user', content: 'count to 9' }] }),
      signal: signal ?? null,
    })
  const look = async (name: string) => {
    const response = await fetch(`http://127.0.0.1:${gatewayPort}/api/services`)
    const { services }: SupervisorSnapshot = await response.json()
    const found = services.find(({ service }) => service === name)
    if (found === undefined) throw new Error(`a service "${name}" was expected`)
    return found
  }
  /** Without end where there is no server any more. */
  const countChecks = async (): Promise<number> => {
    const response = await fetch(`http://127.0.0.1:${modelPort}/__control`).catch(() => undefined)
    return response === undefined ? Number.POSITIVE_INFINITY : (await response.json()).counts['/health']
  }
  /** Jumps, and waits until timers that were armed afterwards have fired, too. */
  const jump = async (days: number) => {
    gateway.child.kill('SIGUSR2')
    await gateway.until(new RegExp(`days ahead: ${days}`))
    const before = await countChecks()
    await expect.poll(countChecks).toBeGreaterThanOrEqual(before + 3)
  }
  /** How long it is in its state, and what is left of the delay that ends it: neither knows of the days. */
  const isWithinTheHour = async (name: string, delay: string) => {
    const { inStateMs, timers } = await look(name)
    const leftMs = timers.find((timer) => timer.name === delay)?.remainingMs ?? 0
    return inStateMs < HOUR_MS && leftMs > 0 && leftMs <= HOUR_MS
  }

  const leaving = new AbortController()
  const answer = readAll(await ask('demo/m', leaving.signal))
  await expect.poll(async () => (await look('demo')).state).toBe('leased.open')
  const { pid } = await look('demo')
  await readAll(await ask('broken/m'))
  expect(await look('broken')).toMatchObject({ state: 'down.backoff', failures: 1 })

  await jump(1)
  expect(await look('demo')).toMatchObject({ state: 'leased.open', leases: 1, pid })
  expect(await look('broken')).toMatchObject({ state: 'down.backoff', failures: 1 })
  expect(await isWithinTheHour('broken', 'backoff')).toBe(true)
  // The failure is told again, and nothing is started.
  expect((await ask('broken/m')).ok).toBe(false)

  leaving.abort()
  await answer
  await expect.poll(async () => (await look('demo')).state).toBe('ready')
  await jump(2)
  expect(await look('demo')).toMatchObject({ state: 'ready', pid })
  expect(await isWithinTheHour('demo', 'idleStop')).toBe(true)

  gateway.child.kill('SIGTERM')
  const events = toEvents(await gateway.ended)
  expect(events.filter(({ type }) => type === 'process.spawned')).toHaveLength(2)
  const [first] = events
  const last = events.at(-1)
  const passed = (read: (event: SupervisorEvent) => number) => (first && last ? read(last) - read(first) : 0)
  expect(passed(({ time }) => Date.parse(time))).toBeGreaterThan(DAY_MS)
  expect(passed(({ atMs }) => atMs)).toBeLessThan(DAY_MS)
})

/** What `serve --json` printed after where it listens. */
function toEvents({ stdout }: Awaited<Running['ended']>): readonly SupervisorEvent[] {
  const [, ...lines] = stdout.trim().split('\n')
  return lines.map((line) => JSON.parse(line))
}

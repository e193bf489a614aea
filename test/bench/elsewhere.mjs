// What servers elsewhere cost: a status command, and the receipt of a stop. The engine is a script of a few milliseconds,
// so that the figures are leasehold's own. Those of Docker come on top: 17 ms for a status command.
// Run: node test/bench/elsewhere.mjs [--quick] [--json FILE]
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { systemClock } from '../../dist/src/clock.js'
import { runCommand } from '../../dist/src/process/command.js'
import { createProcessTable } from '../../dist/src/process/table.js'
import { quantile, runAlone } from './figures.mjs'

const ENGINE = fileURLToPath(new URL('children/engine.sh', import.meta.url))
const STOPS = 1_000
const AT_ONCE = 4

/** @returns {Promise<import('./figures.mjs').Report>} */
export async function measure({ quick }) {
  const directory = await mkdtemp(join(tmpdir(), 'leasehold-bench-engine-'))
  const env = { PATH: process.env.PATH, ENGINE_DIR: directory }
  const stops = quick ? 8 : STOPS
  const statusMs = []
  const status = { cpuMs: 0 }
  const began = process.cpuUsage()
  for (let count = 0; count < stops; count += 1) {
    const startedAtMs = performance.now()
    await runCommand([ENGINE, 'ps', 'nothing'], { env, clock: systemClock, timeoutMs: 5_000 })
    statusMs.push(performance.now() - startedAtMs)
  }
  const { user, system } = process.cpuUsage(began)
  status.cpuMs = (user + system) / 1_000 / stops

  const table = createProcessTable({ environment: process.env })
  const receiptMs = []
  let complete = 0
  let next = 0
  const worker = async () => {
    while (next < stops) {
      next += 1
      const { ms, receipt } = await startAndStop(table, `box${next}`, env)
      receiptMs.push(ms)
      if (receipt.outside.status === 'gone' && receipt.survivors.length === 0) complete += 1
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
  await table.close()
  const left = await readdir(directory)
  await rm(directory, { recursive: true })
  return {
    title: 'Servers elsewhere',
    rows: [
      {
        what: 'a status command',
        'p50, ms': quantile(statusMs, 0.5),
        'p99, ms': quantile(statusMs, 0.99),
        'CPU of leasehold, ms': status.cpuMs,
      },
      {
        what: `a stop, from its order to its receipt, ${AT_ONCE} at a time`,
        'p50, ms': quantile(receiptMs, 0.5),
        'p99, ms': quantile(receiptMs, 0.99),
        'CPU of leasehold, ms': '',
      },
    ],
    targets: [
      { number: 'stops without a complete receipt', value: stops - complete, atMost: 0 },
      { number: 'containers left', value: left.length, atMost: 0 },
    ],
  }
}

/** Runs a server in the background, and stops it once it was seen. */
function startAndStop(table, name, env) {
  return new Promise((resolve) => {
    let orderedAtMs = 0
    const run = table.run(
      {
        key: name,
        generation: name,
        command: ENGINE,
        args: ['run', name],
        env,
        outside: {
          stop: [
            [ENGINE, 'stop', name],
            [ENGINE, 'rm', name],
          ],
          status: [ENGINE, 'ps', name],
          isExternal: true,
          timeoutMs: 20_000,
        },
      },
      (event) => {
        if (event.type === 'process.detached') {
          orderedAtMs = performance.now()
          run.terminate()
        }
        if (event.type === 'process.settled')
          resolve({ ms: performance.now() - orderedAtMs, receipt: event.receipt })
      },
    )
  })
}

await runAlone(import.meta.url, measure)

// How fast the output of a server is read: split, made safe, scrubbed and kept, with no secret configured, with a few,
// and with very many; and how long the event loop stands still meanwhile, which is how long a request waits.
// Run: node test/bench/logs.mjs [--quick] [--json FILE]
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { createOutput } from '../../dist/src/process/output.js'
import { createScrubber } from '../../dist/src/text/scrubber.js'
import { median, runAlone } from './figures.mjs'

const FLOOD = fileURLToPath(new URL('children/flood.mjs', import.meta.url))
const MB = 1e6
const ROUNDS = 3
const CASES = [
  { what: 'no secret', count: 0 },
  { what: '5 secrets', count: 5 },
  { what: '100 secrets', count: 100 },
]

/** @returns {Promise<import('./figures.mjs').Report>} */
export async function measure({ quick }) {
  const bytes = (quick ? 2 : 100) * MB
  const cases = CASES.map((one) => ({
    ...one,
    secrets: Array.from({ length: one.count }, () => `sk-${randomBytes(24).toString('base64url')}`),
    rounds: [],
  }))
  // Round by round, so that a slow moment of the machine meets every case.
  for (let round = 0; round < (quick ? 1 : ROUNDS); round += 1)
    for (const one of cases) one.rounds.push(await flood(bytes, one.secrets))
  const rows = cases.map(({ what, rounds }) => ({
    what,
    'MB/s': median(rounds.map(({ rate }) => rate)),
    'CPU, ms per MB': median(rounds.map(({ cpuMs }) => cpuMs)),
    'longest turn of the loop, ms': median(rounds.map(({ longestMs }) => longestMs)),
  }))
  const [none, few] = rows
  return {
    title: 'Logs',
    rows,
    targets: [
      {
        number: 'CPU with 5 secrets, times that with none',
        value: few['CPU, ms per MB'] / none['CPU, ms per MB'],
        atMost: 3,
      },
    ],
  }
}

/** Reads what one child prints, with its secrets at random places. */
async function flood(bytes, secrets) {
  const child = spawn(process.execPath, [FLOOD, String(bytes), JSON.stringify(secrets)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const output = createOutput({ clean: createScrubber(secrets).text })
  let leaked = 0
  output.lines$.subscribe(({ text }) => {
    if (secrets.some((secret) => text.includes(secret))) leaked += 1
  })
  await once(child.stdout, 'readable')
  const cpu = process.cpuUsage()
  const startedAtMs = performance.now()
  const loop = watchLoop()
  output.attach('stdout', child.stdout)
  await once(child, 'close')
  const longestMs = loop.end()
  const tookMs = performance.now() - startedAtMs
  const { user, system } = process.cpuUsage(cpu)
  output.close()
  if (leaked > 0) throw new Error(`${leaked} lines held a secret`)
  return { rate: bytes / MB / (tookMs / 1e3), cpuMs: (user + system) / 1e3 / (bytes / MB), longestMs }
}

function watchLoop() {
  let longestMs = 0
  let turnedAtMs = performance.now()
  let isOver = false
  const turn = () => {
    const nowMs = performance.now()
    longestMs = Math.max(longestMs, nowMs - turnedAtMs)
    turnedAtMs = nowMs
    if (!isOver) setImmediate(turn)
  }
  setImmediate(turn)
  return {
    end: () => {
      isOver = true
      return longestMs
    },
  }
}

await runAlone(import.meta.url, measure)

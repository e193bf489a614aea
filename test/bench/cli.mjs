// What it takes to start: the commands that people and their scripts call often, and the import of the library, all
// against `node -e 0`. Rounds take turns, so what loads the host loads all of them.
// Run: node test/bench/cli.mjs [--quick] [--json FILE]
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { startChild } from './children.mjs'
import { median, runAlone } from './figures.mjs'
import { toProviders } from './peers.mjs'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const MAIN = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url))
const NOTHING = 'node -e 0'

/** @returns {Promise<import('./figures.mjs').Report>} */
export async function measure({ quick }) {
  const gateway = await startChild('gateway', { providers: toProviders(9) })
  const folder = mkdtempSync(join(tmpdir(), 'leasehold-cli-bench-'))
  const config = join(folder, 'leasehold.json5')
  writeFileSync(config, '{}')
  const url = `http://127.0.0.1:${gateway.port}`
  const programs = {
    [NOTHING]: ['-e', '0'],
    'leasehold --version': [MAIN, '--version'],
    'leasehold status, of a running gateway': [MAIN, 'status', '--config', config, '--gateway', url],
    "import 'leasehold'": ['-e', "import('leasehold')"],
  }
  const figures = Object.keys(programs).map((what) => ({ what, wallMs: [], cpuMs: 0 }))
  const rounds = quick ? 1 : 20
  try {
    for (let round = 0; round < rounds; round += 1)
      for (const figure of figures) {
        const { wallMs, cpuMs } = time(programs[figure.what])
        figure.wallMs.push(wallMs)
        figure.cpuMs += cpuMs / rounds
      }
  } finally {
    rmSync(folder, { recursive: true })
    await gateway.end()
  }
  const [nothing] = figures
  const rows = figures.map(({ what, wallMs, cpuMs }) => ({
    what,
    'wall, ms': median(wallMs),
    'times node -e 0': median(wallMs) / median(nothing.wallMs),
    'CPU, ms': cpuMs,
    'CPU above node -e 0, ms': cpuMs - nothing.cpuMs,
  }))
  const [, version, status, library] = rows
  return {
    title: 'Start times',
    rows,
    targets: [
      { number: '--version, times node -e 0', value: version['times node -e 0'], atMost: 2 },
      { number: 'status, times node -e 0', value: status['times node -e 0'], atMost: 4 },
      { number: 'import of the library, ms of CPU', value: library['CPU above node -e 0, ms'], atMost: 120 },
    ],
  }
}

function time(args) {
  const before = toChildCpuMs()
  const startedAtMs = performance.now()
  const { status, stderr } = spawnSync(process.execPath, args, { cwd: ROOT, encoding: 'utf8' })
  if (status !== 0) throw new Error(`${args.join(' ')} ended with ${status}: ${stderr}`)
  return { wallMs: performance.now() - startedAtMs, cpuMs: toChildCpuMs() - before }
}

/** CPU time of every child that has ended, in steps of 10 ms. NaN where there is no /proc. */
function toChildCpuMs() {
  try {
    const stat = readFileSync('/proc/self/stat', 'latin1')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return (Number(fields[13]) + Number(fields[14])) * 10
  } catch {
    return Number.NaN
  }
}

await runAlone(import.meta.url, measure)

// The price of supervision on a ready service: CPU per lease handshake and per request, memory per finished request,
// beside a hand-written state machine that keeps the same counts, and with budgets, which hear of every use.
// Run: node --expose-gc test/bench/lease.mjs [--quick] [--json FILE]
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createSupervisor, parseConfig } from 'leasehold'
import { requestMachine } from 'leasehold/machines'
import { createActor } from 'xstate'
import { toFreePort } from './children.mjs'
import { median, runAlone } from './figures.mjs'

const SERVER = fileURLToPath(new URL('../../dist/src/testing/demo-server.js', import.meta.url))
const ROUNDS = 5

/** @returns {Promise<import('./figures.mjs').Report>} */
export async function measure({ quick }) {
  const folder = mkdtempSync(join(tmpdir(), 'leasehold-lease-bench-'))
  const [plain, budgeted] = await Promise.all([
    createOwner(join(folder, 'plain'), {}),
    createOwner(join(folder, 'budgeted'), { ramMiB: 1_000 }),
  ])
  const rows = []
  try {
    for (const supervisor of [plain, budgeted]) await (await supervisor.acquire('demo')).release()
    for (const [what, { count, run }] of Object.entries(toCases(plain, budgeted)))
      rows.push({ what, ...(await measureCase(run, quick ? count / 100 : count)) })
  } finally {
    await Promise.all([plain.close(), budgeted.close()])
    rmSync(folder, { recursive: true, force: true })
  }
  for (const row of rows) row['times hand-written'] = Math.round(row['CPU, µs'] / rows[0]['CPU, µs'])
  const [, off, on] = rows.map((row) => row['CPU, µs'])
  return {
    title: 'Leases of a ready service',
    rows,
    targets: [{ number: 'a lease with budgets on, times one with budgets off', value: on / off, atMost: 2 }],
  }
}

/** A supervisor of one service of its own, which needs half of whatever budget there is. */
async function createOwner(stateDir, budgets) {
  const port = await toFreePort()
  const localService = {
    command: process.execPath,
    args: [SERVER, '--port', String(port)],
    needs: Object.fromEntries(Object.entries(budgets).map(([name, amount]) => [name, amount / 2])),
  }
  const demo = { baseUrl: `http://127.0.0.1:${port}/v1`, models: [{ id: 'demo' }], localService }
  const config = { models: { providers: { demo } }, leasehold: { budgets } }
  return createSupervisor({ config: parseConfig(JSON.stringify(config), { file: 'bench' }), stateDir })
}

async function measureCase(run, count) {
  await run(count / 5)
  const before = toHeapBytes()
  const rounds = []
  for (let round = 0; round < ROUNDS; round += 1) {
    const cpu = process.cpuUsage()
    await run(count)
    const { user, system } = process.cpuUsage(cpu)
    rounds.push((user + system) / count)
  }
  return { 'CPU, µs': median(rounds), 'retained, B': (toHeapBytes() - before) / (count * ROUNDS) }
}

function toCases(plain, budgeted) {
  const handshake = (supervisor) => ({
    count: 50_000,
    run: async (count) => {
      for (let i = 0; i < count; i += 1) (await supervisor.acquire('demo')).release()
    },
  })
  return {
    'hand-written handshake': {
      count: 1_000_000,
      run: async (count) => {
        const service = createHandWritten()
        for (let i = 0; i < count; i += 1) service.request(i, ({ generation }) => service.release(generation))
      },
    },
    'lease handshake (acquire, release)': handshake(plain),
    'lease handshake with budgets on': handshake(budgeted),
    'request actors and their lease': {
      count: 50_000,
      run: async (count) => {
        for (let i = 0; i < count; i += 1) {
          const actor = createActor(requestMachine, { input: { id: 'r' } }).start()
          actor.send({ type: 'request.resolved', candidates: ['demo/demo'] })
          const lease = await plain.acquire('demo')
          actor.send({ type: 'lease.granted', timeLimitMs: null })
          actor.send({ type: 'response.started', status: 200 })
          actor.send({ type: 'response.ended' })
          lease.release()
        }
      },
    },
  }
}

/** A service as three counters and a switch: what the statechart is measured against. */
function createHandWritten() {
  const state = { name: 'ready', leases: 0, generation: 'g.1' }
  return {
    request: (id, granted) => {
      if (state.name === 'ready') state.name = 'leased'
      state.leases += 1
      granted({ id, generation: state.generation })
    },
    release: (generation) => {
      if (generation !== state.generation) return
      state.leases -= 1
      if (state.leases === 0) state.name = 'ready'
    },
  }
}

function toHeapBytes() {
  globalThis.gc?.()
  return process.memoryUsage().heapUsed
}

await runAlone(import.meta.url, measure)

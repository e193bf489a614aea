// The price of supervision on a ready service: CPU per lease handshake and per request, memory per finished request,
// beside a hand-written state machine that keeps the same counts.
// Run: node --expose-gc test/bench/lease.mjs [--quick] [--json FILE]
import { createSupervisor } from 'leasehold'
import { requestMachine } from 'leasehold/machines'
import { createModelServer } from 'leasehold/testing'
import { createActor } from 'xstate'
import { parseConfig } from '../../dist/src/config/load.js'
import { median, runAlone } from './figures.mjs'

const ROUNDS = 5

/** @returns {Promise<import('./figures.mjs').Report>} */
export async function measure({ quick }) {
  const server = createModelServer({ port: 0 })
  const { port } = await server.listen()
  const config = parseConfig(
    `{ models: { providers: { demo: { baseUrl: 'http://127.0.0.1:${port}/v1', models: [{ id: 'demo' }] } } } }`,
    { file: 'bench' },
  )
  const supervisor = createSupervisor({ config })
  const rows = []
  try {
    await (await supervisor.acquire('demo')).release()
    for (const [what, { count, run }] of Object.entries(toCases(supervisor)))
      rows.push({ what, ...(await measureCase(run, quick ? count / 100 : count)) })
  } finally {
    await supervisor.close()
    await server.close()
  }
  for (const row of rows) row['times hand-written'] = Math.round(row['CPU, µs'] / rows[0]['CPU, µs'])
  return { title: 'Leases of a ready service', rows, targets: [] }
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

function toCases(supervisor) {
  return {
    'hand-written handshake': {
      count: 1_000_000,
      run: async (count) => {
        const service = createHandWritten()
        for (let i = 0; i < count; i += 1) service.request(i, ({ generation }) => service.release(generation))
      },
    },
    'lease handshake (acquire, release)': {
      count: 50_000,
      run: async (count) => {
        for (let i = 0; i < count; i += 1) (await supervisor.acquire('demo')).release()
      },
    },
    'request actors and their lease': {
      count: 50_000,
      run: async (count) => {
        for (let i = 0; i < count; i += 1) {
          const actor = createActor(requestMachine, { input: { id: 'r' } }).start()
          actor.send({ type: 'request.resolved', candidates: ['demo/demo'] })
          const lease = await supervisor.acquire('demo')
          actor.send({ type: 'lease.granted' })
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

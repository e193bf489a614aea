// The price of supervision on a ready service: CPU per lease handshake and per request, memory per finished request,
// beside a hand-written state machine that keeps the same counts. Run: node --expose-gc test/bench/lease.mjs
import { requestMachine } from 'leasehold/machines'
import { createModelServer } from 'leasehold/testing'
import { createSupervisor } from 'leasehold'
import { createActor } from 'xstate'
import { parseConfig } from '../../dist/src/config/load.js'

const ROUNDS = 5
const server = createModelServer({ port: 0 })
const { port } = await server.listen()
const config = parseConfig(
  `{ models: { providers: { demo: { baseUrl: 'http://127.0.0.1:${port}/v1', models: [{ id: 'demo' }] } } } }`,
  { file: 'bench' },
)
const supervisor = createSupervisor({ config })
await (await supervisor.acquire('demo')).release()

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

const cases = {
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

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]
const heapBytes = () => {
  globalThis.gc?.()
  return process.memoryUsage().heapUsed
}

console.log(`node ${process.version}, median of ${ROUNDS} rounds\n`)
const results = {}
for (const [name, { count, run }] of Object.entries(cases)) {
  await run(count / 5)
  const before = heapBytes()
  const rounds = []
  for (let round = 0; round < ROUNDS; round += 1) {
    const cpu = process.cpuUsage()
    await run(count)
    const { user, system } = process.cpuUsage(cpu)
    rounds.push((user + system) / count)
  }
  results[name] = { 'CPU, µs': Number(median(rounds).toFixed(2)), 'retained, B': Number(((heapBytes() - before) / (count * ROUNDS)).toFixed(2)) }
}
const base = results['hand-written handshake']['CPU, µs']
for (const result of Object.values(results)) result['times hand-written'] = Math.round(result['CPU, µs'] / base)
console.table(results)
await supervisor.close()
await server.close()

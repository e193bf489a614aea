// The price of inspection: CPU per lease handshake without a viewer, with a viewer that came and went, and with one
// that looks. One handshake is two events of the provider's machine; what is added is told per event.
// Run: node --expose-gc test/bench/inspect.mjs [--quick] [--json FILE]
import { createSupervisor, parseConfig } from 'leasehold'
import { createModelServer } from 'leasehold/testing'
import { systemClock } from '../../dist/src/clock.js'
import { createInspectionHub } from '../../dist/src/inspector/hub.js'
import { median, runAlone } from './figures.mjs'

const ROUNDS = 7
const EVENTS_PER_HANDSHAKE = 2
const CASES = ['no hub', 'a hub, no viewer', 'a hub, its viewer left', 'a hub, one viewer']

/** @returns {Promise<import('./figures.mjs').Report>} */
export async function measure({ quick }) {
  const server = createModelServer({ port: 0 })
  const { port } = await server.listen()
  const config = parseConfig(
    `{ models: { providers: { demo: { baseUrl: 'http://127.0.0.1:${port}/v1', models: [{ id: 'demo' }] } } } }`,
    { file: 'bench' },
  )
  const count = quick ? 500 : 30_000
  const houses = CASES.map((what) => ({ what, rounds: [], supervisor: createSupervisor({ config }) }))
  try {
    for (const house of houses) {
      await (await house.supervisor.acquire('demo')).release()
      const { supervisor, what } = house
      const hub =
        what === 'no hub'
          ? undefined
          : createInspectionHub({ inspect: supervisor.inspect, clock: systemClock })
      if (what === 'a hub, its viewer left') hub?.watch(() => {})()
      if (what === 'a hub, one viewer') hub?.watch((message) => JSON.stringify(message))
      await handshake(supervisor, count / 5)
    }
    // Round by round, so that a slow moment of the machine meets every case.
    for (let round = 0; round < ROUNDS; round += 1)
      for (const { supervisor, rounds } of houses) {
        const cpu = process.cpuUsage()
        await handshake(supervisor, count)
        const { user, system } = process.cpuUsage(cpu)
        rounds.push((user + system) / count)
      }
  } finally {
    for (const { supervisor } of houses) await supervisor.close()
    await server.close()
  }
  const [none] = houses
  const rows = houses.map(({ what, rounds }) => ({
    what,
    'CPU per handshake, µs': median(rounds),
    'added per event, µs': (median(rounds) - median(none.rounds)) / EVENTS_PER_HANDSHAKE,
  }))
  return {
    title: 'Inspection',
    rows,
    targets: [
      {
        number: 'added per event without a viewer, µs',
        atMost: 2,
        value: Math.max(rows[1]['added per event, µs'], rows[2]['added per event, µs']),
      },
    ],
  }
}

async function handshake(supervisor, count) {
  for (let i = 0; i < count; i += 1) (await supervisor.acquire('demo')).release()
}

await runAlone(import.meta.url, measure)

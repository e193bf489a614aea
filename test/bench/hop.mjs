// What another member of a cluster costs a warm request: the same request to the gateway that has the model, and through
// another one. Both gateways are in this process, so the CPU of both is part of the time.
// Run: node --expose-gc test/bench/hop.mjs [--quick] [--json FILE]
import { Agent, request as send } from 'node:http'
import { EMPTY } from 'rxjs'
import { parseConfig } from '../../dist/src/config/load.js'
import { createGateway } from '../../dist/src/gateway/server.js'
import { internalsOf } from '../../dist/src/supervisor/internals.js'
import { createSupervisor } from '../../dist/src/supervisor/supervisor.js'
import { createModelServer } from '../../dist/src/testing/model-server/model-server.js'
import { createMemberProof } from '../../dist/src/transport/member-proof.js'
import { median, runAlone } from './figures.mjs'

const ROUNDS = 7
const BODY = Buffer.from(
  JSON.stringify({ model: 'llama/demo', messages: [{ role: 'user', content: 'hello' }] }),
)

/** @returns {Promise<import('./figures.mjs').Report>} */
export async function measure({ quick }) {
  const server = createModelServer()
  const { url } = await server.listen()
  const attic = await openBox({ llama: { baseUrl: `${url}/v1`, models: [{ id: 'demo' }] } })
  const tower = await openBox({})
  join('attic', attic, 'tower', tower)
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const count = quick ? 30 : 300
  const local = []
  const hop = []
  try {
    for (const box of [attic, tower]) await timeRequests(agent, box.url, 50)
    for (let round = 0; round < ROUNDS; round += 1) {
      local.push(median(await timeRequests(agent, attic.url, count)))
      hop.push(median(await timeRequests(agent, tower.url, count)))
    }
  } finally {
    agent.destroy()
    for (const { supervisor, gateway } of [tower, attic]) {
      await gateway.close()
      await supervisor.close({ force: true })
    }
    await server.close()
  }
  const [here, there] = [Math.min(...local), Math.min(...hop)]
  const toMs = (ms) => Math.round(ms * 100) / 100
  return {
    title: 'A warm request through another member of the cluster',
    rows: [
      { what: 'of this gateway', 'p50, ms': toMs(here) },
      { what: 'through another member', 'p50, ms': toMs(there) },
      { what: 'added', 'p50, ms': toMs(there - here) },
    ],
    targets: [{ number: 'added by the hop, p50, ms', value: toMs(there - here), atMost: 1 }],
  }
}

async function openBox(providers) {
  const config = parseConfig(
    JSON.stringify({ models: { providers }, leasehold: { port: 0, heartbeatMs: 3_600_000 } }),
  )
  const supervisor = createSupervisor({ config })
  const gateway = createGateway({ supervisor })
  const { url } = await gateway.listen()
  return { url, supervisor, gateway }
}

/** The second asks the first for its model, as if both had met over NATS. */
function join(owner, { url, supervisor }, other, asking) {
  const secret = 'a secret that has at least 32 characters'
  const [to, from] = [
    { member: owner, boot: 'b1' },
    { member: other, boot: 'b2' },
  ]
  const common = {
    prefer: 'warm',
    moveAfterMs: 1000,
    isDraining: () => false,
    lost$: EMPTY,
    originLost$: EMPTY,
  }
  const load = { state: 'ready', leases: 0, waiting: 0, room: null, startMs: null, fit: 'fits' }
  const proofs = [createMemberProof(secret, to), createMemberProof(secret, from)]
  let number = 0
  for (const [index, box] of [{ supervisor }, asking].entries()) {
    const { membership } = internalsOf(box.supervisor)
    membership.join({
      ...common,
      self: index === 0 ? owner : other,
      standingOf: () => ({ ...load, isMuted: false, isSettling: false, uncounted: 0 }),
      depart: (_member, _provider, method, path) => {
        number += 1
        return { headers: proofs[index].prove(to, number, { method, path }), ended: () => {} }
      },
      admit: (method, path, headers) => proofs[index].check({ method, path }, headers),
      suspect: () => {},
    })
  }
  const models = [{ id: 'demo', api: 'openai-completions' }]
  internalsOf(asking.supervisor).membership.offer([
    { member: owner, address: url, services: { llama: { models, ...load } } },
  ])
}

/** Milliseconds of each request, one after the other on one connection. */
async function timeRequests(agent, url, count) {
  const times = []
  for (let index = 0; index < count; index += 1) {
    const atMs = performance.now()
    await new Promise((resolve, reject) => {
      const headers = { 'content-type': 'application/json', 'content-length': BODY.length }
      const sent = send(`${url}/v1/chat/completions`, { method: 'POST', agent, headers }, (answer) => {
        if (answer.statusCode !== 200) reject(new Error(`answered ${answer.statusCode}`))
        answer.resume().once('end', resolve)
      })
      sent.once('error', reject).end(BODY)
    })
    times.push(performance.now() - atMs)
  }
  return times
}

await runAlone(import.meta.url, measure)

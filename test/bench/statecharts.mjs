// What one event of a chart costs: xstate's interpreter beside the table.
// Run: node test/bench/statecharts.mjs [--quick] [--json FILE]
import { createActor, fromCallback } from 'xstate'
import { providerMachine, requestMachine } from '../../dist/machines/index.js'
import { compile } from '../../dist/src/statechart/compile.js'
import { median, runAlone } from './figures.mjs'

/** @returns {Promise<import('./figures.mjs').Report>} */
export async function measure({ quick }) {
  const count = quick ? 200 : 20_000
  const rows = []
  for (const [name, play, machine] of [
    ['the four events of a request, actor included', playRequest, requestMachine],
    ['a lease of a ready service, granted and released', playLease, providerMachine],
  ]) {
    const figures = { xstate: [], compiled: [] }
    for (let round = 0; round < (quick ? 1 : 5); round += 1)
      for (const [which, one] of [
        ['xstate', machine],
        ['compiled', compile(machine)],
      ]) {
        const { run, end } = play(one)
        for (let at = 0; at < count / 10; at += 1) run()
        const startedAtMs = performance.now()
        for (let at = 0; at < count; at += 1) run()
        figures[which].push(((performance.now() - startedAtMs) * 1_000) / count)
        end()
      }
    const [xstate, compiled] = [median(figures.xstate), median(figures.compiled)]
    rows.push({ story: name, 'xstate, µs': xstate, 'compiled, µs': compiled, times: xstate / compiled })
  }
  return { title: 'Statecharts', rows, targets: [] }
}

function playRequest(machine) {
  const input = { id: 'r1' }
  const run = () => {
    const actor = createActor(machine, { input }).start()
    actor.send({ type: 'request.resolved', candidates: ['a/x'] })
    actor.send({ type: 'lease.granted', timeLimitMs: null })
    actor.send({ type: 'response.started', status: 200 })
    actor.send({ type: 'response.ended' })
  }
  return { run, end: () => {} }
}

/** Effects do nothing: the one verdict that the chart waits for is sent to it. */
function playLease(machine) {
  const silent = fromCallback(() => {})
  const actors = Object.fromEntries(Object.keys(machine.implementations.actors).map((name) => [name, silent]))
  const policy = { managed: true, maxConcurrent: 16, maxQueue: 16, idleStopMs: 0, breakerFailures: 5 }
  const actor = createActor(machine.provide({ actors }), { input: { key: 'demo', instance: 'i', policy } })
  actor.start()
  actor.send({ type: 'lease.requested', id: 'a', priority: 0 })
  actor.send({ type: 'xstate.done.actor.probe', output: { kind: 'ready', detail: 'it answers' } })
  const { generation } = actor.getSnapshot().context
  actor.send({ type: 'lease.released', id: 'a', generation })
  if (!actor.getSnapshot().matches('ready')) throw new Error('the service is not ready')
  const run = () => {
    actor.send({ type: 'lease.requested', id: 'a', priority: 0 })
    actor.send({ type: 'lease.released', id: 'a', generation })
  }
  return { run, end: () => actor.stop() }
}

await runAlone(import.meta.url, measure)

// Ours: the whole gateway, as `leasehold serve` puts it together; without its logger unless `logLevel` is given.
import { createSupervisor, parseConfig } from 'leasehold'
import { createGateway } from 'leasehold/gateway'
import { pino } from 'pino'
import { tuneHeap } from '../../../dist/src/cli/heap.js'
import { options, serveParent } from './parent.mjs'

tuneHeap()
const { providers, leasehold = {}, logLevel } = options
const config = parseConfig(JSON.stringify({ models: { providers }, leasehold }), { file: 'bench' })
const logger = logLevel && pino({ level: logLevel }, pino.destination('/dev/null'))
const supervisor = createSupervisor({ config, ...(logger && { logger }) })
const gateway = createGateway({ supervisor, port: 0 })
const { port } = await gateway.listen()

/**
 * The longest turn of the event loop since it was asked for, in ms: how long every other request had to wait. In time
 * of the processor, because on a busy host the clock counts other programs too.
 */
let longestMs = 0
let isWatching = false
let turnedAtMs = 0
function toCpuMs() {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e3
}
function turn() {
  if (!isWatching) return
  const nowMs = toCpuMs()
  longestMs = Math.max(longestMs, nowMs - turnedAtMs)
  turnedAtMs = nowMs
  setImmediate(turn)
}

const answers = {
  'collect garbage': () => {
    globalThis.gc()
    globalThis.gc()
    return { heapBytes: process.memoryUsage().heapUsed }
  },
  'watch the loop': () => {
    isWatching = true
    longestMs = 0
    turnedAtMs = toCpuMs()
    setImmediate(turn)
    return {}
  },
  'longest turn': () => {
    isWatching = false
    return { longestMs }
  },
  'queue length': () => ({ queued: supervisor.snapshot().services[0].queue.length }),
  'stop the service': async () => {
    await supervisor.stop(Object.keys(providers)[0], { force: true })
    return {}
  },
}

serveParent(
  { port },
  (question) => answers[question](),
  async () => {
    await supervisor.close({ force: true })
  },
)

#!/usr/bin/env node
// The demo server as an engine that sleeps, as vLLM was measured: it answers 200 to a request to sleep before it sleeps,
// and from then on until it is awake any request but those of sleep ends it. It notes what it becomes, and what it was asked
// at the wrong time, in the file `--sleep-log`. The other arguments are the demo server's.
import { appendFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'

const FALL_MS = 5
const RISE_MS = 10

const [, , option, file, ...args] = process.argv
if (option !== '--sleep-log') throw new Error('the first argument is --sleep-log')

/** `awake`, `falling`, `asleep` or `rising`. */
let state = 'awake'
let naps = 0
const answering = new Set()
const note = (line) => appendFileSync(file, `${JSON.stringify({ pid: process.pid, ...line })}\n`)

async function become(passing, next, ms) {
  state = passing
  await delay(ms)
  state = next
  if (next === 'asleep') naps += 1
  note({ became: next })
}

const ROUTES = {
  'POST /sleep?level=1': () => {
    if (answering.size > 0) note({ fault: `it was told to sleep with ${answering.size} requests in flight` })
    void become('falling', 'asleep', FALL_MS)
    return {}
  },
  'POST /wake_up': () => {
    void become('rising', 'awake', RISE_MS)
    return {}
  },
  'GET /is_sleeping': () => ({
    is_sleeping: state === 'asleep' || state === 'rising',
    state,
    naps,
    pid: process.pid,
  }),
}

/** Whether the request is one of sleep, which it answers itself. */
function takes(request, response) {
  const name = `${request.method} ${request.url}`
  const route = ROUTES[name]
  if (route !== undefined) {
    request.resume()
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(route()))
    return true
  }
  // The harness asks this, not leasehold.
  if (request.url.startsWith('/__control')) return false
  if (state !== 'awake') {
    note({ fault: `${name} came while it was ${state}` })
    process.exit(1)
  }
  if (request.url.startsWith('/v1/')) {
    answering.add(response)
    response.on('close', () => answering.delete(response))
  }
  return false
}

// Before the demo server takes it from there.
const http = process.getBuiltinModule('node:http')
const { createServer } = http
http.createServer = (...options) => {
  const server = createServer(...options)
  const emit = server.emit.bind(server)
  server.emit = (event, ...rest) => (event === 'request' && takes(...rest) ? true : emit(event, ...rest))
  return server
}
const { runDemoServer } = await import('../../dist/src/testing/demo-server.js')
runDemoServer(args)

#!/usr/bin/env node
// Promises about streams, starts and stops, measured on a real gateway and real servers, and printed. What fails the
// run are facts: an invented ending, a second spawn, a lease that is not given back, a port that cannot be bound.
// Run: npm run chaos:promises -- [crash abort flood storm stop] [--times N] [--quick]
import { once } from 'node:events'
import { mkdirSync, readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { Agent, request as open } from 'node:http'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { findFreePort } from '../../dist/src/testing/real-host.js'
import { ask, startGateway } from './gateway.mjs'
import { listMarked, lookUntil, signalMarked } from './processes.mjs'
import { createRandom } from './random.mjs'
import { demoServer } from './services.mjs'

const LIMIT_MS = 60_000

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { times: { type: 'string' }, quick: { type: 'boolean', default: false } },
})
const random = createRandom(1)
const failures = []
const expect = (isTrue, text) => {
  if (!isTrue) failures.push(text)
}

/** What is measured, how often, and how often where only the facts count. */
const PROMISES = {
  crash: { measure: measureCrashes, times: 500, quick: 3 },
  abort: { measure: measureAborts, times: 1_000, quick: 9 },
  flood: { measure: measureFlood, times: 10_000, quick: 600 },
  storm: { measure: measureStorm, times: 1_000, quick: 50 },
  stop: { measure: measureStops, times: 1_000, quick: 6 },
}

console.log(`promises, node ${process.version}\n`)
console.log('| promise | what | times | p50 | p99 | max |')
console.log('| --- | --- | ---: | ---: | ---: | ---: |')
for (const [name, { measure, times, quick }] of Object.entries(PROMISES)) {
  if (positionals.length > 0 && !positionals.includes(name)) continue
  await measure(Number(values.times ?? (values.quick ? quick : times)))
}
for (const failure of failures) console.log(`\nBROKEN ${failure}`)
console.log(`\nbroken: ${failures.length}`)
process.exitCode = failures.length === 0 ? 0 : 1

function print(promise, what, numbers, unit = 'ms') {
  const sorted = [...numbers].sort((one, other) => one - other)
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]
  const cells = [at(0.5), at(0.99), sorted.at(-1)].map((one) => `${Math.round(one * 10) / 10} ${unit}`)
  console.log(`| ${[promise, what, sorted.length, ...cells].join(' | ')} |`)
}

/** P8, fault 31: a server is killed in the middle of a stream. */
async function measureCrashes(times) {
  const stage = await openStage({ flags: ['--token-delay-ms', '5'] })
  const seen = []
  const told = []
  for (let time = 0; time < times; time += 1) {
    const stream = stage.send({ count: 100_000, isStream: true })
    await stream.hasBegun
    await delay(random.whole(0, 40))
    const { pid } = await stage.service()
    const exit = stage.next('process.exited', () => true)
    const killedAtMs = performance.now()
    signalMarked(pid, 'SIGKILL', stage.mark)
    seen.push((await exit) - killedAtMs)
    const { text, isWhole, endedAtMs } = await stream.ended
    told.push(endedAtMs - killedAtMs)
    expect(!isWhole && !text.includes('[DONE]'), `crash ${time}: the stream has an ending`)
    expect(/^event: error$/m.test(text), `crash ${time}: the stream has no error event`)
  }
  print('P8', 'a crash is seen', seen)
  print('P8', 'a crash is told to its client', told)
  await stage.close()
}

/** P11, faults 57, 58, 59: a client leaves while it waits, before the first token, in the answer. */
async function measureAborts(times) {
  const stage = await openStage({ flags: ['--token-delay-ms', '5'], service: { maxConcurrent: 1 } })
  await (await stage.send({ count: 1, isStream: false })).ended
  const freed = []
  const closed = []
  for (let time = 0; time < times; time += 1) {
    const phase = ['queued', 'before the first token', 'in the answer'][time % 3]
    await ask(`${stage.server}/__control`, {
      method: 'POST',
      body: { firstTokenMs: phase === 'before the first token' ? 60_000 : 0 },
    })
    const holder = phase === 'queued' ? stage.send({ count: 100_000, isStream: true }) : undefined
    await holder?.hasBegun
    const before = await stage.executions()
    const asked = stage.next('lease.requested', () => true)
    const stream = stage.send({ count: 100_000, isStream: true })
    await (phase === 'in the answer' ? stream.hasBegun : asked)
    await delay(random.whole(0, 20))
    const over = stage.next(phase === 'queued' ? 'lease.cancelled' : 'lease.released', () => true)
    const leftAtMs = performance.now()
    stream.leave()
    freed.push((await over) - leftAtMs)
    if (phase === 'queued')
      expect((await stage.executions()) === before, `abort ${time}: executed although it was queued`)
    holder?.leave()
    const isClosed = await lookUntil(async () => (await stage.inFlight()) === 0, LIMIT_MS, 1)
    if (holder === undefined) closed.push(performance.now() - leftAtMs)
    expect(isClosed, `abort ${time} (${phase}): its request is still in flight at the server`)
    const isFree = await lookUntil(async () => (await stage.service()).leases === 0, LIMIT_MS, 5)
    expect(isFree, `abort ${time} (${phase}): its lease is still held`)
  }
  print('P11', 'the lease of a client that left is free', freed)
  print('P11', 'its request to the server is closed', closed)
  await stage.close()
}

/** P9, fault 107: very many requests at once, while the only lease is held. */
async function measureFlood(times) {
  const maxQueue = Math.ceil(times / 10)
  const leasehold = { maxConnections: times + 100 }
  const stage = await openStage({ flags: [], service: { maxConcurrent: 1, maxQueue }, leasehold })
  await (await stage.send({ count: 1, isStream: false })).ended
  await ask(`${stage.server}/__control`, { method: 'POST', body: { tokenDelayMs: 10 } })
  const holder = stage.send({ count: 100_000, isStream: true })
  await holder.hasBegun
  const restBytes = stage.rssBytes()
  let mostBytes = restBytes
  const watching = setInterval(() => {
    mostBytes = Math.max(mostBytes, stage.rssBytes())
  }, 100)
  const refusals = []
  const all = Array.from({ length: times }, async () => {
    const beganAtMs = performance.now()
    const { status, text, endedAtMs } = await stage.send({ count: 3, isStream: false, padding: 2_000 }).ended
    if (status === 429 || status === 503) refusals.push(endedAtMs - beganAtMs)
    return status === 200
      ? 'answered'
      : status === undefined
        ? 'cut'
        : `${status} ${/LEASEHOLD_\w+/.exec(text)}`
  })
  await lookUntil(async () => (await stage.service())?.queue.length >= maxQueue, LIMIT_MS, 50)
  const { queue } = await stage.service()
  expect(queue.length <= maxQueue, `flood: ${queue.length} wait, of at most ${maxQueue}`)
  await lookUntil(() => refusals.length + maxQueue >= times, LIMIT_MS, 50)
  await ask(`${stage.server}/__control`, { method: 'POST', body: { tokenDelayMs: 0 } })
  holder.leave()
  const outcomes = {}
  for (const outcome of await Promise.all(all)) outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
  clearInterval(watching)
  expect(outcomes.cut === undefined, `flood: ${outcomes.cut} were cut without a word`)
  expect(outcomes.answered >= maxQueue, `flood: only ${outcomes.answered} were answered`)
  await delay(5_000)
  print('P9', `${times} at once, ${JSON.stringify(outcomes).replaceAll('"', '')}: refusals`, refusals)
  print(
    'P9',
    'resident memory: above rest at most, and 5 s later',
    [mostBytes - restBytes, stage.rssBytes() - restBytes].map((bytes) => bytes / 2 ** 20),
    'MiB',
  )
  await stage.close()
}

/** P14, fault 10: many first requests at once. */
async function measureStorm(times) {
  const stage = await openStage({ flags: ['--load-ms', '300'], service: { maxQueue: times } })
  const answers = await Promise.all(
    Array.from({ length: times }, () => stage.send({ count: 3, isStream: false }).ended),
  )
  print(
    'P14',
    'a first request is answered, cold',
    answers.map(({ tookMs }) => tookMs),
  )
  const spawns = stage.all('process.spawned').length
  expect(spawns === 1, `storm: ${spawns} spawns for ${times} first requests`)
  const answered = answers.filter(({ status, isWhole }) => status === 200 && isWhole).length
  expect(answered === times, `storm: ${answered} of ${times} were answered`)
  await stage.close()
}

/** P16: stops of servers that obey, that ignore signals, and that leave a process behind which holds their output. */
async function measureStops(times) {
  const kinds = {
    'obeys SIGTERM': { flags: [], service: {} },
    'is deaf to SIGTERM, grace 200 ms': { flags: ['--ignore-sigterm'], service: { stopGraceMs: 200 } },
    'has a grandchild in another session': { flags: ['--fork-grandchild', 'setsid'], service: {} },
  }
  for (const [kind, options] of Object.entries(kinds)) {
    const stage = await openStage(options)
    const took = []
    for (let time = 0; time < Math.ceil(times / 3); time += 1) {
      await stage.command('start')
      const beganAtMs = performance.now()
      const stopped = await stage.command('stop')
      took.push(performance.now() - beganAtMs)
      expect(
        stopped?.receipt?.survivors.length === 0,
        `stop ${time}: ${JSON.stringify(stopped?.receipt ?? stopped)}`,
      )
      expect(await canBind(stage.port), `stop ${time}: the port cannot be bound`)
      const left = listMarked(stage.serverMark)
      expect(left.length === 0, `stop ${time}: ${left.join(', ')} live on`)
    }
    print('P16', `a stop of a server that ${kind}`, took)
    await stage.close()
  }
}

async function canBind(port) {
  const server = createServer()
  try {
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
    return true
  } catch {
    return false
  } finally {
    server.close()
  }
}

/** A gateway with one service, and its events as they happen. */
async function openStage({ flags, service = {}, leasehold = {} }) {
  const home = await mkdtemp(join(tmpdir(), 'chaos-promises-'))
  const temporary = join(home, 'tmp')
  mkdirSync(temporary)
  const port = await findFreePort()
  const config = join(home, 'leasehold.json5')
  const localService = {
    command: process.execPath,
    args: [demoServer, '--port', String(port), '--control', ...flags],
    healthUrl: `http://127.0.0.1:${port}/health`,
    env: { CHAOS_SERVER: home },
    ...service,
  }
  const demo = { baseUrl: `http://127.0.0.1:${port}/v1`, models: [{ id: 'demo' }], localService }
  const limits = { backoffMs: 1, backoffMaxMs: 1, breakerFailures: 1_000_000, ...leasehold }
  await writeFile(
    config,
    JSON.stringify({ models: { mode: 'replace', providers: { demo } }, leasehold: limits }),
    { mode: 0o600 },
  )
  const env = { ...process.env, TMPDIR: temporary, HOME: home, XDG_STATE_HOME: join(home, 'state') }
  const gateway = await startGateway({ config, env })
  if (gateway.url === undefined) throw new Error(`The gateway did not start: ${gateway.said()}`)
  const server = `http://127.0.0.1:${port}`
  const events = await listen(gateway.url)
  const agent = new Agent({ keepAlive: false })
  return {
    port,
    server,
    mark: `TMPDIR=${temporary}`,
    serverMark: `CHAOS_SERVER=${home}`,
    all: events.all,
    next: events.next,
    send: (plan) => send(gateway.url, agent, plan),
    service: async () => (await ask(`${gateway.url}/api/services`))?.services[0],
    command: (verb) =>
      ask(`${gateway.url}/api/services/demo/${verb}`, { method: 'POST', body: {}, limitMs: LIMIT_MS }),
    /** Requests for models that the server has not finished; the one that asks is not counted by it. */
    inFlight: async () => (await ask(`${server}/__control`))?.inFlight,
    executions: async () => (await ask(`${server}/__control`))?.counts['/v1/chat/completions'] ?? 0,
    rssBytes: () =>
      Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${gateway.pid}/status`, 'latin1'))?.[1]) * 1024,
    async close() {
      events.close()
      gateway.kill('SIGTERM')
      const { code, signal } = await gateway.exited
      expect(code === 0, `the gateway ended with ${signal ?? code}: ${gateway.said()}`)
      const left = listMarked(`TMPDIR=${temporary}`)
      expect(left.length === 0, `processes ${left.join(', ')} are left`)
      await rm(home, { recursive: true, force: true, maxRetries: 5 })
    },
  }
}

/** Reads the events of a gateway. `next` settles with the moment at which an event of a type arrives here. */
async function listen(url) {
  const seen = []
  const waiting = new Set()
  const request = open(`${url}/api/events`, { agent: false }).end()
  const [incoming] = await once(request, 'response')
  incoming.on('error', () => {})
  request.on('error', () => {})
  let rest = ''
  incoming.setEncoding('utf8').on('data', (chunk) => {
    const parts = (rest + chunk).split('\n\n')
    rest = parts.pop()
    for (const part of parts) {
      const data = /^data: (.*)$/m.exec(part)?.[1]
      if (data === undefined) continue
      const event = JSON.parse(data)
      seen.push(event)
      for (const one of waiting) if (one.type === event.type && one.fits(event)) one.settle()
    }
  })
  return {
    all: (type) => seen.filter((event) => event.type === type),
    next: (type, fits) =>
      new Promise((resolve) => {
        const one = {
          type,
          fits,
          settle: () => {
            waiting.delete(one)
            resolve(performance.now())
          },
        }
        waiting.add(one)
      }),
    close: () => request.destroy(),
  }
}

/** One request; `hasBegun` settles with the first token of its stream, `ended` with all of it. */
function send(url, agent, { count, isStream, padding = 0 }) {
  const messages = [
    ...(padding > 0 ? [{ role: 'system', content: 'x'.repeat(padding) }] : []),
    { role: 'user', content: `count to ${count}` },
  ]
  const body = JSON.stringify({ model: 'demo/demo', stream: isStream, messages })
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }
  const beganAtMs = performance.now()
  const request = open(`${url}/v1/chat/completions`, { method: 'POST', agent, headers })
  let begin
  const hasBegun = new Promise((resolve) => {
    begin = resolve
  })
  const ended = new Promise((resolve) => {
    let text = ''
    let answer
    const end = () =>
      resolve({
        status: answer?.statusCode,
        text,
        isWhole: answer?.complete ?? false,
        endedAtMs: performance.now(),
        tookMs: performance.now() - beganAtMs,
      })
    request.once('response', (incoming) => {
      answer = incoming
      incoming.setEncoding('utf8').on('data', (chunk) => {
        text = (text + chunk).slice(-2_000)
        if (text.includes('"content":"1"')) begin()
      })
      incoming.once('error', () => {})
      incoming.once('close', end)
    })
    request.once('error', () => {
      if (answer === undefined) end()
    })
  })
  request.end(body)
  return { hasBegun, ended, leave: () => request.destroy() }
}

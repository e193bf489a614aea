#!/usr/bin/env node
// Ends `infer` and `serve` by each signal at a random moment of a cold start, again and again, and looks whether a
// process of theirs lives two seconds later. The servers fork: into a session of their own, twice, or not at all.
// Run: npm run chaos:signals -- [--times 200] [--seed S] [--command infer] [--signal SIGTERM] [--kind session]
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readdirSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { findFreePort } from '../../dist/src/testing/real-host.js'
import { MAIN } from './gateway.mjs'
import {
  describe,
  isSameAlive,
  listFamily,
  listMarked,
  listNamed,
  lookUntil,
  signalMarked,
} from './processes.mjs'
import { createRandom, deriveSeed } from './random.mjs'

const FORKS = fileURLToPath(new URL('../fixtures/forks.mjs', import.meta.url))
const KINDS = ['member', 'session', 'double-fork', 'holds-stdout']
/** Also this one where the tree is held with SIGSTOP and killed. Behind a SIGTERM its parent may fork it and end unseen. */
const FROZEN_KINDS = [...KINDS, 'bare-session']
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGKILL']
const COMMANDS = {
  infer: ['infer', 'model', 'run', '--local', '--model', 'forks/any', '--prompt', 'Hello?'],
  serve: ['serve', '--port', '0'],
}
/** Longest time from a signal until nothing is left, in milliseconds. */
const LIMIT_MS = 2_000
/** Every grandchild ignores SIGTERM: it is killed after this time, in milliseconds. */
const STOP_GRACE_MS = 500
/** A process between fork and exec may show no environment: one quiet look proves nothing. */
const QUIET_LOOKS = 5
/** Moments are spread over a whole cold start on this host: until the grandchild runs, and a bit more. */
const MORE_THAN_A_START = 1.2

const { values } = parseArgs({
  options: {
    times: { type: 'string', default: '200' },
    limit: { type: 'string', default: String(LIMIT_MS) },
    seed: { type: 'string' },
    command: { type: 'string' },
    signal: { type: 'string' },
    kind: { type: 'string' },
  },
})
const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31))
const times = Number(values.times)
const limitMs = Number(values.limit)

console.log(`signals, seed ${seed}, node ${process.version}, ${times} times each, limit ${limitMs} ms\n`)
console.log('| command | signal  | times | with a server | forked too | left after the limit | longest, ms |')
console.log('| ------- | ------- | ----: | ------------: | ---------: | -------------------: | ----------: |')
let violations = 0
for (const [commandIndex, command] of Object.keys(COMMANDS).entries()) {
  if (values.command !== undefined && values.command !== command) continue
  const startMs = await measureStart(command)
  for (const [signalIndex, signal] of SIGNALS.entries()) {
    if (values.signal !== undefined && values.signal !== signal) continue
    const random = createRandom(deriveSeed(seed, commandIndex, signalIndex))
    const totals = { servers: 0, forked: 0, left: 0, longestMs: 0 }
    for (let time = 0; time < times; time += 1) {
      const afterMs = random.next() * startMs * MORE_THAN_A_START
      const isFrozen = command === 'infer' || signal === 'SIGKILL'
      const kind = values.kind ?? random.pick(isFrozen ? FROZEN_KINDS : KINDS)
      const { count, tookMs, left } = await interrupt({ command, signal, afterMs, kind })
      if (count > 0) totals.servers += 1
      if (count > 1) totals.forked += 1
      totals.longestMs = Math.max(totals.longestMs, Math.round(tookMs))
      if (left.length === 0) continue
      totals.left += 1
      violations += 1
      console.error(
        `LEFT by ${kind} of ${command} after ${signal} at ${Math.round(afterMs)} ms: ${left.join(', ')}`,
      )
    }
    const { servers, forked, left, longestMs } = totals
    const cells = [command.padEnd(7), signal.padEnd(7), pad(times, 5), pad(servers, 13), pad(forked, 10)]
    console.log(`| ${[...cells, pad(left, 20), pad(longestMs, 11)].join(' | ')} |`)
  }
}
console.log(`\nviolations: ${violations}`)
process.exitCode = violations === 0 ? 0 : 1

function pad(number, width) {
  return String(number).padStart(width)
}

/** How long a command takes here until its server has forked, in milliseconds. */
async function measureStart(command) {
  const run = await start(command, 'session')
  const hasForked = await lookUntil(() => listMarked(run.serverMark).length >= 2, 120_000, 30)
  const tookMs = performance.now() - run.startedAtMs
  await run.end()
  if (!hasForked) throw new Error(`${command} did not start its server`)
  return tookMs
}

async function interrupt({ command, signal, afterMs, kind }) {
  // Without a terminal SIGHUP asks `serve` to read its configuration again; with one it says that it was closed.
  const isTerminal = command === 'serve' && signal === 'SIGHUP'
  const run = await start(command, kind, isTerminal)
  await Promise.race([delay(afterMs), run.exited])
  // A grandchild with an empty environment carries no mark: it is known as a child of a process with one.
  const family = listFamily(run.serverMark)
  const signalledAtMs = performance.now()
  run.child.kill(isTerminal ? 'SIGKILL' : signal)
  // One that was forked after that look is known by its arguments.
  const isGone = () =>
    listMarked(run.mark).length + listNamed(run.home).length === 0 && !family.some(isSameAlive)
  let quietLooks = 0
  let tookMs = limitMs
  const isQuiet = () => {
    if (!isGone()) quietLooks = 0
    else if (++quietLooks === 1) tookMs = performance.now() - signalledAtMs
    return quietLooks === QUIET_LOOKS
  }
  await lookUntil(isQuiet, limitMs, 20)
  const named = listNamed(run.home)
  const pids = new Set([
    ...listMarked(run.mark),
    ...family.filter(isSameAlive).map(({ pid }) => pid),
    ...named,
  ])
  const left = [...[...pids].map(describe), ...readdirSync(run.temporary)]
  for (const pid of [...family.filter(isSameAlive).map(({ pid }) => pid), ...named]) kill(pid)
  await run.end()
  return { count: family.length, tookMs, left }
}

/**
 * Starts a command on a configuration of its own; `serve` is asked for the model as soon as it listens. With a terminal
 * the child is who holds its other side.
 */
async function start(command, kind, isTerminal = false) {
  const home = await mkdtemp(join(tmpdir(), 'chaos-signals-'))
  const temporary = join(home, 'tmp')
  mkdirSync(temporary)
  const config = join(home, 'leasehold.json5')
  const port = await findFreePort()
  const localService = {
    command: process.execPath,
    args: [FORKS, kind, home],
    env: { CHAOS_SERVER: home },
    stopGraceMs: STOP_GRACE_MS,
  }
  const providers = { forks: { baseUrl: `http://127.0.0.1:${port}/v1`, localService } }
  await writeFile(config, JSON.stringify({ models: { mode: 'replace', providers } }), { mode: 0o600 })
  const env = { ...process.env, TMPDIR: temporary, HOME: home, XDG_STATE_HOME: join(home, 'state') }
  const startedAtMs = performance.now()
  const words = [process.execPath, MAIN, ...COMMANDS[command], '--config', config]
  const inTerminal = ['--quiet', '--return', '--flush', '--command', `exec ${words.join(' ')}`, '/dev/null']
  const [program, ...args] = isTerminal ? ['script', ...inTerminal] : words
  // The other side of a terminal hangs up when its input ends.
  const child = spawn(program, args, { env, stdio: [isTerminal ? 'pipe' : 'ignore', 'pipe', 'ignore'] })
  const exited = once(child, 'exit')
  if (command === 'serve') askWhenItListens(child)
  else child.stdout.resume()
  const mark = `TMPDIR=${temporary}`
  return {
    child,
    exited,
    startedAtMs,
    home,
    temporary,
    /** Of the command, its watchdog, its servers. */
    mark,
    /** Of its servers alone. */
    serverMark: `CHAOS_SERVER=${home}`,
    async end() {
      for (const pid of listMarked(mark)) signalMarked(pid, 'SIGKILL', mark)
      child.kill('SIGKILL')
      await exited
      await lookUntil(() => listMarked(mark).length === 0, 10_000, 30)
      await rm(home, { recursive: true, force: true, maxRetries: 5 })
    },
  }
}

function kill(pid) {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It ended by itself, late.
  }
}

function askWhenItListens(child) {
  let url
  child.stdout.on('data', (chunk) => {
    if (url !== undefined) return
    url = /http:\/\/127\.0\.0\.1:\d+/.exec(chunk)?.[0]
    if (url === undefined) return
    const body = JSON.stringify({ model: 'forks/any', messages: [] })
    const headers = { 'content-type': 'application/json' }
    fetch(`${url}/v1/chat/completions`, { method: 'POST', headers, body }).catch(() => {})
  })
}

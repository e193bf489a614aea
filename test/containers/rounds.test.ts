// @module-tag proof

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { findFreePort } from '../../src/testing/real-host.ts'
import { demoServer } from '../integration/library.ts'
import { type ContainerEngine, DIST, findObstacle, IMAGE, openEngine } from './engines.ts'

/** `LEASEHOLD_CONTAINER_ROUNDS=200 LEASEHOLD_CONTAINER_SEED=1 npx vitest run test/containers/rounds` */
const ROUNDS = Number(process.env.LEASEHOLD_CONTAINER_ROUNDS ?? 0)
const SEED = Number(process.env.LEASEHOLD_CONTAINER_SEED ?? 1)
const ROUND_MS = 120_000

const cli = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url))
const obstacle = findObstacle('docker')
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

// Alone: two dockerd at once take docker0 from each other, and containers.test.ts has one.
describe.skipIf(obstacle !== undefined || ROUNDS === 0)(
  `docker${obstacle === undefined ? '' : ` (${obstacle})`}`,
  () => {
    let engine: ContainerEngine
    beforeAll(async () => {
      engine = await openEngine('docker')
    }, 120_000)
    afterAll(() => engine?.close(), 120_000)

    test(`two models of 20,000 of 24,000 MiB are never both there, whatever is killed: ${ROUNDS} rounds, seed ${SEED}`, {
      timeout: ROUNDS * ROUND_MS,
    }, async () => {
      const random = createRandom(SEED)
      const directory = await mkdtemp(join(tmpdir(), 'leasehold-rounds-'))
      const gatewayPort = await findFreePort()
      const ports = { box: await findFreePort(), second: await findFreePort() }
      const file = join(directory, 'leasehold.json5')
      await writeFile(file, toConfig(engine, gatewayPort, ports))
      const env = { ...process.env, ...engine.env, LEASEHOLD_STATE_DIR: join(directory, 'state') }
      const serve = (): ChildProcess =>
        spawn(process.execPath, [cli, 'serve', '--config', file], { env, stdio: 'ignore' })

      const watch = watchServers(ports)
      const deeds: Record<string, number> = {}
      let gateway = serve()
      try {
        for (let round = 0; round < ROUNDS; round += 1) {
          const wanted = [ask(gatewayPort, 'box'), ask(gatewayPort, 'second'), ask(gatewayPort, 'box')]
          await pause(random.upTo(3_000))
          const deed = random.pick(['client', 'supervisor', 'watchdog', 'both', 'daemon', 'everything'])
          deeds[deed] = (deeds[deed] ?? 0) + 1
          const isDaemonKilled = deed === 'daemon' || deed === 'everything'
          if (isDaemonKilled) await engine.killDaemon?.()
          if (deed === 'client') for (const pid of listPids(isClient)) kill(pid)
          // Stopped, it has no time to replace its watchdog.
          if (deed === 'both' || deed === 'everything') gateway.kill('SIGSTOP')
          if (deed !== 'client' && deed !== 'supervisor' && deed !== 'daemon')
            for (const pid of listWatchdogs(gateway.pid)) kill(pid)
          if (deed === 'supervisor' || deed === 'both' || deed === 'everything') {
            await end(gateway, 'SIGKILL')
            await pause(random.upTo(500))
            gateway = serve()
          }
          if (isDaemonKilled) {
            await pause(random.upTo(3_000))
            await engine.startDaemon?.()
          }
          await Promise.all(wanted)
          // Both can still be had.
          for (const id of ['second', 'box'])
            await untilAnswered(gatewayPort, id, `round ${round}, ${deed}, seed ${SEED}`)
          expect([round, deed, watch.both()]).toEqual([round, deed, []])
        }
      } finally {
        await end(gateway, 'SIGTERM')
        watch.close()
        await rm(directory, { recursive: true })
      }
      console.log(
        `${ROUNDS} rounds, seed ${SEED}: ${JSON.stringify(deeds)}; containers ${watch.count('box')}, second models ${watch.count('second')}, looks ${watch.looks()}`,
      )
      expect(watch.both()).toEqual([])
      expect(engine.list()).toEqual([])
      expect(listPids((words) => isServer(words, ports.box) || isServer(words, ports.second))).toEqual([])
    })
  },
)

function toConfig(
  { env, options }: ContainerEngine,
  port: number,
  ports: { readonly box: number; readonly second: number },
): string {
  const needs = { vramMiB: 20_000 }
  const service = { needs, stopGraceMs: '1s', readyTimeoutMs: '60s', maxStarveMs: '3s' }
  const toProvider = (id: keyof typeof ports, localService: object) => ({
    baseUrl: `http://127.0.0.1:${ports[id]}/v1`,
    models: [{ id: 'demo' }],
    localService: { ...service, ...localService },
  })
  return JSON.stringify({
    models: {
      mode: 'replace',
      providers: {
        box: toProvider('box', {
          env,
          container: {
            image: IMAGE,
            network: 'host',
            volumes: [`${DIST}:/dist:ro`],
            // What a daemon stops at its start gets one second.
            options: [...options, '--stop-timeout', '1'],
            args: [
              ...['/bin/node', '/dist/src/testing/demo-server.js', '--port', String(ports.box)],
              '--ignore-sigterm',
            ],
          },
        }),
        second: toProvider('second', {
          command: process.execPath,
          args: [demoServer, '--port', String(ports.second)],
        }),
      },
    },
    leasehold: {
      port,
      budgets: { vramMiB: 24_000 },
      backoffMs: 100,
      breakerFailures: 1_000,
    },
  })
}

async function end(program: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (program.exitCode !== null || program.signalCode !== null) return
  const exited = once(program, 'exit')
  program.kill(signal)
  await exited
}

/** A request whose answer does not matter. */
async function ask(port: number, id: string): Promise<number> {
  try {
    const { status, body } = await fetch(`http://127.0.0.1:${port}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: `${id}/demo`, messages: [{ role: 'user', content: '6 * 7' }] }),
      signal: AbortSignal.timeout(40_000),
    })
    await body?.cancel()
    return status
  } catch {
    return 0
  }
}

async function untilAnswered(port: number, id: string, about: string): Promise<void> {
  const deadlineMs = performance.now() + ROUND_MS / 2
  let status = 0
  while (status !== 200) {
    if (performance.now() > deadlineMs) throw new Error(`${id} is not to be had (${status}): ${about}`)
    status = await ask(port, id)
    if (status !== 200) await pause(50)
  }
}

/** A process may be looked at between its fork and its exec. */
const MAX_TRIES = 20

/** Looks all the time which of the two servers are alive. */
function watchServers(ports: { readonly box: number; readonly second: number }) {
  const known = new Map<number, 'box' | 'second' | undefined>()
  const tries = new Map<number, number>()
  const forget = (pid: number) => {
    known.delete(pid)
    tries.delete(pid)
  }
  const both: string[] = []
  const counts = { box: 0, second: 0 }
  let looks = 0
  const look = () => {
    looks += 1
    const pids = new Set(listNumbers())
    for (const pid of known.keys()) if (!pids.has(pid)) forget(pid)
    for (const pid of pids) {
      const lookedAt = tries.get(pid) ?? 0
      if (known.get(pid) !== undefined || lookedAt > MAX_TRIES) continue
      tries.set(pid, lookedAt + 1)
      const words = readWords(pid)
      const id = isServer(words, ports.box) ? 'box' : isServer(words, ports.second) ? 'second' : undefined
      // Before its exec a process has the words of its parent.
      if (id !== undefined) counts[id] += 1
      known.set(pid, id)
    }
    const alive = [...known].filter(([pid, id]) => id !== undefined && isAlive(pid))
    if (new Set(alive.map(([, id]) => id)).size === 2)
      both.push(alive.map(([pid, id]) => `${id} ${pid}`).join(' and '))
  }
  const timer = setInterval(look, 20)
  return {
    both: () => both.slice(0, 3),
    count: (id: 'box' | 'second') => counts[id],
    looks: () => looks,
    close: () => clearInterval(timer),
  }
}

function listNumbers(): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => Number.isInteger(pid))
}

function listPids(fits: (words: readonly string[]) => boolean): number[] {
  return listNumbers().filter((pid) => fits(readWords(pid)) && isAlive(pid))
}

function readWords(pid: number): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
  } catch {
    return []
  }
}

function isServer([program = '', script = '', ...rest]: readonly string[], port: number): boolean {
  return program.endsWith('node') && script.endsWith('demo-server.js') && rest.includes(String(port))
}

function isClient([program = '', verb = '']: readonly string[]): boolean {
  return program.endsWith('/docker') && verb === 'run'
}

function listWatchdogs(supervisor: number | undefined): number[] {
  return listNumbers().filter(
    (pid) =>
      readStat(pid)[1] === String(supervisor) && readWords(pid)[0]?.startsWith('leasehold-watchdog') === true,
  )
}

/** State and parent. */
function readStat(pid: number): readonly string[] {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  } catch {
    return []
  }
}

function isAlive(pid: number): boolean {
  const [state = 'X'] = readStat(pid)
  return state !== 'Z' && state !== 'X'
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has just ended.
  }
}

/** Numbers that a seed repeats (mulberry32). */
function createRandom(seed: number) {
  let state = seed >>> 0
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  return {
    upTo: (most: number) => Math.floor(next() * most),
    pick: <Item>(items: readonly [Item, ...Item[]]): Item =>
      items[Math.floor(next() * items.length)] ?? items[0],
  }
}

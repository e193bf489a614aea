// @module-tag proof
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'vitest'
import { chooseHome } from '../../machines/cluster/home.ts'
import type { CardService } from '../../machines/cluster/messages.ts'
import { type Box, createBoxes } from './boxes.ts'
import { describeWithNats } from './nats-server.ts'

const fixture = (name: string) => fileURLToPath(new URL(`../fixtures/${name}.mjs`, import.meta.url))
const demoServer = fileURLToPath(new URL('../../dist/src/testing/demo-server.js', import.meta.url))
const sleepingServer = fileURLToPath(new URL('../chaos/sleeping-demo-server.mjs', import.meta.url))

const patience = { timeout: 120_000 }

interface Members {
  readonly members: readonly {
    readonly member: string
    readonly services: Readonly<Record<string, CardService>>
  }[]
}

/** What a machine knows of a service at another one, or at itself. */
async function sight(at: Box, member: string, service = 'llama'): Promise<string> {
  const { members } = (await at.json('/api/members')) as Members
  const found = members.find((one) => one.member === member)?.services[service]
  return found === undefined ? 'none' : found.isAsleep ? 'asleep' : found.state
}

/** A name of a service whose first choice among cold ones is this machine. */
function nameFor(home: string): string {
  const names = Array.from({ length: 50 }, (_, index) => `llama-${index}`)
  return names.find((name) => chooseHome(name, ['tower', 'attic']) === home) ?? ''
}

async function createFolder() {
  const path = await mkdtemp(join(tmpdir(), 'leasehold-kinds-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) }
}

async function read(answer: Promise<Response>): Promise<string> {
  const response = await answer
  const text = await response.text()
  return response.ok ? 'ok' : `${response.status} ${text}`
}

describeWithNats('a server that sleeps', () => {
  const sleeper = (folder: string, box: string) => ({
    localService: {
      command: process.execPath,
      args: [sleepingServer, '--sleep-log', join(folder, box), '--port', `\${PORT}`, '--models', 'm'],
      healthUrl: `http://127.0.0.1:\${PORT}/health`,
      idleStopMs: 600_000,
      sleep: {
        afterMs: 100,
        request: [{ path: '/sleep?level=1' }],
        wake: [{ path: '/wake_up' }],
        check: { path: '/is_sleeping', field: 'is_sleeping' },
      },
    },
  })

  test.for(['tower', 'attic'])(
    'at attic is woken by a request at tower, whichever would start it (%s)',
    patience,
    async (home, { expect }) => {
      const name = nameFor(home)
      await using folder = await createFolder()
      await using boxes = await createBoxes([])
      const tower = await boxes.add('tower', { providers: [name], ...sleeper(folder.path, 'tower') })
      const attic = await boxes.add('attic', { providers: [name], ...sleeper(folder.path, 'attic') })
      await Promise.all(boxes.all.map((box) => box.start()))
      await boxes.untilJoined()
      expect(await read(attic.ask({ model: `attic:${name}/m` }))).toBe('ok')
      await expect.poll(() => sight(tower, 'attic', name)).toBe('asleep')
      expect(await sight(tower, 'tower', name)).toBe('cold')
      expect((await tower.run('members')).stdout).toMatch(new RegExp(`attic .*asleep: ${name}`))
      const model = `${name}/m`
      expect(await Promise.all(Array.from({ length: 4 }, () => read(tower.ask({ model }))))).toEqual(
        Array(4).fill('ok'),
      )
      expect(await sight(tower, 'tower', name)).toBe('cold')
      // A machine that drains wakes nothing: the other one starts its own.
      await expect.poll(() => sight(tower, 'attic', name)).toBe('asleep')
      await attic.run('drain')
      await tower.until(/member attic is draining/)
      expect(await read(tower.ask({ model }))).toBe('ok')
      await expect.poll(() => sight(tower, 'tower', name)).toBe('asleep')
    },
  )
})

/** Where a machine expects the server of its only provider. */
function originOf({ folder }: Box): string {
  const { models } = JSON.parse(readFileSync(join(folder, 'leasehold.json5'), 'utf8'))
  const [provider] = Object.values(models.providers) as { readonly baseUrl: string }[]
  return new URL(provider?.baseUrl ?? '').origin
}

/** Whether a process runs; a zombie does not. */
function isRunning(pid: number): boolean {
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'))
  } catch {
    return false
  }
}

/** Ends a machine's gateway and all of its helpers at once, as a loss of power does. A container has no such environment. */
async function pullThePlug(box: Box): Promise<void> {
  const list = () =>
    readdirSync('/proc')
      .map(Number)
      .filter((pid) => {
        try {
          const marks = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0')
          return marks.includes(`HOME=${box.folder}`) && isRunning(pid)
        } catch {
          return false
        }
      })
  for (const pid of list()) process.kill(pid, 'SIGKILL')
  await box.end('SIGKILL')
  while (list().length > 0) await new Promise(setImmediate)
}

describeWithNats('a machine that is short of room', () => {
  test(
    'sends a request for a cold model to one that has room, also when it would start it itself',
    patience,
    async ({ expect }) => {
      const name = nameFor('tower')
      const needs = { localService: { needs: { vramMiB: 6_000 } } }
      const leasehold = { budgets: { vramMiB: 8_000 } }
      await using boxes = await createBoxes([])
      const tower = await boxes.add('tower', { providers: [name, 'phi'], ...needs, leasehold })
      const attic = await boxes.add('attic', { providers: [name], ...needs, leasehold })
      await Promise.all(boxes.all.map((box) => box.start()))
      await boxes.untilJoined()
      const stream = await tower.ask({ model: 'phi/m', text: 'count to 100000', stream: true })
      expect(stream.ok).toBe(true)
      expect(await read(tower.ask({ model: `${name}/m` }))).toBe('ok')
      expect([await sight(tower, 'tower', name), attic.starts()]).toEqual(['cold', 1])
      await stream.body?.cancel()
    },
  )
})

describeWithNats('a container', () => {
  test(
    'of a machine is on its card, stops when that drains, and is there again after a loss of power',
    patience,
    async ({ expect }) => {
      await using folder = await createFolder()
      const inContainer = async (name: string) => {
        const directory = join(folder.path, name)
        await mkdir(directory)
        return {
          localService: {
            command: fixture('engine'),
            args: ['run', 'box', '-d', process.execPath, demoServer, '--port', `\${PORT}`, '--models', 'm'],
            env: { ENGINE_DIR: directory },
            external: true,
            stopCommand: [
              [fixture('engine'), 'stop', 'box'],
              [fixture('engine'), 'rm', 'box'],
            ],
            statusCommand: [fixture('engine'), 'ps', 'box'],
            idleStopMs: 1_000,
          },
        }
      }
      const pidAt = (name: string) => {
        const file = join(folder.path, name, 'box.pid')
        const pid = existsSync(file) ? Number(readFileSync(file, 'utf8')) : 0
        return pid > 0 && isRunning(pid) ? pid : undefined
      }
      using _containers = {
        [Symbol.dispose]: () => {
          for (const pid of ['tower', 'attic'].map(pidAt)) if (pid !== undefined) process.kill(pid, 'SIGKILL')
        },
      }
      await using boxes = await createBoxes([])
      const tower = await boxes.add('tower', await inContainer('tower'))
      const attic = await boxes.add('attic', await inContainer('attic'))
      await Promise.all(boxes.all.map((box) => box.start()))
      await boxes.untilJoined()
      const stream = await attic.ask({ model: 'attic:llama/m', text: 'count to 100000', stream: true })
      await expect.poll(() => sight(tower, 'attic')).toBe('ready')
      expect(await read(tower.ask())).toBe('ok')
      expect([pidAt('tower'), pidAt('attic')]).toEqual([undefined, expect.any(Number)])

      await attic.run('drain')
      await tower.until(/member attic is draining/)
      await stream.body?.cancel()
      await expect.poll(() => pidAt('attic')).toBeUndefined()
      await expect.poll(() => sight(tower, 'attic')).toBe('cold')
      await attic.run('drain', '--undo')
      await tower.until(/is draining[\s\S]*member attic is open/)

      expect(await read(attic.ask({ model: 'attic:llama/m' }))).toBe('ok')
      const left = pidAt('attic')
      await pullThePlug(attic)
      expect(pidAt('attic')).toBe(left)
      expect(await read(tower.ask())).toBe('ok')
      expect(tower.log).toMatch(/llama +ready/)
      await attic.start()
      await tower.until(/is lost[\s\S]*member attic .*is there/)
      expect(await read(attic.ask({ model: 'attic:llama/m' }))).toBe('ok')
      expect(pidAt('attic')).not.toBe(left)
      expect(isRunning(left ?? 0)).toBe(false)
      for (const box of boxes.all) await box.end('SIGTERM')
      expect([pidAt('tower'), pidAt('attic')]).toEqual([undefined, undefined])
    },
  )
})

/** Starts the daemon that each machine has its model from. */
async function startDaemons(boxes: readonly Box[]): Promise<AsyncDisposable> {
  const daemons = boxes.map((box) => {
    const { port } = new URL(originOf(box))
    const args = [fixture('model-daemon'), '--port', port, '--kind', 'lmstudio', '--models', 'm']
    return spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  })
  await Promise.all(daemons.map(({ stdout }) => once(stdout, 'data')))
  return {
    [Symbol.asyncDispose]: async () => {
      for (const daemon of daemons) {
        const exited = once(daemon, 'exit')
        daemon.kill('SIGKILL')
        await exited
      }
    },
  }
}

describeWithNats('a model of a daemon', () => {
  test(
    'that is loaded at a machine is used there, and unloaded when that drains or is gone',
    patience,
    async ({ expect }) => {
      const ofDaemon = {
        localService: {
          ...{ command: undefined, args: undefined, stopGraceMs: undefined },
          ...{ engine: 'lmstudio', model: 'm', daemon: {}, idleStopMs: 4_000 },
        },
      }
      await using boxes = await createBoxes([])
      const tower = await boxes.add('tower', ofDaemon)
      const attic = await boxes.add('attic', ofDaemon)
      await using _daemons = await startDaemons(boxes.all)
      const loadedAt = async (box: Box) => {
        const { loaded } = (await (await fetch(`${originOf(box)}/__seen`)).json()) as { loaded: object }
        return Object.keys(loaded).length
      }
      await Promise.all(boxes.all.map((box) => box.start()))
      await boxes.untilJoined()
      expect((await attic.run('start', 'llama')).code).toBe(0)
      await expect.poll(() => sight(tower, 'attic')).toBe('ready')
      expect(await read(tower.ask())).toBe('ok')
      expect([await loadedAt(tower), await loadedAt(attic)]).toEqual([0, 1])

      // Its daemon unloads it by itself, and the next request loads it on one machine.
      await fetch(`${originOf(attic)}/__control`, { method: 'POST', body: JSON.stringify({ drop: 'm' }) })
      await expect.poll(() => sight(tower, 'attic')).toBe('cold')
      expect(await read(attic.ask({ model: 'attic:llama/m' }))).toBe('ok')
      await expect.poll(() => sight(tower, 'attic')).toBe('ready')

      await attic.run('drain')
      await tower.until(/member attic is draining/)
      await expect.poll(() => loadedAt(attic)).toBe(0)
      expect(await read(tower.ask())).toBe('ok')
      expect([await loadedAt(tower), await loadedAt(attic)]).toEqual([1, 0])
      await attic.run('drain', '--undo')
      await tower.until(/is draining[\s\S]*member attic is open/)

      expect(await read(attic.ask({ model: 'attic:llama/m' }))).toBe('ok')
      await attic.end('SIGKILL')
      await expect.poll(() => loadedAt(attic)).toBe(0)
      expect(await read(tower.ask())).toBe('ok')
    },
  )
})

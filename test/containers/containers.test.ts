// @module-tag proof

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chown, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { createSupervisor } from '../../src/index.ts'
import { findFreePort } from '../../src/testing/real-host.ts'
import { listen, writeAndLoad } from '../integration/library.ts'
import { type ContainerEngine, DIST, findObstacle, IMAGE, openEngine } from './engines.ts'

const cli = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url))
const host = fileURLToPath(new URL('../fixtures/host.mjs', import.meta.url))

const SERVER = '/dist/src/testing/demo-server.js'
/** The port of its container is open two seconds before it listens itself. */
const LATE = `setTimeout(() => import('${SERVER}').then((m) => m.runDemoServer(process.argv.slice(2))), 2_000)`

interface BoxOptions {
  readonly network?: 'host'
  readonly flags?: readonly string[]
  /** What Node runs. @default the demo server */
  readonly program?: readonly string[]
  readonly service?: Readonly<Record<string, unknown>>
}

async function toText(
  { name, env, options }: ContainerEngine,
  { network, flags = [], program = [SERVER], service }: BoxOptions = {},
) {
  const port = await findFreePort()
  const inside = network === 'host' ? port : 8080
  const address = network === 'host' ? '127.0.0.1' : '0.0.0.0'
  return JSON.stringify({
    models: {
      mode: 'replace',
      providers: {
        demo: {
          baseUrl: `http://127.0.0.1:${port}/v1`,
          models: [{ id: 'demo' }],
          localService: {
            env,
            stopGraceMs: '2s',
            container: {
              engine: name,
              image: IMAGE,
              ...(network === undefined ? {} : { network }),
              volumes: [`${DIST}:/dist:ro`],
              options,
              args: [
                ...['/bin/node', ...program, '--host', address],
                ...['--port', String(inside), ...flags],
              ],
            },
            ...service,
          },
        },
      },
    },
    leasehold: { backoffMs: 10 },
  })
}

async function openBox(engine: ContainerEngine, options?: BoxOptions) {
  const stateDir = await mkdtemp(join(tmpdir(), 'leasehold-box-'))
  const supervisor = createSupervisor({ config: await writeAndLoad(await toText(engine, options)), stateDir })
  return {
    supervisor,
    stateDir,
    ...listen(supervisor),
    [Symbol.asyncDispose]: async () => {
      await supervisor.close({ force: true })
      await rm(stateDir, { recursive: true })
    },
  }
}

/** Names of the records of supervisors. */
async function listRecords(stateDir: string): Promise<string[]> {
  return (await readdir(join(stateDir, 'owners'))).filter((name) => name.endsWith('.json'))
}

/** What a supervisor has written down. */
async function readRecord(stateDir: string) {
  const [name = ''] = await listRecords(stateDir)
  const { body } = JSON.parse(await readFile(join(stateDir, 'owners', name), 'utf8'))
  return JSON.parse(body)
}

const body = JSON.stringify({ model: 'demo/demo', messages: [{ role: 'user', content: '6 * 7' }] })
const headers = { 'content-type': 'application/json' }

for (const name of ['docker', 'podman'] as const) {
  const obstacle = findObstacle(name)
  describe.skipIf(obstacle !== undefined)(`${name}${obstacle === undefined ? '' : ` (${obstacle})`}`, () => {
    let engine: ContainerEngine
    beforeAll(async () => {
      engine = await openEngine(name)
    }, 120_000)
    afterAll(() => engine?.close(), 120_000)
    // A test that failed may have left it dead, or with containers.
    afterEach(async () => {
      await engine?.startDaemon?.()
      for (const left of engine?.list() ?? []) engine.order('rm', '-f', left)
      await expect.poll(() => engine?.listLeftNetworks(), { timeout: 20_000 }).toEqual([])
    }, 120_000)

    test.each([undefined, 'host'] as const)(
      'a container is started, leased and stopped (network %s)',
      { timeout: 120_000 },
      async (network) => {
        await using box = await openBox(engine, network === undefined ? {} : { network })
        const answer = await box.supervisor.fetch('http://leasehold/v1/chat/completions', {
          method: 'POST',
          headers,
          body,
        })
        expect(await answer.text()).toContain('42')
        expect(await box.supervisor.stop('demo')).toMatchObject({
          state: 'down.cold',
          receipt: { survivors: [], outside: { exitCodes: [0], status: 'gone' } },
        })
        expect(engine.list()).toEqual([])
      },
    )

    test('a container whose server ignores SIGTERM is killed by its engine', {
      timeout: 120_000,
    }, async () => {
      await using box = await openBox(engine, { flags: ['--ignore-sigterm'] })
      await box.supervisor.start('demo')
      expect(await box.supervisor.stop('demo')).toMatchObject({ receipt: { outside: { status: 'gone' } } })
      expect(engine.list()).toEqual([])
    })

    test('a server whose container listens before it is starting, and has not failed (fault E-15)', {
      timeout: 120_000,
    }, async () => {
      await using box = await openBox(engine, { program: ['-e', LATE, 'late'] })
      await box.supervisor.start('demo')
      const kinds = new Set(box.all('health.verdict').map(({ verdict }) => verdict.kind))
      expect([...kinds].filter((kind) => kind === 'foreign' || kind === 'failed')).toEqual([])
      expect(box.all('process.spawned')).toHaveLength(1)
    })

    test('a paused container is suspect, and is not stopped while it is leased (fault E-16)', {
      timeout: 120_000,
    }, async () => {
      await using box = await openBox(engine)
      const lease = await box.supervisor.acquire('demo/demo')
      const [name = ''] = engine.list()
      const missed = box.next('health.verdict', ({ verdict }) => verdict.kind !== 'ready')
      engine.order('pause', name)
      const answer = box.supervisor.fetch('http://leasehold/v1/chat/completions', {
        method: 'POST',
        headers,
        body,
      })
      await missed
      expect(lease.signal.aborted).toBe(false)
      engine.order('unpause', name)
      expect((await answer).status).toBe(200)
      lease.release()
      expect(box.all('process.spawned')).toHaveLength(1)
      expect(await box.supervisor.stop('demo')).toMatchObject({ receipt: { outside: { status: 'gone' } } })
    })

    test.runIf(name === 'docker')(
      'a container in the network of the host serves on while its daemon is dead (fault E-7)',
      { timeout: 120_000 },
      async () => {
        await using box = await openBox(engine, { network: 'host' })
        const lease = await box.supervisor.acquire('demo/demo')
        // It can only be known to go on when it was seen.
        await expect.poll(async () => (await readRecord(box.stateDir)).servers[0]?.id).toBeTruthy()
        await engine.killDaemon?.()
        await box.until('process.detached')
        const answer = await box.supervisor.fetch('http://leasehold/v1/chat/completions', {
          method: 'POST',
          headers,
          body,
        })
        expect([answer.status, lease.signal.aborted]).toEqual([200, false])
        lease.release()
        await engine.startDaemon?.()
        // A daemon that starts ends the containers of its predecessor.
        await box.supervisor.stop('demo')
        expect(box.all('process.spawned')).toHaveLength(1)
        expect(box.all('stop.incomplete')).toEqual([])
        expect(engine.list()).toEqual([])
      },
    )

    test('a container goes on when its client is killed (fault E-9)', { timeout: 120_000 }, async () => {
      await using box = await openBox(engine)
      const lease = await box.supervisor.acquire('demo/demo')
      const { pid } = await box.until('process.spawned')
      process.kill(pid, 'SIGKILL')
      await box.until('process.detached')
      const answer = await box.supervisor.fetch('http://leasehold/v1/chat/completions', {
        method: 'POST',
        headers,
        body,
      })
      expect(answer.status).toBe(200)
      lease.release()
      expect(await box.supervisor.stop('demo')).toMatchObject({ receipt: { outside: { status: 'gone' } } })
      expect(engine.list()).toEqual([])
    })

    test.each([0, 20, 50, 100, 200])(
      'a start that is abandoned after %i ms leaves no container (fault E-5)',
      { timeout: 120_000 },
      async (afterMs) => {
        await using box = await openBox(engine)
        void box.supervisor.acquire('demo/demo').catch(() => {})
        await box.until('process.spawned')
        await new Promise((resolve) => setTimeout(resolve, afterMs))
        await box.supervisor.stop('demo', { force: true })
        expect(engine.list()).toEqual([])
      },
    )

    test.runIf(name === 'podman')(
      'a start that is abandoned while the network is set up leaves no network (fault E-5)',
      { timeout: 120_000 },
      async () => {
        const slow = await openEngine(name)
        try {
          slow.slowNetworks?.()
          const service = {
            stopGraceMs: '20s',
            // They look before the client has made the container, and end when its network is being set up.
            stopCommand: [
              ['/usr/bin/podman', 'rm', '-f', `leasehold-demo-\${GENERATION}`],
              ['/bin/sleep', '2'],
            ],
          }
          await using box = await openBox(slow, { service })
          void box.supervisor.acquire('demo/demo').catch(() => {})
          await box.until('process.spawned')
          expect(await box.supervisor.stop('demo', { force: true })).toMatchObject({
            receipt: { survivors: [], outside: { status: 'gone' } },
          })
          expect([slow.list(), slow.listLeftNetworks()]).toEqual([[], []])
        } finally {
          await slow.close()
        }
      },
    )

    test('nothing is started beside a container that was created and never ran (fault E-6)', {
      timeout: 120_000,
    }, async () => {
      const container = { engine: name, image: IMAGE, name: 'taken', args: ['/bin/node'] }
      engine.order('create', '--name', 'taken', ...engine.options, IMAGE, '/bin/node')
      await using box = await openBox(engine, { service: { container } })
      await expect(box.supervisor.acquire('demo/demo')).rejects.toThrow(/there already/)
      expect(engine.list()).toEqual(['taken'])
      engine.order('rm', '-f', 'taken')
    })

    test('a name that is taken is told in the words of the engine', { timeout: 120_000 }, async () => {
      const flags = ['/bin/node', '-e', 'setInterval(() => {}, 1000)']
      engine.order('run', '-d', '--name', 'taken', ...engine.options, IMAGE, ...flags)
      const container = { engine: name, image: IMAGE, name: 'taken', args: ['/bin/node'] }
      const service = { container, stopCommand: ['/bin/true'], statusCommand: ['/bin/true'] }
      await using box = await openBox(engine, { service })
      try {
        await expect(box.supervisor.acquire('demo/demo')).rejects.toThrow(/already in use/)
      } finally {
        engine.order('rm', '-f', 'taken')
      }
    })

    test.runIf(name === 'docker')(
      'the five lines of the page of the configuration start a container, which stops when idle',
      { timeout: 120_000 },
      async () => {
        const page = await readFile(new URL('../../src/config/README.md', import.meta.url), 'utf8')
        const [, lines = ''] = /## Servers elsewhere.*?```json5\n(.*?)```/s.exec(page) ?? []
        expect(lines.trim().split('\n')).toHaveLength(5)
        const folder = await mkdtemp(join(tmpdir(), 'leasehold-newcomer-'))
        await writeFile(join(folder, 'qwen3-8b.gguf'), '')
        const file = join(folder, 'leasehold.json5')
        // Only the folder of the models, and how long it takes to be idle.
        await writeFile(file, lines.replace("'/models:", `'${folder}:`).replace('10m', '1s'))
        const gatewayPort = await findFreePort()
        const gateway = spawn(
          process.execPath,
          [cli, 'serve', '--config', file, '--port', String(gatewayPort)],
          {
            env: { ...process.env, ...engine.env, LEASEHOLD_STATE_DIR: join(folder, 'state') },
            stdio: ['ignore', 'ignore', 'inherit'],
          },
        )
        const ask = () =>
          fetch(`http://127.0.0.1:${gatewayPort}/v1/chat/completions`, {
            method: 'POST',
            headers,
            body: body.replace('demo/demo', 'qwen/qwen3-8b'),
          }).catch(() => undefined)
        try {
          let answer = await ask()
          while (answer === undefined) answer = await ask()
          expect(await answer.text()).toContain('42')
          await expect.poll(() => engine.list(), { timeout: 20_000 }).toEqual([])
        } finally {
          gateway.kill('SIGTERM')
          await once(gateway, 'exit')
          await rm(folder, { recursive: true })
        }
      },
    )

    test('a container of a supervisor that was killed is stopped by the watchdog (fault E-10)', {
      timeout: 120_000,
    }, async () => {
      const folder = await mkdtemp(join(tmpdir(), 'leasehold-killed-'))
      const file = join(folder, 'leasehold.json5')
      await writeFile(file, await toText(engine))
      const program: ChildProcess = spawn(process.execPath, [host, file, folder], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      try {
        if (program.stdout !== null) await once(program.stdout, 'data')
        expect([engine.list(), await listRecords(folder)]).toEqual([
          [expect.any(String)],
          [expect.any(String)],
        ])
        program.kill('SIGKILL')
        await expect.poll(() => listRecords(folder), { timeout: 50_000 }).toEqual([])
        expect(engine.list()).toEqual([])
      } finally {
        program.kill('SIGKILL')
        await rm(folder, { recursive: true })
      }
    })
  })
}

/** The user without rights, whom every system has. */
const ordinary = { uid: 65_534, gid: 65_534 }

/** Whether an ordinary user can give a container of podman a network of its own. */
function hasUserNetwork(): boolean {
  const { status } = spawnSync('/bin/sh', ['-c', 'command -v slirp4netns && : <> /dev/net/tun'], ordinary)
  return status === 0
}

/** The programs of the test are files of this checkout, whose folders may be closed to others. */
function findReadObstacle(): string | undefined {
  const script = 'for (const file of process.argv.slice(1)) fs.accessSync(file, fs.constants.R_OK)'
  const { status } = spawnSync(process.execPath, ['-e', script, host, cli], { ...ordinary, cwd: '/' })
  return status === 0 ? undefined : `an ordinary user cannot read ${host}`
}

for (const name of ['docker', 'podman'] as const) {
  const obstacle = findObstacle(name) ?? findReadObstacle()
  describe.skipIf(obstacle !== undefined)(`${name} of an ordinary user`, () => {
    let engine: ContainerEngine
    let folder: string
    beforeAll(async () => {
      engine = await openEngine(name, { user: ordinary })
      folder = await mkdtemp('/tmp/lh-')
      await chown(folder, ordinary.uid, ordinary.gid)
    }, 120_000)
    afterAll(async () => {
      await engine?.close()
      await rm(folder, { recursive: true, maxRetries: 5 })
    }, 120_000)

    test.for([
      ['SIGTERM', 'host'],
      ['SIGKILL', 'host'],
      ['SIGKILL', undefined],
    ] as const)(
      'a container is stopped after %s of its supervisor (network %s)',
      {
        timeout: 120_000,
      },
      async ([signal, network], { skip }) => {
        // Its port is published by a process of the engine. Rootless podman needs a network of its own for that.
        if (network === undefined && name === 'podman' && !hasUserNetwork())
          skip('an ordinary user has no network of its own: that needs slirp4netns and /dev/net/tun')
        const file = join(folder, 'leasehold.json5')
        const options = network === undefined ? {} : { network }
        await writeFile(file, await toText(engine, options), { mode: 0o644 })
        const program = spawn(process.execPath, [host, file, join(folder, 'state')], {
          ...ordinary,
          cwd: folder,
          env: { PATH: process.env.PATH ?? '', HOME: folder, ...engine.env },
          stdio: ['ignore', 'pipe', 'inherit'],
        })
        try {
          await once(program.stdout, 'data')
          expect(engine.list()).toHaveLength(1)
          program.kill(signal)
          await expect.poll(() => listRecords(join(folder, 'state')), { timeout: 60_000 }).toEqual([])
          expect(engine.list()).toEqual([])
        } finally {
          program.kill('SIGKILL')
        }
      },
    )
  })
}

// @module-tag waits

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { createSupervisor, type Lease, loadConfig, ServiceError, type Supervisor } from '../../src/index.ts'
import { hasProcfs } from '../../src/process/tree.ts'
import { findFreePort } from '../../src/testing/real-host.ts'
import { listOf } from '../process/world.ts'
import {
  ask,
  catchServiceError,
  createLibrary,
  demoServer,
  isRunning,
  type LibraryOptions,
  listen,
  toText,
} from './library.ts'

const engine = fileURLToPath(new URL('../fixtures/engine.mjs', import.meta.url))
const lateServer = fileURLToPath(new URL('../fixtures/late-server.mjs', import.meta.url))
const host = fileURLToPath(new URL('../fixtures/host.mjs', import.meta.url))

/** How the imitated engine misbehaves. */
type Flag = 'down' | 'deaf' | 'hangs' | 'revives' | 'restarts'

/** A folder of an imitated container engine, and what is known of its containers. */
async function createEngine() {
  const directory = await mkdtemp(join(tmpdir(), 'leasehold-engine-'))
  const pidOf = (name = 'box') => Number(readFileSync(join(directory, `${name}.pid`), 'utf8'))
  const order = (args: readonly string[]) =>
    once(spawn(engine, args, { env: { ...process.env, ENGINE_DIR: directory } }), 'exit')
  return {
    directory,
    pidOf,
    isThere: (name = 'box') => existsSync(join(directory, `${name}.pid`)) && isRunning(pidOf(name)),
    set: (flag: Flag) => writeFileSync(join(directory, flag), ''),
    clear: (flag: Flag) => rmSync(join(directory, flag), { force: true }),
    /** Runs a container by hand. */
    run: (name: string, port: number) =>
      order(['run', name, '-d', process.execPath, demoServer, '--port', String(port)]),
    stop: (name: string) => order(['stop', name]),
    crash: async (name = 'box') => {
      process.kill(pidOf(name), 'SIGKILL')
      while (isRunning(pidOf(name))) await new Promise((resolve) => setTimeout(resolve, 5))
    },
    /** Starts a container that has crashed again, as its unit would. */
    restart: (name = 'box') => order(['restart', name]),
    [Symbol.asyncDispose]: async () => {
      if (existsSync(join(directory, 'box.pid')) && isRunning(pidOf())) process.kill(pidOf(), 'SIGKILL')
      await rm(directory, { recursive: true })
    },
  }
}

interface BoxOptions extends LibraryOptions {
  readonly name?: string
  /** Whether the client starts the container and ends. */
  readonly isDetached?: boolean
  readonly hasStatus?: boolean
  /** @default the demo server */
  readonly program?: string
}

function toService(
  directory: string,
  port: number,
  { name = 'box', isDetached, flags = [], hasStatus = true, program = demoServer }: BoxOptions,
) {
  return {
    command: engine,
    args: [
      ...['run', name, ...(isDetached ? ['-d'] : []), process.execPath, program],
      ...['--port', String(port), '--control', ...flags],
    ],
    env: { ENGINE_DIR: directory },
    external: true,
    stopCommand: [
      [engine, 'stop', name],
      [engine, 'rm', name],
    ],
    ...(hasStatus ? { statusCommand: [engine, 'ps', name] } : {}),
  }
}

async function createBox(options: BoxOptions = {}) {
  const box = await createEngine()
  const port = await findFreePort()
  const library = await createLibrary({
    ...options,
    service: {
      ...toService(box.directory, port, options),
      healthUrl: `http://127.0.0.1:${port}/health`,
      ...options.service,
    },
    provider: { baseUrl: `http://127.0.0.1:${port}/v1` },
  })
  return {
    box,
    library,
    [Symbol.asyncDispose]: async () => {
      await library[Symbol.asyncDispose]()
      await box[Symbol.asyncDispose]()
    },
  }
}

describe.runIf(hasProcfs)('a server outside the tree of its command', () => {
  test(`\${GENERATION} in its arguments and commands is the id of its run`, async () => {
    await using opened = await createBox({ name: `box-\${GENERATION}` })
    const { box, library } = opened
    const { generation } = await library.supervisor.start('demo')
    const name = `box-${generation}`
    expect(box.isThere(name)).toBe(true)
    expect(await library.supervisor.stop('demo')).toMatchObject({
      receipt: { survivors: [], outside: { status: 'gone' } },
    })
    expect(box.isThere(name)).toBe(false)
  })

  test('is started, leased and ended by its stop command', async () => {
    await using opened = await createBox()
    const { box, library } = opened
    const answer = await library.openai.chat.completions.create({
      model: 'demo/demo',
      messages: ask('6 * 7'),
    })
    expect(answer.choices[0]?.message.content).toContain('42')
    expect(await library.supervisor.stop('demo')).toMatchObject({
      state: 'down.cold',
      receipt: { survivors: [], outside: { status: 'gone' } },
    })
    expect(box.isThere()).toBe(false)
    expect(library.all('process.signalled').map(({ signal }) => signal)).toContain('stopCommand')
    expect(library.all('stop.incomplete')).toEqual([])
  })

  test('is waited for when its command has ended with 0', async () => {
    await using opened = await createBox({ isDetached: true, flags: ['--load-ms', '500'] })
    const { box, library } = opened
    const lease = await library.supervisor.acquire('demo/demo')
    await library.until('process.detached')
    lease.release()
    expect(await library.supervisor.stop('demo')).toMatchObject({ state: 'down.cold' })
    expect(box.isThere()).toBe(false)
    expect(library.all('process.exited').length).toBe(1)
  })

  test('needs no status command', async () => {
    await using opened = await createBox({ isDetached: true, hasStatus: false })
    const { box, library } = opened
    const lease = await library.supervisor.acquire('demo/demo')
    lease.release()
    expect(await library.supervisor.stop('demo')).toMatchObject({ receipt: { outside: { status: 'gone' } } })
    expect(box.isThere()).toBe(false)
  })

  test('goes on when its client is killed, and is ended later (fault E-9)', async () => {
    await using opened = await createBox()
    const { box, library } = opened
    const lease = await library.supervisor.acquire('demo/demo')
    const { pid } = await library.until('process.spawned')
    process.kill(pid, 'SIGKILL')
    await library.until('process.detached')
    expect(library.supervisor.service('demo').state).toBe('leased.open')
    lease.release()
    expect(await library.supervisor.stop('demo')).toMatchObject({ receipt: { outside: { status: 'gone' } } })
    expect(box.isThere()).toBe(false)
  })

  test('is a crash when it is gone twice although its client has ended', async () => {
    await using opened = await createBox({ isDetached: true })
    const { box, library } = opened
    await using lease = await library.supervisor.acquire('demo/demo')
    await library.until('process.detached')
    process.kill(box.pidOf(), 'SIGKILL')
    const { failure } = await library.until('leases.revoked')
    expect(failure.code).toBe('LEASEHOLD_SERVICE_EXITED')
    expect(failure.message).toContain('its server is gone: ask what runs it')
    expect(lease.signal.aborted).toBe(true)
  })

  test('is not ended while its status cannot be told (fault E-7)', async () => {
    await using opened = await createBox({ isDetached: true })
    const { box, library } = opened
    await using lease = await library.supervisor.acquire('demo/demo')
    await library.until('process.detached')
    box.set('down')
    // One look of the watch passes.
    await new Promise((resolve) => setTimeout(resolve, 1_500))
    expect(lease.signal.aborted).toBe(false)
    box.clear('down')
    lease.release()
    expect(await library.supervisor.stop('demo')).toMatchObject({ state: 'down.cold' })
  })

  test('that its stop command leaves keeps its room, and is ended by a later try (fault E-1)', {
    timeout: 120_000,
  }, async ({ expect }) => {
    const port = await findFreePort()
    await using opened = await createBox({
      isDetached: true,
      service: { needs: { vramMiB: 20_000 } },
      leasehold: { budgets: { vramMiB: 24_000 } },
      others: {
        second: {
          baseUrl: `http://127.0.0.1:${port}/v1`,
          models: [{ id: 'demo' }],
          localService: {
            command: process.execPath,
            args: [demoServer, '--port', String(port)],
            needs: { vramMiB: 20_000 },
          },
        },
      },
    })
    const { box, library } = opened
    const lease = await library.supervisor.acquire('demo/demo')
    lease.release()
    box.set('deaf')
    void library.supervisor.stop('demo', { force: true }).catch(() => {})
    const { failure } = await library.until('stop.incomplete')
    expect(failure.code).toBe('LEASEHOLD_STOP_TIMEOUT')
    expect(failure.message).toContain(
      'its stopCommand ended with code 0, then ended with code 0, and its server is still there. If a restart policy',
    )
    expect(failure.message).toContain('the command is tried again')
    const error = await catchServiceError(library)
    expect(error.message).toContain('stop it yourself')
    const wasThere = library
      .until('process.spawned', ({ service }) => service === 'second')
      .then(() => box.isThere())
    const waiting = library.supervisor.acquire('second/demo')
    await library.until('scheduler.decided', ({ service }) => service === 'second')
    expect(box.isThere()).toBe(true)
    box.clear('deaf')
    await using _second = await waiting
    expect(await wasThere).toBe(false)
  })

  test('that a restart policy starts again is an incomplete stop that names the policy (fault E-13)', {
    timeout: 120_000,
  }, async ({ expect }) => {
    await using opened = await createBox({ isDetached: true })
    const { box, library } = opened
    await library.supervisor.start('demo')
    box.set('revives')
    void library.supervisor.stop('demo', { force: true }).catch(() => {})
    const { failure } = await library.until('stop.incomplete')
    expect(failure.message).toContain('If a restart policy or its unit starts it again, switch that off')
    box.clear('revives')
    await expect.poll(() => box.isThere(), { timeout: 20_000 }).toBe(false)
  })

  test('that is left at the shutdown is not said to be tried again', async () => {
    await using opened = await createBox({ isDetached: true })
    const { box, library } = opened
    await library.supervisor.start('demo')
    box.set('deaf')
    await library.supervisor.close()
    const { failure } = await library.until('stop.incomplete')
    expect(failure.message).toContain('the next leasehold tries the command again')
    expect(box.isThere()).toBe(true)
  })

  test('that ended before its stop needs no stop: a command that finds nothing is a complete stop (fault E-2)', async () => {
    await using opened = await createBox({ isDetached: true })
    const { box, library } = opened
    await library.supervisor.start('demo')
    await box.crash()
    expect(await library.supervisor.stop('demo')).toMatchObject({
      state: 'down.cold',
      receipt: { survivors: [], outside: { exitCodes: [1], status: 'gone' } },
    })
    expect(library.all('stop.incomplete')).toEqual([])
  })

  test('that its unit starts again after a crash is waited for, and not started a second time (fault E-14)', async () => {
    await using opened = await createBox({ isDetached: true })
    const { box, library } = opened
    const lease = await library.supervisor.acquire('demo/demo')
    await library.until('process.detached')
    box.set('restarts')
    await box.crash()
    const answer = library.openai.chat.completions.create({ model: 'demo/demo', messages: ask('6 * 7') })
    await library.until('health.verdict', ({ verdict }) => verdict.kind !== 'ready')
    await box.restart()
    expect((await answer).choices[0]?.message.content).toContain('42')
    expect(lease.signal.aborted).toBe(false)
    expect(library.all('process.spawned')).toHaveLength(1)
    lease.release()
    expect(await library.supervisor.stop('demo')).toMatchObject({ receipt: { outside: { status: 'gone' } } })
  })

  test('whose port is open before it listens is starting, and no failure (fault E-15)', async () => {
    await using opened = await createBox({ isDetached: true, program: lateServer })
    const { library } = opened
    await using _lease = await library.supervisor.acquire('demo/demo')
    const kinds = library.all('health.verdict').map(({ verdict }) => verdict.kind)
    expect(kinds).not.toContain('foreign')
    expect(kinds).not.toContain('failed')
    expect(kinds.at(-1)).toBe('ready')
    expect(library.all('process.spawned')).toHaveLength(1)
  })

  test('has a client that could not start it: the error has the first line (fault E-8)', async () => {
    await using opened = await createBox()
    const { box, library } = opened
    box.set('down')
    const error = await catchServiceError(library)
    expect(error.message).toContain('Cannot connect to the daemon')
  })

  test('is not started beside one that is there already (fault E-12)', async () => {
    await using opened = await createBox()
    const { box, library } = opened
    await box.run('box', await findFreePort())
    const error = await catchServiceError(library)
    expect(error.message).toContain('there already')
    expect(box.isThere()).toBe(true)
  })

  test('is ended when its start is abandoned at once (fault E-5)', async () => {
    await using opened = await createBox()
    const { box, library } = opened
    void library.supervisor.acquire('demo/demo').catch(() => {})
    await library.until('process.spawned')
    await library.supervisor.stop('demo', { force: true })
    expect(box.isThere()).toBe(false)
    expect(library.supervisor.service('demo').state).toBe('down.cold')
  })

  test.for([
    { isDetached: true, hasStatus: true },
    { isDetached: true, hasStatus: false },
    { isDetached: false, hasStatus: true },
  ])(
    'is ended by its stop command when a stop is forced twice: %o',
    {
      timeout: 120_000,
    },
    async ({ isDetached, hasStatus }, { expect }) => {
      await using opened = await createBox({ isDetached, hasStatus })
      const { box, library } = opened
      const lease = await library.supervisor.acquire('demo/demo')
      lease.release()
      if (isDetached) await library.until('process.detached')
      void library.supervisor.stop('demo', { force: true }).catch(() => {})
      expect(await library.supervisor.stop('demo', { force: true })).toMatchObject({
        state: 'down.cold',
        receipt: { outside: { status: 'gone' } },
      })
      expect(box.isThere()).toBe(false)
      expect(library.all('stop.incomplete')).toEqual([])
    },
  )

  test('that is another program is not written down as ours', async () => {
    const stateDir = await mkdtemp(join(tmpdir(), 'leasehold-state-'))
    await using opened = await createBox({ supervisor: { stateDir } })
    const { box, library } = opened
    await library.supervisor.start('demo')
    await library.supervisor.stop('demo')
    await box.run('box', await findFreePort())
    await catchServiceError(library)
    const owners = join(stateDir, 'owners')
    const [name = ''] = readdirSync(owners).filter((one) => one.endsWith('.json'))
    const { body } = JSON.parse(readFileSync(join(owners, name), 'utf8'))
    expect(JSON.parse(body).servers).toEqual([])
    expect(box.isThere()).toBe(true)
    await rm(stateDir, { recursive: true })
  })

  test('has a stop command that hangs: it is killed, then its client gets the signals (fault E-3)', {
    timeout: 120_000,
  }, async () => {
    await using opened = await createBox({ service: { stopGraceMs: 0 } })
    const { box, library } = opened
    const lease = await library.supervisor.acquire('demo/demo')
    lease.release()
    box.set('hangs')
    const stopping = library.supervisor.stop('demo')
    await library.until('process.signalled', ({ signal }) => signal !== 'stopCommand')
    box.clear('hangs')
    expect(await stopping).toMatchObject({ receipt: { outside: { status: 'gone' } } })
    expect(box.isThere()).toBe(false)
  })
})

describe.runIf(hasProcfs)('a server outside the tree of a supervisor that was killed', () => {
  const openHost = async (options: BoxOptions = {}) => {
    const box = await createEngine()
    const port = await findFreePort()
    const file = join(box.directory, 'leasehold.json5')
    const text = toText(port, {
      ...options,
      service: {
        ...toService(box.directory, port, options),
        healthUrl: `http://127.0.0.1:${port}/health`,
        ...options.service,
      },
    })
    await writeFile(file, text)
    const stateDir = join(box.directory, 'state')
    const program = spawn(process.execPath, [host, file, stateDir], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await once(program.stdout, 'data')
    const owners = join(stateDir, 'owners')
    const listRecords = () => readdirSync(owners).filter((one) => one.endsWith('.json'))
    const readRecord = () => {
      const [name = ''] = listRecords()
      const { body } = JSON.parse(readFileSync(join(owners, name), 'utf8'))
      return JSON.parse(body)
    }
    return {
      box,
      file,
      program,
      stateDir,
      listRecords,
      readRecord,
      [Symbol.asyncDispose]: async () => {
        program.kill('SIGKILL')
        await box[Symbol.asyncDispose]()
      },
    }
  }
  /** A start that was refused is tried again after its back-off. */
  const acquireWhenPossible = async (supervisor: Supervisor, ref: string): Promise<Lease> => {
    for (;;) {
      try {
        return await supervisor.acquire(ref)
      } catch (error) {
        if (!(error instanceof ServiceError) || error.code !== 'LEASEHOLD_CLAIM_FAILED') throw error
      }
    }
  }
  /** Kills a supervisor and its watchdog, which it must not have the time to replace. */
  const killBoth = async (program: ChildProcess, owner: string) => {
    program.kill('SIGSTOP')
    for (const pid of listOf('cmdline', owner)) if (pid !== program.pid) process.kill(pid, 'SIGKILL')
    program.kill('SIGKILL')
    await once(program, 'exit')
  }

  test('is ended by the watchdog, which takes the record away (fault E-10)', { timeout: 120_000 }, async ({
    expect,
  }) => {
    await using opened = await openHost()
    const { box, program, listRecords } = opened
    expect(box.isThere()).toBe(true)
    program.kill('SIGKILL')
    await expect.poll(listRecords, { timeout: 30_000 }).toEqual([])
    expect(box.isThere()).toBe(false)
  })

  test('that comes back is ended again by the watchdog where its name is that of its run (fault E-10)', {
    timeout: 120_000,
  }, async ({ expect }) => {
    await using opened = await openHost({ name: `box-\${GENERATION}` })
    const { box, program, listRecords, readRecord } = opened
    const name = `box-${readRecord().servers[0].generation}`
    const pid = box.pidOf(name)
    box.set('revives')
    program.kill('SIGKILL')
    const hasComeBack = () => box.isThere(name) && box.pidOf(name) !== pid
    await expect.poll(hasComeBack, { timeout: 30_000 }).toBe(true)
    box.clear('revives')
    await expect.poll(listRecords, { timeout: 30_000 }).toEqual([])
    expect(box.isThere(name)).toBe(false)
  })

  for (const [what, flag] of [
    ['its engine cannot be asked', 'down'],
    ['it outlives its stop command', 'deaf'],
  ] as const)
    test(`stays on record when the watchdog has ended and ${what} (fault E-10)`, {
      timeout: 120_000,
      tags: ['proof'],
    }, async ({ expect }) => {
      await using opened = await openHost({ isDetached: true })
      const { box, program, listRecords, readRecord } = opened
      const { owner } = readRecord()
      box.set(flag)
      program.kill('SIGKILL')
      await expect.poll(() => listOf('cmdline', owner), { timeout: 60_000, interval: 200 }).toEqual([])
      expect([box.isThere(), listRecords()]).toEqual([true, [`${owner}.json`]])
    })

  test('is ended by the next supervisor when its watchdog was killed, too (fault E-11)', {
    timeout: 120_000,
  }, async () => {
    await using opened = await openHost()
    const { box, program, file, stateDir, readRecord } = opened
    await killBoth(program, readRecord().owner)
    expect(box.isThere()).toBe(true)
    const supervisor = createSupervisor({ config: await loadConfig(file), stateDir })
    const hearing = listen(supervisor)
    // The first start waits for it.
    await supervisor.start('demo')
    const [reaped] = hearing.all('orphans.reaped')
    expect(reaped?.servers).toEqual([expect.stringContaining('stop box')])
    await supervisor.close()
    expect(box.isThere()).toBe(false)
  })

  test('keeps its room while the next supervisor cannot tell whether it is gone (fault E-11)', {
    timeout: 120_000,
  }, async () => {
    const port = await findFreePort()
    const needs = { vramMiB: 20_000 }
    await using opened = await openHost({
      isDetached: true,
      service: { needs },
      leasehold: { budgets: { vramMiB: 24_000 } },
      others: {
        second: {
          baseUrl: `http://127.0.0.1:${port}/v1`,
          models: [{ id: 'demo' }],
          localService: { command: process.execPath, args: [demoServer, '--port', String(port)], needs },
        },
      },
    })
    const { box, program, file, stateDir, readRecord } = opened
    await killBoth(program, readRecord().owner)
    box.set('down')
    await using supervisor = createSupervisor({ config: await loadConfig(file), stateDir })
    const hearing = listen(supervisor)
    await expect(supervisor.acquire('second/demo')).rejects.toThrow(
      /a server of an earlier leasehold may still be there: statusCommand cannot tell .* delete \/.*owners\/.*\.json\./,
    )
    expect([box.isThere(), hearing.all('process.spawned')]).toEqual([true, []])
    box.clear('down')
    await using _lease = await acquireWhenPossible(supervisor, 'second/demo')
    expect(box.isThere()).toBe(false)
  })

  test('leaves room to what fits beside it, as its record says, and to what draws on other limits (fault E-11)', {
    timeout: 120_000,
  }, async () => {
    const toOther = async (needs: Readonly<Record<string, number>>) => {
      const port = await findFreePort()
      return {
        baseUrl: `http://127.0.0.1:${port}/v1`,
        models: [{ id: 'demo' }],
        localService: { command: process.execPath, args: [demoServer, '--port', String(port)], needs },
      }
    }
    await using opened = await openHost({
      isDetached: true,
      service: { needs: { vramMiB: 10_000 } },
      leasehold: { budgets: { vramMiB: 24_000, ramMiB: 8_000 } },
      others: {
        large: await toOther({ vramMiB: 20_000 }),
        small: await toOther({ vramMiB: 10_000 }),
        another: await toOther({ vramMiB: 10_000 }),
        elsewhere: await toOther({ ramMiB: 8_000 }),
      },
    })
    const { box, program, file, stateDir, readRecord } = opened
    expect(readRecord().servers[0].needs).toEqual({ vramMiB: 10_000 })
    await killBoth(program, readRecord().owner)
    box.set('down')
    await using supervisor = createSupervisor({ config: await loadConfig(file), stateDir })
    const hearing = listen(supervisor)
    const refused = /a server of an earlier leasehold may still be there/
    await expect(supervisor.acquire('large/demo')).rejects.toThrow(refused)
    const small = await supervisor.acquire('small/demo')
    await using _elsewhere = await supervisor.acquire('elsewhere/demo')
    // Beside both of them there is no room for it.
    await expect(supervisor.acquire('another/demo')).rejects.toThrow(refused)
    await expect(supervisor.acquire('demo/demo')).rejects.toThrow(refused)
    expect(hearing.all('process.spawned')).toHaveLength(2)
    // One that has stopped leaves its room to the next.
    small.release()
    await supervisor.stop('small')
    await using _another = await acquireWhenPossible(supervisor, 'another/demo')
  })

  test('is ended by the next supervisor when the last one had to leave it', {
    timeout: 120_000,
  }, async () => {
    await using opened = await openHost({ isDetached: true })
    const { box, program, file, stateDir } = opened
    box.set('deaf')
    program.kill('SIGTERM')
    await once(program, 'exit')
    expect(box.isThere()).toBe(true)
    box.clear('deaf')
    const supervisor = createSupervisor({ config: await loadConfig(file), stateDir })
    const hearing = listen(supervisor)
    await supervisor.start('demo')
    expect(hearing.all('orphans.reaped')[0]?.servers).toEqual([expect.stringContaining('stop box')])
    await supervisor.close()
    expect(box.isThere()).toBe(false)
  })

  test('is left alone when its name belongs to another one now (fault E-12)', { timeout: 120_000 }, async ({
    expect,
  }) => {
    await using opened = await openHost()
    const { box, program, file, stateDir, readRecord } = opened
    await expect.poll(() => readRecord().servers[0]?.id, { timeout: 20_000 }).toBeTruthy()
    await killBoth(program, readRecord().owner)
    await box.stop('box')
    const other = await findFreePort()
    await box.run('box', other)
    const supervisor = createSupervisor({ config: await loadConfig(file), stateDir })
    // Any start waits for the reaping.
    await supervisor.start('demo').catch(() => {})
    expect(box.isThere()).toBe(true)
    await supervisor.close()
    expect(box.isThere()).toBe(true)
  })
})

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { isPortFree } from '../../src/process/tcp-ports.ts'
import { takeFreePort } from '../transport/raw-server.ts'
import { createWorld, isRunning, listOf, toFixturePath, type World } from './world.ts'

// The looks behind the scenes need /proc.
describe.runIf(process.platform === 'linux')('a process table', () => {
  let world: World
  beforeEach(() => {
    world = createWorld()
  })
  afterEach(async () => {
    await world.table.close()
    expect(world.strays()).toEqual([])
    expect(world.table.entries()).toEqual([])
  })
  const toTypes = ({ events }: { events: readonly { type: string }[] }) => events.map(({ type }) => type)

  test('reports a co-operative life in order, and a receipt without survivors', async () => {
    const run = world.run('ready-after')
    expect(run.events).toEqual([])
    const { pid } = await run.until('process.spawned')
    await run.untilLine(/^ready$/)
    expect(world.table.entries()).toMatchObject([{ key: 'service', pid, state: 'running' }])
    expect(run.isAlive()).toBe(true)
    run.terminate()
    const { receipt } = await run.until('process.settled')
    expect(receipt).toMatchObject({ pid, exitCode: 0, signal: null, survivors: [] })
    expect(receipt.durationMs).toBeGreaterThanOrEqual(0)
    expect(toTypes(run)).toEqual([
      'process.spawned',
      'process.signalled',
      'process.exited',
      'process.settled',
    ])
    expect(run.events.every(({ generation }) => generation === run.generation)).toBe(true)
    expect(run.isAlive()).toBe(false)
  })

  test('tells an early exit with its code and its last words', async () => {
    const run = world.run('exits-early', ['7', 'no such model'])
    expect(await run.until('process.exited')).toMatchObject({
      exitCode: 7,
      signal: null,
      tail: ['no such model'],
    })
    expect((await run.until('process.settled')).receipt).toMatchObject({ exitCode: 7, survivors: [] })
    expect(toTypes(run)).toEqual(['process.spawned', 'process.exited', 'process.settled'])
    expect(
      world.table
        .outputOf('service')
        ?.tail()
        .map(({ text }) => text),
    ).toEqual(['no such model'])
  })

  test.each([
    ['node', 'Error: listen EACCES: permission denied 127.0.0.1:1'],
    ['llama-server', "srv start: couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 1"],
    ['http.server', 'PermissionError: [Errno 13] Permission denied'],
    [
      'uvicorn',
      "ERROR:    [Errno 13] error while attempting to bind on address ('127.0.0.1', 1): permission denied",
    ],
    ['ollama', 'Error: listen tcp 127.0.0.1:1: bind: permission denied'],
  ])('names the rule for ports below 1024 when %s may not open its port', async (_, text) => {
    const address = { host: '127.0.0.1', port: 1 }
    const run = world.run('exits-early', ['1', text], { address })
    const { telling } = await run.until('process.exited')
    expect(telling?.cause).toBe('port-permission')
    expect(telling?.line).toContain('below 1024')
    expect(telling?.line).toContain(text)
  })

  test('a file that may not be read is not taken for a port', async () => {
    const text = "PermissionError: [Errno 13] Permission denied: '/models/a.gguf'"
    const run = world.run('exits-early', ['1', text], { address: { host: '127.0.0.1', port: 50_001 } })
    expect((await run.until('process.exited')).telling?.cause).toBe('permission')
  })

  test('tells a bounded part of last words that are long', async () => {
    const run = world.run('exits-early', ['7', 'x'.repeat(8_000)])
    expect((await run.until('process.exited')).tail).toEqual(['x'.repeat(1_000)])
  })

  test('tells a crash by its signal', async () => {
    const run = world.run('never-ready')
    const { pid } = await run.until('process.spawned')
    process.kill(pid, 'SIGSEGV')
    expect(await run.until('process.exited')).toMatchObject({ exitCode: null, signal: 'SIGSEGV' })
  })

  test('sends SIGTERM once, however often it is asked', async () => {
    const run = world.run('ignores-sigterm')
    await run.untilLine(/^ready$/)
    run.terminate()
    run.terminate()
    await run.untilLine(/^ignored$/)
    run.terminate()
    run.kill()
    await run.until('process.settled')
    const lines = world.table
      .outputOf('service')
      ?.tail()
      .map(({ text }) => text)
    expect(lines).toEqual(['ready', 'ignored'])
    expect(run.events.filter(({ type }) => type === 'process.signalled')).toMatchObject([
      { signal: 'SIGTERM' },
      { signal: 'SIGKILL' },
    ])
  })

  test('kills a child that ignores SIGTERM (fault 68, peer S-3)', async () => {
    const run = world.run('ignores-sigterm')
    await run.untilLine(/^ready$/)
    run.terminate()
    await run.untilLine(/^ignored$/)
    run.kill()
    expect((await run.until('process.settled')).receipt).toMatchObject({ signal: 'SIGKILL', survivors: [] })
  })

  test('ends a stopped child by SIGTERM, because SIGCONT wakes it (fault 69)', async () => {
    const run = world.run('ready-after')
    await run.untilLine(/^ready$/)
    const { pid } = await run.until('process.spawned')
    process.kill(pid, 'SIGSTOP')
    run.terminate()
    expect(await run.until('process.exited')).toMatchObject({ exitCode: 0, signal: null })
  })

  test('kills a stopped child (fault 69)', async () => {
    const run = world.run('never-ready')
    const { pid } = await run.until('process.spawned')
    process.kill(pid, 'SIGSTOP')
    run.sweep()
    expect((await run.until('process.settled')).receipt).toMatchObject({ signal: 'SIGKILL', survivors: [] })
  })

  const kinds = [
    'member',
    'session',
    'bare-member',
    'bare-session',
    'holds-stdout',
    'double-fork',
    'bare-orphan',
  ]

  test.each(kinds)('ends a grandchild of the kind %s with a stop (fault 38)', async (kind) => {
    const run = world.run('forks', [kind])
    const grandchild = await run.grandchild()
    expect(isRunning(grandchild)).toBe(true)
    run.terminate()
    await run.until('process.exited')
    // It ignores SIGTERM, so it has the rest of the grace.
    expect(isRunning(grandchild)).toBe(true)
    run.kill()
    expect((await run.until('process.settled')).receipt).toMatchObject({ exitCode: 0, survivors: [] })
    expect(isRunning(grandchild)).toBe(false)
    expect(toTypes(run)).toEqual([
      'process.spawned',
      'process.signalled',
      'process.exited',
      'process.signalled',
      'process.settled',
    ])
  })

  test('leaves nothing of a server that forks while it is killed', async () => {
    for (let kills = 0; kills < 6; kills += 1) {
      const run = world.run('prolific')
      await expect.poll(() => listOf('cmdline', world.table.owner).length).toBeGreaterThan(2)
      run.kill()
      await run.until('process.settled')
      expect(listOf('cmdline', world.table.owner)).toEqual([])
    }
  })

  // A session of its own with an empty environment is known by its parent alone, and a crash takes that away.
  test.each(kinds.filter((kind) => kind !== 'bare-session'))(
    'takes a grandchild of the kind %s along when the leader crashes',
    async (kind) => {
      const run = world.run('forks', [kind])
      const grandchild = await run.grandchild()
      const { pid } = await run.until('process.spawned')
      process.kill(pid, 'SIGKILL')
      expect((await run.until('process.settled')).receipt).toMatchObject({ signal: 'SIGKILL', survivors: [] })
      expect(isRunning(grandchild)).toBe(false)
      expect(toTypes(run)).toEqual(['process.spawned', 'process.exited', 'process.settled'])
    },
  )

  test('settles with a free port although a grandchild in a session of its own holds the listening socket (fault 71)', async () => {
    const port = await takeFreePort()
    const address = { host: '127.0.0.1', port }
    const run = world.run('shares-socket', [String(port)], { address })
    const grandchild = await run.grandchild()
    run.terminate()
    await run.until('process.exited')
    run.kill()
    const { receipt } = await run.until('process.settled')
    expect(receipt).toMatchObject({ exitCode: 0, survivors: [] })
    expect(receipt).not.toHaveProperty('portHolder')
    expect(isRunning(grandchild)).toBe(false)
    expect(await isPortFree(address.host, port)).toBe(true)
  })

  test('settles with the name of who holds the listening socket when that one cannot be ended (fault 71)', async () => {
    await using powerless = createWorld({
      sweepMs: 0,
      sendSignal: (pid, signal) => {
        if (pid !== grandchild) process.kill(pid, signal)
      },
    })
    let grandchild = 0
    const port = await takeFreePort()
    const run = powerless.run('shares-socket', [String(port)], { address: { host: '127.0.0.1', port } })
    grandchild = await run.grandchild()
    run.terminate()
    await run.until('process.exited')
    run.kill()
    const { receipt } = await run.until('process.settled')
    expect(receipt).toMatchObject({
      survivors: [grandchild],
      portHolder: { port, strangers: [{ pid: grandchild }] },
    })
    process.kill(grandchild, 'SIGKILL')
    await expect.poll(() => isRunning(grandchild)).toBe(false)
  })

  test('names the daemon that listens when the leader has left the foreground, and keeps the run', async () => {
    const port = await takeFreePort()
    const address = { host: '127.0.0.1', port }
    const daemon = fileURLToPath(new URL('../fixtures/daemon.py', import.meta.url))
    const options = { command: '/usr/bin/python3', args: [daemon, String(port), 'daemon'], address }
    const run = world.run('', [], options)
    const grandchild = await run.grandchild()
    try {
      expect(await run.until('process.exited')).toMatchObject({
        exitCode: 0,
        daemon: { port, strangers: [{ pid: grandchild }] },
      })
      expect((await run.until('process.settled')).receipt).toMatchObject({
        survivors: [],
        isPortHeld: true,
        portHolder: { port, strangers: [{ pid: grandchild }] },
      })
      expect(world.table.entries()).toMatchObject([{ generation: run.generation, state: 'survived' }])
    } finally {
      process.kill(grandchild, 'SIGKILL')
    }
    await expect.poll(() => world.table.entries()).toEqual([])
  })

  test('treats a child that makes itself a daemon as one that exited (fault 8)', async () => {
    const run = world.run('forks', ['daemon'])
    expect(await run.until('process.exited')).toMatchObject({ exitCode: 0 })
    expect((await run.until('process.settled')).receipt.survivors).toEqual([])
  })

  test('waits for the exit of one run before it spawns the next of its key', async () => {
    const first = world.run('ready-after')
    await first.untilLine(/^ready$/)
    const second = world.run('ready-after')
    const third = world.run('ready-after', [], { key: 'another' })
    await third.until('process.spawned')
    expect(second.events).toEqual([])
    expect(world.table.entries().map(({ key, state }) => [key, state])).toEqual([
      ['service', 'running'],
      ['service', 'waiting'],
      ['another', 'running'],
    ])
    first.terminate()
    await second.until('process.spawned')
    expect(toTypes(first).at(-1)).toBe('process.settled')
  })

  test('never has two living processes of one key in fifty alternations (fault 72)', async () => {
    const living: number[] = []
    const lives = Array.from({ length: 50 }, async (_, index) => {
      const run = world.run('never-ready')
      await run.until('process.spawned')
      living.push(world.strays().length)
      if (index % 2 === 0) run.kill()
      else run.terminate()
      await run.until('process.settled')
    })
    await Promise.all(lives)
    expect(living).toHaveLength(50)
    expect(Math.max(...living)).toBe(1)
  })

  test.each(['terminate', 'kill', 'sweep'] as const)('spawns nothing after %s', async (verb) => {
    const run = world.run('ready-after')
    run[verb]()
    expect((await run.until('process.failed')).failure).toMatchObject({
      code: 'LEASEHOLD_SPAWN_FAILED',
      message: 'stopped before its process was spawned',
      generation: run.generation,
    })
    expect(run.isAlive()).toBe(false)
    expect(toTypes(run)).toEqual(['process.failed'])
  })

  test('lets a run that waits for its turn go at once', async () => {
    const first = world.run('never-ready')
    await first.until('process.spawned')
    const second = world.run('never-ready')
    second.kill()
    await second.until('process.failed')
    expect(first.isAlive()).toBe(true)
  })

  test('reports a failed spawn and leaves the key free', async () => {
    const failed = world.run('ready-after', [], { command: '/no/such/program' })
    expect((await failed.until('process.failed')).failure.message).toContain(
      '"/no/such/program" does not exist',
    )
    await world.run('ready-after').until('process.spawned')
  })

  describe('with something to do before the signal', () => {
    test('signals when it is done', async () => {
      let finish: (() => void) | undefined
      const closing = new Promise<void>((resolve) => {
        finish = resolve
      })
      const run = world.run('ready-after', [], { beforeSignal: () => closing })
      await run.untilLine(/^ready$/)
      run.terminate()
      expect(toTypes(run)).toEqual(['process.spawned'])
      finish?.()
      await run.until('process.signalled')
      await run.until('process.settled')
    })

    test('signals although it fails', async () => {
      const run = world.run('ready-after', [], { beforeSignal: () => Promise.reject(new Error('no')) })
      await run.untilLine(/^ready$/)
      run.terminate()
      await run.until('process.settled')
    })

    test('does not signal when it is spared, and can be stopped again', async () => {
      const run = world.run('ready-after', [], { beforeSignal: async () => {} })
      await run.untilLine(/^ready$/)
      run.terminate()
      run.spare()
      await new Promise((resolve) => setImmediate(resolve))
      expect(toTypes(run)).toEqual(['process.spawned'])
      run.terminate()
      expect((await run.until('process.settled')).receipt.exitCode).toBe(0)
    })

    test('kills at once', async () => {
      const run = world.run('never-ready', [], { beforeSignal: () => new Promise(() => {}) })
      await run.until('process.spawned')
      run.terminate()
      run.kill()
      expect(toTypes(run)).toEqual(['process.spawned', 'process.signalled'])
      await run.until('process.settled')
    })
  })

  test('reaps what runs and what waits under a key, and nothing else', async () => {
    const runs = [world.run('ignores-sigterm'), world.run('never-ready')]
    const other = world.run('never-ready', [], { key: 'another' })
    await Promise.all([runs[0]?.until('process.spawned'), other.until('process.spawned')])
    await world.table.reap('service')
    expect(runs.map((run) => toTypes(run).at(-1))).toEqual(['process.settled', 'process.failed'])
    expect(other.isAlive()).toBe(true)
    await world.table.reap('unheard of')
  })

  test('kills every tree synchronously', async () => {
    const runs = ['member', 'session'].map((kind) => world.run('forks', [kind], { key: kind }))
    const grandchildren = await Promise.all(runs.map((run) => run.grandchild()))
    world.table.killAllSync()
    // SIGKILL is pending for all of them; no turn of the loop is needed for it to take effect.
    const wait = new Int32Array(new SharedArrayBuffer(4))
    while ([...world.strays(), ...grandchildren].some(isRunning)) Atomics.wait(wait, 0, 0, 1)
    await Promise.all(runs.map((run) => run.until('process.settled')))
  })

  test('closes twice, and runs nothing afterwards', async () => {
    const run = world.run('ignores-sigterm')
    await run.until('process.spawned')
    await Promise.all([world.table.close(), world.table.close()])
    expect(toTypes(run).at(-1)).toBe('process.settled')
    const late = world.run('never-ready')
    await late.until('process.failed')
  })

  test('survives a listener that throws', async () => {
    const warned = new Promise((resolve) => {
      process.once('warning', resolve)
    })
    world.table.run(
      {
        key: 'thrower',
        generation: 'thrower-1',
        command: process.execPath,
        args: [toFixturePath('exits-early')],
      },
      () => {
        throw new Error('a listener of the test')
      },
    )
    expect(await warned).toMatchObject({ message: 'a listener of the test' })
    await world.table.reap('thrower')
    expect(world.table.entries()).toEqual([])
  })

  test('keeps the output of the last process until it is forgotten', async () => {
    const run = world.run('exits-early', ['1', 'first'])
    await run.until('process.settled')
    const failed = world.run('ready-after', [], { command: '/no/such/program' })
    await failed.until('process.failed')
    expect(world.table.outputOf('service')?.tail()).toMatchObject([{ stream: 'stderr', text: 'first' }])
    await world.table.reap('service')
    world.table.forget('service')
    expect(world.table.outputOf('service')).toBeUndefined()
  })

  test('reads a flood to its end and keeps little of it (fault 35)', async () => {
    const floodBytes = 20 * 2 ** 20
    const run = world.run('floods', [String(floodBytes), '80'])
    const { exitCode, tail } = await run.until('process.exited')
    expect(exitCode).toBe(0)
    await run.until('process.settled')
    const output = world.table.outputOf('service')
    expect(output?.tail().length).toBeLessThanOrEqual(200)
    expect(tail).toEqual(output?.tail(20).map(({ text }) => text))
    expect(output?.droppedLines).toBe(floodBytes / 80 + 1 - 200)
  })

  test('gives a child none of the host secrets (peer O-c)', async () => {
    await using dark = createWorld({
      environment: { ...process.env, CANARY_TOKEN: 'c4n4ry', NODE_OPTIONS: '--no-such-flag' },
    })
    const script = 'console.log(JSON.stringify(process.env))'
    const run = dark.run('ready-after', [], { args: ['-e', script], env: { WANTED: '1' } })
    const printed = await run.untilLine(/^\{/)
    expect(printed).not.toContain('c4n4ry')
    expect(printed).not.toContain('NODE_OPTIONS')
    expect(JSON.parse(printed)).toMatchObject({
      WANTED: '1',
      LEASEHOLD_OWNER: dark.table.owner,
      LEASEHOLD_GENERATION: run.generation,
    })
  })

  test('runs a script by its first line, in its directory', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'leasehold-'))
    try {
      const run = world.run('exits-early', [], {
        command: toFixturePath('exits-early'),
        args: ['4'],
        cwd: dir,
      })
      expect(await run.until('process.exited')).toMatchObject({ exitCode: 4, tail: ['cannot start'] })
    } finally {
      await rm(dir, { recursive: true })
    }
  })
})

/** A process that was given the number `pid`, or `undefined` when this host does not let us arrange that. */
async function spawnAs(pid: number): Promise<ChildProcess | undefined> {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    try {
      writeFileSync('/proc/sys/kernel/ns_last_pid', String(pid - 1))
    } catch {
      return undefined
    }
    const child = spawn(process.execPath, [toFixturePath('never-ready')], { detached: true, stdio: 'ignore' })
    if (child.pid === pid) return child
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
  return undefined
}

describe.runIf(process.platform === 'linux')('a number that is used again', () => {
  test('protects its new owner from every verb of the old run (fault 74, promise P5)', async ({ skip }) => {
    await using world = createWorld()
    const run = world.run('never-ready')
    const { pid } = await run.until('process.spawned')
    run.kill()
    await run.until('process.settled')
    const innocent = await spawnAs(pid)
    if (innocent === undefined) return skip('choosing a process number needs privileges')
    run.terminate()
    run.kill()
    run.sweep()
    await world.table.reap('service')
    world.table.killAllSync()
    expect(run.isAlive()).toBe(false)
    expect(isRunning(pid)).toBe(true)
    innocent.kill('SIGTERM')
    // Had one of the verbs reached it, its end would be SIGKILL.
    expect(await once(innocent, 'exit')).toEqual([null, 'SIGTERM'])
  })
})

describe.runIf(process.platform === 'linux')('a process that cannot be ended', () => {
  test('is named as a survivor, and blocks its key while it lives', async () => {
    let isWithheld = true
    await using world = createWorld({
      sweepMs: 0,
      sendSignal: (pid, signal) => {
        if (!isWithheld) process.kill(pid, signal)
      },
    })
    const run = world.run('forks', ['member'])
    const grandchild = await run.grandchild()
    const { pid } = await run.until('process.spawned')
    run.sweep()
    const { receipt } = await run.until('process.settled')
    expect([...receipt.survivors].sort()).toEqual([pid, grandchild].sort())
    expect(receipt).toMatchObject({ exitCode: null, signal: null })
    expect(run.events.map(({ type }) => type)).not.toContain('process.exited')
    expect(world.table.entries()).toMatchObject([{ generation: run.generation, pid, state: 'survived' }])

    const refused = world.run('never-ready')
    const { failure } = await refused.until('process.failed')
    expect(failure.code).toBe('LEASEHOLD_SPAWN_FAILED')
    expect(failure.message).toContain(String(pid))
    expect(failure.message).toContain(String(grandchild))

    isWithheld = false
    await world.table.reap('service')
    while (world.table.entries().length > 0) await new Promise((resolve) => setImmediate(resolve))
    const next = world.run('never-ready')
    await next.until('process.spawned')
  })

  test('is told by its whole life exactly one receipt, and no other process is signalled (promise P5)', async () => {
    const sent: [number, string][] = []
    await using world = createWorld({
      sendSignal: (pid, signal) => {
        sent.push([pid, signal])
        process.kill(pid, signal)
      },
    })
    const run = world.run('forks', ['session'])
    const grandchild = await run.grandchild()
    const { pid } = await run.until('process.spawned')
    run.terminate()
    await run.until('process.exited')
    run.kill()
    run.sweep()
    await run.until('process.settled')
    run.kill()
    run.sweep()
    await world.table.reap('service')
    run.terminate()
    expect(run.events.filter(({ type }) => type === 'process.settled')).toHaveLength(1)
    expect(run.events.map(({ type }) => type)).toEqual([
      'process.spawned',
      'process.signalled',
      'process.exited',
      'process.signalled',
      'process.settled',
    ])
    // Only the leader, which may pass SIGTERM on, and the grandchild were ever signalled.
    expect(new Set(sent.map(([target]) => target))).toEqual(new Set([pid, grandchild]))
  })
})

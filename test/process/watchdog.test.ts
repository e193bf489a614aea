import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, describe, expect, onTestFinished, test } from 'vitest'
import type { WatchdogEmitted } from '../../machines/watchdog.ts'
import { type Clock, systemClock } from '../../src/clock.ts'
import { reapOrphans } from '../../src/process/reaping.ts'
import { openStateDirectory } from '../../src/process/state-directory.ts'
import { readProcess } from '../../src/process/tree.ts'
import { createWatchdog } from '../../src/process/watchdog.ts'
import { createWorld, isRunning, listOf, toFixturePath } from './world.ts'

const KILLS = Number(process.env.KILLS ?? 24)

// The looks behind the scenes need /proc.
describe.runIf(process.platform === 'linux')('a watchdog', () => {
  const bystanders: ChildProcess[] = []
  afterEach(() => {
    for (const bystander of bystanders.splice(0)) bystander.kill('SIGKILL')
  })
  const startBystander = (env: NodeJS.ProcessEnv = process.env) => {
    const options = { env, detached: true, stdio: 'ignore' } as const
    const bystander = spawn(process.execPath, [toFixturePath('never-ready')], options)
    bystanders.push(bystander)
    return { pid: bystander.pid ?? 0, exited: once(bystander, 'exit') }
  }

  test('leaves nothing of a supervisor that is killed at any moment', { timeout: 180_000 }, async () => {
    const lane = async (kills: number) => {
      for (let done = 0; done < kills; done += 1) {
        const supervisor = await startSupervisor('trees')
        await delay(Math.random() * 120)
        supervisor.kill()
        await supervisor.untilClean()
      }
    }
    await Promise.all([lane(KILLS / 2), lane(KILLS / 2)])
  })

  test('leaves nothing of a server that forks while it is killed', async () => {
    for (let kills = 0; kills < 6; kills += 1) {
      const supervisor = await startSupervisor('prolific')
      // Its own server, its watchdog, and the first of many.
      await until(() => listOf('cmdline', supervisor.owner).length >= 5)
      supervisor.kill()
      await supervisor.untilClean()
      expect(listOf('cmdline', supervisor.owner)).toEqual([])
    }
  })

  test('ends a worker with a session and an environment of its own that was found later', async () => {
    const supervisor = await startSupervisor('bare-session')
    const { pids }: { pids: number[] } = JSON.parse(await supervisor.nextLine())
    expect(pids).toHaveLength(2)
    supervisor.kill()
    await until(() => !pids.some(isRunning))
    await supervisor.untilClean()
  })

  test('outlives its supervisor although the whole group is killed', async () => {
    const supervisor = await startSupervisor('trees')
    await until(() => listOf('environ', supervisor.owner).length >= 6)
    expect(listOf('cmdline', supervisor.owner)).toHaveLength(1)
    process.kill(-supervisor.pid, 'SIGKILL')
    await supervisor.untilClean()
  })

  test('that is killed is replaced by one that knows every group (fault 104, race R19)', async () => {
    const supervisor = await startSupervisor('rearmed')
    const { pid } = JSON.parse(await supervisor.nextLine())
    expect(isRunning(pid)).toBe(true)
    supervisor.kill()
    await until(() => !isRunning(pid))
    await supervisor.untilClean()
  })

  test('is gone after an orderly close, and has ended no process', async () => {
    const { pid } = startBystander()
    const watchdog = createWatchdog({ owner: randomUUID(), environment: process.env })
    watchdog.arm({ pid, startTicks: readProcess(pid)?.startTicks })
    const own = watchdog.pid() ?? 0
    expect(isRunning(own)).toBe(true)
    await Promise.all([watchdog.close(), watchdog.close()])
    expect(isRunning(own)).toBe(false)
    expect(watchdog.pid()).toBeUndefined()
    expect(isRunning(pid)).toBe(true)
  })

  test('has a session of its own, and none of the markers', async () => {
    const environment = { ...process.env, LEASEHOLD_OWNER: 'another' }
    const watchdog = createWatchdog({ owner: randomUUID(), environment })
    const own = watchdog.pid() ?? 0
    expect(readProcess(own)).toMatchObject({ sid: own, pgid: own, ppid: process.pid })
    expect(readFileSync(`/proc/${own}/environ`, 'latin1')).not.toContain('LEASEHOLD_OWNER')
    await watchdog.close()
  })

  test('belongs to a table from its first run to its close', async () => {
    await using world = createWorld({ watchdog: true })
    expect(listOf('cmdline', world.table.owner)).toEqual([])
    const run = world.run('ready-after')
    expect(listOf('cmdline', world.table.owner)).toHaveLength(1)
    await run.untilLine(/^ready$/)
    await world.table.close()
    expect(listOf('cmdline', world.table.owner)).toEqual([])
  })

  test('that is killed is replaced while the supervisor runs, within its next turns (fault 104)', async () => {
    const watchdog = createWatchdog({ owner: randomUUID(), environment: process.env })
    const first = watchdog.pid() ?? 0
    process.kill(first, 'SIGKILL')
    await until(() => watchdog.pid() !== undefined && watchdog.pid() !== first)
    expect(isRunning(watchdog.pid() ?? 0)).toBe(true)
    await watchdog.close()
  })

  test('is not ended by the signals that end a terminal’s programs', async () => {
    const owner = randomUUID()
    const watchdog = createWatchdog({ owner, environment: process.env })
    const own = watchdog.pid() ?? 0
    // It has its title as soon as it ignores them.
    await until(() => readFileSync(`/proc/${own}/cmdline`, 'latin1').startsWith('leasehold-watchdog'))
    await until(() => isIgnoring(own))
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.kill(own, signal)
    const { pid } = startBystander()
    watchdog.arm({ pid, startTicks: readProcess(pid)?.startTicks })
    await delay(50)
    expect([isRunning(own), watchdog.pid()]).toEqual([true, own])
    await watchdog.close()
  })

  test('that ends young again and again is told as lost, and tried again; one that lives is told as restored', async () => {
    const events: WatchdogEmitted[] = []
    const watchdog = createWatchdog({
      owner: randomUUID(),
      environment: process.env,
      onEvent: (event) => events.push(event),
      clock: toFastClock(2),
    })
    const seen = new Set<number>()
    while (events.length === 0) {
      const pid = watchdog.pid() ?? 0
      if (pid > 0 && !seen.has(pid)) process.kill(pid, 'SIGKILL')
      seen.add(pid)
      await delay(1)
    }
    expect(events).toEqual([{ type: 'watchdog.lost', problem: 'it ended with SIGKILL' }])
    expect(watchdog.status()).toEqual({ pid: null, problem: 'it ended with SIGKILL' })
    await until(() => events.length > 1)
    expect(events[1]).toEqual({ type: 'watchdog.restored' })
    expect(watchdog.status()).toEqual({ pid: watchdog.pid(), problem: null })
    expect(isRunning(watchdog.pid() ?? 0)).toBe(true)
    await watchdog.close()
  })

  test('is tried again with the next child, before its pause is over', async () => {
    const events: WatchdogEmitted[] = []
    // No pause ends.
    const clock = { ...systemClock, setTimeout: () => undefined }
    const owner = randomUUID()
    const options = { owner, environment: process.env, clock, program: 'process.exit(3)' }
    const watchdog = createWatchdog({ ...options, onEvent: (event) => events.push(event) })
    await until(() => events.length > 0)
    expect(events).toEqual([{ type: 'watchdog.lost', problem: 'it ended with 3' }])
    expect(watchdog.pid()).toBeUndefined()
    const { pid } = startBystander()
    watchdog.arm({ pid, startTicks: readProcess(pid)?.startTicks })
    expect(watchdog.pid()).toBeTypeOf('number')
    await watchdog.close()
    expect(isRunning(pid)).toBe(true)
  })

  test('that does not report in time is killed, told as lost and tried again', async () => {
    const events: WatchdogEmitted[] = []
    const watchdog = createWatchdog({
      owner: randomUUID(),
      environment: process.env,
      onEvent: (event) => events.push(event),
      clock: toFastClock(20),
      program: HANG,
    })
    const first = watchdog.pid() ?? 0
    await until(() => events.length > 0)
    expect(events).toEqual([{ type: 'watchdog.lost', problem: 'it did not report within 10 s' }])
    expect(isRunning(first)).toBe(false)
    await until(() => watchdog.pid() !== undefined)
    const second = watchdog.pid() ?? 0
    expect(second).not.toBe(first)
    await watchdog.close()
    expect(isRunning(second)).toBe(false)
  })

  test('that hangs holds up no close', async () => {
    const watchdog = createWatchdog({ owner: randomUUID(), environment: process.env, program: HANG })
    const pid = watchdog.pid() ?? 0
    await watchdog.close()
    expect(isRunning(pid)).toBe(false)
  })

  test('that is stopped after its report holds up a close for seconds only', async () => {
    const removed: number[] = []
    const watchdog = createWatchdog({
      owner: randomUUID(),
      environment: process.env,
      record: { add: () => {}, path: () => undefined, remove: (pid) => removed.push(pid) },
      clock: toFastClock(10),
    })
    const pid = watchdog.pid() ?? 0
    await until(() => removed.includes(pid))
    process.kill(pid, 'SIGSTOP')
    await watchdog.close()
    expect(isRunning(pid)).toBe(false)
  })

  test('that hangs is ended by the next supervisor when its own is killed', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'leasehold-watchdog-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    const supervisor = await startSupervisor('hung', folder)
    const { pid } = JSON.parse(await supervisor.nextLine())
    supervisor.kill()
    await supervisor.exited
    expect(isRunning(pid)).toBe(true)
    const state = openStateDirectory(folder)
    const { events } = await reapOrphans({
      state,
      owner: randomUUID(),
      clock: systemClock,
      serviceOf: ({ key }) => ({ key, env: {} }),
    })
    expect(events).toMatchObject([{ type: 'orphans.reaped', pids: [pid], survivors: [] }])
    expect(isRunning(pid)).toBe(false)
  })

  test('leaves the record that names a server or a process that it was not told of (fault E-10)', {
    timeout: 60_000,
  }, async () => {
    const untold = async (mode: string) => {
      const folder = mkdtempSync(join(tmpdir(), 'leasehold-watchdog-'))
      onTestFinished(() => rmSync(folder, { recursive: true }))
      const supervisor = await startSupervisor(mode, folder)
      if (mode === 'untold-process') {
        const { pid } = JSON.parse(await supervisor.nextLine())
        onTestFinished(() => void process.kill(pid, 'SIGKILL'))
      }
      await supervisor.exited
      await supervisor.untilClean()
      expect(readdirSync(join(folder, 'owners'))).toEqual([`${supervisor.owner}.json`])
    }
    await Promise.all(['untold', 'untold-process'].map(untold))
  })

  test('does not touch a process with the marker of another owner', async () => {
    const stranger = startBystander({ ...process.env, LEASEHOLD_OWNER: randomUUID() })
    const supervisor = await startSupervisor('trees')
    supervisor.kill()
    await supervisor.untilClean()
    expect(isRunning(stranger.pid)).toBe(true)
  })
})

/** A program that never reports: as a Node under a process limit. */
const HANG = 'setInterval(() => {}, 2 ** 30)'

/** A clock whose delays are shorter than they say. */
function toFastClock(times: number): Clock {
  return { ...systemClock, setTimeout: (fn, ms) => systemClock.setTimeout(fn, ms / times) }
}

/** A supervisor in a process of its own, built from `dist`, as the leader of a group of its own. */
async function startSupervisor(mode: string, ...args: string[]) {
  const child = spawn(process.execPath, [toFixturePath('watched'), mode, ...args], {
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const nextLine = async () => String((await lines.next()).value)
  const owner = await nextLine()
  const isClean = () => listOf('cmdline', owner).length + listOf('environ', owner).length === 0
  return {
    owner,
    pid: child.pid ?? 0,
    nextLine,
    kill: () => child.kill('SIGKILL'),
    exited: once(child, 'exit'),
    untilClean: () => until(isClean),
  }
}

/** Whether a process has handlers for SIGHUP, SIGINT and SIGTERM, by the kernel's own list. */
function isIgnoring(pid: number): boolean {
  const [, caught = '0'] = /^SigCgt:\t([0-9a-f]+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1')) ?? []
  return [1, 2, 15].every((number) => (BigInt(`0x${caught}`) >> BigInt(number - 1)) & 1n)
}

async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await delay(10)
}

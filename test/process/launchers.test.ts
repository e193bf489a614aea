// @module-tag proof

import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createWorld, isRunning, toFixturePath, type World } from './world.ts'

/** How long the server cleans up: long enough for a leader to be gone before that. */
const CLEAN_UP_MS = 400

const server = `${process.execPath} ${toFixturePath('cleans-up')} "$DONE" ${CLEAN_UP_MS}`
const python = (code: string) =>
  ['/usr/bin/python3', ['-c', `import os,subprocess,signal,sys\n${code}`]] as const
const node = (code: string) => [process.execPath, ['-e', code]] as const
const sh = (code: string) => ['/bin/sh', ['-c', code]] as const
const started = `subprocess.Popen(${JSON.stringify(server)},shell=True`
const spawned = `require('child_process').spawn(${JSON.stringify(`exec ${server}`)},{shell:true,stdio:'inherit'`

const launchers: Readonly<Record<string, readonly [string, readonly string[]]>> = {
  'the server itself': sh(`exec ${server}`),
  'a script without exec': sh(`${server}; true`),
  'a pipe into tee': sh(`${server} | tee /dev/null`),
  'a script that waits': sh(`${server} & wait`),
  'a script with a trap': ['/bin/bash', ['-c', `trap "exit 0" TERM; ${server}; true`]],
  'a script that passes the signal on': sh(`${server} & child=$!; trap 'kill -TERM $child' TERM; wait; wait`),
  timeout: sh(`exec timeout 3600 ${server}`),
  'timeout below a script': sh(`timeout 3600 ${server} & wait`),
  'a Python launcher': python(`sys.exit(${started}).wait())`),
  'a Python launcher that passes the signal on': python(
    `p=${started})\nsignal.signal(signal.SIGTERM,lambda *_: p.terminate())\nsys.exit(p.wait())`,
  ),
  'a Node launcher': node(`${spawned}})`),
  'a Node launcher that passes the signal on': node(
    `const p=${spawned}});process.on('SIGTERM',()=>p.kill());p.on('exit',()=>process.exit())`,
  ),
  'a worker in a session of its own': python(`${started},start_new_session=True)\nsignal.pause()`),
  'a worker in a group of its own': python(`${started},preexec_fn=lambda: os.setpgid(0,0))\nsignal.pause()`),
}

describe.runIf(process.platform === 'linux')('a stop of a launcher', () => {
  let world: World
  let folder = ''
  beforeEach(() => {
    world = createWorld()
    folder = mkdtempSync(join(tmpdir(), 'leasehold-launchers-'))
  })
  afterEach(async () => {
    await world.table.close()
    expect(world.strays()).toEqual([])
    rmSync(folder, { recursive: true, force: true })
  })
  const launch = async (name: string) => {
    const [command, args] = launchers[name] ?? ['', []]
    const done = join(folder, 'done')
    const run = world.run('', [], { command, args, env: { DONE: done } })
    const pid = Number(/\d+/.exec(await run.untilLine(/"server"/))?.[0])
    return { run, pid, done }
  }

  test.each(Object.keys(launchers))('lets the server behind %s clean up, with one SIGTERM', async (name) => {
    const { run, pid, done } = await launch(name)
    run.terminate()
    const { receipt } = await run.until('process.settled')
    expect(receipt.survivors).toEqual([])
    expect(isRunning(pid)).toBe(false)
    expect(readFileSync(done, 'utf8')).toBe('1')
    expect(run.events.filter(({ type }) => type === 'process.signalled')).toHaveLength(1)
  })

  test('kills what is left of the tree when the grace is over', async () => {
    const { run, pid, done } = await launch('a script that waits')
    run.terminate()
    await run.until('process.exited')
    expect(isRunning(pid)).toBe(true)
    run.kill()
    expect((await run.until('process.settled')).receipt.survivors).toEqual([])
    expect(isRunning(pid)).toBe(false)
    expect(existsSync(done)).toBe(false)
  })

  test('that crashes kills the server behind it at once, without SIGTERM', async () => {
    const { run, pid, done } = await launch('a script that waits')
    const leader = await run.until('process.spawned')
    process.kill(leader.pid, 'SIGKILL')
    await run.until('process.exited')
    expect(isRunning(pid)).toBe(false)
    expect((await run.until('process.settled')).receipt).toMatchObject({ signal: 'SIGKILL', survivors: [] })
    expect(existsSync(done)).toBe(false)
    expect(run.events.map(({ type }) => type)).toEqual([
      'process.spawned',
      'process.exited',
      'process.settled',
    ])
  })
})

import { once } from 'node:events'
import { describe, expect, test } from 'vitest'
import { type ExitStatus, type OwnedChild, spawnChild } from '../../src/process/spawn.ts'
import { createStop } from '../../src/process/stop.ts'
import { readProcess } from '../../src/process/tree.ts'
import { isRunning, toFixturePath } from './world.ts'

const spawnFixture = async (name: string, ...args: string[]) => {
  const result = await spawnChild({
    command: process.execPath,
    args: [toFixturePath(name), ...args],
    env: { LEASEHOLD_GENERATION: 'of the stop test' },
    markers: { LEASEHOLD_GENERATION: 'of the stop test' },
  })
  if (!result.ok) throw new Error(result.failure.message)
  result.child.stderr.resume()
  return result.child
}

describe.runIf(process.platform === 'linux')('a stop', () => {
  test('lets go of the pipes although a survivor holds them (fault 70)', async () => {
    const child = await spawnFixture('forks', 'holds-stdout')
    const [chunk] = await once(child.stdout, 'data')
    const { grandchild } = JSON.parse(String(chunk))
    const stop = createStop(child, {
      generation: 'g',
      sweepMs: 0,
      sendSignal: (pid, signal) => {
        if (pid !== grandchild) process.kill(pid, signal)
      },
    })
    stop.kill()
    await child.exited
    const receipt = await stop.sweep()
    expect(receipt).toMatchObject({
      generation: 'g',
      pid: child.pid,
      signal: 'SIGKILL',
      survivors: [grandchild],
    })
    expect(await stop.receipt).toBe(receipt)
    expect(child.stdout.destroyed).toBe(true)
    expect(isRunning(grandchild)).toBe(true)
    process.kill(grandchild, 'SIGKILL')
    while (stop.survivors().length > 0) await new Promise((resolve) => setImmediate(resolve))
  })

  test('signals no process once the exit was reported, even with the same number and start time (fault 74)', async () => {
    const innocent = await spawnFixture('never-ready')
    await once(innocent.stdout, 'data')
    // What a number used again within one clock tick looks like: dead by report, alive by every fact.
    let status: ExitStatus | undefined
    let report: (status: ExitStatus) => void = () => {}
    const ghost: OwnedChild = {
      ...innocent,
      markers: { LEASEHOLD_GENERATION: 'of the ghost' },
      exitStatus: () => status,
      exited: new Promise((resolve) => {
        report = resolve
      }),
    }
    const sent: [number, string][] = []
    const stop = createStop(ghost, {
      generation: 'g',
      sendSignal: (pid, signal) => {
        sent.push([pid, signal])
      },
    })
    stop.terminate()
    expect(sent).toEqual([
      [-innocent.pid, 'SIGTERM'],
      [-innocent.pid, 'SIGCONT'],
    ])
    status = { exitCode: 0, signal: null }
    report(status)
    await ghost.exited
    stop.kill()
    expect(sent).toHaveLength(2)
    expect(stop.survivors()).toEqual([])
    expect(readProcess(innocent.pid)).toBeDefined()
    process.kill(innocent.pid, 'SIGKILL')
    await innocent.exited
    innocent.releasePipes()
  })
})

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { isAlive, proveMember, readProcess, snapshotTree, type TreeRoot } from '../../src/process/tree.ts'
import { toFixturePath } from './world.ts'

const own = () => {
  const found = readProcess(process.pid)
  if (found === undefined) throw new Error('/proc does not know us')
  return found
}

describe.runIf(process.platform === 'linux')('the process tree', () => {
  test('reads a process, whatever its name', async () => {
    const child = spawn(
      process.execPath,
      ['-e', 'process.title = ") Z 1 ("; console.log(); setInterval(() => {}, 1e9)'],
      {
        detached: true,
        stdio: ['ignore', 'pipe', 'ignore'],
      },
    )
    await once(child.stdout, 'data')
    const pid = child.pid ?? 0
    expect(readFileSync(`/proc/${pid}/stat`, 'latin1')).toContain('() Z 1 ()')
    expect(readProcess(pid)).toMatchObject({
      pid,
      ppid: process.pid,
      pgid: pid,
      sid: pid,
      state: expect.stringMatching(/[RS]/),
    })
    expect(readProcess(pid)?.startTicks).toBeGreaterThanOrEqual(own().startTicks)
    child.kill('SIGKILL')
    await once(child, 'exit')
    expect(readProcess(pid)).toBeUndefined()
  })

  test.each([0, -1, 1.5, Number.NaN, 2 ** 31])('knows no process %s', (pid) => {
    expect(readProcess(pid)).toBeUndefined()
    expect(isAlive(pid)).toBe(false)
  })

  test('takes a process for dead when another start time was expected', () => {
    const { pid, startTicks } = own()
    expect(isAlive(pid)).toBe(true)
    expect(isAlive(pid, startTicks)).toBe(true)
    expect(isAlive(pid, startTicks - 1)).toBe(false)
  })

  test('takes a zombie for dead although its number is in use', async () => {
    // The shell's child ends and stays a zombie, because what the shell became never collects it.
    const parent = spawn(
      '/bin/sh',
      ['-c', `"$0" -e 0 & echo $!; exec "$0" "$1"`, process.execPath, toFixturePath('never-ready')],
      {
        stdio: ['ignore', 'pipe', 'ignore'],
      },
    )
    let printed = ''
    parent.stdout.on('data', (chunk) => {
      printed += chunk
    })
    while (!printed.includes('started')) await once(parent.stdout, 'data')
    const zombie = Number.parseInt(printed, 10)
    while (readProcess(zombie)?.state !== 'Z') await new Promise((resolve) => setImmediate(resolve))
    expect(process.kill(zombie, 0)).toBe(true)
    expect(isAlive(zombie)).toBe(false)
    parent.kill('SIGKILL')
    await once(parent, 'exit')
  })

  test('finds an orphan without markers by the session it was born in', async () => {
    const child = spawn(process.execPath, [toFixturePath('forks'), 'bare-orphan'], {
      detached: true,
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    const pid = child.pid ?? 0
    const [chunk] = await once(child.stdout, 'data')
    const orphan: number = JSON.parse(String(chunk)).grandchild
    const isOrphaned = () => readProcess(readProcess(orphan)?.ppid ?? 0)?.sid !== pid
    while (!isOrphaned()) await new Promise((resolve) => setImmediate(resolve))
    const root = { pid, startTicks: readProcess(pid)?.startTicks, markers: {} }
    const members = snapshotTree(root).map((member) => member.pid)
    expect(members.sort()).toEqual([pid, orphan].sort())
    process.kill(-pid, 'SIGKILL')
    await once(child, 'exit')
    while (isAlive(orphan)) await new Promise((resolve) => setImmediate(resolve))
  })

  test('leaves out a child of ours that shares our session', async () => {
    const child = spawn(process.execPath, [toFixturePath('never-ready')], {
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    await once(child.stdout, 'data')
    const identity = readProcess(child.pid ?? 0)
    if (identity === undefined) throw new Error('the child is gone')
    const root = { pid: identity.pid, startTicks: identity.startTicks, markers: {} }
    expect(snapshotTree(root, { known: [identity] })).toEqual([])
    expect(proveMember(identity, root)).toBeUndefined()
    child.kill('SIGKILL')
    await once(child, 'exit')
  })

  describe('around us', () => {
    const { pid, ppid, pgid, sid, startTicks } =
      process.platform === 'linux' ? own() : { pid: 0, ppid: 0, pgid: 0, sid: 0, startTicks: 0 }
    const markers = { PATH: process.env.PATH ?? '' }
    const roots: [string, TreeRoot][] = [
      ['ourselves', { pid, startTicks, markers }],
      ['our parent', { pid: ppid, startTicks: readProcess(ppid)?.startTicks, markers }],
      ['our group', { pid: pgid, startTicks: readProcess(pgid)?.startTicks, markers }],
      ['our session', { pid: sid, startTicks: readProcess(sid)?.startTicks, markers }],
      ['pid 1', { pid: 1, startTicks: readProcess(1)?.startTicks, markers }],
      ['pid 0', { pid: 0, startTicks: 0, markers }],
      ['a negative number', { pid: -1, startTicks: 0, markers }],
    ]

    test.each(roots)('a snapshot never includes us when the root is %s (peer O-5)', (_, root) => {
      const known = [own(), ...[ppid, 1].flatMap((other) => readProcess(other) ?? [])]
      const pids = snapshotTree(root, { known, root: 'just-exited' }).map((member) => member.pid)
      for (const untouchable of [0, 1, pid, ppid, pgid, sid]) expect(pids).not.toContain(untouchable)
    })

    test('nothing proves us or our ancestors to be members (peer O-6)', () => {
      const root = { pid, startTicks, markers }
      expect(proveMember(own(), root)).toBeUndefined()
      const ancestors = []
      for (let next = readProcess(ppid); next !== undefined; next = readProcess(next.ppid))
        ancestors.push(next)
      expect(ancestors.map((identity) => proveMember(identity, root))).toEqual(ancestors.map(() => undefined))
    })
  })

  describe('with an innocent process beside it', () => {
    const withInnocent = async (look: (identity: ReturnType<typeof own>) => void) => {
      const child = spawn(process.execPath, [toFixturePath('never-ready')], {
        detached: true,
        stdio: ['ignore', 'pipe', 'ignore'],
      })
      await once(child.stdout, 'data')
      const identity = readProcess(child.pid ?? 0)
      if (identity !== undefined) look(identity)
      child.kill('SIGKILL')
      await once(child, 'exit')
      expect(identity).toBeDefined()
    }
    const markers = { LEASEHOLD_GENERATION: 'of another supervisor' }

    test('does not take it for a dead root whose number it has', () =>
      withInnocent((innocent) => {
        const root = { pid: innocent.pid, startTicks: innocent.startTicks - 1, markers }
        expect(snapshotTree(root, { root: 'just-exited' })).toEqual([])
      }))

    test('does not take it for an exited root whose number and start time it has', () =>
      withInnocent((innocent) => {
        const root = { pid: innocent.pid, startTicks: innocent.startTicks, markers }
        expect(snapshotTree(root, { root: 'exited' })).toEqual([])
        expect(snapshotTree(root, { root: 'just-exited' })).toEqual([])
        expect(snapshotTree(root)).toMatchObject([{ pid: innocent.pid }])
      }))

    test('does not take it for a member with the same number, start and neither session nor markers', () =>
      withInnocent((innocent) => {
        const root = { pid: 2 ** 22, startTicks: 1, markers }
        const forged = { ...innocent, sid: 2 ** 22, pgid: 2 ** 22 }
        expect(proveMember(forged, root)).toBeUndefined()
        expect(snapshotTree(root, { known: [forged] })).toEqual([])
        expect(proveMember({ ...innocent, startTicks: innocent.startTicks - 1 }, root)).toBeUndefined()
        expect(proveMember(innocent, root)).toMatchObject({ pid: innocent.pid })
      }))

    test('does not take it for a member because it carries some of the markers, or none are asked for', () =>
      withInnocent((innocent) => {
        const PATH = process.env.PATH ?? ''
        const find = (wanted: Record<string, string>) =>
          snapshotTree({ pid: 2 ** 22, startTicks: 1, markers: wanted }).filter(
            ({ pid }) => pid === innocent.pid,
          )
        expect(find({ PATH, ...markers })).toEqual([])
        expect(find({ PATH: PATH.slice(0, -1) })).toEqual([])
        expect(find({})).toEqual([])
        expect(find({ PATH })).toHaveLength(1)
      }))
  })
})

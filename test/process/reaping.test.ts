import { type ChildProcess, spawn } from 'node:child_process'
import { createHmac, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { createOwnerRecord, readHost, readRecord } from '../../src/process/owner-record.ts'
import { reapOrphans } from '../../src/process/reaping.ts'
import { openStateDirectory, type StateDirectory } from '../../src/process/state-directory.ts'
import { readExecutable, readProcess } from '../../src/process/tree.ts'
import { createWorld, isRunning, toFixturePath } from './world.ts'

let folder = ''
let state: StateDirectory
const children: ChildProcess[] = []
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'leasehold-reaping-'))
  state = openStateDirectory(folder)
  mkdirSync(join(folder, 'owners'))
})
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
  rmSync(folder, { recursive: true, force: true })
})

/** A process in a session of its own, as servers are; with the marker of an owner or without any. */
async function startServer(owner?: string) {
  const env = { ...process.env, ...(owner === undefined ? {} : { LEASEHOLD_OWNER: owner }) }
  const child = spawn(process.execPath, [toFixturePath('never-ready')], {
    env,
    detached: true,
    stdio: 'ignore',
  })
  children.push(child)
  await once(child, 'spawn')
  return child.pid ?? 0
}

const describeProcess = (pid: number) => {
  const { pgid = 0, sid = 0, startTicks = 0 } = readProcess(pid) ?? {}
  return { pid, pgid, sid, startTicks, exe: readExecutable(pid) ?? null }
}
/** A supervisor that is certainly dead: its number is in use, but since another time. */
const dead = { pid: process.pid, startTicks: 1 }

/** Writes a record with a valid proof, whatever it says. */
function writeRecord(fields: object, name = 'owner' in fields ? `${fields.owner}.json` : 'x.json') {
  const body = JSON.stringify({ host: readHost(), runs: [], ...dead, ...fields })
  const mac = createHmac('sha256', state.hostKey).update(`record\n${body}`).digest('hex')
  writeFileSync(join(folder, 'owners', name), JSON.stringify({ body, mac }), { mode: 0o600 })
}
const signals: (readonly [number, string])[] = []
beforeEach(() => void signals.splice(0))
const reap = async (owner = randomUUID()) => {
  const { events } = await reapOrphans({
    state,
    owner,
    clock: systemClock,
    serviceOf: ({ key }) => ({ key, env: {} }),
    sendSignal: (pid, name) => {
      signals.push([pid, name])
      process.kill(pid, name)
    },
  })
  return events
}
const records = () => readdirSync(join(folder, 'owners'))

// Proofs need /proc.
describe.runIf(process.platform === 'linux')('reaping', () => {
  test('ends what carries the marker of a dead owner, and takes its record away (faults 87, 103)', async () => {
    const owner = randomUUID()
    const [orphan, bystander] = [await startServer(owner), await startServer(randomUUID())]
    writeRecord({ owner })
    expect(await reap()).toEqual([
      { type: 'orphans.reaped', owner, supervisorPid: dead.pid, pids: [orphan], survivors: [] },
    ])
    expect([isRunning(orphan), isRunning(bystander)]).toEqual([false, true])
    expect(records()).toEqual([])
  })

  test('ends what was written down and carries no marker any more', async () => {
    const orphan = await startServer()
    writeRecord({ owner: randomUUID(), runs: [describeProcess(orphan)] })
    expect(await reap()).toMatchObject([{ pids: [orphan] }])
    expect(isRunning(orphan)).toBe(false)
  })

  test('waits for a server that was never seen, which its dead client may have ordered (fault E-11)', {
    timeout: 60_000,
  }, async () => {
    const [looks, ended] = [join(folder, 'looks'), join(folder, 'ended')]
    const sh = (script: string) => ['/bin/sh', '-c', script]
    // It is there from the third look on, until it is ended.
    const status = sh(`echo >> ${looks}; [ -e ${ended} ] || [ $(wc -l < ${looks}) -lt 3 ] || echo late`)
    const stop = sh(`[ $(wc -l < ${looks}) -lt 3 ] || touch ${ended}`)
    writeRecord({ owner: randomUUID(), servers: [{ generation: 'g', key: 'demo', stop: [stop], status }] })
    expect(await reap()).toMatchObject([{ type: 'orphans.reaped', servers: [stop.join(' ')] }])
    expect([existsSync(ended), records()]).toEqual([true, []])
  })

  test('leaves the living alone, and our own record, and those of other hosts and pid namespaces', async () => {
    const [own, living, elsewhere] = [randomUUID(), randomUUID(), randomUUID()]
    const servers = await Promise.all([own, living, elsewhere].map(startServer))
    writeRecord({ owner: own })
    writeRecord({ owner: living, ...describeProcess(process.pid) })
    writeRecord({ owner: elsewhere, host: 'another boot' })
    expect(await reap(own)).toEqual([])
    expect(signals).toEqual([])
    expect(servers.map(isRunning)).toEqual([true, true, true])
    expect(records()).toHaveLength(3)
  })

  test('finds in the record a worker that its supervisor found outside the session, and its high OOM score', async () => {
    await using world = createWorld({ stateDirectory: () => state })
    const run = world.run('forks', ['bare-session'])
    const worker = await run.grandchild()
    expect(run.members()).toContain(worker)
    const { runs } = readRecord(state, `${world.table.owner}.json`)
    expect(runs).toContainEqual(describeProcess(worker))
    expect(Number(readFileSync(`/proc/${worker}/oom_score_adj`, 'latin1'))).toBeGreaterThanOrEqual(500)
    run.kill()
    await run.until('process.settled')
    expect(readRecord(state, `${world.table.owner}.json`).runs).toEqual([])
  })

  test('finds the record again that was deleted together with its directory while the supervisor ran', async () => {
    await using world = createWorld({ stateDirectory: () => openStateDirectory(folder) })
    const run = world.run('never-ready')
    const { pid } = await run.until('process.spawned')
    rmSync(folder, { recursive: true })
    world.table.keepRecord()
    const { runs } = readRecord(openStateDirectory(folder), `${world.table.owner}.json`)
    expect(runs).toEqual([describeProcess(pid)])
  })

  test('by several supervisors at once ends everything once', async () => {
    const owner = randomUUID()
    const orphan = await startServer(owner)
    writeRecord({ owner })
    await Promise.all(Array.from({ length: 5 }, () => reap()))
    expect(isRunning(orphan)).toBe(false)
    expect(records()).toEqual([])
  })

  test('of an owner that left nothing is no news', async () => {
    writeRecord({ owner: randomUUID() })
    expect(await reap()).toEqual([])
    expect(records()).toEqual([])
  })

  describe('signals no process for a record that', () => {
    const run = { pid: 4_000_000, pgid: 4_000_000, sid: 4_000_000, startTicks: 1, exe: null }
    const parent = { ...run, ...readProcess(process.ppid) }
    // A session that began outside our pid namespace is shown as 0 in it, and in some containers pid 1 is our parent.
    const refusals = ({ pid, pgid, sid }: Omit<typeof run, 'exe'>) => (Math.min(pid, pgid, sid) > 1 ? 0 : 1)
    test.each([
      ['names pid 1', { runs: [{ ...run, pid: 1 }] }, 1],
      ['names a negative pid', { runs: [{ ...run, pid: -1 }] }, 1],
      ['names a group of 0', { runs: [{ ...run, pgid: 0 }] }, 1],
      ['names a pid that is no number', { runs: [{ ...run, pid: '77' }] }, 1],
      ['says that its supervisor is pid 1', { pid: 1 }, 1],
      ['has no list of processes', { runs: {} }, 1],
      ['has an owner that is no id', { owner: '../x' }, 1],
      ['names ourselves', { runs: [describeProcess(process.pid)] }, refusals(describeProcess(process.pid))],
      ['names our parent', { runs: [parent] }, refusals(parent)],
      ['names a process that does not exist', { runs: [run] }, 0],
    ])('%s (fault 118, peer O-6)', async (_, fields, refused) => {
      const owner = randomUUID()
      writeRecord({ owner, ...fields }, `${owner}.json`)
      expect(await reap()).toHaveLength(refused)
      expect(signals).toEqual([])
      expect(records()).toEqual(refused === 1 ? [`${owner}.json.refused`] : [])
    })

    test.each([
      ['a reused number', { startTicks: 5 }],
      ['another session', { sid: 4_000_000 }],
      ['another program', { exe: '/bin/true' }],
    ])('names a stranger by %s (faults 74, 118)', async (_, difference) => {
      const stranger = await startServer()
      writeRecord({ owner: randomUUID(), runs: [{ ...describeProcess(stranger), ...difference }] })
      expect(await reap()).toEqual([])
      expect(signals).toEqual([])
      expect(isRunning(stranger)).toBe(true)
    })

    test.each([
      ['carries no proof', (file: string) => writeFileSync(file, JSON.stringify({ body: '{}', mac: 'x' }))],
      ['is no JSON', (file: string) => writeFileSync(file, '{')],
      ['is null', (file: string) => writeFileSync(file, 'null')],
      ['is huge', (file: string) => writeFileSync(file, 'x'.repeat(100_000))],
      ['is a link', (file: string) => symlinkSync('/dev/zero', file)],
      ['is a directory', (file: string) => mkdirSync(file)],
      ['others can write', (file: string) => writeFileSync(file, '{}', { mode: 0o666 })],
    ])('%s; it is put aside, and told once (fault 118)', async (_, write) => {
      const file = join(folder, 'owners', `${randomUUID()}.json`)
      write(file)
      expect(await reap()).toEqual([{ type: 'orphans.refused', file, problem: expect.any(String) }])
      expect(await reap()).toEqual([])
      expect(signals).toEqual([])
      expect(existsSync(file)).toBe(false)
    })
  })
})

describe('an owner record', () => {
  test('says who we are and what we run, and goes with an orderly end', async () => {
    const owner = randomUUID()
    const record = createOwnerRecord(owner, () => state)
    record.open()
    const server = await startServer()
    record.add({ pid: server, startTicks: undefined })
    expect(readRecord(state, `${owner}.json`)).toMatchObject({
      owner,
      pid: process.pid,
      runs: [describeProcess(server)],
    })
    record.remove(server)
    expect(readRecord(state, `${owner}.json`)).toMatchObject({ runs: [] })
    record.close()
    record.close()
    expect(records()).toEqual([])
  })
})

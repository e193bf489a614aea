import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { listStatusLines } from '../../src/cli/status.ts'
import { createTerminal } from '../../src/cli/terminal.ts'
import { createSupervisor } from '../../src/index.ts'
import { hasProcfs } from '../../src/process/tree.ts'
import { findFreePort, findMarked } from '../../src/testing/real-host.ts'
import { listOf } from '../process/world.ts'
import { createLibrary, isRunning, listen, toText, writeAndLoad } from './library.ts'

const main = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url))

test.skipIf(!hasProcfs).each([
  ['infer', ['infer', 'model', 'run', '--local', '--model', 'demo/demo', '--prompt', 'Hello?']],
  ['serve', ['serve', '--port', '0']],
])(
  '%s that is ended by SIGKILL takes its model server with it (fault 102, peers S-4, L-5)',
  { timeout: 90_000 },
  async (name, args) => {
    const port = await findFreePort()
    const file = join(tmpdir(), `killed-${port}.json5`)
    const mark = `KILLED_TEST=${port}`
    const env = { KILLED_TEST: String(port) }
    onTestFinished(() => rm(file))
    await writeFile(file, toText(port, { flags: ['--load-ms', '600000'], service: { env } }))
    const cli = spawn(process.execPath, [main, ...args, '--config', file], {
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    // Also when an expectation fails before it is its turn to be killed.
    onTestFinished(() => void cli.kill('SIGKILL'))
    if (name === 'serve') {
      let said = ''
      cli.stdout.on('data', (chunk) => {
        said += chunk
      })
      await expect.poll(() => said, { timeout: 25_000 }).toMatch(/\/v1\/chat/)
      const [url] = /http:\/\/127\.0\.0\.1:\d+/.exec(said) ?? []
      const body = JSON.stringify({ model: 'demo/demo', messages: [{ role: 'user', content: 'Hello?' }] })
      const headers = { 'content-type': 'application/json' }
      fetch(`${url}/v1/chat/completions`, { method: 'POST', headers, body }).catch(() => {})
    }
    await expect.poll(() => findMarked(mark), { timeout: 25_000 }).toHaveLength(1)
    cli.kill('SIGKILL')
    await once(cli, 'exit')
    await expect.poll(() => findMarked(mark), { timeout: 25_000 }).toEqual([])
  },
)

/** The pids of a supervisor's watchdogs, by the record that the supervisor keeps. */
function findWatchdogs(stateDir: string, supervisorPid: number): number[] {
  const owners = readdirSync(join(stateDir, 'owners')).flatMap((name) => {
    const { body } = JSON.parse(readFileSync(join(stateDir, 'owners', name), 'utf8'))
    const { owner, pid } = JSON.parse(body)
    return pid === supervisorPid ? [owner] : []
  })
  return owners.flatMap((owner) => listOf('cmdline', owner))
}

const ROUNDS = Number(process.env.KILL_BOTH_ROUNDS ?? 2)

test.skipIf(!hasProcfs)(
  'what a supervisor leaves that is killed together with its watchdog, the next one ends and starts anew (faults 87, 103, promise P4, peers O-f, O-1)',
  { timeout: 60_000 * ROUNDS },
  async () => {
    // Its own: any other supervisor of the suite that begins meanwhile would settle what is left.
    const stateDir = await mkdtemp(join(tmpdir(), 'killed-state-'))
    onTestFinished(() => rm(stateDir, { recursive: true }))
    for (let round = 0; round < ROUNDS; round += 1) {
      const port = await findFreePort()
      const text = toText(port, { service: { env: { KILLED_TEST: String(port) } } })
      const file = join(tmpdir(), `killed-${port}.json5`)
      onTestFinished(() => rm(file))
      await writeFile(file, text)
      const args = ['infer', 'model', 'run', '--local', '--model', 'demo/demo', '--prompt', 'count to 100000']
      const cli = spawn(process.execPath, [main, ...args, '--config', file], {
        env: { ...process.env, LEASEHOLD_STATE_DIR: stateDir },
        stdio: 'ignore',
      })
      onTestFinished(() => void cli.kill('SIGKILL'))
      const isUp = async () => (await fetch(`http://127.0.0.1:${port}/health`).catch(() => null))?.status
      await expect.poll(isUp, { timeout: 20_000 }).toBe(200)
      const [orphan = 0] = findMarked(`KILLED_TEST=${port}`)
      // It must not have the time to replace its watchdog.
      cli.kill('SIGSTOP')
      for (const watchdog of findWatchdogs(stateDir, cli.pid ?? 0)) process.kill(watchdog, 'SIGKILL')
      cli.kill('SIGKILL')
      await once(cli, 'exit')
      expect(isRunning(orphan)).toBe(true)

      const supervisor = createSupervisor({ config: await writeAndLoad(text), stateDir })
      onTestFinished(() => supervisor.close({ force: true }))
      const hearing = listen(supervisor)
      const lease = await supervisor.acquire('demo/demo')
      expect(lease.owned).toBe(true)
      expect(hearing.all('orphans.reaped')).toMatchObject([{ supervisorPid: cli.pid, pids: [orphan] }])
      const [successor] = hearing.all('process.spawned')
      expect(findMarked(`KILLED_TEST=${port}`)).toEqual([successor?.pid])
      lease.release()
      await supervisor.close()
    }
  },
)

test.skipIf(!hasProcfs)(
  'a watchdog that is ended again and again is told as an event, in the snapshot and in status, and comes back (fault 104)',
  { timeout: 60_000 },
  async () => {
    await using library = await createLibrary()
    const { supervisor } = library
    const lease = await supervisor.acquire('demo/demo')
    const killed = new Set<number>()
    while (library.all('watchdog.lost').length === 0) {
      const { pid } = supervisor.snapshot().watchdog
      if (pid !== null && !killed.has(pid)) process.kill(pid, 'SIGKILL')
      if (pid !== null) killed.add(pid)
      await setImmediate()
    }
    const problem = 'it ended with SIGKILL'
    expect(library.all('watchdog.lost')).toMatchObject([{ problem }])
    expect(supervisor.snapshot().watchdog).toEqual({ pid: null, problem })
    const terminal = createTerminal(process.stdout, process.stderr, {})
    expect(listStatusLines(supervisor.snapshot(), terminal).join('\n')).toContain(
      `no watchdog runs (${problem})`,
    )
    await library.until('watchdog.restored')
    expect(supervisor.snapshot().watchdog).toEqual({ pid: expect.any(Number), problem: null })
    lease.release()
  },
)

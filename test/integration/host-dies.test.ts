import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { hasProcfs } from '../../src/process/tree.ts'
import { findFreePort, findMarked } from '../../src/testing/real-host.ts'
import { toText } from './library.ts'

const toPath = (path: string) => fileURLToPath(new URL(path, import.meta.url))

/** What a bug in a program does to it. */
const BUGS = {
  'throws an error that is not caught': '() => { throw new Error("a bug") }',
  'rejects a promise that is not handled': '() => { Promise.reject(new Error("a bug")) }',
  'calls process.exit': '() => process.exit(7)',
}

const HOSTS = {
  'leasehold serve': (config: string) => [
    ...[toPath('../../dist/src/cli/main.js'), 'serve', '--port', '0', '--config', config],
  ],
  'a program that embeds it': (config: string) => [toPath('../fixtures/host.mjs'), config],
}

const cases = Object.keys(HOSTS).flatMap((host) => Object.keys(BUGS).map((bug) => [host, bug] as const))

test.runIf(hasProcfs).each(cases)(
  'when %s %s, its servers are killed before it is gone, without the watchdog (fault 101)',
  { timeout: 120_000 },
  async (host, bug) => {
    const directory = await mkdtemp(join(tmpdir(), 'host-dies-'))
    onTestFinished(() => rm(directory, { recursive: true }))
    const port = await findFreePort()
    const config = join(directory, 'leasehold.json5')
    const mark = `HOST_TEST=${port}`
    await writeFile(config, toText(port, { service: { env: { HOST_TEST: String(port) } } }), { mode: 0o600 })
    const hook = `data:text/javascript,process.on("SIGUSR2",${encodeURIComponent(BUGS[bug as keyof typeof BUGS])})`
    const args = HOSTS[host as keyof typeof HOSTS](config)
    const child = spawn(process.execPath, ['--import', hook, ...args], {
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    onTestFinished(() => void child.kill('SIGKILL'))
    const exited = once(child, 'exit')
    let said = ''
    child.stdout.on('data', (chunk) => {
      said += chunk
    })
    if (host === 'leasehold serve') {
      await expect.poll(() => said, { timeout: 60_000 }).toMatch(/http:\/\/127\.0\.0\.1:\d+/)
      const [url] = /http:\/\/127\.0\.0\.1:\d+/.exec(said) ?? []
      const headers = { 'content-type': 'application/json' }
      await fetch(`${url}/api/services/demo/start`, { method: 'POST', headers, body: '{}' })
    } else await expect.poll(() => said, { timeout: 60_000 }).toContain('up')
    expect(findMarked(mark)).toHaveLength(1)

    // It would clean up as well: the test shows that it is not needed.
    const watchdogs = await listWatchdogs(child.pid ?? 0)
    expect(watchdogs).toHaveLength(1)
    for (const pid of watchdogs) process.kill(pid, 'SIGSTOP')
    onTestFinished(() => {
      for (const pid of watchdogs) process.kill(pid, 'SIGKILL')
    })
    child.kill('SIGUSR2')
    await exited
    await expect.poll(() => findMarked(mark), { timeout: 20_000 }).toEqual([])
  },
)

/** The children of a process whose command line says that they are watchdogs. */
async function listWatchdogs(parent: number): Promise<number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  const found = pids.map(async (pid) => {
    const stat = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '')
    const line = await readFile(`/proc/${pid}/cmdline`, 'latin1').catch(() => '')
    const isOurs = Number(/.*\) \S (\d+)/s.exec(stat)?.[1]) === parent
    return isOurs && /watchdog|watchSupervisor/.test(line) ? [Number(pid)] : []
  })
  return (await Promise.all(found)).flat()
}

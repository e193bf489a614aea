import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'

/** A systemd of its own, as each user has one, in which nothing runs but what a test starts. */
export interface UserManager extends AsyncDisposable {
  /** Leads `systemctl --user` to it. */
  readonly env: Readonly<Record<string, string>>
  /** Writes a unit. */
  define(name: string, lines: readonly string[]): void
  /** Runs `systemctl --user`, and gives what it prints. */
  order(...args: readonly string[]): string
}

const PROGRAM = '/lib/systemd/systemd'
const CGROUPS = '/sys/fs/cgroup'
/** It pulls in no unit of the host: those would clean up folders, and start services. */
const TARGET = 'leasehold-test.target'

/** Why no user manager can be run here. `undefined`: it can. */
export function findManagerObstacle(): string | undefined {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'needs root on Linux'
  if (!existsSync(PROGRAM)) return 'systemd is not installed'
  const { status } = spawnSync('unshare', ['--mount', 'true'])
  return status === 0 ? undefined : 'namespaces are not allowed here'
}

export async function openUserManager(): Promise<UserManager> {
  const folder = await mkdtemp('/tmp/lh-')
  const units = join(folder, 'home/.config/systemd/user')
  const runtime = join(folder, 'run')
  mkdirSync(units, { recursive: true })
  mkdirSync(runtime, { mode: 0o700 })
  const define = (name: string, lines: readonly string[]) =>
    writeFileSync(join(units, name), ['[Unit]', 'DefaultDependencies=no', ...lines, ''].join('\n'))
  define(TARGET, [])
  const groups = openGroups(folder.slice(1).replaceAll('/', '-'))
  const env = { PATH: process.env.PATH ?? '', HOME: join(folder, 'home'), XDG_RUNTIME_DIR: runtime }
  const script = [
    ...groups.map((group) => `echo $$ > ${group}/cgroup.procs`),
    // It runs only where a systemd is the first process, and tells that by this folder.
    'mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system',
    `exec ${PROGRAM} --user --unit=${TARGET}`,
  ]
  const manager = spawn('unshare', ['--mount', '--propagation', 'private', 'sh', '-c', script.join('\n')], {
    env,
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const isUp = () =>
    spawnSync('systemctl', ['--user', 'is-active', '--quiet', TARGET], { env, stdio: 'ignore' }).status === 0
  while (!isUp()) {
    if (manager.exitCode !== null) throw new Error(`systemd ended with ${manager.exitCode}`)
    await pause()
  }
  return {
    env: { XDG_RUNTIME_DIR: runtime },
    define,
    order: (...args) =>
      execFileSync('systemctl', ['--user', ...args], { env: { ...process.env, ...env }, encoding: 'utf8' }),
    [Symbol.asyncDispose]: async () => {
      await end(manager, groups)
      await rm(folder, { recursive: true, maxRetries: 5 })
    },
  }
}

/** A control group in each hierarchy that can have one. */
function openGroups(name: string): readonly string[] {
  const roots = existsSync(join(CGROUPS, 'cgroup.procs'))
    ? [CGROUPS]
    : readdirSync(CGROUPS).map((hierarchy) => join(CGROUPS, hierarchy))
  return roots.flatMap((root) => {
    // A group of processors takes no process before it has some.
    if (!existsSync(join(root, 'cgroup.procs')) || root.endsWith('cpuset')) return []
    const group = join(root, name)
    mkdirSync(group)
    return [group]
  })
}

/** Everything of the manager is in its groups. */
async function end(manager: ChildProcess, groups: readonly string[]): Promise<void> {
  const ended = manager.exitCode === null ? once(manager, 'exit') : undefined
  manager.kill('SIGKILL')
  await ended
  for (const group of groups) {
    for (let pids = listPids(group); pids.length > 0; pids = listPids(group)) {
      for (const pid of pids) process.kill(pid, 'SIGKILL')
      await pause()
    }
    for (const folder of listFolders(group)) rmdirSync(folder)
  }
}

/** A group with everything below it, the deepest first. */
function listFolders(group: string): string[] {
  const below = readdirSync(group, { withFileTypes: true }).filter((entry) => entry.isDirectory())
  return [...below.flatMap(({ name }) => listFolders(join(group, name))), group]
}

function listPids(group: string): number[] {
  return listFolders(group).flatMap((folder) =>
    readFileSync(join(folder, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean).map(Number),
  )
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 20))
}

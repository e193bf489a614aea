import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs'
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
/** After so many looks it does not come up any more. */
const MAX_LOOKS = 1_000

/** It runs only where a systemd is the first process, and tells that by this folder. */
const MOUNTS = ['mount -t tmpfs tmpfs /run', 'mkdir -p /run/systemd/system']

/** Why no user manager can be run here. `undefined`: it can. */
export function findManagerObstacle(): string | undefined {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'needs root on Linux'
  if (!existsSync(PROGRAM)) return 'systemd is not installed'
  const roots = listRoots()
  if (roots.length === 0 || !roots.every(isWritable)) return 'control groups cannot be made here'
  const [program, args] = toUnshared(MOUNTS)
  return spawnSync(program, args).status === 0 ? undefined : 'a folder cannot be mounted here'
}

/** A script with mounts of its own. It ends with its first command that fails: systemd must not meet the host's own. */
function toUnshared(script: readonly string[]): [string, string[]] {
  return ['unshare', ['--mount', '--propagation', 'private', 'sh', '-c', ['set -e', ...script].join('\n')]]
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
  const [program, args] = toUnshared([
    ...groups.map((group) => `echo $$ > ${group}/cgroup.procs`),
    ...MOUNTS,
    `exec ${PROGRAM} --user --unit=${TARGET}`,
  ])
  const manager = spawn(program, args, { env, stdio: ['ignore', 'ignore', 'inherit'] })
  const close = async () => {
    await end(manager, groups)
    await rm(folder, { recursive: true, maxRetries: 5 })
  }
  const isUp = () =>
    spawnSync('systemctl', ['--user', 'is-active', '--quiet', TARGET], { env, stdio: 'ignore' }).status === 0
  for (let looks = 1; !isUp(); looks += 1) {
    if (isRunning(manager) && looks < MAX_LOOKS) await pause()
    else {
      const how = isRunning(manager)
        ? 'did not come up'
        : `ended with ${manager.exitCode ?? manager.signalCode}`
      await close()
      throw new Error(`systemd ${how}`)
    }
  }
  return {
    env: { XDG_RUNTIME_DIR: runtime },
    define,
    order: (...args) =>
      execFileSync('systemctl', ['--user', ...args], { env: { ...process.env, ...env }, encoding: 'utf8' }),
    [Symbol.asyncDispose]: close,
  }
}

/** Where the hierarchies of control groups are that can have a new one. Of version 1, some have several names. */
function listRoots(): readonly string[] {
  const isGroup = (folder: string) => existsSync(join(folder, 'cgroup.procs'))
  if (isGroup(CGROUPS)) return [CGROUPS]
  if (!existsSync(CGROUPS)) return []
  const roots = new Set(readdirSync(CGROUPS).map((name) => realpathSync(join(CGROUPS, name))))
  // A group of processors takes no process before it has some.
  return [...roots].filter((root) => isGroup(root) && !root.includes('cpuset'))
}

function isWritable(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK)
    return true
  } catch {
    return false
  }
}

/** A control group in each hierarchy. */
function openGroups(name: string): readonly string[] {
  return listRoots().map((root) => {
    const group = join(root, name)
    mkdirSync(group)
    return group
  })
}

function isRunning({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode === null && signalCode === null
}

/** Everything of the manager is in its groups. */
async function end(manager: ChildProcess, groups: readonly string[]): Promise<void> {
  const ended = isRunning(manager) ? once(manager, 'exit') : undefined
  manager.kill('SIGKILL')
  await ended
  for (const group of groups) {
    for (let pids = listPids(group); pids.length > 0; pids = listPids(group)) {
      for (const pid of pids) kill(pid)
      await pause()
    }
    for (const folder of listFolders(group)) rmdirSync(folder)
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has ended in this instant.
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

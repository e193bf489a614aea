import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** A container engine of its own, with one image: this Node with its libraries, and nothing else. */
export interface ContainerEngine {
  readonly name: 'docker' | 'podman'
  /** Variables that lead its client to it. */
  readonly env: Readonly<Record<string, string>>
  /** Options that `run` needs here. */
  readonly options: readonly string[]
  /** Runs its client, and gives what it prints. */
  order(...args: readonly string[]): string
  /** Names of the containers in any state. */
  list(): readonly string[]
  /** Kills its daemon, which is SIGKILLed and not told to end. Absent: it has none. */
  killDaemon?(): Promise<void>
  startDaemon?(): Promise<void>
  close(): Promise<void>
}

export const IMAGE = 'leasehold-node'
/** Mounted into each container: the demo server. */
export const DIST = fileURLToPath(new URL('../../dist', import.meta.url))

/** Why an engine cannot be run here. `undefined`: it can. */
export function findObstacle(name: 'docker' | 'podman'): string | undefined {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'needs root on Linux'
  const programs = name === 'docker' ? ['dockerd', 'docker'] : ['podman', 'runc']
  const missing = programs.find((program) => !isInstalled(program))
  return missing === undefined ? undefined : `${missing} is not installed`
}

function isInstalled(program: string): boolean {
  return (process.env.PATH ?? '').split(':').some((folder) => existsSync(join(folder, program)))
}

/** Starts an engine in a folder of its own. The folder is short: sockets have names of at most 107 bytes. */
export async function openEngine(name: 'docker' | 'podman'): Promise<ContainerEngine> {
  const folder = await mkdtemp('/tmp/lh-')
  const engine = name === 'docker' ? await openDocker(folder) : openPodman(folder)
  const root = join(folder, 'root')
  buildRoot(root)
  engine.order('import', pack(root, folder), IMAGE)
  return engine
}

/** Without rules for the firewall: a container needs no way out, and its port is published by a process. */
async function openDocker(folder: string): Promise<ContainerEngine> {
  const env = { DOCKER_HOST: `unix://${folder}/docker.sock` }
  const start = async () => {
    const started = spawn(
      'dockerd',
      [
        ...['--iptables=false', '--ip6tables=false', '--ip-masq=false', '--storage-driver', 'vfs'],
        ...['--data-root', join(folder, 'data'), '--exec-root', join(folder, 'exec')],
        ...['--pidfile', join(folder, 'pid'), '--host', env.DOCKER_HOST],
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    )
    await untilSaid(started, 'API listen on')
    return started
  }
  let daemon = await start()
  const order = (...args: readonly string[]) => run('docker', args, env)
  return {
    name: 'docker',
    env,
    options: [],
    order,
    list: () => order('ps', '-a', '--format', '{{.Names}}').split('\n').filter(Boolean),
    async killDaemon() {
      daemon.kill('SIGKILL')
      await once(daemon, 'exit')
      // Its containerd ends a moment later; a new daemon would take it for its own.
      const pidFile = join(folder, 'exec/containerd/containerd.pid')
      const pid = Number(readFileSync(pidFile, 'utf8'))
      while (existsSync(`/proc/${pid}/exe`)) await new Promise((resolve) => setTimeout(resolve, 20))
      rmSync(pidFile)
    },
    async startDaemon() {
      daemon = await start()
    },
    async close() {
      daemon.kill('SIGTERM')
      await once(daemon, 'exit')
      // The daemon leaves the bridge that it made.
      run('ip', ['link', 'delete', 'docker0'], {})
      unmountBelow(folder)
      rmSync(folder, { recursive: true })
    },
  }
}

/** A daemon that was killed leaves its mounts. */
function unmountBelow(folder: string): void {
  const mounts = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((mount) => mount.startsWith(`${folder}/`))
  for (const mount of mounts.toReversed()) run('umount', ['--lazy', mount], {})
}

function openPodman(folder: string): ContainerEngine {
  const runtime = join(folder, 'runtime')
  // runc may not raise limits without CAP_SYS_RESOURCE.
  writeFileSync(
    runtime,
    `#!/bin/sh
for word; do
  [ -n "$is_bundle" ] && bundle=$word
  is_bundle=
  [ "$word" = --bundle ] && is_bundle=1
done
[ -n "$bundle" ] && sed -i 's/"rlimits":\\[[^]]*\\]/"rlimits":[]/' "$bundle/config.json"
exec runc "$@"
`,
  )
  chmodSync(runtime, 0o755)
  writeFileSync(
    join(folder, 'storage.conf'),
    `[storage]\ndriver = "vfs"\ngraphroot = "${folder}/data"\nrunroot = "${folder}/run"\n`,
  )
  writeFileSync(
    join(folder, 'containers.conf'),
    `[engine]\nruntime = "patched"\ncgroup_manager = "cgroupfs"\nevents_logger = "none"\n[engine.runtimes]\npatched = ["${runtime}"]\n`,
  )
  const env = {
    CONTAINERS_STORAGE_CONF: join(folder, 'storage.conf'),
    CONTAINERS_CONF: join(folder, 'containers.conf'),
  }
  const order = (...args: readonly string[]) => run('podman', args, env)
  return {
    name: 'podman',
    env,
    options: [],
    order,
    list: () => order('ps', '-a', '--format', '{{.Names}}').split('\n').filter(Boolean),
    async close() {
      order('system', 'reset', '--force')
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** A file system with this Node and its libraries. */
function buildRoot(root: string): void {
  const node = realpathSync(process.execPath)
  const libraries = run('ldd', [node], {}).match(/\/\S+/g) ?? []
  for (const file of libraries) {
    const target = join(root, file)
    mkdirSync(dirname(target), { recursive: true })
    cpSync(realpathSync(file), target)
  }
  mkdirSync(join(root, 'bin'), { recursive: true })
  mkdirSync(join(root, 'tmp'), { recursive: true })
  cpSync(node, join(root, 'bin/node'))
}

function pack(root: string, folder: string): string {
  const file = join(folder, 'image.tar')
  run('tar', ['--create', '--file', file, '--directory', root, '.'], {})
  return file
}

function run(program: string, args: readonly string[], env: Readonly<Record<string, string>>): string {
  return execFileSync(program, args, {
    env: { ...process.env, ...env },
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}

async function untilSaid({ stderr }: ChildProcess, text: string): Promise<void> {
  let said = ''
  for await (const chunk of stderr ?? []) {
    said += chunk
    if (said.includes(text)) break
  }
  if (!said.includes(text)) throw new Error(`The daemon ended: ${said.slice(-500)}`)
}

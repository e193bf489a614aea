import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
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
  /** Network namespaces that were made since it was opened, and in which no process lives. */
  listLeftNetworks(): readonly string[]
  /** From now on it takes four seconds to set a network up. Absent: it cannot be slowed down. */
  slowNetworks?(): void
  /** Kills its daemon, which is SIGKILLed and not told to end. Absent: it has none. */
  killDaemon?(): Promise<void>
  /** Nothing happens while it runs. */
  startDaemon?(): Promise<void>
  close(): Promise<void>
}

/** An ordinary user: of podman, which is rootless then, or of the socket of a daemon that root runs. */
export interface User {
  readonly uid: number
  readonly gid: number
}

export const IMAGE = 'leasehold-node'
/** An image whose entrypoint takes the options of llama-server, under the name that the configuration's page gives. */
export const LLAMA_IMAGE = 'ghcr.io/ggml-org/llama.cpp:server'
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

export interface EngineOptions {
  readonly user?: User | undefined
  /** Without one a container of docker is in the network of the host, and several daemons run beside each other. @default true */
  readonly hasBridge?: boolean | undefined
}

/** Starts an engine in a folder of its own. The folder is short: sockets have names of at most 107 bytes. */
export async function openEngine(
  name: 'docker' | 'podman',
  { user, hasBridge = true }: EngineOptions = {},
): Promise<ContainerEngine> {
  const folder = await mkdtemp('/tmp/lh-')
  if (user !== undefined) chmodSync(folder, 0o755)
  const engine = name === 'docker' ? await openDocker(folder, { user, hasBridge }) : openPodman(folder, user)
  const root = join(folder, 'root')
  buildRoot(root)
  const image = pack(root, folder)
  engine.order('import', image, IMAGE)
  engine.order('import', '--change', 'ENTRYPOINT ["/bin/node", "/app/llama-server.mjs"]', image, LLAMA_IMAGE)
  return engine
}

/** Without rules for the firewall: a container needs no way out, and its port is published by a process. */
async function openDocker(folder: string, { user, hasBridge }: EngineOptions): Promise<ContainerEngine> {
  const env = { DOCKER_HOST: `unix://${folder}/docker.sock` }
  const start = async () => {
    const started = spawn(
      'dockerd',
      [
        ...['--iptables=false', '--ip6tables=false', '--ip-masq=false', '--storage-driver', 'vfs'],
        ...['--data-root', join(folder, 'data'), '--exec-root', join(folder, 'exec')],
        ...['--pidfile', join(folder, 'pid'), '--host', env.DOCKER_HOST],
        ...(hasBridge ? [] : ['--bridge', 'none']),
        ...(user === undefined ? [] : ['--group', String(user.gid)]),
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
    // Its daemon makes them in a folder of its own, and removes them when it ends.
    listLeftNetworks: () => [],
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
      if (daemon.exitCode !== null || daemon.signalCode !== null) daemon = await start()
    },
    async close() {
      daemon.kill('SIGTERM')
      await once(daemon, 'exit')
      // The daemon leaves the bridge that it made.
      if (hasBridge) run('ip', ['link', 'delete', 'docker0'], {})
      unmountBelow(folder)
      rmSync(folder, { recursive: true, maxRetries: 5 })
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

function openPodman(folder: string, user?: User): ContainerEngine {
  const home = join(folder, 'home')
  const runtime = join(folder, 'runtime')
  const plugins = join(folder, 'plugins')
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
    `[storage]\ndriver = "vfs"\ngraphroot = "${folder}/data"\nrunroot = "${folder}/run"\nrootless_storage_path = "${folder}/data"\n[storage.options]\nignore_chown_errors = "true"\n`,
  )
  writeFileSync(
    join(folder, 'containers.conf'),
    `[engine]\nruntime = "patched"\ncgroup_manager = "cgroupfs"\nevents_logger = "none"\n[engine.runtimes]\npatched = ["${runtime}"]\n[network]\ncni_plugin_dirs = ["${plugins}", "${CNI_PLUGINS}"]\n`,
  )
  const env = {
    CONTAINERS_STORAGE_CONF: join(folder, 'storage.conf'),
    CONTAINERS_CONF: join(folder, 'containers.conf'),
    ...(user === undefined ? {} : { HOME: home, XDG_RUNTIME_DIR: home, TMPDIR: home }),
  }
  if (user !== undefined) {
    mkdirSync(home)
    for (const place of [folder, home]) chownSync(place, user.uid, user.gid)
  }
  const order = (...args: readonly string[]) => run('podman', args, env, user)
  const earlier = new Set(listNetworks())
  return {
    name: 'podman',
    env,
    options: [],
    order,
    list: () => order('ps', '-a', '--format', '{{.Names}}').split('\n').filter(Boolean),
    listLeftNetworks: () => {
      const lived = listLivedNetworks()
      return listNetworks().filter((name) => !earlier.has(name) && !lived.has(toInode(join(NETWORKS, name))))
    },
    ...(user === undefined && existsSync(join(CNI_PLUGINS, 'bridge'))
      ? {
          slowNetworks: () => {
            mkdirSync(plugins)
            const plugin = join(plugins, 'bridge')
            const sleep = '[ "$CNI_COMMAND" = ADD ] && sleep 4'
            writeFileSync(plugin, `#!/bin/sh\n${sleep}\nexec ${CNI_PLUGINS}/bridge\n`, { mode: 0o755 })
          },
        }
      : {}),
    async close() {
      order('system', 'reset', '--force')
      if (user !== undefined) endPause(home)
      rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
    },
  }
}

const NETWORKS = '/run/netns'
const CNI_PLUGINS = '/usr/lib/cni'

/** The network namespaces of containers of podman. */
function listNetworks(): readonly string[] {
  return existsSync(NETWORKS) ? readdirSync(NETWORKS).filter((name) => name.startsWith('netns-')) : []
}

/** `undefined`: it has just gone, or is hidden from us. */
function toInode(file: string): number | undefined {
  try {
    return statSync(file).ino
  } catch {
    return undefined
  }
}

/** The network namespaces in which processes live. */
function listLivedNetworks(): ReadonlySet<number | undefined> {
  return new Set([undefined, ...readdirSync('/proc').map((pid) => toInode(`/proc/${pid}/ns/net`))])
}

/** Rootless podman keeps one process for its namespaces, for ever. */
function endPause(folder: string): void {
  const file = join(folder, 'libpod/tmp/pause.pid')
  if (existsSync(file)) process.kill(Number(readFileSync(file, 'utf8')), 'SIGKILL')
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
  for (const part of ['chunks', 'src/testing/demo-server.js'])
    cpSync(join(DIST, part), join(root, 'app/dist', part), { recursive: true })
  writeFileSync(
    join(root, 'app/llama-server.mjs'),
    `import { existsSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { runDemoServer } from './dist/src/testing/demo-server.js'

const text = { type: 'string' }
const { values } = parseArgs({ options: { model: { ...text, short: 'm' }, host: text, port: text } })
if (!existsSync(values.model)) throw new Error('failed to open GGUF file ' + values.model)
runDemoServer(['--host', values.host, '--port', values.port])
`,
  )
}

function pack(root: string, folder: string): string {
  const file = join(folder, 'image.tar')
  run('tar', ['--create', '--file', file, '--directory', root, '.'], {})
  return file
}

function run(
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  user?: User,
): string {
  return execFileSync(program, args, {
    ...user,
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

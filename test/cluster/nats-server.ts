import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe } from 'vitest'
import { findFreePort } from '../../src/testing/real-host.ts'

const installed = fileURLToPath(new URL('../../.cache/nats/bin/nats-server', import.meta.url))

/** A nats-server: `$LEASEHOLD_NATS_SERVER`, or what `setup-nats-server.sh` has put here. */
export const natsProgram = process.env.LEASEHOLD_NATS_SERVER ?? installed
export const hasNatsServer = existsSync(natsProgram)

/** Skipped with a word where there is no nats-server. */
export const describeWithNats = (title: string, body: () => void): void => {
  describe.skipIf(!hasNatsServer)(
    hasNatsServer ? title : `${title} (skipped: no nats-server; test/cluster/setup-nats-server.sh)`,
    body,
  )
}

export interface NatsServerOptions {
  /** Address it listens on. @default 127.0.0.1 */
  readonly host?: string
  /** @default a free one */
  readonly port?: number
  /** Added to the configuration. */
  readonly config?: string
  /** The whole configuration, with `$PORT` and `$STORE`, instead of the usual one. */
  readonly wholeConfig?: string
  /** Words before the program: `ip netns exec NAME`. */
  readonly prefix?: readonly string[]
}

/** One nats-server with JetStream, in a folder of its own. */
export interface NatsServer extends AsyncDisposable {
  readonly url: string
  readonly port: number
  readonly pid: number
  /** Its monitoring page, where the configuration has one; empty: none. */
  readonly monitorUrl: string
  /** Where its configuration is, which `reload` reads again. */
  readonly configFile: string
  signal(signal: NodeJS.Signals): void
  /** Puts other lines in the place of `config`, or of the whole configuration, and lets the server read them. */
  reload(config: string): Promise<void>
  /** Lets it stand still, and settles when it does. */
  stop(): Promise<void>
  /** Ends it at once. `keepsStore: false` also removes what it has stored. */
  kill(options?: { readonly keepsStore?: boolean }): Promise<void>
  /** Starts it again at the same port. */
  start(): Promise<void>
}

export async function startNatsServer({
  host = '127.0.0.1',
  port: given,
  config = '',
  wholeConfig,
  prefix = [],
}: NatsServerOptions = {}): Promise<NatsServer> {
  const port = given ?? (await findFreePort())
  const folder = await mkdtemp(join(tmpdir(), 'leasehold-nats-'))
  const store = join(folder, 'store')
  const configFile = join(folder, 'nats.conf')
  const usual = `listen: "${host}:${port}"\njetstream { store_dir: "${store}" }\nping_interval: "1s"\nping_max: 2\nwrite_deadline: "2s"\n`
  const write = (lines: string) =>
    writeFile(
      configFile,
      wholeConfig === undefined
        ? `${usual}${lines}\n`
        : lines.replaceAll('$PORT', String(port)).replaceAll('$STORE', store),
    )
  await write(wholeConfig ?? config)
  let child: ChildProcess | undefined
  let log = ''
  const start = async () => {
    const [program = natsProgram, ...args] = [...prefix, natsProgram, '-c', configFile]
    const begun = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    child = begun
    log = ''
    let announce = () => {}
    const ready = new Promise<void>((resolve) => {
      announce = resolve
    })
    for (const stream of [begun.stdout, begun.stderr])
      stream.on('data', (data) => {
        log += String(data)
        if (log.includes('Server is ready')) announce()
      })
    await Promise.race([
      ready,
      once(begun, 'exit').then(() => {
        throw new Error(`nats-server ended:\n${log}`)
      }),
    ])
  }
  const kill = async ({ keepsStore = true } = {}) => {
    const ended = child
    child = undefined
    if (ended !== undefined && ended.exitCode === null && ended.signalCode === null) {
      const gone = once(ended, 'exit')
      ended.kill('SIGKILL')
      await gone
    }
    if (!keepsStore) await rm(store, { recursive: true, force: true })
  }
  await start()
  return {
    url: `nats://${host}:${port}`,
    port,
    configFile,
    get monitorUrl() {
      return /Starting http monitor on (\S+)/.exec(log)?.[1]?.replace(/^/, 'http://') ?? ''
    },
    get pid() {
      return child?.pid ?? 0
    },
    signal: (signal) => {
      child?.kill(signal)
    },
    stop: async () => {
      child?.kill('SIGSTOP')
      // Its threads stop one after the other.
      while (!(await standsStill(child?.pid))) await new Promise(setImmediate)
    },
    reload: async (lines) => {
      await write(lines)
      child?.kill('SIGHUP')
    },
    kill,
    start,
    [Symbol.asyncDispose]: async () => {
      await kill()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

async function standsStill(pid = 0): Promise<boolean> {
  const threads = await readdir(`/proc/${pid}/task`)
  const states = await Promise.all(
    threads.map((thread) => readFile(`/proc/${pid}/task/${thread}/stat`, 'utf8')),
  )
  return states.every((stat) => /\) T /.test(stat))
}

/** Whether something listens. */
export async function isListening(port: number, host = '127.0.0.1'): Promise<boolean> {
  const socket = connect(port, host)
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

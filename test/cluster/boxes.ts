import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { findFreePort } from '../../src/testing/real-host.ts'
import { type NatsServer, startNatsServer } from './nats-server.ts'

const main = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url))
const modelServer = fileURLToPath(new URL('../../dist/src/testing/demo-server.js', import.meta.url))

export interface BoxOptions {
  /** Flags of the model server. */
  readonly flags?: readonly string[]
  /** Further options of `localService`, of `leasehold` and of `leasehold.cluster`. */
  readonly localService?: object
  readonly leasehold?: object
  readonly cluster?: object
  /** Ids of the providers, @default ['llama'] */
  readonly providers?: readonly string[]
  /** What single providers have besides, by their id. */
  readonly services?: Readonly<Record<string, Pick<BoxOptions, 'flags' | 'localService'>>>
  /** The models of each of them. @default ['m'] */
  readonly models?: readonly string[]
  /** Address of its gateway. @default 127.0.0.1 */
  readonly host?: string
  /** Whether the others reach it by TLS. @default false */
  readonly isSecure?: boolean
  /** Words before each of its programs: `ip netns exec NAME`. */
  readonly prefix?: readonly string[]
}

/** One machine of a test: `leasehold serve` with a home of its own, and its model servers. */
export interface Box {
  readonly name: string
  readonly url: string
  readonly folder: string
  readonly child: ChildProcess | undefined
  /** What its gateway has printed so far. */
  readonly log: string
  /** Starts its gateway, with further options of `serve`, and waits until it listens. */
  start(...options: readonly string[]): Promise<void>
  /** Waits until what its gateway printed fits. */
  until(pattern: RegExp): Promise<void>
  signal(signal: NodeJS.Signals): void
  /** Ends its gateway and waits for its end. */
  end(signal?: NodeJS.Signals): Promise<void>
  /** Starts of its model servers so far, by all runs of its gateway. */
  starts(): number
  ask(options?: AskOptions): Promise<Response>
  json(path: string): Promise<unknown>
  run(
    ...args: string[]
  ): Promise<{ readonly code: number | null; readonly stdout: string; readonly stderr: string }>
}

export interface AskOptions {
  readonly model?: string
  readonly text?: string
  readonly stream?: boolean
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
}

/** Machines that share one NATS server. */
export interface Boxes extends AsyncDisposable {
  readonly nats: NatsServer
  readonly all: readonly Box[]
  /** Adds one; it is not started. */
  add(name: string, options?: BoxOptions): Promise<Box>
  /** Waits until each of the boxes sees the others. */
  untilJoined(boxes?: readonly Box[]): Promise<void>
}

export const secret = 'a secret that all members of the test share'
export const key = 'a key for the clients of every box'

export async function createBoxes(
  names: readonly string[],
  options: BoxOptions = {},
  given?: NatsServer,
): Promise<Boxes> {
  const nats = given ?? (await startNatsServer())
  const folder = mkdtempSync(join(tmpdir(), 'leasehold-boxes-'))
  const all: Box[] = []
  const add = async (name: string, more: BoxOptions = options) => {
    const box = await createBox(join(folder, name), name, nats.url, more)
    all.push(box)
    return box
  }
  for (const name of names) await add(name)
  return {
    nats,
    all,
    add,
    untilJoined: async (boxes = all) => {
      await Promise.all(
        boxes.flatMap((box) =>
          boxes.flatMap((other) =>
            other === box ? [] : [box.until(new RegExp(`member ${other.name} \\(.*is there`))],
          ),
        ),
      )
    },
    [Symbol.asyncDispose]: async () => {
      await Promise.all(all.map((box) => box.end('SIGKILL')))
      await nats[Symbol.asyncDispose]()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

async function createBox(
  folder: string,
  name: string,
  natsUrl: string,
  {
    flags = [],
    localService = {},
    leasehold = {},
    cluster = {},
    providers = ['llama'],
    services = {},
    models = ['m'],
    host = '127.0.0.1',
    isSecure = false,
    prefix = [],
  }: BoxOptions,
): Promise<Box> {
  mkdirSync(folder)
  const port = await findFreePort()
  const starts = join(folder, 'starts')
  writeFileSync(starts, '')
  const entries = await Promise.all(
    providers.map(async (id) => {
      const modelPort = await findFreePort()
      // The shell says that it starts, and becomes the server.
      const line = 'echo start >> "$0"; exec "$@"'
      const command = [
        process.execPath,
        modelServer,
        '--port',
        String(modelPort),
        '--models',
        models.join(),
        ...flags,
        ...(services[id]?.flags ?? []),
      ]
      return [
        id,
        {
          baseUrl: `http://127.0.0.1:${modelPort}/v1`,
          models: models.map((id) => ({ id })),
          localService: {
            command: '/bin/sh',
            args: ['-c', line, starts, ...command],
            stopGraceMs: 2000,
            ...localService,
            ...services[id]?.localService,
          },
        },
      ] as const
    }),
  )
  const configFile = join(folder, 'leasehold.json5')
  const url = `http://${host}:${port}`
  const address = `${isSecure ? 'https' : 'http'}://${host}:${port}`
  writeFileSync(
    configFile,
    JSON.stringify({
      models: { providers: Object.fromEntries(entries) },
      leasehold: {
        host,
        port,
        apiKeys: [key],
        ...leasehold,
        cluster: { servers: [natsUrl], secret, member: name, address, ...cluster },
      },
    }),
    { mode: 0o600 },
  )
  const env = {
    PATH: process.env.PATH,
    HOME: folder,
    XDG_STATE_HOME: join(folder, 'state'),
    LEASEHOLD_STATE_DIR: join(folder, 'state'),
    LEASEHOLD_CONFIG: configFile,
    LEASEHOLD_API_KEY: key,
    NO_COLOR: '1',
  }
  const begin = (args: readonly string[]) => {
    const [program = process.execPath, ...words] = [...prefix, process.execPath, main, ...args]
    return spawn(program, words, { cwd: folder, env, stdio: ['ignore', 'pipe', 'pipe'] })
  }
  let child: ChildProcess | undefined
  let log = ''
  const waiters = new Set<() => void>()
  const hear = (data: unknown) => {
    log += String(data)
    for (const look of waiters) look()
  }
  const until = (pattern: RegExp) =>
    new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => {
        waiters.delete(look)
        reject(new Error(`${name} did not print ${pattern}:\n${log}`))
      }, 60_000)
      const look = () => {
        if (!pattern.test(log)) return
        clearTimeout(timer)
        waiters.delete(look)
        resolve()
      }
      waiters.add(look)
      look()
    })
  return {
    name,
    url,
    folder,
    get child() {
      return child
    },
    get log() {
      return log
    },
    start: async (...options) => {
      log = ''
      const begun = begin(['serve', ...options])
      child = begun
      begun.stdout?.on('data', hear)
      begun.stderr?.on('data', hear)
      await Promise.race([
        until(/listens on/),
        once(begun, 'exit').then(() => {
          throw new Error(`${name} ended:\n${log}`)
        }),
      ])
    },
    until,
    signal: (signal) => {
      child?.kill(signal)
    },
    end: async (signal = 'SIGTERM') => {
      const ended = child
      child = undefined
      if (ended === undefined || ended.exitCode !== null || ended.signalCode !== null) return
      const gone = once(ended, 'exit')
      ended.kill(signal)
      if (signal === 'SIGKILL') ended.kill('SIGCONT')
      await gone
    },
    starts: () => readFileSync(starts, 'utf8').split('\n').length - 1,
    ask: ({ model = 'llama/m', text = 'What is 6 * 7?', stream = false, headers = {}, signal } = {}) =>
      fetch(`${url}/v1/chat/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${key}`, ...headers },
        body: JSON.stringify({ model, stream, messages: [{ role: 'user', content: text }] }),
        ...(signal === undefined ? {} : { signal }),
      }),
    json: async (path) => {
      const response = await fetch(url + path, { headers: { authorization: `Bearer ${key}` } })
      return response.json()
    },
    run: async (...args) => {
      const one = begin(args)
      let stdout = ''
      let stderr = ''
      one.stdout?.on('data', (data) => {
        stdout += String(data)
      })
      one.stderr?.on('data', (data) => {
        stderr += String(data)
      })
      const [code] = await once(one, 'close')
      return { code, stdout, stderr }
    },
  }
}

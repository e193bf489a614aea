import { createSocket } from 'node:dgram'
import { readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { VerdictKind } from '../../machines/messages.ts'
import { createServer } from '../net/http.ts'
import { isPortFree } from '../process/tcp-ports.ts'
import { isAlive } from '../process/tree.ts'
import { defaultWorld, type WorldOptions } from './world.ts'

/** The parts of a world that can be arranged on a real host, from outside the processes. */
export const realWorldOptions = [
  'probe',
  'readyAfterMs',
  'exitAfterMs',
  'exitCode',
  'termMs',
  'canSpawn',
  // What is no program is not tried again on a real host, so a script may say so.
  'retry',
] as const satisfies readonly (keyof WorldOptions)[]

/** A port of this host, a program to run on it, and the stranger who may answer there first. */
export interface RealHost {
  readonly port: number
  /** The program; what it does is decided when it is spawned. */
  readonly command: string
  readonly args: readonly string[]
  /**
   * Changes how the outside behaves. A change of the program is for its next spawn, but for `termMs`, which
   * a process that runs is told too. @throws {@link Error} when the port is taken, or that process does not answer.
   */
  set(changes: Partial<WorldOptions>, isRunning: boolean): Promise<void>
  close(): Promise<void>
}

/** Prepares a host: a free port, and a program in a temporary directory that becomes the demo server. */
export async function createRealHost(initial: Partial<WorldOptions>): Promise<RealHost> {
  let options: WorldOptions = { ...defaultWorld, ...initial }
  const port = await findFreePort()
  const stranger = createStranger(port)
  await stranger.play(options.probe)
  const directory = await mkdtemp(join(tmpdir(), 'leasehold-script-'))
  const command = join(directory, 'server.mjs')

  const writeProgram = async () => {
    // A program that is just being spawned must not be written to, so each version is a new file.
    await writeFile(`${command}.new`, buildProgram(options), { mode: 0o755 })
    await rename(`${command}.new`, command)
  }
  await writeProgram()

  return {
    port,
    command,
    args: ['--port', String(port), '--control'],
    set: async (changes, isRunning) => {
      options = { ...options, ...changes }
      await writeProgram()
      if (changes.probe !== undefined) await stranger.play(changes.probe)
      if (changes.termMs === undefined || !isRunning) return
      const body = JSON.stringify(buildTermOptions(options))
      const { status } = await fetch(`http://127.0.0.1:${port}/__control`, { method: 'POST', body })
      if (status !== 200) throw new Error(`The running process refused ${body} with ${status}.`)
    },
    close: async () => {
      await stranger.play('refused')
      await rm(directory, { recursive: true })
    },
  }
}

/**
 * A free port of 127.0.0.1. It is below the range that systems take outgoing ports from: one that
 * was free a moment ago could otherwise become our own end of a connection. Until this process ends it gets no other
 * one that asks here, in any process: its number is taken for UDP, which a server that listens does not need.
 */
export async function findFreePort(): Promise<number> {
  const port = 20_000 + Math.floor(Math.random() * 12_000)
  return (await isPortFree('127.0.0.1', port)) && (await reserve(port)) ? port : findFreePort()
}

/** Whether no process had it. */
function reserve(port: number): Promise<boolean> {
  const socket = createSocket('udp4').unref()
  return new Promise((resolve) => {
    socket.once('error', () => {
      socket.close()
      resolve(false)
    })
    socket.bind({ port, address: '127.0.0.1', exclusive: true }, () => resolve(true))
  })
}

/** Living processes that carry an environment marker, `LEASEHOLD_GENERATION=…`. Without a `/proc`: none are seen. */
export function findMarked(marker: string): readonly number[] {
  return listProcesses().filter((pid) => isAlive(pid) && readEnvironment(pid).includes(marker))
}

function listProcesses(): number[] {
  try {
    return readdirSync('/proc').map(Number).filter(Number.isInteger)
  } catch {
    return []
  }
}

function readEnvironment(pid: number): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0')
  } catch {
    // It has ended, or belongs to another user.
    return []
  }
}

/** Under vitest this module lies in `src/`, and the program that Node can run is the one that was built. */
const demoServer = new URL(
  import.meta.url.endsWith('.ts') ? '../../dist/src/testing/demo-server.js' : './demo-server.js',
  import.meta.url,
)

/** Longest load there is: a timer holds no more. */
const NEVER_READY_MS = 2 ** 31 - 1

function buildProgram(options: WorldOptions): string {
  if (!options.canSpawn) return 'This is no program.\n'
  const { readyAfterMs, exitAfterMs, exitCode } = options
  const { ignoreSigterm, exitOnSigtermMs } = buildTermOptions(options)
  const flags = [
    ...['--load-ms', String(readyAfterMs ?? NEVER_READY_MS)],
    ...['--exit-on-sigterm-ms', String(exitOnSigtermMs)],
    ...(ignoreSigterm ? ['--ignore-sigterm'] : []),
  ]
  return [
    `#!${process.execPath}`,
    exitAfterMs === null ? '' : `setTimeout(() => process.exit(${exitCode}), ${exitAfterMs})`,
    `import { runDemoServer } from ${JSON.stringify(demoServer.href)}`,
    `runDemoServer([...process.argv.slice(2), ...${JSON.stringify(flags)}])`,
    '',
  ].join('\n')
}

function buildTermOptions({ termMs }: WorldOptions) {
  return { ignoreSigterm: termMs === null, exitOnSigtermMs: termMs ?? 0 }
}

const STRANGERS_ANSWERS = {
  loading: [503, { error: { message: 'Loading model' } }],
  ready: [200, { status: 'ok', data: [] }],
  failed: [500, { status: 'error' }],
  foreign: [404, { error: { message: 'no such page' } }],
} as const

/** A foreign server: it answers every request so that a probe gets the wanted verdict. */
function createStranger(port: number) {
  let kind: VerdictKind = 'refused'
  const server = createServer((_, response) => {
    if (kind === 'refused') return response.destroy()
    const [status, body] = STRANGERS_ANSWERS[kind]
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
  })
  const close = () =>
    new Promise((resolve) => {
      server.close(resolve)
      server.closeAllConnections()
    })
  const listen = () =>
    new Promise<void>((resolve, reject) => {
      server.once('error', reject).listen(port, '127.0.0.1', resolve)
    })

  return {
    /** From now on a probe finds this; `refused` closes the port. */
    play: async (next: VerdictKind) => {
      kind = next
      if (server.listening && next === 'refused') await close()
      if (!server.listening && next !== 'refused') await listen()
    },
  }
}

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { findFreePort } from '../../src/testing/real-host.ts'
import { keepFiles, keepOutput, toCanaryEnvironment } from '../canary.ts'

const main = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url))

/** How long a test waits for a line of a command, in milliseconds. */
const PRINTS_WITHIN_MS = 30_000

/** How a command ended, and all it printed. */
export interface Ending {
  readonly code: number | null
  readonly signal: string | null
  readonly stdout: string
  readonly stderr: string
}

/** A command under way. */
export interface Running {
  readonly child: ChildProcess
  /** Waits until what it printed on either stream fits. */
  until(pattern: RegExp): Promise<RegExpExecArray>
  readonly ended: Promise<Ending>
}

/** A folder, a port and a home of one test: commands that run here see no other configuration and no other gateway. */
export interface Place extends AsyncDisposable {
  readonly folder: string
  /** Where the model server of this place listens. */
  readonly modelPort: number
  /** Where a gateway of this place would listen. */
  readonly gatewayPort: number
  /** Writes a file and gives its path. */
  write(name: string, text: string): string
  /** Writes `leasehold.json5`: the demo server with these flags, and further options of `localService`. */
  configure(flags?: readonly string[], localService?: object): void
  start(...args: string[]): Running
  run(...args: string[]): Promise<Ending>
  /** The same, with a standard input that goes on until the caller ends it. */
  startWithInput(...args: string[]): Running
  /** Command lines of living processes that belong to this place's model server. */
  strays(): string[]
}

/** Makes a place. Leaving it ends what still runs there. */
export async function createPlace(env: Readonly<Record<string, string>> = {}): Promise<Place> {
  const folder = mkdtempSync(join(tmpdir(), 'leasehold-cli-'))
  // Not from the range that port 0 takes from: a gateway of another test might take it.
  const modelPort = await findFreePort()
  const gatewayPort = await findFreePort()
  const running: Running[] = []
  const written = new Set<string>()
  const environment = {
    PATH: process.env.PATH,
    HOME: folder,
    XDG_STATE_HOME: join(folder, 'state'),
    NO_COLOR: '1',
    ...toCanaryEnvironment(),
    ...env,
  }
  const write = (name: string, text: string) => {
    const file = join(folder, name)
    written.add(file)
    writeFileSync(file, text, { mode: 0o600 })
    return file
  }
  const place: Place = {
    folder,
    modelPort,
    gatewayPort,
    write,
    configure: (flags = [], localService = {}) => {
      write(
        'leasehold.json5',
        JSON.stringify(toConfiguration({ modelPort, gatewayPort, flags, localService })),
      )
    },
    start: (...args) => {
      const started = launch(process.execPath, [main, ...args], { cwd: folder, env: environment })
      running.push(started)
      return started
    },
    run: (...args) => place.start(...args).ended,
    startWithInput: (...args) => {
      const started = launch(process.execPath, [main, ...args], {
        cwd: folder,
        env: environment,
        hasInput: true,
      })
      running.push(started)
      return started
    },
    strays: () => listCommandLines().filter((line) => line.includes(` --port ${modelPort} `)),
    [Symbol.asyncDispose]: async () => {
      for (const { child } of running)
        if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM')
      await Promise.all(running.map(({ ended }) => ended))
      keepFiles(folder, written)
      rmSync(folder, { recursive: true, force: true })
    },
  }
  return place
}

/** Starts a program, with nothing on its standard input unless `hasInput`. */
export function launch(
  command: string,
  args: readonly string[],
  {
    hasInput = false,
    ...options
  }: {
    readonly cwd: string
    readonly env: NodeJS.ProcessEnv
    readonly detached?: boolean
    readonly hasInput?: boolean
  },
): Running {
  const child = spawn(command, args, { ...options, stdio: ['pipe', 'pipe', 'pipe'] })
  let stdout = ''
  let stderr = ''
  if (!hasInput) child.stdin?.end()
  child.stdout?.setEncoding('utf8').on('data', (text) => {
    stdout += text
  })
  child.stderr?.setEncoding('utf8').on('data', (text) => {
    stderr += text
  })
  const until = (pattern: RegExp) =>
    new Promise<RegExpExecArray>((resolve, reject) => {
      const look = () => {
        const match = pattern.exec(stdout + stderr)
        if (match === null) return
        settle()
        resolve(match)
      }
      const giveUp = () => {
        settle()
        reject(new Error(`${args.join(' ')} did not print ${pattern}, but:\n${stdout}${stderr}`))
      }
      const timer = setTimeout(giveUp, PRINTS_WITHIN_MS)
      const settle = () => {
        clearTimeout(timer)
        child.stdout?.off('data', look)
        child.stderr?.off('data', look)
        child.off('close', giveUp)
      }
      child.stdout?.on('data', look)
      child.stderr?.on('data', look)
      child.once('close', giveUp)
      look()
    })
  const ended = once(child, 'close').then(([code, signal]) => {
    keepOutput('printed', `${args.join(' ')}\n${stdout}\n${stderr}\n`)
    return { code, signal, stdout, stderr }
  })
  return { child, until, ended }
}

/** The program of the command line, for tests that call it through another program. */
export const program = main

function toConfiguration({
  modelPort,
  gatewayPort,
  flags,
  localService,
}: {
  readonly modelPort: number
  readonly gatewayPort: number
  readonly flags: readonly string[]
  readonly localService: object
}): object {
  return {
    leasehold: { port: gatewayPort },
    models: {
      providers: {
        demo: {
          baseUrl: `http://127.0.0.1:${modelPort}/v1`,
          localService: {
            command: process.execPath,
            args: [main, 'demo-server', '--port', String(modelPort), '--models', 'sums', ...flags],
            healthUrl: `http://127.0.0.1:${modelPort}/health`,
            ...localService,
          },
          models: [{ id: 'sums' }],
        },
      },
    },
    agents: { defaults: { model: 'demo/sums', models: { 'demo/sums': { alias: 'calc' } } } },
  }
}

/** The command lines of all processes of this host. */
export function listCommandLines(): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        return [readFileSync(`/proc/${name}/cmdline`, 'utf8').replaceAll('\0', ' ')]
      } catch {
        return []
      }
    })
}

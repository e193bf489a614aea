import { spawn } from 'node:child_process'
import { execPath, platform } from 'node:process'
import { type Clock, settledWithin } from '../clock.ts'
import { toShortText } from '../text/plain-text.ts'
import { REQUESTS } from '../text/requests-mark.ts'
import { requestsProgram } from './requests-program.ts'

/** A program and its arguments, without a shell. The program is an absolute path, or our own one that sends requests. */
export type Command = readonly string[]

/** A command as it is executed. */
export function toArgv(command: Command): Command {
  const [program, ...args] = command
  return program === REQUESTS
    ? [execPath, '--input-type=commonjs', '--eval', requestsProgram, ...args]
    : command
}

/** How a command ended. */
export interface CommandResult {
  /** `null`: it could not be run, was killed, or did not end in time. */
  readonly exitCode: number | null
  /** The first line that it printed to stdout, without white space around it. Empty: none. */
  readonly output: string
  /** Why it failed: the first line on stderr, else what the system said. */
  readonly detail?: string
}

export interface CommandOptions {
  readonly env: Readonly<Record<string, string>>
  readonly cwd?: string | undefined
  readonly clock: Clock
  /** After this it is killed, with its group, in milliseconds. */
  readonly timeoutMs: number
}

/** Of each stream so much is read, in bytes: an id, or the line that says why. */
const MAX_BYTES = 4_096
const MAX_DETAIL = 300
/** How long its pipes are read after its exit, in milliseconds. */
const LAST_WORDS_MS = 1_000

/** Runs a command to its end, in a group of its own that a terminal's Ctrl-C does not reach. Never rejects. */
export function runCommand(
  command: Command,
  { env, cwd, clock, timeoutMs }: CommandOptions,
): Promise<CommandResult> {
  const [program = '', ...args] = toArgv(command)
  return new Promise((resolve) => {
    const said = { stdout: '', stderr: '' }
    const fail = (detail: string) => resolve({ exitCode: null, output: '', detail })
    let child: ReturnType<typeof spawn>
    try {
      child = spawn(program, args, {
        ...(cwd === undefined ? {} : { cwd }),
        env: { ...env },
        detached: platform !== 'win32',
        stdio: ['ignore', 'pipe', 'pipe'],
        windowsHide: true,
      })
    } catch (error) {
      return fail(error instanceof Error ? error.message : String(error))
    }
    const timer = clock.setTimeout(() => {
      killGroup(child.pid)
      end(null, `it did not end within ${Math.round(timeoutMs)} ms`)
    }, timeoutMs)
    const end = (exitCode: number | null, reason?: string) => {
      clock.clearTimeout(timer)
      // A process that it left behind may hold the pipes.
      child.stdout?.destroy()
      child.stderr?.destroy()
      const detail = findFirstLine(said.stderr) || reason
      resolve({
        exitCode,
        output: findFirstLine(said.stdout),
        ...(detail === undefined ? {} : { detail: toShortText(detail, MAX_DETAIL) }),
      })
    }
    for (const name of ['stdout', 'stderr'] as const)
      child[name]?.setEncoding('utf8').on('data', (text: string) => {
        said[name] = (said[name] + text).slice(0, MAX_BYTES)
      })
    child.once('error', (error) => end(null, error.message))
    const closed = new Promise<void>((resolveClosed) => {
      child.once('close', () => resolveClosed())
    })
    child.once('exit', async (exitCode, signal) => {
      clock.clearTimeout(timer)
      // The last words are in the pipes. A process that holds these longer is not waited for.
      await settledWithin(clock, closed, LAST_WORDS_MS)
      end(exitCode, signal === null ? undefined : `it was ended by ${signal}`)
    })
  })
}

/** SIGKILL to the group that a program of ours leads. On Windows, which has no groups, to the program. */
export function killGroup(pid: number | undefined): void {
  try {
    if (pid !== undefined) process.kill(platform === 'win32' ? pid : -pid, 'SIGKILL')
  } catch {
    // It has ended in this instant.
  }
}

function findFirstLine(text: string): string {
  return (
    text
      .split('\n')
      .map((line) => line.trim())
      .find((line) => line !== '') ?? ''
  )
}

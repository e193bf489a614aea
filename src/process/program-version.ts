import { spawn } from 'node:child_process'
import type { Clock } from '../clock.ts'
import { toPlainText } from '../text/plain-text.ts'
import { killGroup } from './command.ts'

/** How long a program may take to tell its version, in milliseconds. */
const VERSION_TIMEOUT_MS = 5_000
const MAX_OUTPUT_BYTES = 65_536
const MAX_LINE = 160
/** How long the pipes of a program that has ended are read, in milliseconds. */
const PIPES_MS = 200

export interface VersionOptions {
  readonly env: Readonly<Record<string, string>>
  readonly cwd?: string | undefined
  readonly clock: Clock
  /** Ends the program at once. */
  readonly signal?: AbortSignal | undefined
  /** @default 5_000 */
  readonly timeoutMs?: number
}

/**
 * What a program prints for `--version`: the first line with a number that looks like one, on either stream.
 * `undefined`: it does not tell within five seconds. Its whole process group is ended then.
 */
export function readProgramVersion(
  command: string,
  { env, cwd, clock, signal, timeoutMs = VERSION_TIMEOUT_MS }: VersionOptions,
): Promise<string | undefined> {
  if (signal?.aborted === true) return Promise.resolve(undefined)
  return new Promise((resolve) => {
    let output = ''
    const child = spawn(command, ['--version'], {
      env,
      cwd,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const settle = (isOver: boolean) => {
      clock.clearTimeout(timer)
      signal?.removeEventListener('abort', giveUp)
      // A process that it left behind holds the pipes.
      child.stdout.destroy()
      child.stderr.destroy()
      killGroup(child.pid)
      resolve(isOver ? findVersion(output) : undefined)
    }
    const giveUp = () => settle(false)
    let timer = clock.setTimeout(giveUp, timeoutMs)
    signal?.addEventListener('abort', giveUp, { once: true })
    const collect = (chunk: Buffer) => {
      output += chunk.toString('utf8')
      if (output.length > MAX_OUTPUT_BYTES) settle(true)
    }
    child.stdout.on('data', collect)
    child.stderr.on('data', collect)
    child.once('error', giveUp)
    child.once('close', () => settle(true))
    // What it left in the background may hold the pipes open.
    child.once('exit', () => {
      clock.clearTimeout(timer)
      timer = clock.setTimeout(() => settle(true), PIPES_MS)
    })
  })
}

function findVersion(output: string): string | undefined {
  const lines = output
    .split('\n')
    .map((line) => toPlainText(line).trim())
    .filter((line) => line !== '')
  return lines.find((line) => /\d+\.\d+|\bversion\b|\bb\d{3,}\b/i.test(line))?.slice(0, MAX_LINE)
}

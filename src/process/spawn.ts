import { type ChildProcess, spawn } from 'node:child_process'
import { constants, readFileSync, writeFileSync } from 'node:fs'
import { access, stat } from 'node:fs/promises'
import { platform } from 'node:process'
import type { Readable } from 'node:stream'
import type { Failure } from '../../machines/messages.ts'
import type { Markers } from './environment.ts'
import { checkExecutable } from './executable.ts'
import { readProcess, type TreeRoot } from './tree.ts'

/** How a process ended: by a code or by a signal, the other one is `null`. */
export interface ExitStatus {
  readonly exitCode: number | null
  readonly signal: string | null
}

/** A process we spawned, with our ends of its pipes. The root of its tree. */
export interface OwnedChild extends TreeRoot {
  readonly stdout: Readable
  readonly stderr: Readable
  /** Settles in the tick in which the kernel's report of the exit reaches us. */
  readonly exited: Promise<ExitStatus>
  /** How it ended, once that was reported. Until then its number cannot be used by another process. */
  exitStatus(): ExitStatus | undefined
  /** Settles when it has exited and both pipes are closed, also by other processes that held them. */
  readonly drained: Promise<void>
  /** Closes our ends of its pipes, so that a stranger who holds the others holds nothing of ours. */
  releasePipes(): void
}

/** What to run. */
export interface SpawnOptions {
  /** Absolute path. Executed as it is written, because programs look at the name they are called by. */
  readonly command: string
  readonly args: readonly string[]
  /** @default the directory of this process */
  readonly cwd?: string
  /** The whole environment, markers included. */
  readonly env: Readonly<Record<string, string>>
  readonly markers: Markers
  /** Nothing is spawned once this is aborted. */
  readonly signal?: AbortSignal
  /** Called with the child in the tick of its birth, before anything else can happen to it. */
  readonly onSpawn?: (child: OwnedChild) => void
}

/** A child, or why there is none, and what trying again is good for. */
export type SpawnResult =
  | { readonly ok: true; readonly child: OwnedChild }
  | { readonly ok: false; readonly failure: Failure }

/**
 * Spawns a program without a shell, as the leader of a session and group of its own on POSIX, with nothing
 * on stdin and a pipe for each of stdout and stderr, which must be read. Never rejects: what Node throws,
 * what it emits and what it would report misleadingly (a missing working directory as a missing command)
 * all arrive as a `LEASEHOLD_SPAWN_FAILED` that names what is wrong.
 */
export async function spawnChild(options: SpawnOptions): Promise<SpawnResult> {
  const problem = findNulProblem(options) ?? (await findCwdProblem(options.cwd))
  const checked = await checkExecutable(options.command)
  if (options.signal?.aborted) return STOPPED_EARLY
  if (problem !== undefined) return fail(problem, 'never')
  if (!checked.ok) return fail(`the command ${checked.reason}`, checked.isTransient ? 'later' : 'never')
  let spawned: ChildProcess
  try {
    spawned = start(options)
  } catch (error) {
    return buildFailure(error, options)
  }
  if (spawned.pid === undefined) return buildFailure(await nextError(spawned), options)
  const child = buildOwnedChild(spawned, spawned.pid, options.markers)
  // First of all: what it forks from now on inherits it.
  raiseOomScore(child.pid)
  options.onSpawn?.(child)
  return { ok: true, child }
}

const STOPPED_EARLY: SpawnResult = {
  ok: false,
  failure: { code: 'LEASEHOLD_SPAWN_FAILED', message: 'stopped before its process was spawned' },
}

function start({ command, args, cwd, env }: SpawnOptions): ChildProcess {
  return spawn(command, args, {
    ...(cwd === undefined ? {} : { cwd }),
    env: { ...env },
    // On Windows a detached child would leave the job that ends it together with us.
    detached: platform !== 'win32',
    stdio: ['ignore', 'pipe', 'pipe'],
    windowsHide: true,
  })
}

function nextError(spawned: ChildProcess): Promise<unknown> {
  return new Promise((resolve) => {
    spawned.once('error', resolve)
  })
}

function buildOwnedChild(spawned: ChildProcess, pid: number, markers: Markers): OwnedChild {
  const { stdout, stderr } = spawned
  if (stdout === null || stderr === null) throw new Error('spawn gave no pipes')
  let status: ExitStatus | undefined
  const exited = new Promise<ExitStatus>((resolve) => {
    spawned.once('exit', (exitCode, signal) => {
      status = { exitCode, signal }
      resolve(status)
    })
  })
  const drained = new Promise<void>((resolve) => {
    spawned.once('close', () => resolve())
  })
  // Without a listener an error event would end this process; all that matters is reported by exit and close.
  spawned.on('error', () => {})
  return {
    pid,
    startTicks: readProcess(pid)?.startTicks,
    markers,
    stdout,
    stderr,
    exited,
    exitStatus: () => status,
    drained,
    releasePipes() {
      stdout.destroy()
      stderr.destroy()
    },
  }
}

/** At least this, and above our own, so that the kernel short of memory ends the model and not its supervisor. */
const OOM_SCORE = 500
const OOM_DISTANCE = 100
const MAX_OOM_SCORE = 1_000

export function raiseOomScore(pid: number): void {
  if (platform !== 'linux') return
  const file = `/proc/${pid}/oom_score_adj`
  try {
    const own = Number(readFileSync('/proc/self/oom_score_adj', 'latin1'))
    const score = Math.min(MAX_OOM_SCORE, Math.max(OOM_SCORE, own + OOM_DISTANCE))
    if (Number(readFileSync(file, 'latin1')) < score) writeFileSync(file, String(score))
  } catch {
    // A wish: the child runs as well without it.
  }
}

/** Node's own message for a NUL byte quotes the value, which may be a secret of the environment. */
function findNulProblem({ command, args, cwd = '', env }: SpawnOptions): string | undefined {
  if (command.includes('\0')) return 'the command contains a NUL byte'
  if (cwd.includes('\0')) return 'the working directory contains a NUL byte'
  const argument = args.findIndex((value) => value.includes('\0'))
  if (argument !== -1) return `argument ${argument + 1} contains a NUL byte`
  const variable = Object.entries(env).find((pair) => pair.join('').includes('\0'))
  return variable && `the environment variable ${JSON.stringify(variable[0])} contains a NUL byte`
}

async function findCwdProblem(cwd: string | undefined): Promise<string | undefined> {
  if (cwd === undefined) return undefined
  try {
    if (!(await stat(cwd)).isDirectory()) return `the working directory "${cwd}" is not a directory`
    await access(cwd, constants.X_OK)
    return undefined
  } catch (error) {
    const code = findCode(error)
    return code === 'ENOENT'
      ? `the working directory "${cwd}" does not exist`
      : `the working directory "${cwd}" cannot be entered (${code})`
  }
}

const TRANSIENT: Readonly<Record<string, string>> = {
  EMFILE: 'this process has too many files open',
  ENFILE: 'this host has too many files open',
  EAGAIN: 'this host allows no more processes',
  ENOMEM: 'this host has too little memory',
  ETXTBSY: 'the command is being written to',
}
const LASTING: Readonly<Record<string, string>> = {
  E2BIG: 'the arguments and the environment together are too long',
  ENOENT: 'the command, or the loader it asks for, does not exist',
  ENOTDIR: 'a part of a path is not a directory',
  EACCES: 'permission was denied',
}

function buildFailure(error: unknown, { command }: SpawnOptions): SpawnResult {
  const code = findCode(error)
  const reason = TRANSIENT[code] ?? LASTING[code] ?? 'the system refused'
  const retry = code in TRANSIENT ? 'later' : code in LASTING ? 'never' : undefined
  return fail(`"${command}" could not be spawned: ${reason} (${code})`, retry)
}

function fail(message: string, retry: Failure['retry']): SpawnResult {
  const failure = { code: 'LEASEHOLD_SPAWN_FAILED', message } as const
  return { ok: false, failure: retry === undefined ? failure : { ...failure, retry } }
}

function findCode(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown error'
}

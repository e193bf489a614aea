import { existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { findCanary, releaseCanary, toCanaryEnvironment } from './canary.ts'

/** How long a process that was told to end may take, in milliseconds. */
const PATIENCE_MS = 5_000

/** Files and folders that only a test of this run makes in its directory, and must remove. */
const OURS = /^(leasehold|killed|playwright|\.?(org|com)\.chromium)/i

let directory = ''
let canary = ''

/**
 * Gives the run a temporary directory of its own. It is also the mark of its processes, by which they differ from
 * the ones of another run on the same host: every process inherits `TMPDIR`, the servers of leasehold too. Where a host
 * keeps secrets there is a canary.
 */
export function setup(): void {
  directory = mkdtempSync(join(tmpdir(), 'leasehold-run-'))
  process.env.TMPDIR = directory
  // Supervisors of the tests know each other, and no other supervisor of this user.
  process.env.LEASEHOLD_STATE_DIR = join(directory, 'state')
  canary = releaseCanary(directory)
  Object.assign(process.env, toCanaryEnvironment(canary))
}

/**
 * Fails the run when a process of it, or a file of leasehold's or of a browser, is left, or when a secret is in what
 * was printed or written. A port or an abstract socket that is left has a process. Without a `/proc`: only files.
 */
export async function teardown(patienceMs?: unknown): Promise<void> {
  const giveUpAtMs = performance.now() + (typeof patienceMs === 'number' ? patienceMs : PATIENCE_MS)
  while (listProcesses().length > 0 && performance.now() < giveUpAtMs) await delay(50)
  const left = [
    ...listProcesses().map((pid) => `process ${pid}: ${read(pid, 'cmdline').replaceAll('\0', ' ')}`),
    ...readdirSync(directory)
      .filter((name) => OURS.test(name))
      .map((name) => `file ${join(directory, name)}`),
    ...findCanary(directory, canary).map((file) => `a secret in ${file}: ${excerpt(file)}`),
  ]
  rmSync(directory, { recursive: true, force: true })
  if (left.length === 0) return
  process.exitCode = 1
  throw new Error(`The tests left behind:\n  ${left.join('\n  ')}`)
}

/** The text around the secret, to find the leak. */
function excerpt(file: string): string {
  const text = readFileSync(file, 'latin1')
  const at = Math.max(0, text.indexOf(canary))
  return JSON.stringify(text.slice(Math.max(0, at - 200), at + 100))
}

/**
 * Living processes of this run, without the workers of vitest: those are our own children. Some have an environment of
 * their own, or write over it as browsers do: they work in the directory, or name it.
 */
function listProcesses(): number[] {
  if (!existsSync('/proc')) return []
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => Number.isInteger(pid) && pid !== process.pid && readParent(pid) !== process.pid)
    .filter((pid) => {
      const places = [read(pid, 'environ'), read(pid, 'cmdline'), readWorkingDirectory(pid)]
      return places.some((text) => text.includes(directory)) && !isDead(pid)
    })
}

function isDead(pid: number): boolean {
  return /.*\) [ZX] /s.test(read(pid, 'stat'))
}

function readWorkingDirectory(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/cwd`)
  } catch {
    return ''
  }
}

function readParent(pid: number): number {
  // The name before it, in parentheses, may hold anything.
  return Number(/.*\) \S (\d+)/s.exec(read(pid, 'stat'))?.[1])
}

function read(pid: number, file: 'environ' | 'cmdline' | 'stat'): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'latin1')
  } catch {
    // It has ended, or belongs to another user.
    return ''
  }
}

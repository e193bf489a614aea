import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

/** How long a process that was told to end may take, in milliseconds. */
const PATIENCE_MS = 5_000

let directory = ''

/**
 * Gives the run a temporary directory of its own. It is also the mark of its processes, by which they differ from
 * those of another run on the same host: every process inherits `TMPDIR`, those that leasehold starts too.
 */
export function setup(): void {
  directory = mkdtempSync(join(tmpdir(), 'leasehold-run-'))
  process.env.TMPDIR = directory
  // Supervisors of the tests know each other, and none of those that this user runs besides.
  process.env.LEASEHOLD_STATE_DIR = join(directory, 'state')
}

/** Fails the run when a process of it, or a temporary file of leasehold's, is left. Without a `/proc`: only files. */
export async function teardown(): Promise<void> {
  const giveUpAtMs = performance.now() + PATIENCE_MS
  while (listProcesses().length > 0 && performance.now() < giveUpAtMs) await delay(50)
  const left = [
    ...listProcesses().map((pid) => `process ${pid}: ${read(pid, 'cmdline').replaceAll('\0', ' ')}`),
    ...readdirSync(directory)
      .filter((name) => name.startsWith('leasehold-'))
      .map((name) => `file ${join(directory, name)}`),
  ]
  rmSync(directory, { recursive: true, force: true })
  if (left.length === 0) return
  process.exitCode = 1
  throw new Error(`The tests left behind:\n  ${left.join('\n  ')}`)
}

/** Living processes of this run, without the workers of vitest: those are our own children. */
function listProcesses(): number[] {
  if (!existsSync('/proc')) return []
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => Number.isInteger(pid) && readParent(pid) !== process.pid)
    .filter((pid) => read(pid, 'environ').split('\0').includes(`TMPDIR=${directory}`))
}

function readParent(pid: number): number {
  // The name before it, in parentheses, may hold anything.
  return Number(/.*\) \S (\d+)/s.exec(read(pid, 'stat'))?.[1])
}

function read(pid: number, file: 'environ' | 'cmdline' | 'stat'): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'latin1')
  } catch {
    // It has ended, or belongs to somebody else.
    return ''
  }
}

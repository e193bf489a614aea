import { type ChildProcess, spawn } from 'node:child_process'
import { Socket } from 'node:net'
import { execPath, pid as ownPid, platform } from 'node:process'
import { toChildEnvironment } from './environment.ts'
import type { TreeRoot } from './tree.ts'
import { readProcess } from './tree.ts'
import { watchSupervisor } from './watchdog-program.ts'

/** What a watchdog works with. */
export interface WatchdogOptions {
  /** The value of `LEASEHOLD_OWNER` in the environment of every process that is to end with us. */
  readonly owner: string
  /** The host's environment, from which the watchdog is given the part a child is given. */
  readonly environment: Readonly<Record<string, string | undefined>>
  /** Told once, when no watchdog can be kept running. @default a process warning */
  readonly onWarning?: (message: string) => void
}

/**
 * A process of its own that ends our trees when we are gone, however that came about. It knows from the end of a pipe
 * that only we hold open. One that dies is replaced and told everything again.
 */
export interface Watchdog {
  /** Names a child whose group ends with us. To be called in the tick of its birth. Nothing happens once closed. */
  arm(child: Pick<TreeRoot, 'pid' | 'startTicks'>): void
  /** Forgets a child whose tree has ended. */
  disarm(pid: number): void
  /** The watchdog's own pid, while there is one. */
  pid(): number | undefined
  /** Tells it to go, without a signal to anybody. Settles when it has ended. Idempotent. */
  close(): Promise<void>
}

/** A watchdog that dies younger than this, in milliseconds, may be unable to live here. */
const YOUNG_MS = 1_000
/** So many in a row die young before we stop replacing them; the next child that is armed is another try. */
const MAX_YOUNG_DEATHS = 5

/**
 * Starts a watchdog, before this returns: a child that is spawned later has one from its birth. It leads a session of
 * its own, holds nothing of ours but its pipe, and keeps our event loop alive only while it is being closed. Where
 * there is no `/proc` it can end only the groups that are armed, not those who left them. Not for Windows, which has
 * no groups: there nothing is started.
 */
export function createWatchdog({ owner, environment, onWarning = warn }: WatchdogOptions): Watchdog {
  const armed = new Map<number, string>()
  let current: ChildProcess | undefined
  let closing: Promise<void> | undefined
  let youngDeaths = 0
  let hasWarned = false

  const report = (reason: string) => {
    if (hasWarned) return
    hasWarned = true
    onWarning(`no watchdog runs (${reason}): if this process is killed, its servers may stay behind`)
  }
  const tell = (line: string) => {
    current?.stdin?.write(`${line}\n`)
  }
  const start = () => {
    const startedAtMs = performance.now()
    const end = (reason: string) => {
      current = undefined
      if (closing !== undefined) return
      youngDeaths = performance.now() - startedAtMs < YOUNG_MS ? youngDeaths + 1 : 0
      if (youngDeaths < MAX_YOUNG_DEATHS) start()
      else report(reason)
    }
    try {
      const child = spawnWatchdog(owner, environment)
      child.once('error', (error) => {
        if (child.pid !== undefined) return
        current = undefined
        report(error.message)
      })
      if (child.pid === undefined) return
      child.once('exit', (code, signal) => end(`it ended with ${signal ?? code}`))
      current = child
      for (const line of armed.values()) tell(line)
    } catch (error) {
      report(String(error))
    }
  }
  if (platform !== 'win32') start()

  return {
    arm({ pid, startTicks }) {
      if (closing !== undefined) return
      const line = `+${pid} ${startTicks ?? ''}`
      armed.set(pid, line)
      if (current !== undefined) tell(line)
      else if (platform !== 'win32') start()
    },
    disarm(pid) {
      if (armed.delete(pid)) tell(`-${pid}`)
    },
    pid: () => current?.pid,
    close() {
      closing ??= dismiss(current)
      return closing
    },
  }
}

function spawnWatchdog(owner: string, host: WatchdogOptions['environment']): ChildProcess {
  const supervisorSid = String(readProcess(ownPid)?.sid ?? '')
  const flags = ['--max-old-space-size=32', '--v8-pool-size=0', '--input-type=commonjs']
  const child = spawn(execPath, [...flags, '--eval', `(${watchSupervisor})()`, owner, supervisorSid], {
    cwd: '/',
    // Without the markers: it must not find itself.
    env: toChildEnvironment({ host, markers: {} }),
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  // It may die with a line under way; its exit says so.
  child.stdin?.on('error', () => {})
  if (child.stdin instanceof Socket) child.stdin.unref()
  child.unref()
  return child
}

function dismiss(child: ChildProcess | undefined): Promise<void> {
  if (child === undefined) return Promise.resolve()
  child.ref()
  return new Promise((resolve) => {
    child.once('exit', () => resolve())
    child.stdin?.end('done\n')
  })
}

function warn(message: string): void {
  process.emitWarning(message, { type: 'LeaseholdWatchdogWarning' })
}

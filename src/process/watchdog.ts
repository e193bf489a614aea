import { type ChildProcess, spawn } from 'node:child_process'
import { Socket } from 'node:net'
import { execPath, pid as ownPid, platform } from 'node:process'
import { createActor, fromCallback, waitFor } from 'xstate'
import {
  type WatchdogCommand,
  type WatchdogEmitted,
  type WatchdogEvent,
  watchdogMachine,
} from '../../machines/watchdog.ts'
import { type Clock, systemClock } from '../clock.ts'
import { type Command, toArgv } from './command.ts'
import { buildChildEnvironment } from './environment.ts'
import type { OwnerRecord } from './owner-record.ts'
import type { TreeRoot } from './tree.ts'
import { readProcess } from './tree.ts'
import { watchSupervisor } from './watchdog-program.ts'

/** What a watchdog works with. */
export interface WatchdogOptions {
  /** The value of `LEASEHOLD_OWNER` in the environment of every process that is to end with us. */
  readonly owner: string
  /** The host's environment, from which the watchdog is given the part a child is given. */
  readonly environment: Readonly<Record<string, string | undefined>>
  /** Told when no watchdog can be kept running, and when one runs again. */
  readonly onEvent?: (event: WatchdogEmitted) => void
  /**
   * Names a watchdog that has not reported yet: one that hangs is ended by the next supervisor. The watchdog removes the
   * file when it has ended everything.
   */
  readonly record?: Pick<OwnerRecord, 'add' | 'remove' | 'path'>
  /** @default the system's, with timers that do not keep this process alive */
  readonly clock?: Clock
  /** What a watchdog runs: JavaScript. @default the watchdog's own program */
  readonly program?: string
}

/** A server outside the tree of its process, and how the watchdog ends it. */
export interface ArmedServer {
  readonly generation: string
  /** Run in this order, after our death. */
  readonly stop: readonly Command[]
  /** Tells whether it is gone. Without it the record of the server stays for the next supervisor. */
  readonly status?: Command | undefined
  readonly env: Readonly<Record<string, string>>
  readonly cwd?: string | undefined
}

/** Whether there is a watchdog. All JSON. */
export interface WatchdogStatus {
  /** `null`: none runs. */
  readonly pid: number | null
  /** Why none could be kept running; `null`: one runs, or nothing has been started that needs one. */
  readonly problem: string | null
}

/**
 * A process of its own that ends our trees when we are gone, however that came about. It knows from the end of a pipe
 * that only we hold open. One that ends is replaced and told everything again.
 */
export interface Watchdog {
  /** Names a child whose group ends with us. To be called in the tick of its birth. Nothing happens once closed. */
  arm(child: Pick<TreeRoot, 'pid' | 'startTicks'>): void
  /** Forgets a child whose tree has ended. */
  disarm(pid: number): void
  /** Names a server that its stop commands end when we are gone. To be called before its start. */
  armServer(server: ArmedServer): void
  disarmServer(generation: string): void
  /** The watchdog's own pid, while there is one. */
  pid(): number | undefined
  status(): WatchdogStatus
  /** Tells it to go, without a signal to any server. Settles when it has ended, at most some seconds later. Idempotent. */
  close(): Promise<void>
}

const backgroundClock: Clock = {
  ...systemClock,
  setTimeout: (fn, ms) => setTimeout(fn, ms).unref(),
}

/**
 * Starts a watchdog, before this returns: a child that is spawned later has one from its birth. It leads a session of
 * its own, holds nothing of ours but its pipes, and keeps our event loop alive only while it is being closed. Where
 * there is no `/proc` it can end only the groups that are armed, not processes that left them. Not for Windows, which has
 * no groups: there nothing is started.
 */
export function createWatchdog(options: WatchdogOptions): Watchdog {
  const { record, clock = backgroundClock, onEvent = () => {} } = options
  /** The line that tells of each, by pid or generation. */
  const armed = new Map<number | string, string>()
  let current: ChildProcess | undefined
  let closing: Promise<void> | undefined

  const tell = (line: string) => {
    current?.stdin?.write(`${line}\n`)
  }
  const live = fromCallback<WatchdogCommand, undefined, WatchdogEvent>(({ sendBack, receive }) => {
    const fail = (error: unknown) =>
      sendBack({ type: 'watchdog.failed', reason: error instanceof Error ? error.message : String(error) })
    let child: ChildProcess
    try {
      child = spawnWatchdog(options)
    } catch (error) {
      return fail(error)
    }
    const { pid } = child
    child.once('error', (error) => {
      if (pid === undefined) fail(error)
    })
    if (pid === undefined) return
    current = child
    record?.add({ pid, startTicks: undefined })
    for (const line of armed.values()) tell(line)
    child.stdout?.once('data', () => {
      record?.remove(pid)
      sendBack({ type: 'watchdog.reported' })
    })
    child.once('exit', (code, signal) => {
      if (current === child) current = undefined
      record?.remove(pid)
      sendBack({ type: 'watchdog.ended', reason: `it ended with ${signal ?? code}` })
    })
    receive(({ type }) => {
      if (type === 'dismiss') child.stdin?.end('done\n')
      else child.kill('SIGKILL')
    })
  })
  const actor = createActor(watchdogMachine.provide({ actors: { process: live } }), { clock })
  actor.on('*', onEvent)
  if (platform !== 'win32') actor.start()

  return {
    arm({ pid, startTicks }) {
      if (closing !== undefined) return
      const line = `+${pid} ${startTicks ?? ''}`
      armed.set(pid, line)
      tell(line)
      actor.send({ type: 'watchdog.needed' })
    },
    disarm(pid) {
      if (armed.delete(pid)) tell(`-${pid}`)
    },
    armServer(server) {
      if (closing !== undefined) return
      const { generation, stop, status } = server
      const commands = { stop: stop.map(toArgv), status: status && toArgv(status) }
      const line = `!${escapeBeyondAscii(JSON.stringify({ ...server, ...commands, record: record?.path() }))}`
      armed.set(generation, line)
      tell(line)
      actor.send({ type: 'watchdog.needed' })
    },
    disarmServer(generation) {
      if (armed.delete(generation)) tell(`~${generation}`)
    },
    pid: () => current?.pid,
    status: () => ({ pid: current?.pid ?? null, problem: actor.getSnapshot().context.problem }),
    close() {
      if (closing !== undefined) return closing
      if (platform === 'win32') return Promise.resolve()
      current?.ref()
      closing = waitFor(actor, ({ status }) => status === 'done').then(() => current?.unref())
      actor.send({ type: 'watchdog.close' })
      return closing
    },
  }
}

/** The watchdog reads bytes as they come: a character of several of them could be cut. */
function escapeBeyondAscii(json: string): string {
  return json.replace(/[\u0080-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

function spawnWatchdog({
  owner,
  environment,
  program = `(${watchSupervisor})()`,
}: WatchdogOptions): ChildProcess {
  const supervisorSid = String(readProcess(ownPid)?.sid ?? '')
  const flags = ['--max-old-space-size=32', '--v8-pool-size=0', '--input-type=commonjs']
  const child = spawn(execPath, [...flags, '--eval', program, owner, supervisorSid], {
    cwd: '/',
    // Without the markers: it must not find itself.
    env: buildChildEnvironment({ host: environment, markers: {} }),
    detached: true,
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  // It may end with a line under way; its exit says so.
  child.stdin?.on('error', () => {})
  for (const pipe of [child.stdin, child.stdout]) if (pipe instanceof Socket) pipe.unref()
  child.unref()
  return child
}

import { readdirSync, renameSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import type { Amounts } from '../../machines/scheduler.ts'
import { type Clock, delay } from '../clock.ts'
import type { ReapingEventBody } from '../events/events.ts'
import { createOutside } from './outside.ts'
import {
  type RecordedOwner,
  type RecordedServer,
  readHost,
  readRecord,
  toRecordDirectory,
} from './owner-record.ts'
import { freezeTree, type SendSignal, toAttempt } from './signals.ts'
import type { StateDirectory } from './state-directory.ts'
import { hasProcfs, isAlive, proveMember, readExecutable, snapshotTree, type TreeRoot } from './tree.ts'

export interface ReapingOptions {
  readonly state: StateDirectory
  /** Our own record, which is left alone. */
  readonly owner: string
  readonly clock: Clock
  /** The service as it is configured now whose server that is, and the environment in which its commands are run. */
  readonly serviceOf: (server: RecordedServer) => ReapedService
  /** @default process.kill */
  readonly sendSignal?: SendSignal
}

/** A service with a server outside the tree of a dead supervisor. */
export interface ReapedService {
  readonly key: string
  readonly env: Readonly<Record<string, string>>
}

/** A server outside the tree of a dead supervisor that may still be there. */
export interface LeftServer {
  /** The key of its service. */
  readonly key: string
  readonly problem: string
  /** The parts of shared limits that it holds. Absent: that is not known. */
  readonly needs?: Amounts
  /** The record that names it. Without the record it is forgotten. */
  readonly file: string
}

/** A start would share its memory with the server of a dead supervisor. */
export class LeftServerError extends Error {
  override get name() {
    return 'LeftServerError' as const
  }

  constructor({ problem, file }: LeftServer) {
    super(`${problem}. End that server yourself; if it is gone and cannot be asked for, delete ${file}.`)
  }
}

/** What became of the processes and servers of dead supervisors. */
export interface Reaping {
  readonly events: readonly ReapingEventBody[]
  readonly left: readonly LeftServer[]
}

/** Between two looks, in milliseconds. */
const LOOK_MS = 10
/** A child between fork and exec still shows the environment of its parent, so one quiet look proves nothing. */
const QUIET_LOOKS = 4
/** What cannot be ended in so many looks waits in the kernel. */
const MAX_LOOKS = 200
/** The longest that the stop commands of one server may take, in milliseconds. */
const SERVER_STOP_MS = 30_000

/**
 * Ends what dead supervisors left: of every record whose supervisor is gone, the processes that are proven to be its
 * own, by the marker in their environment or by what was written down when they were born. Then the record goes.
 * Records of living supervisors, other hosts and other pid namespaces stay untouched. No other process is ever
 * signalled.
 */
export async function reapOrphans(options: ReapingOptions): Promise<Reaping> {
  const { state, owner } = options
  const results: ReapingEventBody[] = []
  const left: LeftServer[] = []
  for (const name of listRecords(state)) {
    if (name === `${owner}.json`) continue
    const file = join(toRecordDirectory(state), name)
    let record: RecordedOwner
    try {
      record = readRecord(state, name)
    } catch (error) {
      const isGone = error instanceof Error && 'code' in error && error.code === 'ENOENT'
      if (!isGone && setAside(file))
        results.push({
          type: 'orphans.refused',
          file,
          problem: error instanceof Error ? error.message : String(error),
        })
      continue
    }
    if (record.host !== readHost() || isAlive(record.pid, hasProcfs ? record.startTicks : undefined)) continue
    const reaped = await reapOwner(record, file, options)
    results.push(...reaped.events)
    left.push(...reaped.left)
  }
  // A dead supervisor that left nothing is no news.
  return { events: results.filter((one) => one.type === 'orphans.refused' || !isEmpty(one)), left }
}

function isEmpty({ pids, survivors, servers = [] }: Extract<ReapingEventBody, { type: 'orphans.reaped' }>) {
  return pids.length + survivors.length + servers.length === 0
}

async function reapOwner(
  record: RecordedOwner,
  file: string,
  { clock, serviceOf, sendSignal = process.kill }: ReapingOptions,
): Promise<Reaping> {
  // The supervisor is dead, so the tree has no root: only the remaining marks count.
  const root: TreeRoot = {
    pid: record.pid,
    startTicks: undefined,
    markers: { LEASEHOLD_OWNER: record.owner },
  }
  const known = record.runs.filter(({ pid, exe }) => exe === null || readExecutable(pid) === exe)
  const look = () => snapshotTree(root, { known, root: 'exited' })
  const ended = new Set<number>()
  const signal = toAttempt(sendSignal)
  for (let looks = 0, quiet = 0; looks < MAX_LOOKS && quiet < QUIET_LOOKS; looks += 1) {
    const members = freezeTree(root, look, signal)
    quiet = members.length === 0 ? quiet + 1 : 0
    for (const member of members) {
      if (proveMember(member, root) === undefined) continue
      ended.add(member.pid)
      signal(member.pid, 'SIGKILL')
    }
    await delay(clock, LOOK_MS)
  }
  const survivors = look().map(({ pid }) => pid)
  const servers = await Promise.all(
    record.servers.map(async (server) => {
      const { key, env } = serviceOf(server)
      return { key, needs: server.needs, ...(await reapServer(server, { env, clock })) }
    }),
  )
  const left = servers.flatMap(({ key, problem, needs }) =>
    problem === undefined ? [] : [{ key, problem, file, ...(needs === undefined ? {} : { needs }) }],
  )
  if (survivors.length + left.length === 0) attemptUnlink(file)
  const { owner, pid: supervisorPid } = record
  const stopped = servers.flatMap(({ stopped }) => stopped ?? [])
  const events: readonly ReapingEventBody[] = [
    {
      type: 'orphans.reaped',
      owner,
      supervisorPid,
      pids: [...ended],
      survivors,
      ...(stopped.length === 0 ? {} : { servers: stopped }),
    },
    ...left.map(({ problem }) => ({ type: 'orphans.refused', file, problem }) as const),
  ]
  return { events, left }
}

/** Ends a server outside the tree, unless its status command says that it is gone or is not the one on record. */
async function reapServer(
  { stop, status, id }: RecordedServer,
  { env, clock }: { readonly env: Readonly<Record<string, string>>; readonly clock: Clock },
): Promise<{ readonly stopped?: string; readonly problem?: string }> {
  let seen: string | undefined
  const commands = { stop, isExternal: true, timeoutMs: SERVER_STOP_MS, ...(status && { status }) }
  const outside = createOutside({
    commands,
    env,
    clock,
    onFound: (found) => {
      seen = found
    },
  })
  const name = stop.map((command) => command.join(' ')).join('; ')
  const presence = status === undefined ? 'there' : await outside.ask()
  if (id !== undefined && (presence === 'gone' || (seen !== undefined && id !== seen))) return {}
  if (presence === 'unknown')
    return { problem: `statusCommand cannot tell whether its server is gone: ${status?.join(' ')}` }
  // One that was never seen may come yet: its client was killed with the supervisor, a moment ago.
  const end = await outside.settle(async () => false, presence === 'there')
  if (end.status !== 'gone')
    return {
      problem: `the server is still there after ${name}${end.detail === undefined ? '' : `: ${end.detail}`}`,
    }
  return presence === 'there' || seen !== undefined ? { stopped: name } : {}
}

function listRecords(state: StateDirectory): string[] {
  try {
    return readdirSync(toRecordDirectory(state)).filter((name) => name.endsWith('.json'))
  } catch {
    return []
  }
}

/** Whether it was us who put it aside: several supervisors may find the same file. */
function setAside(file: string): boolean {
  try {
    renameSync(file, `${file}.refused`)
    return true
  } catch {
    return false
  }
}

function attemptUnlink(file: string): void {
  try {
    unlinkSync(file)
  } catch {
    // Another claimant was faster.
  }
}

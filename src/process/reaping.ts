import { readdirSync, renameSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { type Clock, delay } from '../clock.ts'
import type { ReapingEventBody } from '../events/events.ts'
import { type RecordedOwner, readHost, readRecord, toRecordDirectory } from './owner-record.ts'
import { freezeTree, type SendSignal, toAttempt } from './signals.ts'
import type { StateDirectory } from './state-directory.ts'
import { hasProcfs, isAlive, proveMember, readExecutable, snapshotTree, type TreeRoot } from './tree.ts'

export interface ReapingOptions {
  readonly state: StateDirectory
  /** Our own record, which is left alone. */
  readonly owner: string
  readonly clock: Clock
  /** @default process.kill */
  readonly sendSignal?: SendSignal
}

/** Between two looks, in milliseconds. */
const LOOK_MS = 10
/** A child between fork and exec still shows the environment of its parent, so one quiet look proves nothing. */
const QUIET_LOOKS = 4
/** What cannot be ended in so many looks waits in the kernel. */
const MAX_LOOKS = 200

/**
 * Ends what dead supervisors left: of every record whose supervisor is gone, the processes that are proven to be its
 * own, by the marker in their environment or by what was written down when they were born. Then the record goes.
 * Records of living supervisors, other hosts and other pid namespaces stay untouched. No other process is ever
 * signalled.
 */
export async function reapOrphans(options: ReapingOptions): Promise<readonly ReapingEventBody[]> {
  const { state, owner } = options
  const results: ReapingEventBody[] = []
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
    results.push(await reapOwner(record, file, options))
  }
  // A dead supervisor that left nothing is no news.
  return results.filter((one) => one.type === 'orphans.refused' || one.pids.length + one.survivors.length > 0)
}

async function reapOwner(
  record: RecordedOwner,
  file: string,
  { clock, sendSignal = process.kill }: ReapingOptions,
): Promise<ReapingEventBody> {
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
  if (survivors.length === 0) attemptUnlink(file)
  const { owner, pid: supervisorPid } = record
  return { type: 'orphans.reaped', owner, supervisorPid, pids: [...ended], survivors }
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

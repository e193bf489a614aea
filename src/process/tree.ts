import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { getuid, pid as ownPid, platform } from 'node:process'
import type { Markers } from './environment.ts'

/** One process as the kernel describes it at this moment. */
export interface ProcessInfo {
  readonly pid: number
  readonly ppid: number
  readonly pgid: number
  readonly sid: number
  /** The kernel's letter: `R`, `S`, `D`, `T`, … and `Z` or `X` for one that is dead. */
  readonly state: string
  /** When it started, in clock ticks (10 ms) since boot: together with the pid, nearly an identity. */
  readonly startTicks: number
}

/** What is remembered of a process, so that another one with the same number is not taken for it. */
export type ProcessIdentity = Pick<ProcessInfo, 'pid' | 'pgid' | 'sid' | 'startTicks'>

/** The process a tree grew from. It was spawned by us as the leader of a session and group of its own. */
export interface TreeRoot {
  readonly pid: number
  /** Absent where there is no `/proc`. */
  readonly startTicks: number | undefined
  /** What stands in the environment of the root, and of every descendant that did not clear it. */
  readonly markers: Markers
}

/**
 * Whether this host has Linux's `/proc`. Without it nothing here can prove an identity: {@link readProcess}
 * knows nothing, {@link isAlive} asks only whether the number is in use, {@link snapshotTree} is empty, and
 * what can be ended safely is the group of a child whose exit we have not yet seen, or have just seen.
 */
export const hasProcfs: boolean = platform === 'linux' && existsSync('/proc/self/stat')

/** One process from `/proc`, or `undefined` when there is none with this number. */
export function readProcess(pid: number): ProcessInfo | undefined {
  const stat = readProcFile(pid, 'stat')
  if (stat === undefined) return undefined
  // The name stands in parentheses and may itself hold spaces and parentheses.
  const [state = '', ppid, pgid, sid, ...rest] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return {
    pid,
    ppid: Number(ppid),
    pgid: Number(pgid),
    sid: Number(sid),
    state,
    startTicks: Number(rest[15]),
  }
}

/** What a process does with SIGTERM: whether it has a handler for it, and whether one waits to be delivered. */
export function readSigterm(pid: number): { readonly isCaught: boolean; readonly isPending: boolean } {
  const status = readProcFile(pid, 'status') ?? ''
  const has = (field: string) => {
    const mask = new RegExp(`^${field}:\t([0-9a-f]+)`, 'm').exec(status)?.[1]
    return mask !== undefined && ((BigInt(`0x${mask}`) >> SIGTERM_BIT) & 1n) === 1n
  }
  return { isCaught: has('SigCgt'), isPending: has('ShdPnd') || has('SigPnd') }
}

/** Signal 15, counted from 0. */
const SIGTERM_BIT = 14n

/** The file a process executes, or `undefined` when it is gone or not ours to look into. */
export function readExecutable(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/exe`)
  } catch {
    return undefined
  }
}

/**
 * Whether a process runs. A zombie is dead: its exit code is not collected yet, and `kill(pid, 0)` still
 * succeeds. With `startTicks`, a later process with the same number does not count.
 */
export function isAlive(pid: number, startTicks?: number): boolean {
  if (!hasProcfs) return isInUse(pid)
  const found = readProcess(pid)
  return (
    found !== undefined && isRunning(found) && (startTicks === undefined || found.startTicks === startTicks)
  )
}

/** Whether the number of a process, or of a group when negative, is in use by a process that we may signal. */
export function isInUse(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/** What else is known about a tree when a snapshot of it is taken. */
export interface SnapshotOptions {
  /** Members found earlier. @default [] */
  readonly known?: readonly ProcessIdentity[]
  /**
   * What we know of the root itself. `running`: its exit was not reported, so its number is its own.
   * `just-exited`: reported in this very tick; its number cannot be reused yet, so its session counts as ours
   * although nothing else proves it. `exited`: a process with its number is a stranger. @default 'running'
   */
  readonly root?: 'running' | 'just-exited' | 'exited'
}

/**
 * Every living process of a tree: the root, known members, processes that carry the markers, their descendants, and
 * every process in a session of one of these. No single sign is enough: a grandchild may open
 * its own session, lose its parent, or overwrite its environment. A session can only be entered by birth,
 * and the root opened its own, so no other process can be in one.
 *
 * Never includes ourselves, our ancestors, our own session (and so our group), pid 1 or below, or processes
 * of another user. Empty where there is no `/proc`. Synchronous: some 30 microseconds per process of the host.
 */
export function snapshotTree(
  root: TreeRoot,
  { known = [], root: rootState = 'running' }: SnapshotOptions = {},
): readonly ProcessIdentity[] {
  if (!hasProcfs) return []
  const isOffLimits = findOffLimits()
  const candidates = listPids()
    .flatMap((pid) => readProcess(pid) ?? [])
    .filter((found) => !isOffLimits(found))
  const isUnclaimed = rootState === 'just-exited' && readProcess(root.pid) === undefined
  const isSeed = (found: ProcessInfo) =>
    (rootState === 'running' && found.pid === root.pid && found.startTicks === root.startTicks) ||
    (isUnclaimed && found.sid === root.pid) ||
    known.some((identity) => isSame(identity, found, root.markers))

  const related = withRelatives(candidates.filter(isSeed), candidates)
  // A process older than the root cannot carry its markers, and an environment is expensive to read.
  const { startTicks: bornAt = 0 } = root
  const marked = candidates.filter(
    (found) => !related.has(found) && found.startTicks >= bornAt && hasMarkers(found.pid, root.markers),
  )
  return [...withRelatives([...related, ...marked], candidates)].filter(
    (found) => isRunning(found) && isOwnUser(found.pid),
  )
}

/**
 * The process behind an identity, read anew, if it is provably the one that was seen: same number, same
 * start, and still in the same session or carrying the markers. To be asked in the tick of the signal:
 * number and start time alone can be equal for two processes within one clock tick.
 */
export function proveMember(identity: ProcessIdentity, root: TreeRoot): ProcessInfo | undefined {
  const found = readProcess(identity.pid)
  if (found === undefined || !isRunning(found) || findOffLimits()(found) || !isOwnUser(found.pid))
    return undefined
  return isSame(identity, found, root.markers) ? found : undefined
}

function isSame(identity: ProcessIdentity, found: ProcessInfo, markers: Markers): boolean {
  if (identity.pid !== found.pid || identity.startTicks !== found.startTicks) return false
  return identity.sid === found.sid || hasMarkers(found.pid, markers)
}

function isRunning({ state }: ProcessInfo): boolean {
  return state !== 'Z' && state !== 'X'
}

/** The seeds, their descendants, and every process that shares a session with one of these. */
function withRelatives(
  seeds: readonly ProcessInfo[],
  candidates: readonly ProcessInfo[],
): ReadonlySet<ProcessInfo> {
  const members = new Set(seeds)
  let size: number
  do {
    size = members.size
    const pids = new Set([...members].map(({ pid }) => pid))
    const sids = new Set([...members].map(({ sid }) => sid))
    // Session 0 is how a pid namespace shows every session that began outside it.
    sids.delete(0)
    for (const candidate of candidates) {
      if (pids.has(candidate.ppid) || sids.has(candidate.sid)) members.add(candidate)
    }
  } while (members.size > size)
  return members
}

/** Whom no evidence makes ours. Read each time, because an ancestor may die and hand us to another. */
function findOffLimits(): ({ pid, sid }: ProcessInfo) => boolean {
  const self = readProcess(ownPid)
  const untouchable = new Set<number>()
  for (let next = self; next !== undefined && next.pid > 1; next = readProcess(next.ppid))
    untouchable.add(next.pid)
  return ({ pid, sid }) => pid <= 1 || sid === self?.sid || untouchable.has(pid)
}

function listPids(): number[] {
  return readdirSync('/proc').flatMap((name) => (/^\d+$/.test(name) ? [Number(name)] : []))
}

function hasMarkers(pid: number, markers: Markers): boolean {
  const environment = readProcFile(pid, 'environ')
  if (environment === undefined || environment === '') return false
  const padded = `\0${environment}\0`
  const wanted = Object.entries(markers)
  return wanted.length > 0 && wanted.every(([name, value]) => padded.includes(`\0${name}=${value}\0`))
}

function isOwnUser(pid: number): boolean {
  const realUid = /^Uid:\t(\d+)/m.exec(readProcFile(pid, 'status') ?? '')?.[1]
  return realUid !== undefined && Number(realUid) === getuid?.()
}

function readProcFile(pid: number, name: 'environ' | 'stat' | 'status'): string | undefined {
  if (!hasProcfs || !Number.isSafeInteger(pid) || pid <= 0) return undefined
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'latin1')
  } catch {
    return undefined
  }
}

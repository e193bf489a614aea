import { platform } from 'node:process'
import type { Receipt } from '../../machines/messages.ts'
import { type Clock, delay, settledWithin, systemClock } from '../clock.ts'
import { freezeTree, type SendSignal, toAttempt } from './signals.ts'
import type { OwnedChild } from './spawn.ts'
import { askLevels, groupLevels } from './termination.ts'
import {
  hasProcfs,
  isAlive,
  isInUse,
  type ProcessIdentity,
  proveMember,
  readProcess,
  snapshotTree,
} from './tree.ts'

/** How a stop waits. Durations in milliseconds. */
export interface StopOptions {
  /** Stands in the receipt. */
  readonly generation: string
  /** The longest a sweep takes. `0`: it looks once. @default 3_000 */
  readonly sweepMs?: number
  /** How long other processes may hold its pipes after the end of the tree before we close our ends. @default 200 */
  readonly drainMs?: number
  /** @default the host's clock */
  readonly clock?: Clock
  /**
   * Whether the server runs outside the tree: then the end of the child is no crash, and what carries its markers goes
   * on. @default false
   */
  readonly isExternal?: boolean | undefined
  /** Called when the child has ended with 0 by itself, before the rest of its tree is killed. */
  readonly onLeft?: (members: readonly number[]) => void
  /** Told once of every process of the tree that was found outside the session of its root. */
  readonly onFound?: (member: ProcessIdentity) => void
  /** Every signal goes through here: to audit them, or to withhold them. @default process.kill */
  readonly sendSignal?: SendSignal
}

/**
 * The verbs that end one child and its tree. No process is signalled whose identity is not proven in that
 * tick, and the group only while it is provably the child's. When the child exits after `terminate`, the rest
 * of its tree goes on until it ends or `kill` is called. When the child exits by itself, the rest is killed in
 * the same tick: a crash leaves processes that serve no purpose.
 */
export interface Stop {
  /**
   * Asks the whole tree to end: SIGTERM, then SIGCONT, once to each process, also where a launcher passes ours
   * on. A second call does nothing, because some servers take a second SIGTERM for "at once".
   */
  terminate(): void
  /** Settles when nothing of the tree is left, or when `kill` or `sweep` was called. */
  left(): Promise<void>
  /** SIGKILL to the group and to every other process of the tree. Synchronous. */
  kill(): void
  /** Kills until nothing is left or the time is up, and closes the pipes. Every call gets the same receipt. */
  sweep(): Promise<Receipt>
  /** The receipt, when some sweep has ended. */
  readonly receipt: Promise<Receipt>
  /** Processes of the tree that are known and alive now. Without `/proc`: the child, for its whole group. */
  survivors(): readonly number[]
  /** Looks for its processes now. Without `/proc`: as `survivors`. */
  members(): readonly number[]
}

/** Between the first two looks of a sweep, and how far that grows when more are needed, in milliseconds. */
const LOOK_MS = 10
const MAX_LOOK_MS = 100
/** A process can be forked behind the back of one look, so the tree is gone when two in a row see nothing. */
const QUIET_LOOKS = 2
/** So many processes outside the session of the root are told of. */
const MAX_TOLD = 64
/** While the rest of a tree ends by itself, one in so many looks is at the whole host. */
const FULL_LOOK = 5

/** Prepares the end of a child. Call it in the tick of its birth, so that its exit cannot be missed. */
export function createStop(
  child: OwnedChild,
  {
    generation,
    sweepMs = 3_000,
    drainMs = 200,
    clock = systemClock,
    onFound = () => {},
    onLeft,
    isExternal = false,
    sendSignal = process.kill,
  }: StopOptions,
): Stop {
  let known: readonly ProcessIdentity[] = []
  const told = new Set<string>()
  let beganAtMs: number | undefined
  let sweeping: Promise<Receipt> | undefined
  let isAsked = false
  let isKilled = false
  let resolveReceipt: (receipt: Receipt) => void = () => {}
  const receipt = new Promise<Receipt>((resolve) => {
    resolveReceipt = resolve
  })
  const group = createGroup(child)

  const begin = () => {
    beganAtMs ??= clock.now()
  }
  const listLiving = () => known.filter(({ pid, startTicks }) => isAlive(pid, startTicks))
  const survivors = () => {
    if (hasProcfs) return listLiving().map(({ pid }) => pid)
    return group.isEmpty() ? [] : [child.pid]
  }
  const look = (hasJustExited: boolean) => {
    const hasExited = child.exitStatus() !== undefined
    // Its number is free from now on, and in the same clock tick even its start time can be another's.
    if (hasExited) known = known.filter(({ pid }) => pid !== child.pid)
    const root = hasJustExited ? 'just-exited' : hasExited ? 'exited' : 'running'
    const found = snapshotTree(child, { known, root })
    const lost = listLiving().filter(({ pid }) => !found.some((member) => member.pid === pid))
    known = [...found, ...lost]
    for (const member of found) {
      const identity = `${member.pid} ${member.startTicks}`
      if (member.sid === child.pid || told.has(identity) || told.size >= MAX_TOLD) continue
      told.add(identity)
      onFound(member)
    }
  }
  const signal = toAttempt(sendSignal)
  const signalGroup = (name: NodeJS.Signals) => {
    if (group.isOurs(known)) signal(group.target, name)
  }
  const killAll = (hasJustExited = false) => {
    begin()
    isKilled = true
    let isFirst = hasJustExited
    const lookAgain = () => {
      look(isFirst)
      isFirst = false
      return known
    }
    freezeTree(child, lookAgain, signal)
    signalGroup('SIGKILL')
    for (const member of known) {
      if (proveMember(member, child) !== undefined) signal(member.pid, 'SIGKILL')
    }
  }
  const isGone = () => child.exitStatus() !== undefined && survivors().length === 0

  const sweepNow = async (): Promise<Receipt> => {
    begin()
    const deadlineMs = clock.now() + sweepMs
    for (let looks = 1, quietLooks = 0; ; looks += 1) {
      killAll()
      quietLooks = isGone() ? quietLooks + 1 : 0
      if (quietLooks === QUIET_LOOKS || clock.now() >= deadlineMs) break
      await delay(clock, Math.min(looks * LOOK_MS, MAX_LOOK_MS))
    }
    if (isGone()) await settledWithin(clock, child.drained, drainMs)
    child.releasePipes()
    const { exitCode, signal } = child.exitStatus() ?? { exitCode: null, signal: null }
    const durationMs = Math.round(clock.now() - (beganAtMs ?? clock.now()))
    return { generation, pid: child.pid, exitCode, signal, survivors: survivors(), durationMs }
  }

  const ask = () => {
    const levels = groupLevels(child, known)
    if (levels.held.length > 0)
      return void askLevels(levels, { root: child, clock, signal, isOver: () => isKilled })
    // The group as a whole: a process that is forked in this instant is in it.
    const outside = known.filter(({ pid, pgid }) => pid !== child.pid && pgid !== child.pid)
    for (const name of ['SIGTERM', 'SIGCONT'] as const) {
      signalGroup(name)
      for (const member of outside) if (proveMember(member, child) !== undefined) signal(member.pid, name)
    }
  }
  /** A look at the whole host is dear: while a known process lives, mostly that one is looked at. */
  const leave = async () => {
    for (let looks = 1, quietLooks = 0; !isKilled; looks += 1) {
      if (isGone() || looks % FULL_LOOK === 0) look(false)
      quietLooks = isGone() ? quietLooks + 1 : 0
      if (quietLooks === QUIET_LOOKS) return
      await delay(clock, Math.min(looks * LOOK_MS, MAX_LOOK_MS))
    }
  }

  void child.exited.then(({ exitCode }) => {
    if ((isAsked || isExternal) && !isKilled) return look(true)
    if (exitCode === 0 && !isKilled && onLeft !== undefined) {
      look(true)
      onLeft(survivors())
    }
    killAll(true)
  })

  return {
    terminate() {
      if (isAsked) return
      isAsked = true
      begin()
      look(false)
      ask()
    },
    left: leave,
    kill: () => killAll(),
    sweep() {
      sweeping ??= sweepNow()
      void sweeping.then(resolveReceipt)
      return sweeping
    },
    receipt,
    survivors,
    members() {
      look(false)
      return survivors()
    },
  }
}

/** The process group of a child, and whether it is still the child's. */
function createGroup(child: OwnedChild) {
  let wasSeenEmpty = false
  // Windows has no groups: there only the child itself can be ended.
  const target = platform === 'win32' ? child.pid : -child.pid

  const isEmpty = () => {
    wasSeenEmpty ||= child.exitStatus() !== undefined && (platform === 'win32' || !isInUse(target))
    return wasSeenEmpty
  }
  return {
    target,
    /** Once empty, always empty: afterwards the number may belong to any other group. */
    isEmpty,
    /** A number in use by a group is not given to a new process, so a leader or a member proves the group. */
    isOurs(known: readonly ProcessIdentity[]): boolean {
      if (!hasProcfs) return !isEmpty()
      const leader = readProcess(child.pid)
      if (leader !== undefined)
        return child.exitStatus() === undefined && leader.startTicks === child.startTicks
      return known.some((member) => proveMember(member, child)?.pgid === child.pid)
    },
  }
}

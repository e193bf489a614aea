import { type Clock, delay } from '../clock.ts'
import type { SendSignal } from './signals.ts'
import { type ProcessIdentity, type ProcessInfo, proveMember, readSigterm, type TreeRoot } from './tree.ts'

/** How long a process may take to stand still. */
const HOLD_MS = 50
/** How long a busy host may take to deliver a signal. */
const DELIVER_MS = 1_000
/** How long a launcher that got our SIGTERM has to pass it on before its descendants get it from us, and between two looks. */
const FORWARD_MS = 250
const LOOK_MS = 5

export interface TerminationOptions {
  readonly root: TreeRoot
  readonly clock: Clock
  readonly signal: SendSignal
  /** True once the tree is killed: then nothing more is asked. */
  readonly isOver: () => boolean
}

/** A tree as it is asked to end. Without descendants of launchers everything is `rest`. */
export interface Levels {
  readonly launchers: readonly ProcessInfo[]
  /** Their descendants, by the number of launchers above. */
  readonly held: readonly (readonly ProcessInfo[])[]
  readonly rest: readonly ProcessInfo[]
}

/**
 * Splits a tree by how many launchers stand above each process that have a handler for SIGTERM and so may pass it on:
 * `timeout`, `tini`, a script with a trap.
 */
export function groupLevels(root: TreeRoot, members: readonly ProcessIdentity[]): Levels {
  const found = new Map(members.flatMap((one) => proveMember(one, root) ?? []).map((one) => [one.pid, one]))
  const launchers = new Map<number, boolean>()
  const isLauncher = (pid: number) => {
    const known = launchers.get(pid) ?? readSigterm(pid).isCaught
    launchers.set(pid, known)
    return known
  }
  const held: ProcessInfo[][] = []
  const first = new Set<ProcessInfo>()
  const last = new Set<ProcessInfo>()
  for (const member of found.values()) {
    const above: ProcessInfo[] = []
    for (let parent = found.get(member.ppid); parent !== undefined; parent = found.get(parent.ppid)) {
      if (above.length > found.size) break
      if (isLauncher(parent.pid)) above.push(parent)
    }
    const top = above.at(-1)
    if (top !== undefined) first.add(top)
    if (top !== undefined && isHeldSafely(member, found.get(member.ppid)))
      held[above.length - 1] = [...(held[above.length - 1] ?? []), member]
    else last.add(member)
  }
  return {
    launchers: [...first],
    held: Array.from(held, (level) => level ?? []),
    rest: [...last].filter((one) => !first.has(one)),
  }
}

/** A group of its own loses its last parent outside of it when the launcher exits. */
function isHeldSafely(member: ProcessInfo, parent: ProcessInfo | undefined): boolean {
  return parent === undefined || member.pgid === parent.pgid || member.sid !== parent.sid
}

/**
 * Sends SIGTERM to every level after the other. A launcher that passes the signal on would make it two for its
 * descendants, and some servers take a second one for "at once". So they are held with SIGSTOP while the launcher
 * acts: its signal and ours wait there together and are delivered as one. A process that runs again before we let it
 * go was woken by its launcher, as `timeout` does behind its signal: it gets none from us.
 */
export async function askLevels(
  { launchers, held, rest }: Levels,
  options: TerminationOptions,
): Promise<void> {
  const { root, clock, signal, isOver } = options
  const send = (members: readonly ProcessInfo[], name: NodeJS.Signals) => {
    for (const member of members) if (proveMember(member, root) !== undefined) signal(member.pid, name)
  }
  const ask = (members: readonly ProcessInfo[]) => {
    send(members, 'SIGTERM')
    send(members, 'SIGCONT')
  }
  const isHeld = (member: ProcessInfo) => proveMember(member, root)?.state === 'T'
  const isGone = (member: ProcessInfo) => proveMember(member, root) === undefined
  const until = async (is: () => boolean, boundMs: number) => {
    const deadlineMs = clock.now() + boundMs
    while (!isOver() && !is() && clock.now() < deadlineMs) await delay(clock, LOOK_MS)
  }
  for (const level of held) send(level, 'SIGSTOP')
  await until(() => held.flat().every((member) => isHeld(member) || isGone(member)), HOLD_MS)
  const loose = new Set(held.flat().filter((member) => !isHeld(member)))
  if (isOver()) return
  ask(launchers)
  await until(() => launchers.every(({ pid }) => !readSigterm(pid).isPending), DELIVER_MS)
  for (const level of held) {
    await until(
      () => level.every((member) => !isHeld(member) || readSigterm(member.pid).isPending),
      FORWARD_MS,
    )
    if (isOver()) return
    ask(level.filter((member) => isHeld(member) || loose.has(member)))
  }
  // Not before: the kernel sends SIGHUP to a stopped group when the last parent outside of it exits.
  ask(rest)
}

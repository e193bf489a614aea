import { type ProcessIdentity, proveMember, type TreeRoot } from './tree.ts'

/** Sends a signal; a negative number means a group. Throws as `process.kill` does. */
export type SendSignal = (pid: number, signal: NodeJS.Signals) => void

/** The same without throwing: who is gone in this instant, or not ours to signal, is told by the next look. */
export function toAttempt(sendSignal: SendSignal): SendSignal {
  return (pid, name) => {
    try {
      sendSignal(pid, name)
    } catch {
      // The next look tells.
    }
  }
}

/** Who does not stand still after so many looks waits in the kernel, and forks no more either. */
const MAX_LOOKS = 5

/**
 * Stops everybody of a tree with SIGSTOP, until a look finds nobody who still moves, and tells who is in it. To be
 * called before a SIGKILL: of a process that is killed while it forks, a child with a session of its own and another
 * environment is left that nobody can tell whose it is. Synchronous; a tree that stands still costs one look.
 */
export function freezeTree(
  root: TreeRoot,
  look: () => readonly ProcessIdentity[],
  signal: SendSignal,
): readonly ProcessIdentity[] {
  for (let looks = 1; ; looks += 1) {
    const members = look()
    const moving = members.filter((member) => (proveMember(member, root)?.state ?? 'T') !== 'T')
    if (moving.length === 0 || looks === MAX_LOOKS) return members
    for (const { pid } of moving) signal(pid, 'SIGSTOP')
  }
}

import { isAlive, type ProcessIdentity, proveMember, type TreeRoot } from './tree.ts'

/** Sends a signal; a negative number means a group. Throws as `process.kill` does. */
export type SendSignal = (pid: number, signal: NodeJS.Signals) => void

/** The same without throwing: the next look finds a process that is gone or cannot be signalled. */
export function toAttempt(sendSignal: SendSignal): SendSignal {
  return (pid, name) => {
    try {
      sendSignal(pid, name)
    } catch {
      // The next look finds it.
    }
  }
}

/** A process that does not stop within so many looks waits in the kernel, where it cannot fork. */
const MAX_LOOKS = 5

/**
 * Stops every process of a tree with SIGSTOP, until a look finds none that still runs, and returns the tree. To be
 * called before SIGKILL: a process that is killed while it forks leaves a child with a session of its own and another
 * environment, which nothing proves to be a member. Synchronous; a stopped tree costs one look.
 */
export function freezeTree(
  root: TreeRoot,
  look: () => readonly ProcessIdentity[],
  signal: SendSignal,
): readonly ProcessIdentity[] {
  for (let looks = 1; ; looks += 1) {
    const members = look()
    const proven = members.flatMap((member) => proveMember(member, root) ?? [])
    const moving = proven.filter(({ state }) => state !== 'T')
    // A member that opened a session since the look is alive and not proven: the next look has its new session.
    const isStill =
      moving.length === 0 && members.every((member) => isProven(member, proven) || isGone(member))
    if (isStill || looks === MAX_LOOKS) return members
    for (const { pid } of moving) signal(pid, 'SIGSTOP')
  }
}

function isProven({ pid }: ProcessIdentity, proven: readonly ProcessIdentity[]): boolean {
  return proven.some((member) => member.pid === pid)
}

function isGone({ pid, startTicks }: ProcessIdentity): boolean {
  return !isAlive(pid, startTicks)
}

import { type ProcessIdentity, proveMember, type TreeRoot } from './tree.ts'

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
  signal: (pid: number, name: NodeJS.Signals) => void,
): readonly ProcessIdentity[] {
  for (let looks = 1; ; looks += 1) {
    const members = look()
    const moving = members.filter((member) => (proveMember(member, root)?.state ?? 'T') !== 'T')
    if (moving.length === 0 || looks === MAX_LOOKS) return members
    for (const { pid } of moving) signal(pid, 'SIGSTOP')
  }
}

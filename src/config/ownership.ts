import type { Stats } from 'node:fs'
import { lstat, realpath, stat } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'

const GROUP_WRITES = 0o020
const OTHERS_WRITE = 0o002
/** In a directory with this bit, such as `/tmp`, every user may add files, and none may replace the files of another. */
const STICKY = 0o1000

/**
 * Why a file must not choose the programs that run as this user: another user can write to it, replace it, or point a
 * link elsewhere. Looks at the file, at a link in its place, and at the directory of each. Absent: nothing is wrong, or
 * this is Windows, where these bits say nothing.
 */
export async function findOwnershipFault(file: string): Promise<string | undefined> {
  if (process.getuid === undefined) return undefined
  const path = resolve(file)
  const target = await realpath(path)
  const entry = await lstat(path)
  return (
    (entry.isSymbolicLink() ? toFault('the link', entry, isForeign) : undefined) ??
    toFault('this file', await stat(target), isForeign, isWritable) ??
    toFault(`its directory ${dirname(path)}`, await stat(dirname(path)), isForeign, isReplaceable) ??
    toFault(`the directory ${dirname(target)}`, await stat(dirname(target)), isForeign, isReplaceable)
  )
}

type Check = (entry: Stats) => string | undefined

function toFault(what: string, entry: Stats, ...checks: readonly Check[]): string | undefined {
  for (const check of checks) {
    const fault = check(entry)
    if (fault !== undefined) return `${what} ${fault}, and a configuration names programs to run`
  }
  return undefined
}

/** Root may do as it likes anyway. */
function isForeign({ uid }: Stats): string | undefined {
  if (uid === 0 || uid === process.getuid?.()) return undefined
  return `belongs to another user (uid ${uid}; chown it to uid ${process.getuid?.()})`
}

function isWritable({ mode, gid, uid }: Stats): string | undefined {
  if ((mode & OTHERS_WRITE) !== 0) return 'can be written by every user of this host (chmod o-w)'
  // Many systems give each user a group of the same number, and leave it write permission by default.
  const isPrivateGroup = gid === uid && gid === process.getgid?.()
  if ((mode & GROUP_WRITES) === 0 || isPrivateGroup) return undefined
  return `can be written by its group (gid ${gid}; chmod g-w)`
}

function isReplaceable(entry: Stats): string | undefined {
  return (entry.mode & STICKY) === 0 ? isWritable(entry) : undefined
}

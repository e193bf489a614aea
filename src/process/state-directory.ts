import { randomBytes, randomUUID } from 'node:crypto'
import {
  chmodSync,
  closeSync,
  constants,
  fstatSync,
  linkSync,
  lstatSync,
  openSync,
  readFileSync,
  type Stats,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { getuid } from 'node:process'
import { StateDirectoryError } from '../errors.ts'
import { makePrivateDirectory } from './private-directory.ts'

/** A directory that only this user can read or write, checked, with the key that its supervisors know each other by. */
export interface StateDirectory {
  readonly path: string
  /** Random bytes known only to the supervisors of this directory. */
  readonly hostKey: Buffer
}

/** Length of the key, in bytes. */
const KEY_BYTES = 32
const KEY_NAME = 'host.key'

/**
 * Where the state of this user's supervisors is: `$LEASEHOLD_STATE_DIR`, else `leasehold` below `$XDG_STATE_HOME`,
 * else below `~/.local/state`. A variable that is empty counts as absent. Nothing is looked at.
 * @throws {@link StateDirectoryError} when there is no home directory either
 */
export function toStateDirectoryPath(environment: Readonly<Record<string, string | undefined>>): string {
  if (environment.LEASEHOLD_STATE_DIR) return resolve(environment.LEASEHOLD_STATE_DIR)
  if (environment.XDG_STATE_HOME) return resolve(environment.XDG_STATE_HOME, 'leasehold')
  try {
    return resolve(environment.HOME || homedir(), '.local', 'state', 'leasehold')
  } catch (error) {
    throw new StateDirectoryError('', 'this user has no home directory', error)
  }
}

/**
 * Checks a state directory: it is created if absent, and must belong to this user alone. One that others could
 * only read is closed; one that others could write to is refused, because what stands in it may be theirs.
 * @throws {@link StateDirectoryError} `LEASEHOLD_STATE_UNUSABLE` with what is wrong and what to set
 */
export function openStateDirectory(path: string): StateDirectory {
  const attempt = <T>(what: string, work: () => T): T => {
    try {
      return work()
    } catch (error) {
      if (error instanceof StateDirectoryError) throw error
      throw new StateDirectoryError(path, `${what} (${codeOf(error)})`, error, PASSING[codeOf(error)])
    }
  }
  attempt('it cannot be made', () => makePrivateDirectory(path))
  attempt('it cannot be looked at', () => {
    if (!isOurs(lstatSync(path))) throw new StateDirectoryError(path, 'it belongs to another user')
    const found = statSync(path)
    const problem = findProblem(found)
    if (problem !== undefined) throw new StateDirectoryError(path, problem)
    // Windows has no such bits, and a home directory is private there.
    if (getuid !== undefined && (found.mode & 0o077) !== 0) chmodSync(path, 0o700)
  })
  return { path, hostKey: attempt('its host.key cannot be made or read', () => readOrMakeKey(path)) }
}

/** What helps where the directory is sound and the host lacks something. */
const PASSING: Readonly<Record<string, string>> = {
  EMFILE: 'The next request tries again: raise the limit of open files (ulimit -n).',
  ENFILE: 'The next request tries again: this host has too many files open.',
  ENOSPC: 'Free some space on its disk.',
}

function findProblem(found: Stats): string | undefined {
  if (!found.isDirectory()) return 'it is not a directory'
  if (!isOurs(found)) return 'it belongs to another user'
  if (getuid !== undefined && (found.mode & 0o022) !== 0)
    return `others can write to it (mode ${(found.mode & 0o777).toString(8).padStart(4, '0')})`
  return undefined
}

function isOurs({ uid }: Stats): boolean {
  return getuid === undefined || uid === getuid()
}

/** The first link wins, and all supervisors read that key. A linked key is complete. */
function readOrMakeKey(path: string): Buffer {
  const file = join(path, KEY_NAME)
  const found = readKey(path, file)
  if (found !== undefined) return found
  const draft = `${file}.${randomUUID()}`
  try {
    writeFileSync(draft, randomBytes(KEY_BYTES), { mode: 0o600, flag: 'wx' })
    linkSync(draft, file)
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error
  } finally {
    attemptUnlink(draft)
  }
  const made = readKey(path, file)
  if (made === undefined) throw new StateDirectoryError(path, 'its host.key disappears')
  return made
}

function readKey(path: string, file: string): Buffer | undefined {
  let descriptor: number
  try {
    descriptor = openSync(file, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0))
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    if (codeOf(error) === 'ELOOP') throw new StateDirectoryError(path, 'its host.key is a symbolic link')
    throw error
  }
  try {
    const found = fstatSync(descriptor)
    const isPrivate = getuid === undefined || (isOurs(found) && (found.mode & 0o077) === 0)
    if (!found.isFile() || !isPrivate)
      throw new StateDirectoryError(path, 'its host.key is not a file that only we can read')
    if (found.size !== KEY_BYTES)
      throw new StateDirectoryError(
        path,
        `its host.key has ${found.size} bytes instead of ${KEY_BYTES}`,
        undefined,
        `Remove ${JSON.stringify(file)} while no leasehold runs: the next start makes a new one.`,
      )
    return readFileSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}

function attemptUnlink(file: string): void {
  try {
    unlinkSync(file)
  } catch {
    // It was never written: that is what is being reported.
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : String(error)
}

import { randomBytes } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, renameSync, unlinkSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { pid as ownPid } from 'node:process'
import { type Clock, delay } from '../clock.ts'
import { type HostLocks, listen } from './host-lock.ts'
import { makePrivateDirectory } from './private-directory.ts'
import type { StateDirectory } from './state-directory.ts'
import { hasProcfs, isAlive, readProcess } from './tree.ts'

/** Between two looks at a rival that is about to yield or to listen, in milliseconds, and how many there are. */
const LOOK_MS = 5
const MAX_LOOKS = 200

/**
 * Names for hosts whose kernel holds none for us. A process that wants a name puts up a flag, a file of its own with
 * its
 * process in it, and only then looks for others: of two that want it at once, at least one sees the other. A rival
 * that listens has the name; of two that do not listen yet, the one with the smaller flag has precedence, so one of
 * them yields. No process takes over the file of another, which is the usual fault of lock files: the flag of a process
 * that is dead is removed, and its name is never used again.
 */
export function createFileLocks(state: StateDirectory, clock: Clock): HostLocks {
  const directory = join(state.path, 'claims')
  const fileOf = (flag: string, kind: 'flag' | 'socket' | 'draft') => join(directory, `${flag}.${kind}`)

  const listRivals = async (name: string, own: string): Promise<readonly string[]> => {
    const flags = readdirSync(directory)
      .filter((file) => file.startsWith(`${buildPrefix(name)}.`) && file.endsWith('.flag'))
      .map((file) => file.slice(0, -'.flag'.length))
      .filter((flag) => flag !== own)
    const alive = await Promise.all(
      flags.map((flag) => isFlagAlive(fileOf(flag, 'flag'), fileOf(flag, 'socket'))),
    )
    for (const [index, flag] of flags.entries()) if (!alive[index]) takeDown(flag)
    return flags.filter((_, index) => alive[index])
  }
  const takeDown = (flag: string) => {
    for (const kind of ['socket', 'flag', 'draft'] as const) attemptUnlink(fileOf(flag, kind))
  }
  /** Whether every rival yields to us. */
  const win = async (name: string, own: string): Promise<boolean> => {
    for (let looks = 0; looks < MAX_LOOKS; looks += 1) {
      const rivals = await listRivals(name, own)
      if (rivals.length === 0) return true
      if (rivals.some((rival) => rival < own || existsSync(fileOf(rival, 'socket')))) return false
      await delay(clock, LOOK_MS)
    }
    return false
  }

  return {
    addressesOf: async (name) => {
      makePrivateDirectory(directory)
      const rivals = await listRivals(name, '')
      return rivals.map((flag) => fileOf(flag, 'socket')).filter((file) => existsSync(file))
    },
    take: async (name, server) => {
      makePrivateDirectory(directory)
      const own = `${buildPrefix(name)}.${randomBytes(6).toString('hex')}`
      const startTicks = readProcess(ownPid)?.startTicks ?? null
      writeFileSync(fileOf(own, 'draft'), JSON.stringify({ pid: ownPid, startTicks }), { mode: 0o600 })
      // A flag that can be seen is complete.
      renameSync(fileOf(own, 'draft'), fileOf(own, 'flag'))
      // Known as a socket only when it listens: who finds it closed may take us for dead.
      const isOurs = (await win(name, own)) && (await listen(server, fileOf(own, 'draft')))
      if (isOurs) renameSync(fileOf(own, 'draft'), fileOf(own, 'socket'))
      const release = () => {
        takeDown(own)
        server.close()
      }
      // Another process may have taken us for dead meanwhile, on hosts where only the pid can be checked.
      if (isOurs && existsSync(fileOf(own, 'flag'))) return { release }
      if (isOurs) release()
      else takeDown(own)
      return undefined
    },
  }
}

/** Short, because the path of a socket has some hundred bytes at most. */
function buildPrefix(name: string): string {
  return name.slice(-16)
}

async function isFlagAlive(flag: string, socket: string): Promise<boolean> {
  let pid: unknown
  let startTicks: unknown
  try {
    ;({ pid, startTicks } = JSON.parse(readFileSync(flag, 'utf8')))
  } catch {
    return false
  }
  if (typeof pid !== 'number' || pid <= 0) return false
  if (hasProcfs) return isAlive(pid, typeof startTicks === 'number' ? startTicks : undefined)
  // Its pid may be reused by now: a listener is alive, and a former listener that does not listen is dead.
  return isAlive(pid) && (!existsSync(socket) || (await isListening(socket)))
}

function isListening(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path })
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code !== 'ECONNREFUSED'))
  })
}

function attemptUnlink(file: string): void {
  try {
    unlinkSync(file)
  } catch {
    // It is gone, or was never there.
  }
}

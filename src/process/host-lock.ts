import { createHash } from 'node:crypto'
import { rmSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { dirname, join } from 'node:path'
import { getuid, platform } from 'node:process'
import { makePrivateDirectory } from './private-directory.ts'
import type { StateDirectory } from './state-directory.ts'

/** A name on this host that one process holds at a time, and what listens under it while it is held. */
export interface HostLock {
  /** Releases the name: another process can take it when this returns. Open connections are not notified. */
  release(): void
}

/** Takes names on this host, each held by the kernel or by proof of life, so that it ends with its holder. */
export interface HostLocks {
  /** Where the holder of a name may listen, the place to try first before the others. */
  addressesOf(name: string): Promise<readonly string[]>
  /** The lock, or `undefined` if another process holds it. `server` listens under the name from then on. */
  take(name: string, server: Server): Promise<HostLock | undefined>
}

/** The name of the claim on an origin, unique to this user and this state directory. */
export function toClaimName(directory: string, origin: string): string {
  const parts = [String(getuid?.() ?? ''), directory, origin]
  return `leasehold-${createHash('sha256').update(parts.join('\n')).digest('hex').slice(0, 40)}`
}

/**
 * Names that the kernel holds for a process and frees with it: abstract Unix sockets on Linux, pipes on Windows.
 * The name is the lock. On Linux any user of the host can connect to it, so guests meet the holder at a door instead: a
 * socket file in the state directory, which only this user can reach. A guest that finds no door comes to the name.
 * Any user can also take a name: proof is the peers' matter.
 */
export function createKernelLocks({ path }: Pick<StateDirectory, 'path'>): HostLocks {
  const toAddress = (name: string) => (platform === 'win32' ? `\\\\.\\pipe\\${name}` : `\0${name}`)
  // Short, because the path of a socket has some hundred bytes at most.
  const buildDoorPath = (name: string) => join(path, 'claims', `${name.slice(-16)}.door`)
  const hasDoor = platform === 'linux'
  return {
    addressesOf: async (name) => [...(hasDoor ? [buildDoorPath(name)] : []), toAddress(name)],
    take: async (name, server) => {
      if (!(await listen(server, toAddress(name)))) return undefined
      const door = hasDoor ? await openDoor(buildDoorPath(name), server) : undefined
      return {
        release: () => {
          // First the door: its file is removed with it, and the next holder of the name makes another.
          door?.close()
          server.close()
        },
      }
    },
  }
}

/** A second way in to `server`. Only the holder of the name opens one, so a file that is there was left by a dead one. */
async function openDoor(path: string, server: Server): Promise<Server | undefined> {
  const door = createClaimServer()
  door.on('connection', (socket) => server.emit('connection', socket))
  try {
    makePrivateDirectory(dirname(path))
    rmSync(path, { force: true })
    return (await listen(door, path)) ? door : undefined
  } catch {
    // A full disk, or a path that is too long for a socket: the name alone is there.
    return undefined
  }
}

/** Whether `server` listens at an address now; `false`: another process does. @throws the system's error */
export function listen(server: Server, path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const refuse = (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE' || error.code === 'EACCES') resolve(false)
      else reject(error)
    }
    server.once('error', refuse)
    server.listen({ path }, () => {
      server.off('error', refuse)
      // One accepted connection that fails must not end this process.
      server.on('error', () => {})
      resolve(true)
    })
    // What runs under the claim keeps an embedder alive, not the claim.
    server.unref()
  })
}

/** A server that refuses connections beyond a number: each is a guest, and guests are few. */
export function createClaimServer(): Server {
  const server = createServer()
  server.maxConnections = MAX_GUESTS
  return server
}

/** Peers that may be connected to one claim. */
export const MAX_GUESTS = 64

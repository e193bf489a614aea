import { createHash } from 'node:crypto'
import { createServer, type Server } from 'node:net'
import { getuid, platform } from 'node:process'

/** A name on this host that one process holds at a time, and what listens under it while it is held. */
export interface HostLock {
  /** Lets the name go: another can have it when this returns. Whoever is connected is not told. */
  release(): void
}

/** Takes names on this host, each held by the kernel or by proof of life, so that it ends with its holder. */
export interface HostLocks {
  /** Where the holder of a name listens. */
  addressOf(name: string): Promise<string | undefined>
  /** The lock, or `undefined` when somebody holds it. `server` listens under the name from then on. */
  take(name: string, server: Server): Promise<HostLock | undefined>
}

/** The name of the claim on an origin: of this user and this state directory, and of nobody else's. */
export function toClaimName(directory: string, origin: string): string {
  const parts = [String(getuid?.() ?? ''), directory, origin]
  return `leasehold-${createHash('sha256').update(parts.join('\n')).digest('hex').slice(0, 40)}`
}

/**
 * Names that the kernel holds for a process and frees with it: abstract Unix sockets on Linux, pipes on Windows.
 * Nothing is left on disk, so nothing can be stale. Any user of the host can take a name: proof is the peers' matter.
 */
export function createKernelLocks(): HostLocks {
  const toAddress = (name: string) => (platform === 'win32' ? `\\\\.\\pipe\\${name}` : `\0${name}`)
  return {
    addressOf: async (name) => toAddress(name),
    take: async (name, server) =>
      (await listen(server, toAddress(name))) ? { release: () => void server.close() } : undefined,
  }
}

/** Whether `server` listens at an address now; `false`: somebody else does. @throws the system's error */
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
const MAX_GUESTS = 64

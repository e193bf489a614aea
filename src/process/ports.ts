import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { createServer } from 'node:net'
import { hasProcfs, readExecutable } from './tree.ts'

/**
 * Whether nobody listens on `host` and `port`, found out by listening there for a moment. A connection in
 * TIME_WAIT does not make a port taken.
 * @throws the system's error when it could not be found out: an address that is not this host's, a port
 * this user may not open, no file descriptors left.
 */
export function isPortFree(host: string, port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', (error) => {
      if ('code' in error && error.code === 'EADDRINUSE') resolve(false)
      else reject(error)
    })
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(true)))
  })
}

/** A process that listens on a port. */
export interface Listener {
  readonly pid: number
  /** The file it executes, where we may look. */
  readonly exe?: string
}

/**
 * Who listens on a TCP port, on whatever address: usually nobody or one, but the other address family,
 * SO_REUSEPORT and a socket inherited by a child all make it more. Listeners of other users are not seen.
 * Linux only, empty elsewhere. Reads the descriptors of every process of this user: once per start, not
 * once per probe.
 */
export function findListeners(port: number): readonly Listener[] {
  if (!hasProcfs) return []
  const sockets = new Set([...listListeningInodes('tcp', port), ...listListeningInodes('tcp6', port)])
  if (sockets.size === 0) return []
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && holdsSocket(name, sockets))
    .map((name) => toListener(Number(name)))
}

const LISTEN_STATE = '0A'

function listListeningInodes(table: 'tcp' | 'tcp6', port: number): string[] {
  const wanted = port.toString(16).toUpperCase().padStart(4, '0')
  return readLines(`/proc/net/${table}`).flatMap((line) => {
    const [, local = '', , state, , , , , , inode = ''] = line.trim().split(/\s+/)
    return state === LISTEN_STATE && local.endsWith(`:${wanted}`) ? [`socket:[${inode}]`] : []
  })
}

function readLines(file: string): string[] {
  try {
    return readFileSync(file, 'latin1').split('\n').slice(1)
  } catch {
    return []
  }
}

function holdsSocket(pid: string, sockets: ReadonlySet<string>): boolean {
  try {
    return readdirSync(`/proc/${pid}/fd`).some((fd) => sockets.has(readLink(`/proc/${pid}/fd/${fd}`)))
  } catch {
    return false
  }
}

function readLink(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return ''
  }
}

function toListener(pid: number): Listener {
  const exe = readExecutable(pid)
  return exe === undefined ? { pid } : { pid, exe }
}

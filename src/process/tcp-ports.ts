import { closeSync, openSync, readdirSync, readFileSync, readlinkSync, readSync, statSync } from 'node:fs'
import { createServer, isIPv4 } from 'node:net'
import { hostname, networkInterfaces, userInfo } from 'node:os'
import { basename } from 'node:path'
import { geteuid } from 'node:process'
import type { Listener, PortHolder } from '../../machines/messages.ts'
import { type Clock, delay } from '../clock.ts'
import { isLoopback } from '../net/loopback.ts'
import { hasProcfs, readExecutable, readProcess } from './tree.ts'

/** A host as a URL writes it, and a TCP port. */
export interface Address {
  readonly host: string
  readonly port: number
}

/** Where a URL leads. */
export function toAddress(url: string): Address {
  const { hostname, port, protocol } = new URL(url)
  const host = hostname.replace(/^\[(.*)\]$/, '$1')
  return { host, port: port === '' ? (protocol === 'https:' ? 443 : 80) : Number(port) }
}

/**
 * Whether `host` and `port` are free, found out by listening there for a moment. A connection in
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

/** How long a port may stay taken after the last process of its server ended, and the pause between two looks. */
const PORT_FREE_MS = 2_000
const LOOK_MS = 25
/** How long a server that went into the background may take to listen. */
const PORT_TAKEN_MS = 1_500

/**
 * Waits until a port is free, for at most two seconds, and not at all for a process that has had it since before a run
 * of ours began. Answers with who has it then, or `undefined`: it is free, or that cannot be found out.
 */
export async function untilPortFree(
  address: Address,
  clock: Clock,
  bornAtTicks = Number.POSITIVE_INFINITY,
): Promise<PortHolder | undefined> {
  const deadlineMs = clock.now() + PORT_FREE_MS
  for (;;) {
    if (await isPortFree(address.host, address.port).catch(() => true)) return undefined
    const holder = findPortHolder(address, [])
    if (holder !== undefined && isOlder(holder, bornAtTicks)) return holder
    if (clock.now() >= deadlineMs) return holder ?? { port: address.port, ours: [], strangers: [] }
    await delay(clock, LOOK_MS)
  }
}

/** Whether a listener, or at least its process, is older than a process that started at `bornAtTicks`. */
export function isOlder({ strangers }: PortHolder, bornAtTicks: number): boolean {
  return strangers.some(({ pid }) => (readProcess(pid)?.startTicks ?? bornAtTicks) < bornAtTicks)
}

/** Waits for a moment until a process listens at an address, and answers with its holder. */
export async function untilPortTaken(address: Address, clock: Clock): Promise<PortHolder | undefined> {
  const deadlineMs = clock.now() + PORT_TAKEN_MS
  for (;;) {
    await delay(clock, LOOK_MS)
    const holder = findPortHolder(address, [])
    if (holder !== undefined || clock.now() >= deadlineMs) return holder
  }
}

/** Whether the kernel has a listener at an address. Without `/proc`: no. */
export function isListenedAt(address: Address): boolean {
  return hasProcfs && listListeningAt(address).length > 0
}

/**
 * The holder of an address of which one process holds every socket; `undefined`: it does not, or that cannot be told.
 * It reads the descriptors of that process alone.
 */
export function findSoleHolder(address: Address, pid: number): PortHolder | undefined {
  if (!hasProcfs) return undefined
  const sockets = new Set(listListeningAt(address).map(({ socket }) => socket))
  if (sockets.size === 0 || listHeld(pid, sockets).length < sockets.size) return undefined
  return { port: address.port, ours: [findListener(pid)], strangers: [] }
}

/**
 * Who listens at an address: usually one, but a wildcard, SO_REUSEPORT and a socket inherited by a child all make it
 * more. `ours`: the pids that count as ours. `undefined` where it cannot be told: not Linux, or an invisible holder,
 * such as another user's process. If our processes hold everything, no other process is examined; otherwise it reads
 * the descriptors of every process of this user: once per start, not once per probe.
 */
export function findPortHolder({ host, port }: Address, ours: readonly number[]): PortHolder | undefined {
  if (!hasProcfs) return undefined
  const listening = listListeningAt({ host, port })
  const sockets = new Set(listening.map(({ socket }) => socket))
  if (sockets.size === 0) return undefined
  const held = ours
    .map((pid) => ({ pid, sockets: listHeld(pid, sockets) }))
    .filter((one) => one.sockets.length > 0)
  for (const one of held) for (const socket of one.sockets) sockets.delete(socket)
  const mine = new Set(ours)
  const strangers =
    sockets.size === 0
      ? []
      : listPids()
          .filter((pid) => !mine.has(pid) && listHeld(pid, sockets).length > 0)
          .map(findListener)
          .filter(({ exe }) => exe === undefined || !FORWARDERS.has(basename(exe)))
  const uid = findOtherUid(
    listening.filter(({ socket }) => sockets.has(socket)),
    host,
    () => ours,
  )
  if (held.length === 0 && strangers.length === 0 && uid === undefined) return undefined
  return {
    port,
    ours: held.map(({ pid }) => findListener(pid)),
    strangers,
    ...(uid === undefined ? {} : { uid }),
  }
}

/**
 * The user id of another user of this host who listens at an address: neither the user of this process, nor one of its
 * subordinate ids (rootless containers), nor root, nor the user of one of `ours`. What listens there gets keys and
 * prompts, and any user can take a free port. The kernel tells the user of every socket, also where
 * its process cannot be seen. `undefined`: no such listener, not an address of this host, or not Linux.
 */
export function findOtherUser(
  { host, port }: Address,
  ours: () => readonly number[] = () => [],
): number | undefined {
  if (!hasProcfs) return undefined
  return findOtherUid(listListeningAt({ host, port }), host, ours)
}

function findOtherUid(
  listening: readonly Listening[],
  host: string,
  ours: () => readonly number[],
): number | undefined {
  const others = listening.map(({ uid }) => uid).filter((uid) => !isOwnUid(uid))
  if (others.length === 0 || !isOwnHost(host)) return undefined
  // A program of ours may have changed its user: sudo, setpriv, a server that gives up root.
  const mine = new Set(ours().map(readUid))
  return others.find((uid) => !mine.has(uid))
}

function isOwnUid(uid: number): boolean {
  const own = geteuid?.()
  if (uid === 0 || own === undefined || uid === own) return true
  return listSubordinates(own).some(({ first, count }) => uid >= first && uid < first + count)
}

/** Ids that the user may give to processes in a namespace of its own: `alice:100000:65536`. */
function listSubordinates(own: number): { readonly first: number; readonly count: number }[] {
  try {
    const names = new Set([String(own), userInfo().username])
    return readFileSync('/etc/subuid', 'latin1')
      .split('\n')
      .map((line) => line.split(':'))
      .filter(([name = '']) => own !== 0 && names.has(name))
      .map(([, first, count]) => ({ first: Number(first), count: Number(count) }))
  } catch {
    return []
  }
}

function readUid(pid: number): number | undefined {
  try {
    return statSync(`/proc/${pid}`).uid
  } catch {
    return undefined
  }
}

/** Whether a URL's host is this host: another one has sockets of its own. */
function isOwnHost(host: string): boolean {
  if (isLoopback(host) || host === hostname()) return true
  return Object.values(networkInterfaces()).some((all) => all?.some(({ address }) => address === host))
}

/** TCP ports that any of these processes listens on. Empty where there is no `/proc`. */
export function listPortsOf(pids: readonly number[]): readonly number[] {
  return [...new Set(listListeningOf(pids).map(({ port }) => port))]
}

/** Where these processes listen on this port, but at addresses that its host does not reach: `[::1]:8080`. */
export function listUnreachedOf({ host, port }: Address, pids: readonly number[]): readonly string[] {
  const same = listListeningOf(pids).filter((one) => one.port === port)
  if (same.some(({ address }) => isReached(host, address))) return []
  return [...new Set(same.map(({ address }) => `${parseHost(address)}:${port}`))]
}

function listListeningOf(pids: readonly number[]): readonly Listening[] {
  if (!hasProcfs) return []
  const listening = [...listListening('tcp'), ...listListening('tcp6')]
  const sockets = new Set(listening.map(({ socket }) => socket))
  const held = new Set(pids.flatMap((pid) => listHeld(pid, sockets)))
  return listening.filter(({ socket }) => held.has(socket))
}

/** An address as a URL holds it; the kernel writes each 32 bits of it with the last byte first. */
function parseHost(address: string): string {
  const bytes = (address.match(/.{8}/g) ?? []).flatMap((word) => (word.match(/../g) ?? []).toReversed())
  if (bytes.length === 4) return bytes.map((byte) => Number.parseInt(byte, 16)).join('.')
  const { hostname } = new URL(`http://[${(bytes.join('').match(/.{4}/g) ?? []).join(':')}]`)
  return hostname
}

/** Who listens at a Unix socket; `\0` begins an abstract name. `undefined` where that cannot be seen. */
export function findSocketHolder(path: string): number | undefined {
  if (!hasProcfs) return undefined
  const name = shortenPath(path)
  const sockets = new Set(
    [...readTable('/proc/net/unix')]
      .map((line) => line.trim().split(/\s+/))
      .filter(([, , , flags, , , , ...own]) => flags === ACCEPTS && shortenPath(own.join(' ')) === name)
      .map(([, , , , , , inode]) => `socket:[${inode}]`),
  )
  return sockets.size === 0 ? undefined : listPids().find((pid) => listHeld(pid, sockets).length > 0)
}

/** As the kernel shows a name: `@` for NUL, with which an older libuv fills an abstract name up. */
function shortenPath(path: string): string {
  return path.replace(/^\0/, '@').replace(/@+$/, '')
}

/** As the kernel writes `__SO_ACCEPTCON`. */
const ACCEPTS = '00010000'

/** A port that is taken, in words. */
export function describeTaken({ port }: Address, holder: PortHolder | undefined): string {
  const names = listNames(holder)
  return `not spawned, because its port ${port} is taken${names === '' ? '' : ` by ${names}`}`
}

/** Who listens at an address, in words; empty where that cannot be told. */
export function describeHolder(address: Address): string {
  return listNames(findPortHolder(address, []))
}

function listNames(holder: PortHolder | undefined): string {
  if (holder?.uid !== undefined && holder.strangers.length === 0) return `another user (uid ${holder.uid})`
  return (holder?.strangers ?? [])
    .map(({ pid, exe }) => `process ${pid}${exe === undefined ? '' : ` (${exe})`}`)
    .join(' and ')
}

/** They listen for containers, and nothing proves which container a port belongs to. */
const FORWARDERS: ReadonlySet<string> = new Set([
  'docker-proxy',
  'rootlesskit',
  'rootlessport',
  'slirp4netns',
  'passt',
  'pasta',
])

interface Listening {
  /** As the kernel writes it: hexadecimal, in words of the host's byte order. */
  readonly address: string
  readonly port: number
  readonly socket: string
  /** The user that opened it. */
  readonly uid: number
}

const LISTEN_STATE = '0A'

/**
 * The kernel lists listeners first, and behind them every connection of the last minute: the look ends at the
 * first of these. Of a table with 5,300 of them the beginning takes 0.3 ms, the whole took 20 to 40.
 */
function* listListening(table: 'tcp' | 'tcp6'): Generator<Listening> {
  for (const line of readTable(`/proc/net/${table}`)) {
    const [, local = '', , state, , , , uid = '', , inode = ''] = line.trim().split(/\s+/)
    if (state !== LISTEN_STATE) return
    const [address = '', port = ''] = local.split(':')
    yield { address, port: Number.parseInt(port, 16), socket: `socket:[${inode}]`, uid: Number(uid) }
  }
}

/**
 * The sockets that a connection to an address may reach. The kernel prefers the exact IPv4 address to a socket of IPv6
 * that takes every address, so the second table is read only where the first does not decide: where no socket of IPv6
 * listens, reading it takes 2 ms, because the kernel looks for a connection in all of its buckets.
 */
function listListeningAt({ host, port }: Address): Listening[] {
  const isHere = (one: Listening) => one.port === port && isReached(host, one.address)
  const found = [...listListening('tcp')].filter(isHere)
  if (isIPv4(host) && found.some(({ address }) => !ANY.has(address))) return found
  return [...found, ...[...listListening('tcp6')].filter(isHere)]
}

/** The lines of a table of the kernel's without their heading, read no further than they are asked for. */
function* readTable(file: string): Generator<string> {
  let descriptor: number
  try {
    descriptor = openSync(file, 'r')
  } catch {
    // A kernel without IPv6 has no such table.
    return
  }
  try {
    const page = Buffer.alloc(4096)
    let rest = ''
    let isHeading = true
    for (;;) {
      const size = readSync(descriptor, page)
      if (size === 0) return
      const lines = (rest + page.toString('latin1', 0, size)).split('\n')
      rest = lines.pop() ?? ''
      yield* isHeading ? lines.slice(1) : lines
      isHeading = false
    }
  } finally {
    closeSync(descriptor)
  }
}

const ANY = new Set(['00000000', '0'.repeat(32)])
const LOOPBACK = { v4: '0100007F', v6: '00000000000000000000000001000000' } as const

/** Whether a connection to `host` may reach a socket with this address. In doubt, yes. */
function isReached(host: string, address: string): boolean {
  if (ANY.has(address)) return true
  const v4 = /^(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(host)
  if (v4 !== null) {
    const wanted = v4
      .slice(1)
      .reverse()
      .map((part) => Number(part).toString(16).padStart(2, '0').toUpperCase())
      .join('')
    return address === wanted || address === `0000000000000000FFFF0000${wanted}`
  }
  if (host === '::1') return address === LOOPBACK.v6
  return host !== 'localhost' || address === LOOPBACK.v4 || address === LOOPBACK.v6
}

function listPids(): number[] {
  return readdirSync('/proc').flatMap((name) => (/^\d+$/.test(name) ? [Number(name)] : []))
}

/** Those of some sockets that a process holds. */
function listHeld(pid: number, sockets: ReadonlySet<string>): string[] {
  try {
    const links = readdirSync(`/proc/${pid}/fd`).map((fd) => readLink(`/proc/${pid}/fd/${fd}`))
    return [...new Set(links.filter((link) => sockets.has(link)))]
  } catch {
    return []
  }
}

function readLink(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return ''
  }
}

function findListener(pid: number): Listener {
  const exe = readExecutable(pid)
  return exe === undefined ? { pid } : { pid, exe }
}

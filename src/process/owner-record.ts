import { createHmac, timingSafeEqual } from 'node:crypto'
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  openSync,
  readFileSync,
  readlinkSync,
  renameSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { getuid, pid as ownPid } from 'node:process'
import type { Amounts } from '../../machines/scheduler.ts'
import { StateDirectoryError } from '../errors.ts'
import type { Command } from './command.ts'
import { makePrivateDirectory } from './private-directory.ts'
import type { StateDirectory } from './state-directory.ts'
import { type ProcessIdentity, readExecutable, readProcess, type TreeRoot } from './tree.ts'

/** A process as it is written down: enough to prove later that it is still the same. */
export interface RecordedProcess extends ProcessIdentity {
  /** The file it executes; `null` where that was not to be seen. */
  readonly exe: string | null
}

/** A server outside the tree of its process, and how it is ended. */
export interface RecordedServer {
  readonly generation: string
  /** The service's key: the next supervisor knows its environment by it, which is not written down. */
  readonly key: string
  readonly stop: readonly Command[]
  readonly status?: Command
  /** The parts of shared limits that it holds. Absent: a supervisor that did not write them down. */
  readonly needs?: Amounts
  /** What the status command printed of it: it tells it from a namesake. */
  readonly id?: string
}

/** The record of an owner, for cleaning up after its death. */
export interface RecordedOwner {
  /** The value of `LEASEHOLD_OWNER` in the environment of its processes. */
  readonly owner: string
  /** The supervisor's own process. */
  readonly pid: number
  readonly startTicks: number
  /** The kernel's life and the pid namespace in which these numbers mean something. */
  readonly host: string
  readonly runs: readonly RecordedProcess[]
  readonly servers: readonly RecordedServer[]
}

/** The file in which a supervisor lists its processes, so that another one can end them after its death. */
export interface OwnerRecord {
  /** Writes the file, if it is not there. To be called before a spawn, and while something runs. @throws {@link StateDirectoryError} */
  open(): void
  /** The file, while it is there. */
  path(): string | undefined
  /** Names a child. One that could not be written down is still found by its marker. */
  add(child: Pick<TreeRoot, 'pid' | 'startTicks'>): void
  /** Forgets a child whose tree has ended. */
  remove(pid: number): void
  /** Names a server outside the tree, from before its start. */
  addServer(server: Omit<RecordedServer, 'id'>): void
  /** Adds the id of a server that was named. The first one stays: another one is that of a namesake. */
  identifyServer(generation: string, id: string): void
  /** Forgets a server that is gone. */
  removeServer(generation: string): void
  /** Takes the file away. Idempotent. */
  close(): void
}

/** Longest record that is read, in bytes: some hundred processes. */
const MAX_RECORD_BYTES = 65_536
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

/** Where the records of a state directory are. */
export function toRecordDirectory({ path }: StateDirectory): string {
  return join(path, 'owners')
}

export function createOwnerRecord(owner: string, stateDirectory: () => StateDirectory): OwnerRecord {
  const runs = new Map<number, RecordedProcess>()
  const servers = new Map<string, RecordedServer>()
  let directory: StateDirectory | undefined
  const fileOf = (state: StateDirectory) => join(toRecordDirectory(state), `${owner}.json`)

  const write = (state: StateDirectory) => {
    const record: RecordedOwner = {
      owner,
      pid: ownPid,
      startTicks: readProcess(ownPid)?.startTicks ?? 0,
      host: readHost(),
      runs: [...runs.values()],
      servers: [...servers.values()],
    }
    const body = JSON.stringify(record)
    const file = fileOf(state)
    const draft = `${file}.${ownPid}.draft`
    makePrivateDirectory(toRecordDirectory(state))
    writeFileSync(draft, JSON.stringify({ body, mac: computeMac(state, body) }), { mode: 0o600 })
    renameSync(draft, file)
  }
  const rewrite = () => {
    if (directory === undefined) return
    try {
      write(directory)
    } catch {
      // The owner is on record, and its children carry its marker.
    }
  }

  return {
    open: () => {
      // With the directory, its key may have been deleted while we run: then both are made anew.
      if (directory !== undefined && existsSync(fileOf(directory))) return
      const state = stateDirectory()
      try {
        write(state)
      } catch (error) {
        const code = error instanceof Error && 'code' in error ? String(error.code) : String(error)
        throw new StateDirectoryError(
          state.path,
          `the record of our processes cannot be written (${code})`,
          error,
        )
      }
      directory = state
    },
    path: () => directory && fileOf(directory),
    add: ({ pid }) => {
      const found = readProcess(pid)
      if (found === undefined) return
      const { pgid, sid, startTicks } = found
      runs.set(pid, { pid, pgid, sid, startTicks, exe: readExecutable(pid) ?? null })
      rewrite()
    },
    remove: (pid) => {
      if (runs.delete(pid)) rewrite()
    },
    addServer: ({ generation, key, stop, status, needs }) => {
      servers.set(generation, {
        generation,
        key,
        stop,
        ...(status === undefined ? {} : { status }),
        ...(needs === undefined ? {} : { needs }),
      })
      rewrite()
    },
    identifyServer: (generation, id) => {
      const server = servers.get(generation)
      if (server === undefined || server.id !== undefined) return
      servers.set(generation, { ...server, id })
      rewrite()
    },
    removeServer: (generation) => {
      if (servers.delete(generation)) rewrite()
    },
    close: () => {
      if (directory === undefined) return
      try {
        unlinkSync(fileOf(directory))
      } catch {
        // The next supervisor finds it, and nothing of ours.
      }
      directory = undefined
    },
  }
}

/** Which numbers of processes mean the same as ours: one boot of one kernel, and one pid namespace of it. */
export function readHost(): string {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()
    return `${boot} ${readlinkSync('/proc/self/ns/pid')}`
  } catch {
    return ''
  }
}

/**
 * Reads a record and believes it only when it is a file of ours that carries our proof.
 * @throws {@link Error} what is wrong with it, as a clause
 */
export function readRecord(state: StateDirectory, name: string): RecordedOwner {
  const descriptor = openSync(
    join(toRecordDirectory(state), name),
    constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0),
  )
  try {
    const { size, uid, mode, isFile } = readFacts(fstatSync(descriptor))
    if (!isFile) throw new Error('it is not a file')
    if (getuid !== undefined && (uid !== getuid() || (mode & 0o022) !== 0))
      throw new Error('others could have written it')
    if (size > MAX_RECORD_BYTES) throw new Error(`it has ${size} bytes`)
    const record = parseRecord(state, readFileSync(descriptor, 'utf8'))
    if (name !== `${record.owner}.json`) throw new Error('it is the record of another owner')
    return record
  } finally {
    closeSync(descriptor)
  }
}

function readFacts(stats: ReturnType<typeof fstatSync>) {
  return {
    size: Number(stats.size),
    uid: Number(stats.uid),
    mode: Number(stats.mode),
    isFile: stats.isFile(),
  }
}

function parseRecord(state: StateDirectory, text: string): RecordedOwner {
  const { body, mac } = parseObject(JSON.parse(text))
  if (typeof body !== 'string' || !isMac(mac, computeMac(state, body)))
    throw new Error('it does not carry the proof of the host key')
  const { owner, pid, startTicks, host, runs, servers = [] } = parseObject(JSON.parse(body))
  const hasId = typeof owner === 'string' && UUID.test(owner)
  if (!hasId || typeof host !== 'string' || !Array.isArray(runs) || !Array.isArray(servers))
    throw new Error('its fields are not those of a record')
  return {
    owner,
    pid: parsePid(pid),
    startTicks: parseNumber(startTicks),
    host,
    runs: runs.map(parseRecorded),
    servers: servers.map(parseServer),
  }
}

function parseServer(value: unknown): RecordedServer {
  const { generation, key, stop, status, needs, id } = parseObject(value)
  if (
    typeof generation !== 'string' ||
    typeof key !== 'string' ||
    !Array.isArray(stop) ||
    !stop.every(isCommand)
  )
    throw new Error('its fields are not those of a server')
  return {
    generation,
    key,
    stop,
    ...(isCommand(status) ? { status } : {}),
    ...(isAmounts(needs) ? { needs } : {}),
    ...(typeof id === 'string' ? { id } : {}),
  }
}

function isCommand(value: unknown): value is Command {
  return Array.isArray(value) && value.length > 0 && value.every((text) => typeof text === 'string')
}

function isAmounts(value: unknown): value is Amounts {
  return (
    typeof value === 'object' &&
    value !== null &&
    Object.values(value).every((amount) => Number.isFinite(amount) && amount >= 0)
  )
}

function parseRecorded(value: unknown): RecordedProcess {
  const { pid, pgid, sid, startTicks, exe } = parseObject(value)
  return {
    pid: parsePid(pid),
    pgid: parsePid(pgid),
    sid: parsePid(sid),
    startTicks: parseNumber(startTicks),
    exe: typeof exe === 'string' ? exe : null,
  }
}

function parseObject(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) throw new Error('it is not an object')
  return value as Readonly<Record<string, unknown>>
}

function parsePid(value: unknown): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value <= 1)
    throw new Error(`${JSON.stringify(value)} is no number of a process of ours`)
  return value
}

function parseNumber(value: unknown): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0)
    throw new Error(`${JSON.stringify(value)} is no start time`)
  return value
}

function computeMac({ hostKey }: StateDirectory, body: string): string {
  return createHmac('sha256', hostKey).update(`record\n${body}`).digest('hex')
}

function isMac(given: unknown, expected: string): boolean {
  const bytes = Buffer.from(String(given))
  return bytes.length === expected.length && timingSafeEqual(bytes, Buffer.from(expected))
}

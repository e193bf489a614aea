import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Typical, toTypical } from './past-durations.ts'

/** How many starts and runs of a service are remembered, and how many services. */
const MAX_KEPT = 9
const MAX_SERVICES = 200
const MAX_FILE_BYTES = 256 * 1024

/** One start of a service: the time until it was ready, or until it failed, in milliseconds. */
export interface PastStart {
  readonly ms: number
  readonly failed: boolean
}

interface Entry {
  /** How long its last starts took, in milliseconds. */
  readonly startsMs: readonly number[]
  /** The last starts, failed ones included. Absent in a file of an earlier version. */
  readonly starts?: readonly PastStart[]
  /** The most that each of its last runs occupied, by budget. */
  readonly peaks: readonly Readonly<Record<string, number>>[]
}

/** What the earlier runs of each service took, by service key. It outlives the supervisor. */
export interface History {
  startsOf(key: string): Typical | null
  /** The last starts, oldest first, failed ones included. */
  pastStartsOf(key: string): readonly PastStart[]
  /** The most that any run in memory occupied, by budget, in MiB. */
  needsOf(key: string): Readonly<Record<string, number>>
  /** A failed start does not count for `startsOf`. */
  addStart(key: string, durationMs: number, failed?: boolean): void
  /** A run is over; it occupied this at the most. */
  addRun(key: string, peak: Readonly<Record<string, number>>): void
}

/** Where a history is kept. */
export interface HistoryPlace {
  /** The state directory, whether it is there or not. */
  readonly path: () => string
  /** Checks or creates it before a write; throws when it cannot be used. */
  readonly ensure: () => void
}

/**
 * Opens the history of a state directory. A file that is missing or invalid counts as empty. Where nothing can be
 * written, the history ends with this process: neither may keep a model from answering.
 */
export function openHistory({ path, ensure }: HistoryPlace): History {
  const toFile = () => join(path(), 'history.json')
  const read = (): Record<string, Entry> => {
    try {
      const bytes = readFileSync(toFile())
      return bytes.length > MAX_FILE_BYTES ? {} : toEntries(JSON.parse(bytes.toString('utf8')))
    } catch {
      return {}
    }
  }
  let entries: Map<string, Entry> | undefined
  const known = () => {
    entries ??= new Map(Object.entries(read()))
    return entries
  }
  const entryOf = (key: string): Entry => known().get(key) ?? { startsMs: [], peaks: [] }

  /** Another supervisor may have written since: what it knows of other services is kept. */
  const change = (key: string, toChange: (entry: Entry) => Entry) => {
    const changed = toChange(entryOf(key))
    const all = new Map(Object.entries(read()))
    // Put at the end, so that the service that has not run for the longest time is forgotten first.
    all.delete(key)
    all.set(key, changed)
    for (const oldest of [...all.keys()].slice(0, Math.max(0, all.size - MAX_SERVICES))) all.delete(oldest)
    known().set(key, changed)
    try {
      ensure()
      const draft = `${toFile()}.${process.pid}`
      writeFileSync(draft, JSON.stringify(Object.fromEntries(all)), { mode: 0o600 })
      renameSync(draft, toFile())
    } catch {
      // Nothing can be written; the history in memory stays.
    }
  }

  return {
    startsOf: (key) => toTypical(entryOf(key).startsMs),
    pastStartsOf: (key) => listStarts(entryOf(key)),
    needsOf: (key) => {
      const needs: Record<string, number> = {}
      for (const peak of entryOf(key).peaks)
        for (const [budget, amount] of Object.entries(peak))
          needs[budget] = Math.max(needs[budget] ?? 0, amount)
      return needs
    },
    addStart: (key, durationMs, failed = false) =>
      change(key, (entry) => {
        const ms = Math.round(durationMs)
        return {
          ...entry,
          startsMs: failed ? entry.startsMs : [...entry.startsMs, ms].slice(-MAX_KEPT),
          starts: [...listStarts(entry), { ms, failed }].slice(-MAX_KEPT),
        }
      }),
    addRun: (key, peak) =>
      change(key, (entry) => ({ ...entry, peaks: [...entry.peaks, { ...peak }].slice(-MAX_KEPT) })),
  }
}

function listStarts({ starts, startsMs }: Entry): readonly PastStart[] {
  return starts ?? startsMs.map((ms) => ({ ms, failed: false }))
}

/** Keeps valid entries, drops the rest. */
function toEntries(file: unknown): Record<string, Entry> {
  return isRecord(file)
    ? Object.fromEntries(Object.entries(file).filter((pair): pair is [string, Entry] => isEntry(pair[1])))
    : {}
}

function isEntry(value: unknown): value is Entry {
  return (
    isRecord(value) &&
    isListOf(value.startsMs, isAmount) &&
    (value.starts === undefined || isListOf(value.starts, isPastStart)) &&
    isListOf(value.peaks, (peak) => isRecord(peak) && Object.values(peak).every(isAmount))
  )
}

function isListOf(value: unknown, is: (item: unknown) => boolean): boolean {
  return Array.isArray(value) && value.length <= MAX_KEPT && value.every(is)
}

function isPastStart(value: unknown): boolean {
  return isRecord(value) && isAmount(value.ms) && typeof value.failed === 'boolean'
}

function isAmount(value: unknown): boolean {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

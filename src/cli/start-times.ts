import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { z } from 'zod'
import type { Environment } from '../config/secrets.ts'
import { toStateDirectoryPath } from '../process/state-directory.ts'

/** How many starts of a service are remembered, and how many services. */
const MAX_STARTS = 9
const MAX_SERVICES = 100
const MAX_FILE_BYTES = 64 * 1024

const recordSchema = z.record(z.string(), z.array(z.number().nonnegative()).max(MAX_STARTS))

/** How long the last starts of each service took, by service key, in milliseconds. */
export interface StartTimes {
  /** The median of the starts remembered. Absent: there was none. */
  medianMs(key: string): number | undefined
  /** Remembers a start. Where it cannot be written down it is forgotten with this process. */
  add(key: string, durationMs: number): void
}

/** The start times of earlier runs, and of this one. A file that is missing or spoilt is an empty one. */
export function loadStartTimes(file: string): StartTimes {
  const times = new Map(Object.entries(readRecord(file)))
  return {
    medianMs: (key) => toMedian(times.get(key) ?? []),
    add: (key, durationMs) => {
      const starts = [...(times.get(key) ?? []), Math.round(durationMs)].slice(-MAX_STARTS)
      // Put at the end, so that the service that has not started for the longest time is forgotten first.
      times.delete(key)
      times.set(key, starts)
      for (const oldest of [...times.keys()].slice(0, Math.max(0, times.size - MAX_SERVICES)))
        times.delete(oldest)
      writeRecord(file, Object.fromEntries(times))
    },
  }
}

/** The same, but nothing is remembered: the gateway that starts a service remembers it. */
export function toReadOnly({ medianMs }: StartTimes): StartTimes {
  return { medianMs, add: () => {} }
}

/** Where start times are kept: `start-times.json` in the state directory. */
export function toStartTimesFile(env: Environment): string {
  return join(toStateDirectoryPath(env), 'start-times.json')
}

function readRecord(file: string): Record<string, number[]> {
  try {
    const bytes = readFileSync(file)
    return bytes.length > MAX_FILE_BYTES ? {} : recordSchema.parse(JSON.parse(bytes.toString('utf8')))
  } catch {
    return {}
  }
}

/** Written beside and renamed, so that two commands that end at once leave one whole file. */
function writeRecord(file: string, record: Readonly<Record<string, readonly number[]>>): void {
  const draft = `${file}.${process.pid}`
  try {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
    writeFileSync(draft, JSON.stringify(record), { mode: 0o600 })
    renameSync(draft, file)
  } catch {
    // A home that cannot be written to must not stop a model from answering.
  }
}

function toMedian(values: readonly number[]): number | undefined {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted[Math.floor(sorted.length / 2)]
  const below = sorted[Math.ceil(sorted.length / 2) - 1]
  return middle === undefined || below === undefined ? undefined : (middle + below) / 2
}

import type { Clock } from '../clock.ts'

/** Wrong keys before the answers are delayed: of one client, and of all clients together. */
const FREE = { client: 10, all: 100 } as const
/** Wait before the next answer, in milliseconds: it doubles with each wrong key, up to the longest. */
const FIRST_WAIT_MS = 100
const LONGEST_WAIT_MS = 5_000
/** Time without a wrong key after which earlier ones are forgotten, in milliseconds. */
const FORGET_MS = 60_000
/** Clients that are remembered; the one that failed longest ago is forgotten first. */
const MAX_CLIENTS = 1_024

/** Counts wrong keys. A correct key is never delayed: an attacker on this host must not lock out its user. */
export interface Attempts {
  /** Notes a wrong key, and says how long its answer has to wait, in milliseconds. `client`: see `toClientKey`. */
  fail(client: string): number
}

interface Record {
  failures: number
  lastMs: number
}

export function createAttempts(clock: Clock): Attempts {
  const clients = new Map<string, Record>()
  const all: Record = { failures: 0, lastMs: clock.now() }
  const note = (record: Record, free: number) => {
    if (clock.now() - record.lastMs > FORGET_MS) record.failures = 0
    record.lastMs = clock.now()
    record.failures += 1
    const beyond = record.failures - free
    return beyond <= 0 ? 0 : Math.min(FIRST_WAIT_MS * 2 ** Math.min(beyond - 1, 30), LONGEST_WAIT_MS)
  }
  return {
    fail: (client) => {
      const record = clients.get(client) ?? { failures: 0, lastMs: clock.now() }
      // Deleted first, so that the order of the map is the order of the last failures.
      clients.delete(client)
      clients.set(client, record)
      const [oldest] = clients.keys()
      if (clients.size > MAX_CLIENTS && oldest !== undefined) clients.delete(oldest)
      return Math.max(note(record, FREE.client), note(all, FREE.all))
    },
  }
}

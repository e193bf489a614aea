import type { RequestTotals } from '../events/request-totals.ts'
import type { RequestTimings } from '../events/timings.ts'
import type { Usage } from '../events/usage.ts'

/** How many ended requests are kept. */
const MAX_ENDED = 500
/** Services that are counted; of more the one that was met first is forgotten. */
const MAX_COUNTED = 1_000

/** A candidate that could not serve a request. */
export interface FailedCandidate {
  readonly ref: string
  readonly code: string
}

/** One model request that is over. Never a prompt, never an answer. Times are on the clock of the events. */
export interface EndedRequest {
  readonly id: string
  /**
   * The model it was sent to last, `provider/model`. Without a `service`: the name that was asked for, at most 100
   * characters, for which there is no model; `null`: it named none.
   */
  readonly ref: string | null
  /** Key of the service of that model. */
  readonly service: string | null
  /** Its path without the query: `/v1/chat/completions`. */
  readonly route: string | null
  /** Product name in its `user-agent`, at most 40 characters; `null`: it names none. */
  readonly client: string | null
  readonly startedAtMs: number
  readonly endedAtMs: number
  /** Time of day of its end, ISO 8601. */
  readonly time: string
  readonly outcome: 'done' | 'failed' | 'cancelled'
  readonly code: string | null
  /** Status of the answer; `null`: there was none. */
  readonly status: number | null
  readonly timings: RequestTimings
  readonly usage: Usage | null
  /** Size of the body of the answer that the client got. */
  readonly bytes: number
  /** Names of the rules that changed its body. */
  readonly rewrites: readonly string[]
  /** The candidates that were tried before. */
  readonly attempts: readonly FailedCandidate[]
  /** Which member of the cluster it was sent to, and why that one: `on attic, because …`. Absent: to none. */
  readonly choice?: string
}

/** What a request leaves behind. `startedAtMs` and `endedAtMs` are on the clock of the supervisor. */
export type RequestRecord = Omit<EndedRequest, 'time'>

/** The last requests that ended, and how many there were. */
export interface RequestLog {
  add(record: RequestRecord): void
  /** The last ones, the newest first. `offsetMs`: what the clock of the events is ahead. */
  list(limit: number, offsetMs: number): readonly EndedRequest[]
  readonly totals: RequestTotals
  totalsOf(key: string): RequestTotals
  forget(key: string): void
}

type Counts = { -readonly [Name in keyof RequestTotals]: number }

/** Creates an empty log. */
export function createRequestLog(): RequestLog {
  const ring: RequestRecord[] = []
  const wallMs = new Float64Array(MAX_ENDED)
  const all = createCounts()
  const byService = new Map<string, Counts>()
  let added = 0

  const countsOf = (key: string): Counts => {
    const known = byService.get(key)
    if (known !== undefined) return known
    const [oldest] = byService.keys()
    if (oldest !== undefined && byService.size >= MAX_COUNTED) byService.delete(oldest)
    const counts = createCounts()
    byService.set(key, counts)
    return counts
  }
  return {
    add: (record) => {
      const at = added % MAX_ENDED
      ring[at] = record
      wallMs[at] = Date.now()
      added += 1
      count(all, record)
      if (record.service !== null) count(countsOf(record.service), record)
    },
    list: (limit, offsetMs) =>
      Array.from({ length: Math.min(limit, ring.length) }, (_, index) => {
        const at = (added - 1 - index) % MAX_ENDED
        const record = ring[at] as RequestRecord
        return {
          ...record,
          startedAtMs: Math.round(record.startedAtMs + offsetMs),
          endedAtMs: Math.round(record.endedAtMs + offsetMs),
          time: new Date(wallMs[at] ?? 0).toISOString(),
        }
      }),
    get totals() {
      return { ...all }
    },
    totalsOf: (key) => ({ ...(byService.get(key) ?? createCounts()) }),
    forget: (key) => byService.delete(key),
  }
}

function createCounts(): Counts {
  return { requests: 0, failed: 0, promptTokens: 0, completionTokens: 0 }
}

function count(counts: Counts, { outcome, usage }: RequestRecord): void {
  counts.requests += 1
  if (outcome === 'failed') counts.failed += 1
  counts.promptTokens += usage?.promptTokens ?? 0
  counts.completionTokens += usage?.completionTokens ?? 0
}

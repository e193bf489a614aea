import type { SupervisorEvent } from '../../events/events.ts'
import type { RequestTimings } from '../../events/timings.ts'
import type { Usage } from '../../events/usage.ts'
import type { RequestSnapshot } from '../../request/open-requests.ts'
import type { EndedRequest } from '../../request/request-log.ts'

/** What a request does: it waits for its lease, its service loads, it waits for the first byte, or it streams. */
export type Phase = 'wait' | 'load' | 'first' | 'stream'

export const phases: readonly Phase[] = ['wait', 'load', 'first', 'stream']

/** One request at one moment. Times are on the clock of the events. */
export interface RequestRow {
  readonly id: string
  readonly ref: string | null
  /** Key of its service. */
  readonly service: string | null
  readonly client: string | null
  readonly route: string | null
  readonly startedAtMs: number
  /** `null`: it is under way. */
  readonly endedAtMs: number | null
  /** Where its time went until the moment. */
  readonly spent: Readonly<Record<Phase, number>>
  /** What it does at the moment; `null`: it is over. */
  readonly phase: Phase | null
  readonly outcome: 'done' | 'failed' | 'cancelled' | null
  readonly code: string | null
  readonly status: number | null
  readonly usage: Usage | null
  /** Pieces of its answer so far. */
  readonly chunks: number
  readonly rewrites: readonly string[]
  readonly attempts: readonly { readonly ref: string; readonly code: string }[]
  /** Which member of the cluster it was sent to, and why that one. */
  readonly choice?: string | undefined
  /** Its place in the queue when it came, and its estimated wait; `null`: it did not wait, or that is not known. */
  readonly queued: { readonly position: number; readonly estimatedMs: number | null } | null
}

/** What is known of one request, from events and from looks. */
interface Known extends Omit<RequestRow, 'spent' | 'phase'> {
  readonly grantedAtMs: number | null
  readonly respondedAtMs: number | null
  readonly timings: RequestTimings | null
  /** As a look told; `leasing` before its lease. */
  readonly state: string
}

/** Requests that are listed, and requests that are kept: a held moment lists those before it. */
export const MAX_LISTED = 500
const MAX_KEPT = 5_000

/** Everything that is known of the requests of a gateway, or of a recording. */
export interface RequestStore {
  hear(event: SupervisorEvent): void
  /** The answer of `GET /api/requests?ended=N`, taken at a time. */
  learn(open: readonly RequestSnapshot[], ended: readonly EndedRequest[], atMs: number): void
  /** The requests at a moment, the newest first. `isLoading`: whether the service of this key loads then. */
  list(atMs: number, isLoading: (key: string) => boolean): readonly RequestRow[]
}

export function createRequestStore(): RequestStore {
  const known = new Map<string, Known>()
  const change = (id: string, changes: Partial<Known>, startedAtMs: number) => {
    const before = known.get(id) ?? { ...NOTHING, id, startedAtMs }
    known.set(id, { ...before, ...changes })
    const [oldest] = known.keys()
    if (known.size > MAX_KEPT && oldest !== undefined) known.delete(oldest)
  }
  return {
    hear: (event) => {
      const { atMs } = event
      if ('requestId' in event) return change(event.requestId, readRequestEvent(event), atMs)
      if (event.type === 'lease.queued' && known.has(event.id)) {
        const { position, estimatedMs } = event
        return change(event.id, { queued: { position, estimatedMs } }, atMs)
      }
      if (event.type === 'lease.requested' && known.has(event.id))
        return change(event.id, { service: event.key, grantedAtMs: null }, atMs)
      if (event.type === 'lease.granted' && known.has(event.id))
        change(event.id, { service: event.key, grantedAtMs: atMs }, atMs)
    },
    learn: (open, ended, atMs) => {
      for (const { ageMs, id, ...facts } of open) {
        // It ended after the look.
        if (known.get(id)?.endedAtMs != null) continue
        change(id, facts, atMs - ageMs)
      }
      const isOpen = new Set(open.map(({ id }) => id))
      // Its place in the list stays, however exactly its begin is known now.
      for (const one of ended)
        change(
          one.id,
          { ...one, startedAtMs: known.get(one.id)?.startedAtMs ?? one.startedAtMs },
          one.startedAtMs,
        )
      // One that a look does not know any more has ended unseen: its events were not of the sample.
      for (const [id, one] of known)
        if (one.endedAtMs === null && !isOpen.has(id) && one.startedAtMs < atMs - LOST_MS) known.delete(id)
    },
    list: (atMs, isLoading) =>
      [...known.values()]
        .filter(({ startedAtMs }) => startedAtMs <= atMs)
        .sort((a, b) => b.startedAtMs - a.startedAtMs)
        .slice(0, MAX_LISTED)
        .map((one) => toRow(one, atMs, isLoading)),
  }
}

/** A request that is not among those under way, and was not told to have ended, is gone after this time. */
const LOST_MS = 3_000

const NOTHING: Omit<Known, 'id' | 'startedAtMs'> = {
  ref: null,
  service: null,
  client: null,
  route: null,
  endedAtMs: null,
  outcome: null,
  code: null,
  status: null,
  usage: null,
  chunks: 0,
  rewrites: [],
  attempts: [],
  queued: null,
  grantedAtMs: null,
  respondedAtMs: null,
  timings: null,
  state: '',
}

function readRequestEvent(event: Extract<SupervisorEvent, { readonly requestId: string }>): Partial<Known> {
  const { atMs } = event
  switch (event.type) {
    case 'request.started':
      return { ref: event.ref, route: event.route, client: event.client, startedAtMs: atMs }
    case 'request.sent':
      return { ref: event.ref, rewrites: event.rewrites, choice: event.choice }
    case 'request.responded':
      return { ref: event.ref, status: event.status, respondedAtMs: atMs }
    case 'request.ended': {
      const { outcome, code, usage, timings } = event
      return { outcome, code, usage, timings, endedAtMs: atMs }
    }
    default:
      return {}
  }
}

/** What a request was doing, and what it had spent until then. */
interface Spent {
  readonly spent: RequestRow['spent']
  readonly phase: Phase
}

/** A request as it was at a moment: of what was told later only what had happened until then. */
function toRow(one: Known, atMs: number, isLoading: (key: string) => boolean): RequestRow {
  const isOver = one.endedAtMs !== null && one.endedAtMs <= atMs
  const told = one.timings && toSpent(one.timings)
  const isCut = told !== null && (one.endedAtMs !== null || one.startedAtMs + sumSpent(told) > atMs)
  const { spent, phase } = isCut ? cutSpent(one, told, atMs, isLoading) : measureOpen(one, atMs, isLoading)
  const { grantedAtMs: _g, respondedAtMs: _r, timings: _t, state: _s, ...facts } = one
  if (isOver) return { ...facts, spent, phase: null }
  return { ...facts, endedAtMs: null, outcome: null, code: null, usage: null, spent, phase }
}

/**
 * The part of the times of a request that had passed at a moment. They do not tell when its service was loading: its
 * events and the state of the service tell what it did, so the row does not change when the request ends.
 */
function cutSpent(
  { startedAtMs, grantedAtMs, respondedAtMs, service }: Known,
  whole: Readonly<Record<Phase, number>>,
  atMs: number,
  isLoading: (key: string) => boolean,
): Spent {
  const spent = { wait: 0, load: 0, first: 0, stream: 0 }
  let leftMs = atMs - startedAtMs
  for (const phase of phases) {
    spent[phase] = Math.min(whole[phase], leftMs)
    leftMs -= spent[phase]
  }
  const isGranted = grantedAtMs === null ? spent.first + spent.stream > 0 : grantedAtMs <= atMs
  const isStreaming = respondedAtMs === null ? spent.stream > 0 : respondedAtMs <= atMs
  return { spent, phase: isGranted ? (isStreaming ? 'stream' : 'first') : findWait(service, isLoading) }
}

/** What a request does until it has its lease. */
function findWait(service: string | null, isLoading: (key: string) => boolean): Phase {
  return service !== null && isLoading(service) ? 'load' : 'wait'
}

/** What a request under way has spent: as its events tell, else as the last look told and time has gone on. */
function measureOpen(
  { startedAtMs, grantedAtMs, respondedAtMs, timings, state, service }: Known,
  atMs: number,
  isLoading: (key: string) => boolean,
): Spent {
  const spent = toSpent(timings ?? { waitMs: 0, loadMs: 0, firstByteMs: 0, streamMs: 0 })
  const isGranted = grantedAtMs !== null && grantedAtMs <= atMs
  const hasResponded = respondedAtMs !== null && respondedAtMs <= atMs
  if (isGranted) {
    const load = Math.min(spent.load, grantedAtMs - startedAtMs)
    const firstAtMs = hasResponded ? respondedAtMs : atMs
    return {
      spent: {
        wait: Math.max(0, grantedAtMs - startedAtMs - load),
        load,
        first: Math.max(0, firstAtMs - grantedAtMs),
        stream: atMs - firstAtMs,
      },
      phase: hasResponded ? 'stream' : 'first',
    }
  }
  const isStreaming = hasResponded || state === 'streaming'
  const phase = isStreaming ? 'stream' : isWaiting(state) ? findWait(service, isLoading) : 'first'
  const sinceMs = startedAtMs + sumSpent(spent)
  return { spent: { ...spent, [phase]: spent[phase] + atMs - sinceMs }, phase }
}

function isWaiting(state: string): boolean {
  return ['', 'resolving', 'leasing', 'reconnecting', 'pausing', 'redirected', 'queued'].includes(state)
}

function toSpent({ waitMs, loadMs, firstByteMs, streamMs }: RequestTimings): Record<Phase, number> {
  return { wait: waitMs, load: loadMs, first: firstByteMs, stream: streamMs }
}

export function sumSpent(spent: RequestRow['spent']): number {
  return phases.reduce((sum, phase) => sum + spent[phase], 0)
}

/** Which requests are shown. */
export const picks = ['all', 'open', 'waited', 'failed'] as const
export type Picked = (typeof picks)[number]

/** A request that waited and loaded for less is not said to have waited, in milliseconds. */
const LONG_WAIT_MS = 1_000

export function isPicked({ phase, outcome, spent }: RequestRow, pick: Picked): boolean {
  if (pick === 'open') return phase !== null
  if (pick === 'waited') return spent.wait + spent.load >= LONG_WAIT_MS
  return pick === 'all' || (outcome !== null && outcome !== 'done')
}

/** Columns by which rows are sorted, in the order in which they stand. */
export const sorts = [
  'when',
  'model',
  'client',
  'route',
  'time',
  'first',
  'cached',
  'prefill',
  'tokens',
  'pace',
  'status',
  'outcome',
] as const
export type Sort = (typeof sorts)[number]

const toSortValue: Readonly<Record<Sort, (row: RequestRow) => number | string>> = {
  when: ({ startedAtMs }) => startedAtMs,
  model: ({ ref }) => ref ?? '',
  client: ({ client }) => client ?? '',
  route: ({ route }) => route ?? '',
  time: ({ spent }) => sumSpent(spent),
  first: (row) => measureFirst(row) ?? 0,
  cached: ({ usage }) => usage?.cachedTokens ?? 0,
  prefill: ({ usage }) => usage?.promptTokensPerSecond ?? 0,
  tokens: ({ usage, chunks }) => usage?.completionTokens ?? chunks,
  pace: ({ usage }) => usage?.tokensPerSecond ?? 0,
  status: ({ status }) => status ?? 0,
  outcome: ({ outcome, code, phase }) => code ?? outcome ?? phase ?? '',
}

/** The time until the first byte of an answer, with what its client waited before, in milliseconds. */
export function measureFirst({ spent, status }: Pick<RequestRow, 'spent' | 'status'>): number | null {
  return status === null ? null : spent.wait + spent.load + spent.first
}

/** Sorted rows; `isDown`: the greatest first. Equal ones keep the newest first. */
export function sortRows(rows: readonly RequestRow[], sort: Sort, isDown: boolean): readonly RequestRow[] {
  if (sort === 'when') return isDown ? rows : rows.toReversed()
  const sign = isDown ? -1 : 1
  const toValue = toSortValue[sort]
  return rows.toSorted((a, b) => {
    const [left, right] = [toValue(a), toValue(b)]
    return left === right ? 0 : left < right ? -sign : sign
  })
}

/** A scale that most rows fit on, in milliseconds: a round number, and four steps. Longer bars are cut. */
export function findScale(rows: readonly RequestRow[]): number {
  const times = rows.map(({ spent }) => sumSpent(spent)).sort((a, b) => a - b)
  const wanted = (times[Math.floor(times.length * 0.95)] ?? 0) * 1.2
  return SCALES.find((scale) => scale >= wanted) ?? (SCALES.at(-1) as number)
}

const SCALES = [
  200, 400, 800, 2_000, 4_000, 8_000, 20_000, 40_000, 80_000, 120_000, 240_000, 480_000, 1_200_000, 3_600_000,
]

const COLUMNS: readonly (readonly [string, (row: RequestRow, wallMs: number) => string | number | null])[] = [
  ['time', (_, wallMs) => new Date(wallMs).toISOString()],
  ['id', ({ id }) => id],
  ['model', ({ ref }) => ref],
  ['client', ({ client }) => client],
  ['route', ({ route }) => route],
  ['wait_ms', ({ spent }) => Math.round(spent.wait)],
  ['load_ms', ({ spent }) => Math.round(spent.load)],
  ['first_byte_ms', ({ spent }) => Math.round(spent.first)],
  ['stream_ms', ({ spent }) => Math.round(spent.stream)],
  ['prompt_tokens', ({ usage }) => usage?.promptTokens ?? null],
  ['cached_tokens', ({ usage }) => usage?.cachedTokens ?? null],
  ['prompt_tokens_per_second', ({ usage }) => usage?.promptTokensPerSecond ?? null],
  ['completion_tokens', ({ usage }) => usage?.completionTokens ?? null],
  ['tokens_per_second', ({ usage }) => usage?.tokensPerSecond ?? null],
  ['outcome', ({ outcome }) => outcome ?? 'under way'],
  ['code', ({ code }) => code],
  ['status', ({ status }) => status],
]

/** The rows as CSV, with a head. */
export function formatCsv(rows: readonly RequestRow[], wallMs: (atMs: number) => number): string {
  const lines = rows.map((row) =>
    COLUMNS.map(([, read]) => formatCell(read(row, wallMs(row.startedAtMs)))).join(),
  )
  return `${[COLUMNS.map(([name]) => name).join(), ...lines].join('\r\n')}\r\n`
}

/** One row as a table of Markdown: what is known of it, for an issue or a chat. */
export function formatMarkdown(row: RequestRow, wallMs: (atMs: number) => number): string {
  const cells = COLUMNS.map(([name, read]) => [name, read(row, wallMs(row.startedAtMs)) ?? ''] as const)
  const lines = cells
    .filter(([, value]) => value !== '')
    .map(
      ([name, value]) =>
        `| ${name} | ${String(value)
          .replaceAll(/\s+/g, ' ')
          .replaceAll(/[\\|<>*_`[\]]/g, '\\$&')} |`,
    )
  return `| request | |\n| --- | --- |\n${lines.join('\n')}\n`
}

/** A client chooses its name: none becomes a formula of a spreadsheet. */
function formatCell(value: string | number | null): string {
  if (typeof value === 'number') return String(value)
  const text = value ?? ''
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}

import type { RequestSnapshot } from '../../request/open-requests.ts'
import type { MemoryUse, SupervisorSnapshot } from '../../service/snapshot.ts'
import type { Moment } from './history.ts'

/** What one look told. */
export interface Look {
  readonly atMs: number
  readonly open: number
  /** Requests that have ended. */
  readonly ended: number
  /** Tokens so far, by key of the service. */
  readonly tokens: Readonly<Record<string, number>>
  /** What the process of a service occupied, by its key. */
  readonly memory: Readonly<Record<string, MemoryUse>>
}

/** What the last looks told, the oldest first. */
export interface Pace {
  readonly looks: readonly Look[]
  /** Of a recording, which has no looks: the answers of each service, by its key. */
  readonly bursts?: ReadonlyMap<string, readonly Burst[]>
}

/** An answer: its tokens came from one time until another. */
interface Burst {
  readonly fromMs: number
  readonly toMs: number
  readonly tokens: number
}

export const emptyPace: Pace = { looks: [] }

/** As long as the bar at the bottom spans, at one look in two seconds. */
const MAX_LOOKS = 450
/** Sparks span this time, in this many steps. */
const SPARK_MS = 120_000
const SPARK_STEPS = 40

export function addLook(
  { looks }: Pace,
  snapshot: SupervisorSnapshot,
  requests: readonly RequestSnapshot[],
): Pace {
  const last = looks.at(-1)
  // Looks come sooner after a change of state: those would only make the line uneven.
  if (last !== undefined && snapshot.atMs - last.atMs < 900) return { looks }
  const tokens: Record<string, number> = {}
  for (const { key, totals } of snapshot.services) tokens[key] = totals.completionTokens
  for (const { service, chunks } of requests)
    if (service !== null) tokens[service] = (tokens[service] ?? 0) + chunks
  const memory: Record<string, MemoryUse> = {}
  for (const one of snapshot.services) if (one.memory) memory[one.key] = one.memory
  const ended = snapshot.totals.requests
  const look = { atMs: snapshot.atMs, open: requests.length, ended, tokens, memory }
  return { looks: [...looks, look].slice(-MAX_LOOKS) }
}

/** Says that nothing had changed since the last look until a time: looks are rare while nothing changes. */
export function repeatLook({ looks }: Pace, atMs: number): Pace {
  const last = looks.at(-1)
  if (last === undefined || atMs - last.atMs < 3_000) return { looks }
  return { looks: [...looks, { ...last, atMs }].slice(-MAX_LOOKS) }
}

const NO_RATES: readonly number[] = []

/** Tokens per second of a service over the last two minutes until a time, the oldest first. */
export function listRates({ looks, bursts }: Pace, key: string, atMs: number): readonly number[] {
  if (bursts !== undefined) return spreadBursts(bursts.get(key) ?? [], atMs)
  if ((looks.at(-1)?.tokens[key] ?? 0) === 0) return NO_RATES
  const rates = new Array<number>(SPARK_STEPS).fill(0)
  const stepMs = SPARK_MS / SPARK_STEPS
  for (let index = looks.length - 1; index > 0; index -= 1) {
    const [before, look] = [looks[index - 1], looks[index]] as [Look, Look]
    if (look.atMs < atMs - SPARK_MS) break
    if (before.atMs > atMs) continue
    const ms = look.atMs - before.atMs
    const rate = Math.max(0, ((look.tokens[key] ?? 0) - (before.tokens[key] ?? 0)) / ms) * 1_000
    const [first, last] = [before, look].map((one) =>
      Math.ceil((one.atMs - atMs + SPARK_MS) / stepMs - 0.5),
    ) as [number, number]
    for (let step = Math.max(0, first); step < Math.min(SPARK_STEPS, Math.max(last, first + 1)); step += 1)
      rates[step] = rate
  }
  return rates
}

/** The answers that events tell of, by the key of their service. A request has its lease under its own id. */
export function collectBursts(moments: readonly Moment[]): ReadonlyMap<string, readonly Burst[]> {
  const bursts = new Map<string, Burst[]>()
  const keys = new Map<string, string>()
  for (const { event } of moments) {
    if (event.type === 'lease.granted') keys.set(event.id, event.key)
    if (event.type !== 'request.ended') continue
    const key = keys.get(event.requestId)
    keys.delete(event.requestId)
    const tokens = event.usage?.completionTokens ?? 0
    if (key === undefined || tokens === 0) continue
    const burst = { fromMs: event.atMs - Math.max(1, event.timings?.streamMs ?? 0), toMs: event.atMs, tokens }
    const before = bursts.get(key)
    if (before === undefined) bursts.set(key, [burst])
    else before.push(burst)
  }
  return bursts
}

function spreadBursts(bursts: readonly Burst[], atMs: number): readonly number[] {
  if (bursts.length === 0) return NO_RATES
  const rates = new Array<number>(SPARK_STEPS).fill(0)
  const stepMs = SPARK_MS / SPARK_STEPS
  for (const { fromMs, toMs, tokens } of bursts) {
    if (toMs < atMs - SPARK_MS || fromMs > atMs) continue
    for (let step = 0; step < SPARK_STEPS; step += 1) {
      const startMs = atMs - SPARK_MS + step * stepMs
      const insideMs = Math.min(toMs, startMs + stepMs) - Math.max(fromMs, startMs)
      if (insideMs > 0)
        rates[step] = (rates[step] ?? 0) + ((tokens * insideMs) / (toMs - fromMs) / stepMs) * 1_000
    }
  }
  return rates
}

/**
 * Requests that ended in the minute until a time; `null`: that is not known. The looks have exact numbers, but begin
 * when the page is opened. Events tell of the time before; during a flood they are a sample, so this may be too low
 * for the first minute.
 */
export function countPerMinute({ looks }: Pace, moments: readonly Moment[], atMs: number): number | null {
  if (looks.length === 0 && moments.length === 0) return null
  const fromMs = atMs - 60_000
  const until = looks.findLast((look) => look.atMs <= atMs)
  const from = looks.find((look) => look.atMs >= fromMs)
  if (until === undefined || from === undefined || from.atMs > until.atMs)
    return countEnded(moments, fromMs, atMs)
  const told = countEnded(moments, fromMs, from.atMs) + countEnded(moments, until.atMs, atMs)
  return until.ended - from.ended + told
}

/** Ends of requests that the events tell, after one time and until another. */
function countEnded(moments: readonly Moment[], fromMs: number, untilMs: number): number {
  let ended = 0
  for (let index = moments.length - 1; index >= 0; index -= 1) {
    const event = moments[index]?.event
    if (event === undefined || event.atMs <= fromMs) break
    if (event.type === 'request.ended' && event.atMs <= untilMs) ended += 1
  }
  return ended
}

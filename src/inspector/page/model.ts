import type { Failure, Receipt, ServicePolicy, StopReason, Verdict } from '../../../machines/messages.ts'
import { NEVER_MS, toIdleStopMs } from '../../../machines/provider/delays.ts'
import { hasTag } from '../../../machines/provider/tags.ts'
import type { Reason } from '../../../machines/reasons.ts'
import type { Decision } from '../../../machines/scheduler.ts'
import { lineUp } from '../../../machines/waiting-line.ts'
import type { SupervisorEvent } from '../../events/events.ts'
import type { RequestTimings } from '../../events/timings.ts'
import { toReasonText } from '../../explanation/reason-text.ts'
import type { RequestSnapshot } from '../../request/open-requests.ts'
import type { Budget } from '../../service/budgets.ts'
import type { MemoryUse, ServiceSnapshot, SupervisorSnapshot } from '../../service/snapshot.ts'

/** A request that waits for a service or holds a lease on it. Times are on the clock of the events. */
export interface HolderView {
  readonly id: string
  readonly sinceMs: number
  readonly priority?: number
  /** Its estimated wait; absent if there is no estimate. */
  readonly estimatedMs?: number
}

/** A delay that runs. */
export interface TimerView {
  readonly name: string
  readonly endsAtMs: number
  readonly totalMs: number
}

/** The last change of state, for the picture. */
export interface ChangeView {
  readonly seq: number
  readonly atMs: number
  readonly from: string
  readonly to: string
  readonly whyText: string
}

/** One service at one moment. */
export interface ServiceView {
  readonly key: string
  readonly name: string
  readonly state: string
  readonly enteredAtMs: number
  /** When the start under way, or the last one, began; `null`: it was not seen. */
  readonly startedAtMs: number | null
  readonly ownership: ServiceSnapshot['ownership']
  /** The supervisor that runs what is borrowed. */
  readonly holder: ServiceSnapshot['holder']
  /** Supervisors that borrow it from this one; only snapshots tell of them. */
  readonly guests: ServiceSnapshot['guests']
  readonly generation: string | null
  readonly pid: number | null
  readonly leases: number
  /** The idle time that a request asked for; `null`: that of the policy. */
  readonly keepAliveMs: number | null
  /** Holders that are known by name; earlier ones are only counted. */
  readonly holders: readonly HolderView[]
  readonly queue: readonly HolderView[]
  readonly timers: readonly TimerView[]
  readonly failures: number
  readonly failure: Failure | null
  readonly verdict: Verdict | null
  readonly receipt: Receipt | null
  readonly stopReason: StopReason | null
  readonly why: Reason | null
  /** The last decision of the scheduler that involved it. */
  readonly decision: Decision | null
  readonly policy: ServicePolicy | null
  readonly memory: MemoryUse | null
  readonly startTimes: { readonly medianMs: number; readonly count: number } | null
  /** Its last starts, the oldest first. */
  readonly starts: readonly { readonly ms: number; readonly failed: boolean }[]
  /** Its models with their other names. */
  readonly models: readonly { readonly id: string; readonly aliases: readonly string[] }[]
  /** Address of its API; `null`: not known. */
  readonly baseUrl: string | null
  /** The last changes, the newest first. */
  readonly changes: readonly ChangeView[]
}

/** One request at one moment. */
export interface RequestView {
  readonly id: string
  readonly ref: string | null
  /** Key of the service it waits for or talks to; `null`: not known, or none yet. */
  readonly service: string | null
  readonly state: string
  readonly sinceMs: number
  /** What asks, as it names itself; `null`: not known. */
  readonly client: string | null
  /** Parts of its answer so far: about its tokens. */
  readonly chunks: number
  /** Where its time went until the last look; `null`: no look has told. */
  readonly timings: RequestTimings | null
}

/** Everything the page shows, at one moment. A pure function of the messages until then. */
export interface PageModel {
  readonly seq: number
  readonly atMs: number
  readonly isClosed: boolean
  readonly services: Readonly<Record<string, ServiceView>>
  readonly requests: Readonly<Record<string, RequestView>>
  /** As the last snapshot told; empty where none did. */
  readonly budgets: readonly Budget[]
}

export const emptyModel: PageModel = {
  seq: 0,
  atMs: 0,
  isClosed: false,
  services: {},
  requests: {},
  budgets: [],
}

/** The services of this machine: a member of the cluster is none of them. */
export function listOwn({ services }: PageModel): readonly ServiceView[] {
  return Object.values(services).filter(({ key }) => !key.startsWith('member:'))
}

/** A service by what an address names: its key or its name. */
export function findNamed({ services }: PageModel, id: string | null): ServiceView | undefined {
  if (id === null) return undefined
  return services[id] ?? Object.values(services).find(({ name }) => name === id)
}

/** Changes that are kept of one service. */
const MAX_CHANGES = 12
const isStarting = (state: string) => hasTag(state, 'starting') || hasTag(state, 'probing')

/** The moment after one more event. */
export function applyEvent(model: PageModel, event: SupervisorEvent): PageModel {
  const next = { ...model, seq: event.seq, atMs: event.atMs }
  if ('key' in event) return { ...next, services: applyToService(next, event) }
  if ('requestId' in event) return { ...next, requests: applyToRequests(model.requests, event) }
  return event.type === 'supervisor.closed' ? { ...next, isClosed: true } : next
}

type ServiceEvent = Extract<SupervisorEvent, { readonly key: string }>

function applyToService(model: PageModel, event: ServiceEvent): PageModel['services'] {
  const before = model.services[event.key] ?? buildService(event)
  if (event.type === 'service.retired') {
    const { [event.key]: _gone, ...rest } = model.services
    return rest
  }
  const services = { ...model.services, [event.key]: advanceService(before, event) }
  return event.type === 'scheduler.decided' ? applyDecision(services, event) : services
}

/** A decision concerns the service that wants to start and the services that have to stop for it. */
function applyDecision(
  services: PageModel['services'],
  { choice, because, rejected }: Decision,
): PageModel['services'] {
  const decision = { choice, because, rejected }
  const leaving = choice.type === 'evict' ? choice.taken.map(({ key }) => key) : []
  const isConcerned = (key: string) => key === choice.key || leaving.includes(key)
  return Object.fromEntries(
    Object.entries(services).map(([key, one]) => [key, isConcerned(key) ? { ...one, decision } : one]),
  )
}

function advanceService(service: ServiceView, event: ServiceEvent): ServiceView {
  switch (event.type) {
    case 'service.added':
      return { ...buildService(event), policy: event.policy }
    case 'service.state':
      return applyStateChange(service, event)
    case 'service.stop':
      return applyStopRequest(service, event)
    case 'machine.event':
      return applyTold(service, event)
    case 'service.failed':
      return { ...buildService(event), failure: { code: 'LEASEHOLD_INTERNAL', message: event.message } }
    case 'lease.requested': {
      if (event.cause !== undefined || service.queue.some(({ id }) => id === event.id)) return service
      const waiter = { id: event.id, sinceMs: event.atMs, priority: event.priority ?? 0 }
      return { ...service, queue: lineUp(service.queue, waiter) }
    }
    case 'lease.granted': {
      const generation = event.generation
      const holders = [...service.holders, { id: event.id, sinceMs: event.atMs }]
      return {
        ...service,
        generation,
        holders,
        ownership: event.owned ? 'owned' : service.ownership === 'borrowed' ? 'borrowed' : 'adopted',
        leases: service.leases + 1,
        keepAliveMs: event.keepAliveMs ?? service.keepAliveMs,
        queue: without(service.queue, event.id),
      }
    }
    case 'lease.cancelled':
      return { ...service, queue: without(service.queue, event.id) }
    case 'lease.refused':
      return { ...service, queue: without(service.queue, event.id) }
    case 'lease.released':
      return {
        ...service,
        leases: Math.max(0, service.leases - 1),
        holders: without(service.holders, event.id),
      }
    case 'leases.revoked':
      return { ...service, leases: 0, holders: [] }
    case 'health.verdict':
      return { ...service, verdict: event.verdict }
    case 'process.spawned':
      return { ...service, pid: event.pid, generation: event.generation, ownership: 'owned' }
    case 'process.failed':
      return { ...service, failure: event.failure }
    case 'process.exited':
      return { ...service, pid: null, memory: null }
    case 'process.settled':
      return { ...service, receipt: event.receipt }
    case 'stop.incomplete':
      return { ...service, failure: event.failure }
    default:
      return service
  }
}

/** A stop that gives a drain without a deadline its deadline. */
function applyStopRequest(
  service: ServiceView,
  { atMs, reason }: Extract<ServiceEvent, { type: 'service.stop' }>,
): ServiceView {
  const next = { ...service, stopReason: reason }
  const hasDeadline = hasTag(service.state, 'draining') && service.stopReason === 'yielded'
  return hasDeadline ? { ...next, timers: listTimers(next, atMs) } : next
}

/** The idle delay starts again with another limit, and after a time in which the host was suspended. */
function applyTold(
  service: ServiceView,
  { atMs, event }: Extract<ServiceEvent, { type: 'machine.event' }>,
): ServiceView {
  if (event.type !== 'policy.replaced' && event.type !== 'host.resumed') return service
  const policy = event.type === 'policy.replaced' ? (event.policy as ServicePolicy) : service.policy
  const next = { ...service, policy }
  const isArmedAnew =
    hasTag(service.state, 'idle') &&
    (event.type === 'host.resumed' ||
      (service.keepAliveMs === null && policy?.idleStopMs !== service.policy?.idleStopMs))
  return isArmedAnew ? { ...next, timers: listTimers(next, atMs) } : next
}

/** Applies a change of state to everything that depends on it. */
function applyStateChange(
  service: ServiceView,
  { seq, atMs, from, to, why }: Extract<ServiceEvent, { type: 'service.state' }>,
): ServiceView {
  const change = { seq, atMs, from, to, whyText: toReasonText(why) }
  const isDown = hasTag(to, 'down')
  const failed = why?.kind === 'failed' ? why : null
  const hasBegun = isStarting(to) && !isStarting(from)
  const next: ServiceView = {
    ...service,
    state: to,
    enteredAtMs: atMs,
    startedAtMs: hasBegun ? atMs : service.startedAtMs,
    why,
    changes: [change, ...service.changes].slice(0, MAX_CHANGES),
    failure: hasTag(to, 'up') ? null : (failed?.failure ?? service.failure),
    failures: failed?.failures ?? service.failures,
    stopReason: why?.kind === 'stop' ? why.reason : isDown ? null : service.stopReason,
    ownership: findOwnership(why) ?? (isDown ? 'none' : service.ownership),
    holder: why?.kind === 'held' ? why.holder : isDown ? null : service.holder,
    keepAliveMs: hasTag(to, 'up') || hasTag(to, 'sleeping') ? service.keepAliveMs : null,
    ...(isDown ? { pid: null, memory: null, generation: null, leases: 0, holders: [], verdict: null } : {}),
  }
  return { ...next, timers: listTimers(next, atMs) }
}

/** The owner of the server, if the reason states it. */
function findOwnership(why: ServiceView['why']): ServiceView['ownership'] | undefined {
  if (why?.kind === 'held') return 'borrowed'
  return why?.kind === 'adopted' ? 'adopted' : undefined
}

/** The delays that a state arms at this time, from the policy; a snapshot knows them better. */
function listTimers(
  { state, policy, failures, ownership, stopReason, keepAliveMs }: ServiceView,
  armedAtMs: number,
): TimerView[] {
  if (policy === null) return []
  const timer = (name: string, totalMs: number) =>
    totalMs > 0 ? [{ name, totalMs, endsAtMs: armedAtMs + totalMs }] : []
  if (hasTag(state, 'idle')) {
    const idleMs = toIdleStopMs({ keepAliveMs, policy })
    return idleMs >= NEVER_MS ? [] : timer('idleStop', idleMs)
  }
  if (hasTag(state, 'tripped')) return timer('breakerCooldown', policy.breakerCooldownMs)
  if (hasTag(state, 'backoff'))
    return timer('backoff', Math.min(policy.backoffMs * 2 ** Math.max(0, failures - 1), policy.backoffMaxMs))
  if (hasTag(state, 'loading')) return timer('readyTimeout', policy.readyTimeoutMs)
  // A service that yields has no drain deadline.
  if (hasTag(state, 'draining') && stopReason === 'yielded') return []
  if (hasTag(state, 'draining')) return timer('drainTimeout', policy.drainTimeoutMs)
  if (hasTag(state, 'terminating') && ownership === 'owned') return timer('stopGrace', policy.stopGraceMs)
  return []
}

function buildService({ key, service: name, atMs }: ServiceEvent): ServiceView {
  return {
    key,
    name,
    state: 'down.cold',
    enteredAtMs: atMs,
    startedAtMs: null,
    ownership: 'none',
    holder: null,
    guests: [],
    generation: null,
    pid: null,
    leases: 0,
    keepAliveMs: null,
    holders: [],
    queue: [],
    timers: [],
    failures: 0,
    failure: null,
    verdict: null,
    receipt: null,
    stopReason: null,
    why: null,
    decision: null,
    policy: null,
    memory: null,
    startTimes: null,
    starts: [],
    models: [],
    baseUrl: null,
    changes: [],
  }
}

type RequestEvent = Extract<SupervisorEvent, { readonly requestId: string }>

function applyToRequests(requests: PageModel['requests'], event: RequestEvent): PageModel['requests'] {
  const { requestId: id, atMs } = event
  if (event.type === 'request.ended') {
    const { [id]: _gone, ...rest } = requests
    return rest
  }
  const before = requests[id] ?? {
    id,
    ref: null,
    service: null,
    state: 'leasing',
    sinceMs: atMs,
    client: null,
    chunks: 0,
    timings: null,
  }
  if (event.type === 'request.started')
    return { ...requests, [id]: { ...before, ref: event.ref, client: event.client ?? null } }
  if (event.type === 'request.responded')
    return { ...requests, [id]: { ...before, ref: event.ref, state: 'streaming' } }
  return { ...requests, [id]: before }
}

/** Times that two looks may tell differently though nothing has changed, in milliseconds. */
const JITTER_MS = 60
/** Memory differs a little with every look; the page shows three digits of it. */
const JITTER_OF_MEMORY = 0.003

/** The moment according to a snapshot; `atMs`: when it was taken, on the clock of the events. */
export function applySnapshot(
  model: PageModel,
  snapshot: Pick<SupervisorSnapshot, 'services' | 'budgets'>,
  requests: readonly RequestSnapshot[],
  atMs: number,
): PageModel {
  const services = Object.fromEntries(
    snapshot.services.map((one) => {
      const before = model.services[one.key]
      return [one.key, keep(before, buildView(one, before, atMs))]
    }),
  )
  const open = Object.fromEntries(
    requests.map(({ id, ref, state, ageMs, service, client, chunks, timings }) => [
      id,
      { id, ref, state, service, sinceMs: atMs - ageMs, client, chunks, timings },
    ]),
  )
  return {
    ...model,
    atMs: Math.max(model.atMs, atMs),
    services: keep(model.services, services),
    requests: keep(model.requests, open),
    budgets: keep(model.budgets, snapshot.budgets),
  }
}

/** The value before where the new one says the same: what has not changed is not drawn again, nor kept twice. */
function keep<Value>(before: Value | undefined, next: Value): Value {
  return before !== undefined && isSame(before, next) ? before : next
}

function isSame(a: unknown, b: unknown, name = ''): boolean {
  if (a === b) return true
  if (typeof a === 'number' && typeof b === 'number') {
    const mostApart = isTime(name) ? JITTER_MS : /bytes$/i.test(name) ? b * JITTER_OF_MEMORY : 0
    return Math.abs(a - b) < mostApart
  }
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  const [left, right] = [Object.entries(a), b as Record<string, unknown>]
  return left.length === Object.keys(b).length && left.every(([key, value]) => isSame(value, right[key], key))
}

function isTime(name: string): boolean {
  return name.endsWith('AtMs') || name === 'sinceMs'
}

/** Without the names of holders: a holder that left unseen would stay. */
export function forgetHolders(model: PageModel): PageModel {
  const services = Object.entries(model.services).map(([key, one]) => [key, { ...one, holders: [] }] as const)
  return { ...model, services: Object.fromEntries(services) }
}

function buildView(one: ServiceSnapshot, before: ServiceView | undefined, atMs: number): ServiceView {
  const enteredAtMs = atMs - one.inStateMs
  return {
    key: one.key,
    name: one.service,
    state: one.state,
    enteredAtMs,
    startedAtMs: before?.startedAtMs ?? (isStarting(one.state) ? enteredAtMs : null),
    ownership: one.ownership,
    holder: one.holder,
    guests: one.guests,
    generation: one.generation,
    pid: one.pid,
    leases: one.leases,
    keepAliveMs: one.keepAliveMs,
    holders: (before?.holders ?? []).slice(0, one.leases),
    queue: one.queue.map((waiter) => buildWaiter(waiter, atMs)),
    timers: one.timers.map(({ name, remainingMs, totalMs }) => ({
      name,
      endsAtMs: atMs + remainingMs,
      totalMs,
    })),
    failures: one.failures,
    failure: one.failure,
    verdict: one.verdict,
    receipt: one.receipt,
    stopReason: one.stopReason,
    why: one.why,
    decision: one.decision,
    policy: one.policy,
    memory: one.memory,
    startTimes: one.startTimes,
    starts: one.starts,
    models: one.models,
    baseUrl: one.baseUrl,
    changes: before?.changes ?? [],
  }
}

function buildWaiter(
  { id, priority, waitedMs, estimatedMs }: ServiceSnapshot['queue'][number],
  atMs: number,
): HolderView {
  return { id, priority, sinceMs: atMs - waitedMs, ...(estimatedMs === null ? {} : { estimatedMs }) }
}

function without(list: readonly HolderView[], id: string): readonly HolderView[] {
  return list.filter((one) => one.id !== id)
}

import type { ActorRefFrom, AnyActorRef } from 'xstate'
import type { Failure, Peer, Receipt, ServicePolicy, Verdict } from '../../machines/messages.ts'
import type { providerMachine } from '../../machines/provider/chart.ts'
import { type ProviderContext, toBackoffMs, toStateName } from '../../machines/provider/context.ts'
import { NEVER_MS } from '../../machines/provider/delays.ts'
import type { ProviderState } from '../../machines/provider/tags.ts'
import type { Reason } from '../../machines/reasons.ts'
import type { Decision } from '../../machines/scheduler.ts'
import type { ConfigRefusal } from '../events/events.ts'
import type { RequestTotals } from '../events/request-totals.ts'
import { toWhyText } from '../explanation/explanation.ts'
import { type Explanation, toAwaited } from '../explanation/situation.ts'
import { type QueuedRequest, type QueueFacts, toQueue } from '../lease/queue.ts'
import { toRoomMs } from '../lease/room-wait.ts'
import type { Guest } from '../peers/guests.ts'
import type { WatchdogStatus } from '../process/watchdog.ts'
import { listScheduledEvents } from '../statechart/system.ts'
import type { Budget } from './budgets.ts'
import type { Typical } from './past-durations.ts'
import type { PastStart } from './past-runs.ts'
import type { Service, ServiceModel } from './services.ts'

/** A delay that is running, how long it still has to run, and its whole length, in milliseconds. */
export interface RunningTimer {
  readonly name: string
  readonly remainingMs: number
  readonly totalMs: number
}

/** One service as it stands. All JSON. */
export interface ServiceSnapshot {
  readonly key: string
  /** Ids of its providers: `inferrs`, or `chat+embeddings`. */
  readonly service: string
  readonly providers: readonly string[]
  /** Its models with their other names. Empty: it takes any model id. */
  readonly models: readonly ServiceModel[]
  /** Address of its API: `http://127.0.0.1:8080/v1`. */
  readonly baseUrl: string
  readonly state: ProviderState
  /** Time in this state, in milliseconds. */
  readonly inStateMs: number
  /**
   * `owned`: we spawned it. `adopted`: it was there. `borrowed`: another supervisor of this user runs it and gives us
   * leases of it. `none`: nothing runs that we use.
   */
  readonly ownership: ProviderContext['ownership']
  /** The supervisor that runs what is borrowed. */
  readonly holder: Peer | null
  /** Supervisors that borrow it from us, with their part of `leases` and `queue`. */
  readonly guests: readonly Guest[]
  readonly generation: string | null
  readonly pid: number | null
  readonly leases: number
  /** The idle time that a request asked for (`keep_alive`), in milliseconds, 2^31-1: for ever; `null`: that of the policy. */
  readonly keepAliveMs: number | null
  /** Who waits, the next one first. */
  readonly queue: readonly QueuedRequest[]
  /** How long its last leases were held, and its last starts took; `null`: there was none. */
  readonly leaseTimes: Typical | null
  readonly startTimes: Typical | null
  /** Its last starts, oldest first: at most nine, failed ones included. */
  readonly starts: readonly PastStart[]
  /** Its requests that are over. */
  readonly totals: RequestTotals
  /** Memory of its processes, as last measured; `null`: no process of ours runs, or it was not measured yet. */
  readonly memory: MemoryUse | null
  readonly timers: readonly RunningTimer[]
  /** Failures since the service was last stable. */
  readonly failures: number
  readonly failure: Failure | null
  readonly verdict: Verdict | null
  readonly receipt: Receipt | null
  readonly stopReason: ProviderContext['stop']
  /** Why it is in this state; `null`: nothing has happened yet. */
  readonly why: Reason | null
  /** The same as a sentence, with what was decided about its room where that is what it waits for, or made it leave. */
  readonly whyText: string
  /** The last decision about room that it had a part in: its own start, or that of the one it left for. */
  readonly decision: Decision | null
  /** Its limits: the options of its `localService`, and the options of `leasehold` that concern it. */
  readonly policy: ServicePolicy
  /** Its situation in sentences, as the page and `leasehold why` show it. */
  readonly explanation: Explanation
}

/** A service without its sentences, which need the other services, too. */
export type ServiceFacts = Omit<ServiceSnapshot, 'explanation'>

/** The configuration in force, and what was refused after it. */
export interface ConfigStatus {
  readonly file: string
  /** Time of day when it came into force, ISO 8601. */
  readonly loadedAt: string
  /** The last attempt to replace it, where that failed. `time`: of day, ISO 8601. */
  readonly refusal: (Pick<ConfigRefusal, 'message' | 'problems'> & { readonly time: string }) | null
  /** Providers that cannot be used on this host, each with the reason. They have no service. */
  readonly unavailable: readonly UnavailableProvider[]
  /** Whether the bodies of the last requests are kept in memory, with prompts and answers. */
  readonly capturesBodies: boolean
}

/** A provider that cannot be used on this host. */
export interface UnavailableProvider {
  readonly provider: string
  readonly reason: string
  /** The models that it would serve. */
  readonly models: readonly ServiceModel[]
}

/** What a run occupies, in bytes: memory of its whole process tree, and of GPUs; `null` where `nvidia-smi` cannot tell. */
export interface MemoryUse {
  readonly bytes: number
  /** The most that this run occupied so far. */
  readonly peakBytes: number
  readonly gpuBytes: number | null
  readonly gpuPeakBytes: number | null
}

/** Everything a supervisor knows, at one moment. All JSON. */
export interface SupervisorSnapshot {
  /** A random id of this supervisor's life. */
  readonly instance: string
  /** The number of the last event: what follows it is not in here yet. */
  readonly seq: number
  /** When this was taken, on the clock of the events: monotonic, in milliseconds since the supervisor began. */
  readonly atMs: number
  readonly state: 'running' | 'draining' | 'stopped'
  readonly config: ConfigStatus
  /** The process that ends our servers when we are killed. It begins with the first server that we start. */
  readonly watchdog: WatchdogStatus
  /** Requests that are over, those of services that were removed included. */
  readonly totals: RequestTotals
  /** Who holds how much of each budget, and who waits for a part of it. */
  readonly budgets: readonly Budget[]
  readonly services: readonly ServiceSnapshot[]
}

/** What is known of a service beside its machine. */
export interface Observed {
  readonly inStateMs: number
  readonly leaseTimes: Typical | null
  readonly startTimes: Typical | null
  readonly starts: readonly PastStart[]
  readonly totals: RequestTotals
  readonly memory: MemoryUse | null
  readonly nowMs: number
  /** Who else of this user uses the server we run. */
  readonly guests: readonly Guest[]
  /** The last decision about room that it had a part in. */
  readonly decision: Decision | null
  /** What is left of the stop of any service, or the whole of one that has yet to begin. */
  readonly stopLeftMsOf: (key: string) => number | null
}

/** A provider actor as it stands. */
export function toServiceFacts(
  actor: ActorRefFrom<typeof providerMachine>,
  { key, name, providers, models }: Service,
  observed: Observed,
  armed: readonly ArmedTimer[] = toTimers(actor),
): ServiceFacts {
  const { value, context } = actor.getSnapshot()
  const inStateMs = Math.round(observed.inStateMs)
  const facts = {
    key,
    service: name,
    providers: providers.map(({ id }) => id),
    models,
    baseUrl: providers[0]?.baseUrl ?? '',
    state: toStateName(value),
    inStateMs,
    ownership: context.ownership,
    holder: context.holder,
    guests: observed.guests,
    generation: context.generation,
    pid: context.pid,
    leases: context.leases,
    keepAliveMs: context.keepAliveMs,
    queue: toQueue(context.waiters, toQueueFacts(actor, observed), observed.nowMs),
    leaseTimes: observed.leaseTimes,
    startTimes: observed.startTimes,
    starts: observed.starts,
    totals: observed.totals,
    memory: observed.memory,
    timers: armed
      .filter(({ isOfState, name: timer }) => isOfState || timer === 'sleepAfter')
      .map(({ name: timer, delayMs, armedAtMs }) => ({
        name: timer,
        remainingMs: Math.max(0, Math.round(delayMs - (observed.nowMs - armedAtMs))),
        totalMs: delayMs,
      })),
    failures: context.failures,
    failure: context.failure,
    verdict: context.verdict,
    receipt: context.receipt,
    stopReason: context.stop,
    why: context.why,
    decision: observed.decision,
    policy: context.policy,
  }
  return { ...facts, whyText: toWhyText(facts) }
}

/** What the waiting time of a service's queue is estimated from. */
export function toQueueFacts(
  actor: ActorRefFrom<typeof providerMachine>,
  { inStateMs, leaseTimes, startTimes, decision, stopLeftMsOf }: Observed,
): QueueFacts {
  const { value, context } = actor.getSnapshot()
  const state = toStateName(value)
  const awaited = toAwaited({ key: context.key, state, decision })
  return {
    state,
    inStateMs,
    leases: context.leases,
    maxConcurrent: context.policy.maxConcurrent,
    backoffMs: Math.max(0, toBackoffMs(context) - inStateMs),
    startMs: startTimes?.medianMs ?? null,
    leaseMs: leaseTimes?.medianMs ?? null,
    stopMs: stopLeftMsOf(context.key),
    roomMs: awaited === null ? 0 : toRoomMs(awaited, stopLeftMsOf),
  }
}

/** One delay that an actor has armed. `isOfState`: it is an `after` of its current state, begun on entry. */
export interface ArmedTimer {
  readonly name: string
  readonly delayMs: number
  /** On the clock that {@link stampDelays} was given. */
  readonly armedAtMs: number
  readonly isOfState: boolean
}

/** The delays an actor has armed: `idleStop`, `stability`, `waiter.a`. One that never fires is not listed. */
export function toTimers(actor: AnyActorRef): readonly ArmedTimer[] {
  return groupTimers(actor, (source) => source === actor).get(actor) ?? []
}

/** The same for every actor of a system, in one pass over what is armed in it. */
export function groupTimers(
  actor: AnyActorRef,
  isWanted: (source: AnyActorRef) => boolean = () => true,
): ReadonlyMap<AnyActorRef, readonly ArmedTimer[]> {
  const timers = new Map<AnyActorRef, ArmedTimer[]>()
  for (const { source, delay, id, startedAt } of listScheduledEvents(actor)) {
    if (delay >= NEVER_MS || !isWanted(source)) continue
    const [, after] = /^xstate\.after\.(\w+)\./.exec(id) ?? []
    const timer = { name: after ?? id, delayMs: delay, armedAtMs: startedAt, isOfState: after !== undefined }
    const ofSource = timers.get(source)
    if (ofSource === undefined) timers.set(source, [timer])
    else ofSource.push(timer)
  }
  return timers
}

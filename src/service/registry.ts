import type { ActorRefFrom, SnapshotFrom } from 'xstate'
import type { Failure, ProviderEmitted, ProviderEvent, Waiter } from '../../machines/messages.ts'
import type { providerMachine } from '../../machines/provider/chart.ts'
import { type ProviderContext, toBackoffMs, toStateName } from '../../machines/provider/context.ts'
import { hasTag, type ProviderState } from '../../machines/provider/tags.ts'
import type { Reason } from '../../machines/reasons.ts'
import type { ReplicaLoad } from '../../machines/replicas.ts'
import type { Decision } from '../../machines/scheduler.ts'
import { findTellingLine } from '../../machines/telling-line.ts'
import type { Clock } from '../clock.ts'
import type { ProviderConfig } from '../config/config.ts'
import { ServiceError } from '../errors.ts'
import type { RequestTotals } from '../events/request-totals.ts'
import { toDecisionText } from '../explanation/decision-text.ts'
import { explain } from '../explanation/explanation.ts'
import type { Neighbour } from '../explanation/situation.ts'
import type { Place } from '../lease/desk.ts'
import { type QueueFacts, toWaitMs } from '../lease/queue.ts'
import type { Guest } from '../peers/guests.ts'
import type { Output } from '../process/output.ts'
import type { Catalogue } from './catalogue.ts'
import { createDurations, type Typical } from './past-durations.ts'
import type { History } from './past-runs.ts'
import { toServiceKey } from './services.ts'
import {
  groupTimers,
  type MemoryUse,
  type Observed,
  type ServiceFacts,
  type ServiceSnapshot,
  toQueueFacts,
  toServiceFacts,
} from './snapshot.ts'

type ProviderActor = ActorRefFrom<typeof providerMachine>

/** A change of state as it is told to others. */
export interface StateChange {
  readonly from: ProviderState
  readonly to: ProviderState
  readonly reason: string | null
  readonly why: Reason | null
}

/** The provider actors: their mailboxes, states and failures. */
export interface Registry {
  /** Keys of every service that has an actor, removed ones that still stop included. */
  activeKeys(): readonly string[]
  /** Drops what is kept of a service that is gone. */
  forget(key: string): void
  /** Puts an event into an actor's mailbox; `false` when there is none that listens. */
  send(key: string, event: ProviderEvent): boolean
  /** Follows a new actor: its messages and its changes of state. */
  follow(
    key: string,
    listener: {
      message(message: ProviderEmitted): void
      changed(change: StateChange, context: ProviderContext): void
    },
  ): void
  /** The state of one service; absent: it has no actor. */
  stateOf(key: string): ProviderState | undefined
  /** One service, without a look at the queues and timers of the others. */
  snapshotOf(key: string): ServiceSnapshot | undefined
  /** Every service that has an actor. */
  snapshots(): ServiceSnapshot[]
  /** What waits for it, in order. */
  waitersOf(key: string): readonly Waiter[]
  /** What its actor was born with. */
  birthOf(key: string): Pick<ProviderContext, 'instance' | 'policy'>
  /** What a choice between this provider and its replicas looks at. */
  loadOf(provider: ProviderConfig): ReplicaLoad
  /** The position of a waiter in the queue, and its estimated wait. */
  placeOf(key: string, id: string): Place | undefined
  /** Settles as soon as its state or its run satisfies `is`, or the actor is gone. */
  untilState(key: string, is: (state: string, generation: string | null) => boolean): Promise<void>
  /** How long the last load of a service has overlapped the time since a moment, in milliseconds. */
  loadMsOf(key: string, sinceMs: number): number
  /** When trying again makes sense, in milliseconds. `undefined`: at once, or never. */
  retryAfter(key: string, failure: Failure): number | undefined
  /** A failure as an error: with the last output where it is about a process, and when to try again. */
  toError(key: string, failure: Failure): ServiceError
}

export interface RegistryOptions {
  readonly catalogue: Pick<Catalogue, 'serviceOf' | 'nameOf'>
  readonly clock: Clock
  readonly actorOf: (key: string) => ProviderActor | undefined
  readonly keysOf: () => readonly string[]
  readonly outputOf: (key: string) => Output | undefined
  readonly guestsOf: (key: string) => readonly Guest[]
  readonly leaseTimesOf: (key: string) => Typical | null
  readonly totalsOf: (key: string) => RequestTotals
  /** The last decision about room that a service had a part in. */
  readonly decisionOf: (key: string) => Decision | null
  readonly history: History
  /** What its run occupies. */
  readonly memoryOf: (key: string) => MemoryUse | null
}

export function createRegistry({
  catalogue: { serviceOf, nameOf },
  clock,
  actorOf,
  keysOf,
  outputOf,
  guestsOf,
  leaseTimesOf,
  totalsOf,
  decisionOf,
  history,
  memoryOf,
}: RegistryOptions): Registry {
  /** Which state each service is known to be in, and since when. */
  const entered = new Map<string, { readonly state: string; readonly atMs: number }>()

  /** Messages of a transition arrive before the new state does. */
  const inStateMsOf = (key: string) => {
    const since = entered.get(key)
    const state = toStateName(actorOf(key)?.getSnapshot().value ?? '')
    return since?.state === state ? clock.now() - since.atMs : 0
  }
  /** The last load of each service; `toMs`: absent while it goes on. */
  const loads = new Map<string, { readonly fromMs: number; readonly toMs?: number }>()
  const noteLoad = (key: string, from: string, to: string) => {
    const isLoading = hasTag(to, 'loading')
    if (hasTag(from, 'loading') === isLoading) return
    if (isLoading) loads.set(key, { fromMs: clock.now() })
    else loads.set(key, { fromMs: loads.get(key)?.fromMs ?? clock.now(), toMs: clock.now() })
  }
  /** How long the stops of each service took, and since when it stops now. */
  const stopTimes = createDurations()
  const stoppingSinceMs = new Map<string, number>()
  const noteStop = (key: string, to: string) => {
    const isStopping = hasTag(to, 'stopping')
    const sinceMs = stoppingSinceMs.get(key)
    if (isStopping && sinceMs === undefined) stoppingSinceMs.set(key, clock.now())
    if (isStopping || sinceMs === undefined) return
    stoppingSinceMs.delete(key)
    // Its stop was called off when it is in use again.
    if (!hasTag(to, 'busy')) stopTimes.add(key, clock.now() - sinceMs)
  }
  const stopLeftMsOf = (key: string) => {
    const typical = stopTimes.of(key)
    const sinceMs = stoppingSinceMs.get(key)
    return typical && Math.max(0, typical.medianMs - (sinceMs === undefined ? 0 : clock.now() - sinceMs))
  }
  const observe = (key: string): Observed => ({
    inStateMs: inStateMsOf(key),
    leaseTimes: leaseTimesOf(key),
    totals: totalsOf(key),
    startTimes: history.startsOf(key),
    starts: history.pastStartsOf(key),
    memory: memoryOf(key),
    nowMs: clock.now(),
    guests: guestsOf(key),
    decision: decisionOf(key),
    stopLeftMsOf,
  })
  const explainOne = (one: ServiceFacts, all: () => readonly Neighbour[]): ServiceSnapshot => {
    const output = outputOf(one.key)
    const lastLine = output?.tail(1)[0]?.text
    const surroundings = {
      get all() {
        return all()
      },
      lastLine,
      findCause: () => findTellingLine(output?.tail(MAX_CAUSE_LINES).map(({ text }) => text) ?? [])?.line,
    }
    return { ...one, explanation: explain(one, surroundings) }
  }
  const snapshots = () => {
    let timers: ReturnType<typeof groupTimers> | undefined
    const all = keysOf().flatMap((key) => {
      const actor = actorOf(key)
      if (actor === undefined) return []
      timers ??= groupTimers(actor)
      return [toServiceFacts(actor, serviceOf(key), observe(key), timers.get(actor) ?? [])]
    })
    return all.map((one) => explainOne(one, () => all))
  }
  const stateOf = (key: string) => {
    const actor = actorOf(key)
    return actor === undefined ? undefined : toStateName(actor.getSnapshot().value)
  }
  const neighbours = (): readonly Neighbour[] =>
    keysOf().map((key) => ({
      key,
      service: serviceOf(key).name,
      state: stateOf(key) ?? '',
      decision: decisionOf(key),
    }))
  const waitMsOf = (key: string, position: number, changes: Partial<QueueFacts> = {}) => {
    const actor = actorOf(key)
    return actor === undefined
      ? null
      : toWaitMs(position, { ...toQueueFacts(actor, observe(key)), ...changes })
  }

  const retryAfter = (key: string, failure: Failure) => {
    // A request that has to wait waits at least for one start.
    if (failure.code === 'LEASEHOLD_QUEUE_FULL') return waitMsOf(key, 1, { roomMs: 0 }) ?? QUEUE_RETRY_MS
    const actor = actorOf(key)
    return actor && toRetryAfterMs(failure, actor.getSnapshot(), inStateMsOf(key))
  }

  return {
    activeKeys: keysOf,
    forget: (key) => {
      entered.delete(key)
      loads.delete(key)
      stopTimes.forget(key)
      stoppingSinceMs.delete(key)
    },
    send: (key, event) => {
      const actor = actorOf(key)
      if (actor?.getSnapshot().status !== 'active') return false
      actor.send(event)
      return true
    },
    follow: (key, { message, changed }) => {
      const actor = actorOf(key)
      if (actor === undefined) return
      let state = toStateName(actor.getSnapshot().value)
      /** Of the process that is being started; absent: there is none, or the server is another program's. */
      let spawnedAtMs: number | undefined
      entered.set(key, { state, atMs: clock.now() })
      actor.on('*', message)
      actor.subscribe({
        next: ({ value, context }) => {
          const to = toStateName(value)
          if (to === state) return
          const change = { from: state, to, reason: toReason(to, context), why: context.why }
          noteLoad(key, state, to)
          if (hasTag(to, 'spawning')) spawnedAtMs = clock.now()
          else if (spawnedAtMs !== undefined && !hasTag(to, 'loading')) {
            const isFailed = hasTag(to, 'backoff') || hasTag(to, 'tripped') || context.stop === 'start-failed'
            // A start that was stopped, for instance to make room, says nothing about the duration of the next one.
            const isReady = hasTag(to, 'up') && context.ownership === 'owned'
            if (isReady || isFailed) history.addStart(key, clock.now() - spawnedAtMs, isFailed)
            spawnedAtMs = undefined
          }
          state = to
          noteStop(key, to)
          entered.set(key, { state, atMs: clock.now() })
          changed(change, context)
        },
        // The supervisor machine gets the error and replaces the actor; here it only must not be unhandled.
        error: () => {},
      })
    },
    stateOf,
    snapshotOf: (key) => {
      const actor = actorOf(key)
      return actor && explainOne(toServiceFacts(actor, serviceOf(key), observe(key)), neighbours)
    },
    snapshots,
    waitersOf: (key) => actorOf(key)?.getSnapshot().context.waiters ?? [],
    birthOf: (key) => {
      const { instance = '', policy = serviceOf(key).policy } = actorOf(key)?.getSnapshot().context ?? {}
      return { instance, policy }
    },
    loadOf: (provider) => {
      const snapshot =
        provider.unavailable === undefined ? actorOf(toServiceKey(provider))?.getSnapshot() : undefined
      if (snapshot === undefined) return { state: null, leases: 0, queue: 0, maxConcurrent: 1 }
      const { value, context } = snapshot
      const { leases, waiters, policy } = context
      return {
        state: toStateName(value),
        leases,
        queue: waiters.length,
        maxConcurrent: policy.maxConcurrent,
      }
    },
    placeOf: (key, id) => {
      const index =
        actorOf(key)
          ?.getSnapshot()
          .context.waiters.findIndex((waiter) => waiter.id === id) ?? -1
      return index < 0 ? undefined : { position: index + 1, estimatedMs: waitMsOf(key, index + 1) }
    },
    untilState: (key, is) =>
      new Promise((resolve) => {
        const actor = actorOf(key)
        const isNow = ({ value, context }: SnapshotFrom<typeof providerMachine>) =>
          is(toStateName(value), context.generation)
        if (actor === undefined || isNow(actor.getSnapshot())) return resolve()
        const watch = actor.subscribe({
          next: (snapshot) => {
            if (!isNow(snapshot)) return
            watch.unsubscribe()
            resolve()
          },
          complete: resolve,
          error: () => resolve(),
        })
      }),
    loadMsOf: (key, sinceMs) => {
      const load = loads.get(key)
      return load === undefined ? 0 : Math.max(0, (load.toMs ?? clock.now()) - Math.max(load.fromMs, sinceMs))
    },
    retryAfter,
    toError: (key, failure) => {
      const tail =
        failure.tail ??
        (ABOUT_PROCESS.has(failure.code)
          ? outputOf(key)
              ?.tail(20)
              .map(({ text }) => text)
          : undefined)
      const retryAfterMs = retryAfter(key, failure)
      return new ServiceError(
        nameOf(key),
        tail === undefined ? withRoom(key, failure, decisionOf(key)) : { ...failure, tail },
        retryAfterMs === undefined ? {} : { retryAfterMs },
      )
    },
  }
}

/** A wait that was too long, with what it was waiting for where that was room. */
function withRoom(key: string, failure: Failure, decision: Decision | null): Failure {
  const isAboutRoom =
    failure.code === 'LEASEHOLD_QUEUE_TIMEOUT' &&
    decision?.choice.key === key &&
    decision.choice.type !== 'start'
  return isAboutRoom ? { ...failure, message: `${failure.message}; ${toDecisionText(decision)}` } : failure
}

/** Last lines among which the cause of a failure is looked for. */
const MAX_CAUSE_LINES = 40

/** Failures that happen while the process is alive, so that they do not have its last output yet. */
const ABOUT_PROCESS: ReadonlySet<string> = new Set([
  'LEASEHOLD_READY_TIMEOUT',
  'LEASEHOLD_BACKEND_FAILED',
  'LEASEHOLD_HEALTH_MISMATCH',
  'LEASEHOLD_UNHEALTHY',
])

/** Default of `Retry-After` for a full queue, in milliseconds, while no duration is known. */
const QUEUE_RETRY_MS = 1_000

/** When trying again makes sense: what is left of the wait before the next start, or the wait that will follow a stop. */
function toRetryAfterMs(
  { retry }: Failure,
  { value, context }: SnapshotFrom<typeof providerMachine>,
  inStateMs: number,
): number | undefined {
  if (retry === 'never') return undefined
  const { failures, policy, stop } = context
  const state = toStateName(value)
  if (hasTag(state, 'backoff')) return Math.max(0, toBackoffMs(context) - inStateMs)
  if (hasTag(state, 'tripped')) return Math.max(0, policy.breakerCooldownMs - inStateMs)
  if (stop !== 'start-failed' && stop !== 'unhealthy') return undefined
  return failures >= policy.breakerFailures ? policy.breakerCooldownMs : toBackoffMs(context)
}

/** Why a state was entered, in one word: the failure's code, or the reason of the stop. */
export function toReason(
  to: string,
  { failure, stop }: Pick<ProviderContext, 'failure' | 'stop'>,
): string | null {
  return hasTag(to, 'backoff') || hasTag(to, 'tripped') ? (failure?.code ?? null) : stop
}

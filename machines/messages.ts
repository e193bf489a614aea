/**
 * Every message of the three machines. All of it is JSON: ids, counters and generations, never a
 * reference, so that scripts, graph walks, recordings and the inspector see the whole truth.
 */

import type { Amounts, Decision, Share } from './scheduler.ts'
import type { TellingLine } from './telling-line.ts'

/** What one health probe found. `src/health/verdict.ts` decides which of the five. */
export type VerdictKind = 'refused' | 'loading' | 'ready' | 'failed' | 'foreign'

/** A process that listens on a port. */
export interface Listener {
  readonly pid: number
  /** The file it executes, where we may look. */
  readonly exe?: string
}

/** The processes that listen on the port of a service, as far as this host can tell. */
export interface PortHolder {
  readonly port: number
  /** Processes of the service's own tree. */
  readonly ours: readonly Listener[]
  /** Processes that are not of its tree. */
  readonly strangers: readonly Listener[]
  /** The user id of another user of this host, neither ours nor root, who listens there. */
  readonly uid?: number
}

/** One probe's answer: the verdict, the sentence that explains it, and the HTTP status where there was one. */
export interface Verdict {
  readonly kind: VerdictKind
  /** What was seen, as a sentence fragment for people: `connection refused`, `503 Loading model`. */
  readonly detail: string
  readonly status?: number
  /** The listeners, when they were looked up: once per readiness, and when another program answered. */
  readonly portHolder?: PortHolder
  /**
   * What our own process does that its configuration does not expect, with what to change: `answers 404 at …`. `loading`
   * when that may still change, `failed` when it cannot.
   */
  readonly mismatch?: string
  /** Of a model of a daemon: what is wrong with the daemon, with what to do, as a sentence fragment. */
  readonly fault?: string
  /** Of a model of a daemon: after a load that was answered this means that the load has failed. */
  readonly isLoadFailed?: true
  /** Of the look before a start that found a server which is not ready: how long the look took, in milliseconds. */
  readonly tookMs?: number
}

/** Codes of the ways a service can fail its holders. They are API: callers match on them. */
export type FailureCode =
  | 'LEASEHOLD_SPAWN_FAILED'
  | 'LEASEHOLD_EXITED_BEFORE_READY'
  | 'LEASEHOLD_READY_TIMEOUT'
  | 'LEASEHOLD_BACKEND_FAILED'
  | 'LEASEHOLD_HEALTH_MISMATCH'
  | 'LEASEHOLD_FOREIGN_SERVER'
  | 'LEASEHOLD_PORT_TAKEN'
  | 'LEASEHOLD_NOT_REACHABLE'
  | 'LEASEHOLD_SERVICE_EXITED'
  | 'LEASEHOLD_UNHEALTHY'
  | 'LEASEHOLD_STOP_TIMEOUT'
  | 'LEASEHOLD_CIRCUIT_OPEN'
  | 'LEASEHOLD_CLAIM_FAILED'
  | 'LEASEHOLD_OWNER_LOST'
  | 'LEASEHOLD_OWNER_SILENT'
  | 'LEASEHOLD_QUEUE_FULL'
  | 'LEASEHOLD_NO_ROOM'
  | 'LEASEHOLD_QUEUE_TIMEOUT'
  | 'LEASEHOLD_ELSEWHERE'
  | 'LEASEHOLD_MEMBER_AWAY'
  | 'LEASEHOLD_REMOVED'
  | 'LEASEHOLD_LEASE_TIMEOUT'
  | 'LEASEHOLD_STOPPED'
  | 'LEASEHOLD_SHUTTING_DOWN'
  | 'LEASEHOLD_STATE_UNUSABLE'
  | 'LEASEHOLD_INTERNAL'

/** Why a start failed or a running service ended, with the last things seen. */
export interface Failure {
  readonly code: FailureCode
  /** One sentence without the service's name: what happened, the number involved. */
  readonly message: string
  readonly generation?: string
  readonly pid?: number
  readonly exitCode?: number | null
  readonly signal?: string | null
  /** Last lines the process printed, oldest first. */
  readonly tail?: readonly string[]
  /** The line of its output that says why, which the message quotes. */
  readonly telling?: TellingLine
  readonly verdict?: Verdict
  /** The member of the cluster that has the service, or starts it. */
  readonly member?: string
  /**
   * What trying again is good for. `later`: the host lacked something, so the same waiters get another try or two.
   * `cooldown`: the same start would fail in the same way, so requests are refused with this failure until the breaker's
   * cooldown is over. `never`: only another configuration, or a start by hand, changes anything.
   * @default the next request may try, after the back-off
   */
  readonly retry?: 'later' | 'cooldown' | 'never'
  /** The failure behind this one: what opened the breaker, say. */
  readonly cause?: Failure
}

/** Whether a server outside the tree is there, by its status command. `unknown`: that could not tell. */
export type Presence = 'there' | 'gone' | 'unknown'

/** How a server outside the tree was ended. */
export interface OutsideEnd {
  /** Of the stop command, in the order of the tries. `null`: it could not be run, or did not end in time. */
  readonly exitCodes: readonly (number | null)[]
  /** Afterwards. Without a status command it is `gone` when nothing listens at its address. */
  readonly status: Presence
  /** What a command printed that says why the server is not known to be gone, or why it could not be run. */
  readonly detail?: string
}

/** Proof that a stop is complete, or the names of what is left. Every spawn ends in exactly one. */
export interface Receipt {
  readonly generation: string
  readonly pid: number
  readonly exitCode: number | null
  readonly signal: string | null
  /** Processes of the tree that are still alive. Empty: the stop is complete. */
  readonly survivors: readonly number[]
  /** Who has its port, when that is not free although nothing of its tree is left. */
  readonly portHolder?: PortHolder
  /**
   * Something still listens at its address that was not there before it: a part of it that nothing proves to be its own,
   * a daemon for one. Then the stop is not complete either.
   */
  readonly isPortHeld?: boolean
  /** Of a service with a stop command. */
  readonly outside?: OutsideEnd
  /** From the first signal, or from an exit without a stop, to this receipt, in milliseconds. */
  readonly durationMs: number
}

/** Whether a server outside the tree may still be there. Then the stop is not complete. */
export function isServerLeft({ outside }: Receipt): boolean {
  return outside !== undefined && outside.status !== 'gone'
}

/**
 * Why a stop was begun. `shutdown` and `removed` retire the service for good. `evicted` frees the room of an idle
 * service; `yielded` frees the room of a service in use for one that has starved: it drains without a deadline.
 * `revoked`: its start was given up, because another member of the cluster has it.
 * `sleep-failed`: it is not certain whether the server sleeps, so the next request gets a new one.
 */
export type StopReason =
  | 'idle'
  | 'evicted'
  | 'yielded'
  | 'asked'
  | 'unhealthy'
  | 'start-failed'
  | 'sleep-failed'
  | 'abandoned'
  | 'revoked'
  | 'removed'
  | 'shutdown'

/** When a server that can give its memory back sleeps. Durations in milliseconds. */
export interface SleepPolicy {
  /** Time without a lease after which it is told to sleep. `0`: only to make room for another service. */
  readonly afterMs: number
  /** It sleeps and wakes by itself, and nothing tells it to: only its room is booked. */
  readonly isSelf: boolean
  /** Longest time from the first request to sleep until its check says that it sleeps. */
  readonly requestMs: number
  /** Longest time from the first request to wake until it is healthy. */
  readonly wakeMs: number
}

/** How a request to sleep or to wake ended. `failed`: it is not certain what the server does. */
export type SleepOutcome =
  | { readonly outcome: 'done' }
  /** Of a wake: another server that was counted as asleep is awake, so it was not told to wake. */
  | { readonly outcome: 'no-room' }
  | { readonly outcome: 'failed'; readonly detail: string }

/** The settings of a provider machine. Durations in milliseconds, all at most 2^31-1. */
export interface ServicePolicy {
  /** Whether a `localService` is configured: without one nothing is ever started. */
  readonly managed: boolean
  /** The member of the cluster that it stands for. Absent: none. */
  readonly member?: string
  /** Whether it draws on limits that it shares with others: then it reports to the supervisor whether it is in use. */
  readonly drawsOnLimits: boolean
  readonly readyTimeoutMs: number
  /** `0`: never stopped for being idle. */
  readonly idleStopMs: number
  readonly stopGraceMs: number
  /** The longest that a stop command may take. `0`: there is none. */
  readonly stopCommandMs: number
  readonly drainTimeoutMs: number
  /** `null`: a start without waiters is never abandoned. */
  readonly abandonStartMs: number | null
  /** `null`: it cannot sleep. */
  readonly sleep: SleepPolicy | null
  readonly maxConcurrent: number
  readonly maxQueue: number
  readonly maxQueueMs: number
  readonly backoffMs: number
  readonly backoffMaxMs: number
  /** Failed starts and crashes in a row, without a stable time between them, that open the breaker. */
  readonly breakerFailures: number
  readonly breakerCooldownMs: number
  /** Time up without a failure after which earlier failures are forgotten. */
  readonly stabilityMs: number
}

/**
 * One queued request for a lease. Higher priority first, and every 10 s of waiting raise one by 1; then first
 * come first served.
 */
export interface Waiter {
  readonly id: string
  readonly priority: number
  readonly sinceMs: number
  /** What asks for the service where no request does. */
  readonly cause?: StartCause
  /** The idle time that it asks for, as in `lease.requested`. */
  readonly keepAliveMs?: number
}

/**
 * What asks for a lease where no request does: a start by hand, `preload`, or the default service that comes back. Such
 * a lease ends as soon as the service is up.
 */
export type StartCause = 'start' | 'preload' | 'default'

/** Another supervisor of this user on this host: its process, and what it calls itself (`serve`, `infer`). */
export interface Peer {
  readonly pid: number
  readonly name: string
}

/**
 * What a claim on a service ends in: ours to start; held by another supervisor, whose server we may borrow; or
 * impossible, and then nothing may be spawned.
 */
export type HostClaimOutcome =
  | { readonly outcome: 'claimed' | 'held' }
  | { readonly outcome: 'impossible'; readonly failure: Failure }

/** How a start got its permission: from this host, then from the cluster where one is joined. */
export type ClaimOutcome =
  | HostClaimOutcome
  /** Another member has it, or starts it. The claim on this host is given back. */
  | { readonly outcome: 'elsewhere'; readonly member: string }
  /** A server that was counted as asleep is awake: the room is taken. */
  | { readonly outcome: 'no-room' }

/** What the one look of `probing` finds: what answers at the address, or how the claim on it ended. */
export type ProbeOutcome = Verdict | Exclude<HostClaimOutcome, { readonly outcome: 'claimed' }>

/** Events of `requests$`: lease requests, cancellations and releases of one service. */
export type LeaseEvent =
  | {
      readonly type: 'lease.requested'
      readonly id: string
      readonly priority?: number
      /** When it came, on the clock of the supervisor, in milliseconds: what its age is counted from. */
      readonly sinceMs?: number
      /** Absent: a request. */
      readonly cause?: StartCause
      /**
       * Replaces `idleStopMs` from the grant to the end of this run, or until a later lease asks for another time. `0`:
       * stop as soon as it is idle. 2^31-1: never for being idle.
       */
      readonly keepAliveMs?: number
    }
  | { readonly type: 'lease.cancelled'; readonly id: string }
  | { readonly type: 'lease.released'; readonly id: string; readonly generation: string }

/** Events of a provider machine. */
export type ProviderEvent =
  | LeaseEvent
  | { readonly type: 'waiter.expired'; readonly id: string }
  /** `sleeps`: its sleep makes room enough, so it sleeps where it would stop only to start again. */
  | {
      readonly type: 'service.stop'
      readonly reason: StopReason
      readonly force?: boolean
      readonly sleeps?: boolean
    }
  /** The starved service no longer needs the room: the service that drains for it stays. */
  | { readonly type: 'service.stay' }
  /** The scheduler wants the room that it frees when it sleeps. */
  | { readonly type: 'service.sleep' }
  /** It has been idle for `sleep.afterMs`. */
  | { readonly type: 'sleep.due' }
  /** What the check of its sleep said. */
  | { readonly type: 'sleep.seen'; readonly generation: string; readonly isAsleep: boolean }
  | { readonly type: 'breaker.reset' }
  | { readonly type: 'policy.replaced'; readonly policy: ServicePolicy }
  /** The host was suspended, or this process stood still: timers that fired in the meantime prove nothing. */
  | { readonly type: 'host.resumed' }
  /** `follows`: another process was ended to make room for this start. */
  | { readonly type: 'start.permitted'; readonly follows?: boolean }
  /** The start needs the room of other services, and no request waits for it. */
  | { readonly type: 'start.declined' }
  /** There can be no room for a request either, and why. */
  | { readonly type: 'start.declined'; readonly failure: Failure }
  | { readonly type: 'start.abandoned' }
  /** A start that was permitted must be given up: `member` of the cluster has the service, or starts it. */
  | { readonly type: 'start.revoked'; readonly member: string }
  | { readonly type: 'stability.reached' }
  /** `isOfRequest`: seen between two heartbeats, by a request or by the poll that waits for a listener. */
  | {
      readonly type: 'health.verdict'
      readonly generation: string
      readonly verdict: Verdict
      readonly isOfRequest?: boolean
    }
  | PeerEvent
  | ProcessEvent

/**
 * What the supervisor that runs a server says to the one that borrows it. `granted` and `refused` answer one waiter.
 * `lost`: it let go of the server or is gone, and the leases that it lent have ended. `failed`: the holder of the claim
 * is no supervisor that we can talk to. `silent`: it is there and does not answer, repeated as long as that is so; the
 * leases that it lent stay, because the server may be well.
 */
export type PeerEvent =
  | { readonly type: 'peer.met'; readonly generation: string; readonly holder: Peer }
  | { readonly type: 'peer.granted'; readonly generation: string; readonly id: string }
  | {
      readonly type: 'peer.refused'
      readonly generation: string
      readonly id: string
      readonly failure: Failure
    }
  | {
      readonly type: 'peer.lost' | 'peer.failed' | 'peer.silent'
      readonly generation: string
      readonly failure: Failure
    }

/**
 * Commands to the peer effect. `want` asks the owner for a lease in a waiter's name, `return` takes
 * the question or the lease back, `leave` ends the conversation. `release`: what was claimed is not needed any more.
 */
export type PeerCommand =
  | {
      readonly type: 'peer.want'
      readonly generation: string
      readonly id: string
      readonly priority: number
      readonly keepAliveMs?: number
    }
  | { readonly type: 'peer.return'; readonly generation: string; readonly id: string }
  | { readonly type: 'peer.leave'; readonly generation: string }
  | { readonly type: 'claim.release' }

/** Reports of the process effect. `exited` is followed by exactly one `settled`; `failed` stands alone. */
export type ProcessEvent =
  | { readonly type: 'process.spawned'; readonly generation: string; readonly pid: number }
  | { readonly type: 'process.failed'; readonly generation: string; readonly failure: Failure }
  | {
      readonly type: 'process.signalled'
      readonly generation: string
      /** `stopCommand`: the command that ends a server outside the tree was begun. */
      readonly signal: 'SIGTERM' | 'SIGKILL' | 'stopCommand'
    }
  /** The process has exited, and the server that it started runs on outside its tree. */
  | { readonly type: 'process.detached'; readonly generation: string }
  | {
      readonly type: 'process.exited'
      readonly generation: string
      readonly exitCode: number | null
      readonly signal: string | null
      readonly tail: readonly string[]
      /** The line of all its output that says why, where there is one. */
      readonly telling?: TellingLine
      /** Who has its port, where its output says that the port is taken. */
      readonly portHolder?: PortHolder
      /**
       * Set where it ended with 0 without a signal of ours: it may have left the foreground. Who listens on its port now;
       * `ours`: listened there when it exited, and is ended with it.
       */
      readonly daemon?: PortHolder
      /** Set where it had exited long ago, and the server that it started outside its tree is gone now. */
      readonly isServerGone?: true
      /** Set with it where the server is a model of a daemon: the daemon has unloaded it, or has ended. */
      readonly isUnloaded?: true
    }
  | { readonly type: 'process.settled'; readonly generation: string; readonly receipt: Receipt }

/** Commands to the process effect. `spare` calls off a `terminate` that has not signalled yet. */
export type ProcessCommand = {
  readonly type: 'process.spawn' | 'process.terminate' | 'process.spare' | 'process.kill' | 'process.sweep'
  readonly generation: string
}

/**
 * Commands to the health effect. `check` asks for one verdict now. `await` polls quickly besides the
 * heartbeat until the server is ready again. `doze` is the heartbeat of a server that sleeps: only the check of its sleep
 * is asked, because a health check may wake it or end it.
 */
export type HealthCommand =
  | {
      readonly type: 'health.warm' | 'health.watch' | 'health.check' | 'health.await' | 'health.doze'
      readonly generation: string
    }
  | { readonly type: 'health.rest' }

/** Events that a provider machine emits. Every `lease.requested` is answered by exactly one grant or refusal. */
export type ProviderEmitted =
  | {
      readonly type: 'lease.granted'
      readonly id: string
      readonly generation: string
      readonly owned: boolean
      /** The idle time of this run, where the lease asked for one. */
      readonly keepAliveMs?: number
    }
  | { readonly type: 'lease.refused'; readonly id: string; readonly failure: Failure }
  | { readonly type: 'leases.revoked'; readonly generation: string; readonly failure: Failure }
  | { readonly type: 'stop.incomplete'; readonly failure: Failure }

/** Events of a request machine. */
export type RequestEvent =
  | { readonly type: 'request.resolved'; readonly candidates: readonly string[] }
  /** `retryable`: another candidate may do better. */
  | {
      readonly type: 'request.failed'
      readonly code: string
      readonly retryable: boolean
      /** A member of the cluster failed: others may have the model now. */
      readonly isOfMember?: true
      /** It waits in a line, and another member would serve it sooner. */
      readonly isMove?: true
    }
  | { readonly type: 'request.cancelled' }
  /** `timeLimitMs`: longest time for the whole answer; `null`: none. */
  | { readonly type: 'lease.granted'; readonly timeLimitMs: number | null }
  | { readonly type: 'time.elapsed' }
  /** The server says that it is still loading; it may say so for `limitMs`. */
  | { readonly type: 'server.loading'; readonly limitMs: number }
  /** The connection was refused, so no server has seen the request. */
  | { readonly type: 'connection.refused'; readonly code: string }
  | { readonly type: 'connection.broken' }
  /** It waits in the line of a member of the cluster. `moveAfterMs`: when to look for another one; `0`: never. */
  | { readonly type: 'member.queued'; readonly moveAfterMs: number }
  /** It has its lease there: from now on its server may have seen it. */
  | { readonly type: 'member.granted' }
  | { readonly type: 'response.started'; readonly status: number }
  | { readonly type: 'response.ended' }

/** The limits of a supervisor and what each service takes of them. */
export interface Sharing {
  /** Capacity by limit: a budget in its own unit, one place for an exclusive group. */
  readonly limits: Amounts
  /** By service key. */
  readonly shares: Readonly<Record<string, Share>>
  /** Keys of the services to start before any request asks for them, in this order. */
  readonly preload: readonly string[]
  /** The service to bring back when others have taken its room and are done. */
  readonly defaultKey: string | null
  /** Time without a lease or a start after which it is brought back, in milliseconds. `0`: never. */
  readonly returnToDefaultMs: number
}

/** Reports of a provider machine to its supervisor: its start, and the room that it takes. */
export type SharingEvent =
  | {
      readonly type: 'start.requested'
      readonly key: string
      /** The generation that the start will have. */
      readonly generation: string
      readonly waiting: number
      readonly priority: number
      /** Only `preload` waits for it: it takes free room only, and is declined when there is none. */
      readonly isPreload: boolean
      /** A run that sleeps is to be woken; `generation` is its own. */
      readonly isWake?: true
    }
  /** It will start when its predecessor has ended: it takes its place in the queue now and requests the start later. */
  | {
      readonly type: 'start.foreseen'
      readonly key: string
      readonly generation: string
      readonly waiting: number
      readonly priority: number
      readonly isPreload: boolean
    }
  | {
      readonly type: 'start.changed'
      readonly key: string
      readonly waiting: number
      readonly priority: number
      readonly isPreload: boolean
    }
  /** `isRunning`: a process was begun, so its end is still to come. */
  | { readonly type: 'start.finished'; readonly key: string; readonly isRunning: boolean }
  | { readonly type: 'service.rested'; readonly key: string; readonly generation: string }
  | { readonly type: 'service.used'; readonly key: string; readonly generation: string }
  | { readonly type: 'service.leaving'; readonly key: string; readonly generation: string }
  /** It is told to sleep. */
  | { readonly type: 'service.falling-asleep'; readonly key: string; readonly generation: string }
  /** Its check says that it sleeps. */
  | { readonly type: 'service.asleep'; readonly key: string; readonly generation: string }
  /** It was taken for asleep, and is not. */
  | { readonly type: 'service.awake'; readonly key: string; readonly generation: string }
  /** The receipt of a run, or the report that no process was spawned. */
  | {
      readonly type: 'run.ended'
      readonly generation: string
      readonly survivors: number
      /** The pids of the survivors and of what listens at its address, where they are known. */
      readonly pids?: readonly number[]
    }

/** Events of the supervisor machine. */
export type SupervisorEvent =
  | {
      readonly type: 'services.replaced'
      readonly services: Readonly<Record<string, ServicePolicy>>
      /** How many services may be starting at the same time. */
      readonly maxConcurrentStarts: number
      readonly sharing: Sharing
    }
  | SharingEvent
  /** The measured need and cost of a service. */
  | { readonly type: 'share.measured'; readonly key: string; readonly share: Share }
  | { readonly type: 'residency.over'; readonly generation: string }
  | { readonly type: 'start.overdue'; readonly generation: string }
  | { readonly type: 'starts.aged' }
  | { readonly type: 'default.due' }
  | { readonly type: 'shutdown'; readonly force?: boolean }

/** Events that the supervisor machine emits: services that come and go, starts, and decisions about room. */
export type SupervisorEmitted =
  | { readonly type: 'service.added'; readonly key: string }
  | { readonly type: 'service.retired'; readonly key: string }
  | { readonly type: 'service.failed'; readonly key: string; readonly message: string }
  | { readonly type: 'service.wanted'; readonly key: string; readonly cause: Exclude<StartCause, 'start'> }
  | ({ readonly type: 'scheduler.decided'; readonly key: string } & Decision)

/**
 * Every message of the three machines. All of it is JSON: ids, counters and generations, never a
 * reference, so that scripts, graph walks, recordings and the inspector see the whole truth.
 */

/** What one health probe found. See DESIGN's five verdicts; `src/health/verdict.ts` decides which. */
export type VerdictKind = 'refused' | 'loading' | 'ready' | 'failed' | 'foreign'

/** One probe's answer: the verdict, the sentence that explains it, and the HTTP status where there was one. */
export interface Verdict {
  readonly kind: VerdictKind
  /** What was seen, as a sentence fragment for people: `connection refused`, `503 Loading model`. */
  readonly detail: string
  readonly status?: number
}

/** Codes of the ways a service can fail its holders. They are API: callers match on them. */
export type FailureCode =
  | 'LEASEHOLD_SPAWN_FAILED'
  | 'LEASEHOLD_EXITED_BEFORE_READY'
  | 'LEASEHOLD_READY_TIMEOUT'
  | 'LEASEHOLD_BACKEND_FAILED'
  | 'LEASEHOLD_FOREIGN_SERVER'
  | 'LEASEHOLD_NOT_REACHABLE'
  | 'LEASEHOLD_SERVICE_EXITED'
  | 'LEASEHOLD_UNHEALTHY'
  | 'LEASEHOLD_STOP_TIMEOUT'
  | 'LEASEHOLD_CIRCUIT_OPEN'
  | 'LEASEHOLD_QUEUE_FULL'
  | 'LEASEHOLD_QUEUE_TIMEOUT'
  | 'LEASEHOLD_STOPPED'
  | 'LEASEHOLD_SHUTTING_DOWN'
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
  readonly verdict?: Verdict
  /** The failure behind this one: what opened the breaker, say. */
  readonly cause?: Failure
}

/** Proof that a stop is complete, or the names of what is left. Every spawn ends in exactly one. */
export interface Receipt {
  readonly generation: string
  readonly pid: number
  readonly exitCode: number | null
  readonly signal: string | null
  /** Processes of the tree that are still alive. Empty: the stop is complete. */
  readonly survivors: readonly number[]
  /** From the first signal, or from the exit that nobody asked for, to this receipt, in milliseconds. */
  readonly durationMs: number
}

/** Why a stop was begun. `shutdown` and `removed` retire the service for good. */
export type StopReason =
  | 'idle'
  | 'evicted'
  | 'asked'
  | 'unhealthy'
  | 'start-failed'
  | 'abandoned'
  | 'removed'
  | 'shutdown'

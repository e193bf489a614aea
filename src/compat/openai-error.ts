import {
  BadRequestError,
  type ErrorCode,
  LeaseholdError,
  ModelNotFoundError,
  OverloadedError,
  ServiceError,
  UpstreamStatusError,
} from '../errors.ts'

/** An error as OpenAI's clients understand it. */
export interface OpenAiError {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: {
    readonly error: {
      readonly message: string
      readonly type: string
      readonly code: string
      readonly param: string | null
    }
  }
}

/** The HTTP answer for a code. */
export interface Row {
  readonly status: number
  readonly type: string
  /** Whether OpenAI's clients should try again by themselves; absent: they decide by the status. */
  readonly retry?: false
}

const unavailable = { status: 503, type: 'service_unavailable' } as const
const upstream = { status: 502, type: 'upstream_error' } as const

/** Status and type by code. Clients are told not to retry a failed start: a retry would repeat the failure. */
export const errorRows: Readonly<Record<ErrorCode, Row>> = {
  LEASEHOLD_ABORTED: { status: 499, type: 'aborted', retry: false },
  LEASEHOLD_BACKEND_FAILED: { ...unavailable, retry: false },
  LEASEHOLD_BAD_REQUEST: { status: 400, type: 'invalid_request_error' },
  LEASEHOLD_CIRCUIT_OPEN: { ...unavailable, retry: false },
  LEASEHOLD_CLAIM_FAILED: { ...unavailable, retry: false },
  LEASEHOLD_CLUSTER_UNAVAILABLE: { ...unavailable, retry: false },
  LEASEHOLD_CONFIG_INVALID: { status: 500, type: 'configuration_error', retry: false },
  LEASEHOLD_ELSEWHERE: { status: 421, type: 'misdirected_request', retry: false },
  LEASEHOLD_EXITED_BEFORE_READY: { ...unavailable, retry: false },
  LEASEHOLD_FOREIGN_SERVER: { ...unavailable, retry: false },
  LEASEHOLD_HEALTH_MISMATCH: { ...unavailable, retry: false },
  // A member that gets it asks another one.
  LEASEHOLD_HOP_REFUSED: { status: 421, type: 'misdirected_request', retry: false },
  LEASEHOLD_INTERNAL: { status: 500, type: 'internal_error' },
  LEASEHOLD_KEY_REQUIRED: { status: 401, type: 'authentication_error' },
  LEASEHOLD_LEASE_TIMEOUT: { status: 504, type: 'timeout_error', retry: false },
  LEASEHOLD_LISTEN_FAILED: { status: 500, type: 'internal_error' },
  LEASEHOLD_LOOP: { status: 508, type: 'loop_detected', retry: false },
  LEASEHOLD_MEMBER_AWAY: unavailable,
  LEASEHOLD_MODEL_AMBIGUOUS: { status: 404, type: 'invalid_request_error' },
  LEASEHOLD_MODEL_UNKNOWN: { status: 404, type: 'invalid_request_error' },
  LEASEHOLD_NO_ROOM: { ...unavailable, retry: false },
  LEASEHOLD_NOT_REACHABLE: { ...unavailable, retry: false },
  LEASEHOLD_OVERLOADED: unavailable,
  LEASEHOLD_OWNER_LOST: upstream,
  LEASEHOLD_OWNER_SILENT: { ...unavailable, retry: false },
  LEASEHOLD_PORT_TAKEN: { ...unavailable, retry: false },
  LEASEHOLD_PROVIDER_UNAVAILABLE: { ...unavailable, retry: false },
  LEASEHOLD_QUEUE_FULL: { status: 429, type: 'rate_limit_error' },
  LEASEHOLD_QUEUE_TIMEOUT: { status: 504, type: 'timeout_error', retry: false },
  LEASEHOLD_READY_TIMEOUT: { status: 504, type: 'timeout_error', retry: false },
  LEASEHOLD_REMOVED: unavailable,
  LEASEHOLD_SERVICE_EXITED: upstream,
  LEASEHOLD_SHUTTING_DOWN: unavailable,
  LEASEHOLD_SPAWN_FAILED: { ...unavailable, retry: false },
  LEASEHOLD_STATE_UNUSABLE: { ...unavailable, retry: false },
  // A retry would restart the service that was just stopped.
  LEASEHOLD_STOPPED: { ...unavailable, retry: false },
  LEASEHOLD_STOP_TIMEOUT: { ...unavailable, retry: false },
  LEASEHOLD_STREAM_STALLED: { status: 504, type: 'timeout_error', retry: false },
  LEASEHOLD_STREAM_TRUNCATED: upstream,
  LEASEHOLD_UNHEALTHY: upstream,
  LEASEHOLD_UPSTREAM_FAILED: upstream,
  LEASEHOLD_UPSTREAM_TIMEOUT: { status: 504, type: 'timeout_error', retry: false },
}

/** Turns a thrown value into an OpenAI-shaped error. Errors of other classes become an internal error without details. */
export function toOpenAiError(error: unknown): OpenAiError {
  if (!(error instanceof LeaseholdError))
    return buildAnswer(
      errorRows.LEASEHOLD_INTERNAL,
      'LEASEHOLD_INTERNAL',
      'Internal error in leasehold; the log has the cause.',
    )
  const row = errorRows[error.code]
  const status =
    error instanceof BadRequestError || error instanceof UpstreamStatusError ? error.status : row.status
  const param =
    error instanceof BadRequestError ? error.param : error instanceof ModelNotFoundError ? 'model' : null
  const retryAfterMs =
    error instanceof ServiceError || error instanceof OverloadedError ? error.retryAfterMs : undefined
  const answer = buildAnswer({ ...row, status }, error.code, error.message, param, retryAfterMs)
  const member = error instanceof ServiceError ? error.failure.member : undefined
  if (error.code !== 'LEASEHOLD_ELSEWHERE' || member === undefined) return answer
  return { ...answer, headers: { ...answer.headers, 'x-leasehold-elsewhere': member } }
}

function buildAnswer(
  { status, type, retry }: Row,
  code: ErrorCode,
  message: string,
  param: string | null = null,
  retryAfterMs?: number,
): OpenAiError {
  return {
    status,
    headers: {
      ...(retryAfterMs === undefined ? {} : { 'retry-after': String(Math.ceil(retryAfterMs / 1000)) }),
      ...(retry === false ? { 'x-should-retry': 'false' } : {}),
    },
    body: { error: { message, type, code, param } },
  }
}

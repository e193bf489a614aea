import { describe, expect, test } from 'vitest'
import type { FailureCode } from '../../machines/messages.ts'
import { toOpenAiError } from '../../src/compat/openai-error.ts'
import {
  AbortedError,
  BadRequestError,
  ClusterError,
  ConfigError,
  type ErrorCode,
  GatewayError,
  HopError,
  KeyError,
  type LeaseholdError,
  LoopError,
  ModelNotFoundError,
  OverloadedError,
  ProviderUnavailableError,
  ServiceError,
  StateDirectoryError,
  UpstreamError,
  UpstreamStallError,
  UpstreamStatusError,
  UpstreamTimeoutError,
} from '../../src/errors.ts'

const service = (code: FailureCode) => new ServiceError('local', { code, message: 'why' })

/** One error of every code; the compiler sees to it that none is missing. */
const errors: Readonly<Record<ErrorCode, readonly [LeaseholdError, number]>> = {
  LEASEHOLD_SPAWN_FAILED: [service('LEASEHOLD_SPAWN_FAILED'), 503],
  LEASEHOLD_EXITED_BEFORE_READY: [service('LEASEHOLD_EXITED_BEFORE_READY'), 503],
  LEASEHOLD_HEALTH_MISMATCH: [service('LEASEHOLD_HEALTH_MISMATCH'), 503],
  LEASEHOLD_READY_TIMEOUT: [service('LEASEHOLD_READY_TIMEOUT'), 504],
  LEASEHOLD_BACKEND_FAILED: [service('LEASEHOLD_BACKEND_FAILED'), 503],
  LEASEHOLD_FOREIGN_SERVER: [service('LEASEHOLD_FOREIGN_SERVER'), 503],
  LEASEHOLD_LEASE_TIMEOUT: [service('LEASEHOLD_LEASE_TIMEOUT'), 504],
  LEASEHOLD_STREAM_STALLED: [new UpstreamStallError('local', 1), 504],
  LEASEHOLD_PORT_TAKEN: [service('LEASEHOLD_PORT_TAKEN'), 503],
  LEASEHOLD_NOT_REACHABLE: [service('LEASEHOLD_NOT_REACHABLE'), 503],
  LEASEHOLD_SERVICE_EXITED: [service('LEASEHOLD_SERVICE_EXITED'), 502],
  LEASEHOLD_UNHEALTHY: [service('LEASEHOLD_UNHEALTHY'), 502],
  LEASEHOLD_STOP_TIMEOUT: [service('LEASEHOLD_STOP_TIMEOUT'), 503],
  LEASEHOLD_CIRCUIT_OPEN: [service('LEASEHOLD_CIRCUIT_OPEN'), 503],
  LEASEHOLD_NO_ROOM: [service('LEASEHOLD_NO_ROOM'), 503],
  LEASEHOLD_QUEUE_FULL: [service('LEASEHOLD_QUEUE_FULL'), 429],
  LEASEHOLD_QUEUE_TIMEOUT: [service('LEASEHOLD_QUEUE_TIMEOUT'), 504],
  LEASEHOLD_REMOVED: [service('LEASEHOLD_REMOVED'), 503],
  LEASEHOLD_STOPPED: [service('LEASEHOLD_STOPPED'), 503],
  LEASEHOLD_SHUTTING_DOWN: [service('LEASEHOLD_SHUTTING_DOWN'), 503],
  LEASEHOLD_STATE_UNUSABLE: [new StateDirectoryError('/x', 'why'), 503],
  LEASEHOLD_INTERNAL: [service('LEASEHOLD_INTERNAL'), 500],
  LEASEHOLD_CLAIM_FAILED: [service('LEASEHOLD_CLAIM_FAILED'), 503],
  LEASEHOLD_ELSEWHERE: [service('LEASEHOLD_ELSEWHERE'), 421],
  LEASEHOLD_MEMBER_AWAY: [service('LEASEHOLD_MEMBER_AWAY'), 503],
  LEASEHOLD_OWNER_LOST: [service('LEASEHOLD_OWNER_LOST'), 502],
  LEASEHOLD_OWNER_SILENT: [service('LEASEHOLD_OWNER_SILENT'), 503],
  LEASEHOLD_CONFIG_INVALID: [new ConfigError('file', []), 500],
  LEASEHOLD_MODEL_UNKNOWN: [new ModelNotFoundError('x', ['y'], false), 404],
  LEASEHOLD_MODEL_AMBIGUOUS: [new ModelNotFoundError('x', ['y', 'z'], true), 404],
  LEASEHOLD_PROVIDER_UNAVAILABLE: [new ProviderUnavailableError('local', 'why'), 503],
  LEASEHOLD_BAD_REQUEST: [new BadRequestError('why'), 400],
  LEASEHOLD_UPSTREAM_FAILED: [new UpstreamError('local', 'why'), 502],
  LEASEHOLD_UPSTREAM_TIMEOUT: [new UpstreamTimeoutError('local', 1), 504],
  LEASEHOLD_STREAM_TRUNCATED: [new UpstreamError('local', 'why', { isTruncated: true }), 502],
  LEASEHOLD_ABORTED: [new AbortedError(), 499],
  LEASEHOLD_KEY_REQUIRED: [new KeyError(true), 401],
  LEASEHOLD_HOP_REFUSED: [new HopError('why'), 421],
  LEASEHOLD_LOOP: [new LoopError(['a', 'a'], true), 508],
  LEASEHOLD_OVERLOADED: [new OverloadedError('why'), 503],
  LEASEHOLD_CLUSTER_UNAVAILABLE: [new ClusterError('why'), 503],
  LEASEHOLD_LISTEN_FAILED: [new GatewayError('h', 1, new Error('x')), 500],
}

describe('every code', () => {
  test.each(Object.entries(errors))('%s has its status and says what it is', (code, [error, status]) => {
    const answer = toOpenAiError(error)
    expect(answer.status).toBe(status)
    expect(answer.body.error).toMatchObject({ code, message: error.message })
    expect(answer.body.error.type).toMatch(/^[a-z_]+$/)
    expect(Object.keys(answer.body.error).sort()).toEqual(['code', 'message', 'param', 'type'])
  })

  test.each([
    'LEASEHOLD_SPAWN_FAILED',
    'LEASEHOLD_EXITED_BEFORE_READY',
    'LEASEHOLD_READY_TIMEOUT',
    'LEASEHOLD_BACKEND_FAILED',
    'LEASEHOLD_FOREIGN_SERVER',
    'LEASEHOLD_NOT_REACHABLE',
    'LEASEHOLD_STATE_UNUSABLE',
    'LEASEHOLD_CLAIM_FAILED',
    'LEASEHOLD_CIRCUIT_OPEN',
  ] as const)('%s tells clients not to start the server again and again', (code) => {
    expect(toOpenAiError(errors[code][0]).headers).toEqual({ 'x-should-retry': 'false' })
  })

  test.each(['LEASEHOLD_QUEUE_FULL', 'LEASEHOLD_UPSTREAM_FAILED', 'LEASEHOLD_SHUTTING_DOWN'] as const)(
    '%s leaves it to the client whether it tries again',
    (code) => {
      expect(toOpenAiError(errors[code][0]).headers).toEqual({})
    },
  )
})

test.each([
  [0, '0'],
  [1, '1'],
  [999.5, '1'],
  [1_000, '1'],
  [1_001, '2'],
  [30_000, '30'],
])('a wait of %d ms is told as %s s, never as less', (retryAfterMs, seconds) => {
  const error = new ServiceError('local', { code: 'LEASEHOLD_QUEUE_FULL', message: 'x' }, { retryAfterMs })
  expect(toOpenAiError(error).headers['retry-after']).toBe(seconds)
})

test('a bad request has the status and the field it was made with', () => {
  const { status, body } = toOpenAiError(new BadRequestError('x', { status: 413, param: 'messages' }))
  expect([status, body.error.param]).toEqual([413, 'messages'])
})

test('an unknown model points at the field "model"', () => {
  expect(toOpenAiError(errors.LEASEHOLD_MODEL_UNKNOWN[0]).body.error.param).toBe('model')
})

test("an upstream's own status is told", () => {
  expect(toOpenAiError(new UpstreamStatusError('local', 529)).status).toBe(529)
})

test.each([new Error('secret path /home/x'), 'secret', undefined, null, { message: 'secret' }])(
  'what is not ours (%s) is an internal error without details',
  (thrown) => {
    const { status, body } = toOpenAiError(thrown)
    expect(status).toBe(500)
    expect(body.error.code).toBe('LEASEHOLD_INTERNAL')
    expect(JSON.stringify(body)).not.toContain('secret')
  },
)

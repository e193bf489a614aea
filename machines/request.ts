import { and, setup } from 'xstate'
import type { RequestEvent } from './messages.ts'

/** One candidate that was tried in vain. */
export interface Attempt {
  readonly ref: string
  readonly code: string
}

/** What a request machine remembers. Bytes and prompts never come here. */
export interface RequestContext {
  readonly id: string
  /** Model references in the order of failover; the first is what was asked for. */
  readonly candidates: readonly string[]
  /** Position in `candidates` of the one in use. */
  readonly index: number
  /** How often the connection to the one in use was refused, so that no server has seen the request. */
  readonly refusals: number
  /** Since it was last resolved. */
  readonly attempts: readonly Attempt[]
  /** How often it was resolved again, because what it waited for was taken out of the configuration. */
  readonly restarts: number
  readonly status: number | null
}

/** How many replaced configurations one request follows. Beyond that whoever replaces them is the fault. */
export const MAX_RESTARTS = 10

/** How often a request that no server has seen is sent again: at once, then after growing pauses. */
export const MAX_REFUSALS = 4

type Scope = { context: RequestContext; event: RequestEvent }

const request = setup({
  types: { context: {} as RequestContext, events: {} as RequestEvent, input: {} as { readonly id: string } },
  guards: {
    isRetryable: ({ event }: Scope) => event.type === 'request.failed' && event.retryable,
    /** Another candidate is better than waiting; without one a server gets time to listen again. */
    hasAnotherTry: ({ context: { refusals, index, candidates } }: Scope) =>
      refusals < (index + 1 < candidates.length ? 1 : MAX_REFUSALS),
    /** It waited for a service that is not configured any more: perhaps its model is somewhere else now. */
    isRemoved: ({ event }: Scope) => event.type === 'request.failed' && event.code === 'LEASEHOLD_REMOVED',
    canStartOver: ({ context }: Scope) => context.restarts < MAX_RESTARTS,
    hasNextCandidate: ({ context }: Scope) => context.index + 1 < context.candidates.length,
  },
})

const chart = request.extend({
  actions: {
    noteCandidates: request.assign({
      candidates: ({ context, event }) =>
        event.type === 'request.resolved' ? event.candidates : context.candidates,
    }),
    noteAttempt: request.assign({
      attempts: ({ context, event }) => {
        const ref = context.candidates[context.index]
        if (event.type !== 'request.failed' || ref === undefined) return context.attempts
        return [...context.attempts, { ref, code: event.code }]
      },
    }),
    startOver: request.assign({
      candidates: [],
      index: 0,
      refusals: 0,
      attempts: [],
      restarts: ({ context }) => context.restarts + 1,
    }),
    moveOn: request.assign({ index: ({ context }) => context.index + 1, refusals: 0 }),
    noteUnheard: request.assign({ refusals: ({ context }) => context.refusals + 1 }),
    noteStatus: request.assign({
      status: ({ context, event }) => (event.type === 'response.started' ? event.status : context.status),
    }),
  },
})

/** Before the first response byte a failure may move to the next candidate; after it, never. */
const failBeforeFirstByte = [
  { guard: and(['isRetryable', 'hasNextCandidate']), target: 'leasing', actions: ['noteAttempt', 'moveOn'] },
  { target: 'failed', actions: 'noteAttempt' },
] as const

/**
 * The life of one request. One root actor per request, without invokes, timers or per-chunk events:
 * whoever carries the request reads the state and performs it, the machine decides what comes next. What belongs to one
 * connection (its time limit, asking again a server that says it is loading) stays with the carrier, which reports only
 * how the attempt ended.
 */
export const requestMachine = chart.createMachine({
  id: 'request',
  initial: 'resolving',
  context: ({ input }) => ({
    id: input.id,
    candidates: [],
    index: 0,
    refusals: 0,
    attempts: [],
    restarts: 0,
    status: null,
  }),
  states: {
    resolving: {
      on: {
        'request.resolved': { target: 'leasing', actions: 'noteCandidates' },
        'request.failed': 'failed',
        'request.cancelled': 'cancelled',
      },
    },
    leasing: {
      on: {
        'lease.granted': 'sending',
        'request.failed': [
          { guard: and(['isRemoved', 'canStartOver']), target: 'resolving', actions: 'startOver' },
          ...failBeforeFirstByte,
        ],
        'request.cancelled': 'cancelled',
      },
    },
    sending: {
      on: {
        'response.started': { target: 'streaming', actions: 'noteStatus' },
        'connection.refused': 'unheard',
        'request.failed': failBeforeFirstByte,
        'request.cancelled': 'cancelled',
      },
    },
    unheard: {
      on: {
        'request.failed': [
          { guard: 'hasAnotherTry', target: 'leasing', actions: ['noteAttempt', 'noteUnheard'] },
          ...failBeforeFirstByte,
        ],
        'request.cancelled': 'cancelled',
      },
    },
    streaming: {
      on: {
        'response.ended': 'done',
        'request.failed': { target: 'failed', actions: 'noteAttempt' },
        'request.cancelled': 'cancelled',
      },
    },
    done: { type: 'final' },
    failed: { type: 'final' },
    cancelled: { type: 'final' },
  },
})

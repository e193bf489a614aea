import { and, cancel, not, raise, type StateValueFrom, setup } from 'xstate'
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
  /** How often the one in use said that it is still loading. */
  readonly loadings: number
  /** Since it was last resolved. */
  readonly attempts: readonly Attempt[]
  /** How often it was resolved again, because the service it waited for was taken out of the configuration. */
  readonly restarts: number
  /** How often a member of the cluster said that another one has the model. */
  readonly redirects: number
  /** After which wait at a member another one is looked for, in milliseconds. */
  readonly moveAfterMs: number
  /** Status of the answer; `null`: it has not begun. */
  readonly status: number | null
}

/** How many replaced configurations one request follows. */
export const MAX_RESTARTS = 10

/**
 * How often a request asks again after a member said that another one has the model. With the growing pauses that is
 * for ten seconds: members agree on who starts it once all have heard of a loss.
 */
export const MAX_REDIRECTS = 14

/** First pause before it is looked up again, and the longest, in milliseconds. */
const REDIRECT_PAUSE_MS = 25
const MAX_REDIRECT_PAUSE_MS = 1_000

/** How often a request that no server has seen is sent again: at once, then after growing pauses. */
export const MAX_REFUSALS = 4

/**
 * A socket breaks a few milliseconds before or after the exit of its process is seen, and later on a busy host. The exit
 * has the better story (code, signal, last output), so a broken answer waits this long for it, in milliseconds.
 */
const CRASH_NOTICE_MS = 200

/** Pause before a server that says it is loading is asked again, in milliseconds. */
const LOADING_RETRY_MS = 250

/** Pause before a request is sent again that was refused the connection twice, in milliseconds. It doubles. */
const RECONNECT_PAUSE_MS = 400

/** How long a candidate has to listen again before the next one is asked, in milliseconds. */
const LISTEN_AGAIN_MS = 3_000

/** How a request ends. */
export type Outcome = 'done' | 'failed' | 'cancelled'

type Scope = { context: RequestContext; event: RequestEvent }

const request = setup({
  types: { context: {} as RequestContext, events: {} as RequestEvent, input: {} as { readonly id: string } },
  delays: {
    crashNotice: CRASH_NOTICE_MS,
    listenAgain: LISTEN_AGAIN_MS,
    loadingRetry: LOADING_RETRY_MS,
    reconnectPause: ({ context }: Scope) => RECONNECT_PAUSE_MS * 2 ** Math.max(0, context.refusals - 2),
    moveAfter: ({ context }: Scope) => context.moveAfterMs,
    redirectPause: ({ context }: Scope) =>
      Math.min(MAX_REDIRECT_PAUSE_MS, REDIRECT_PAUSE_MS * 2 ** Math.max(0, context.redirects - 1)),
    timeLimit: ({ event }: Scope) => (event.type === 'lease.granted' ? (event.timeLimitMs ?? 0) : 0),
  },
  guards: {
    isRetryable: ({ event }: Scope) => event.type !== 'request.failed' || event.retryable,
    isFirstRefusal: ({ context }: Scope) => context.refusals === 0,
    /** With another candidate a server gets one more try, without one it gets time to listen again. */
    hasAnotherTry: ({ context: { refusals, index, candidates } }: Scope) =>
      refusals < (index + 1 < candidates.length ? 1 : MAX_REFUSALS),
    /** The service it waited for is not configured any more: its model may be somewhere else now. */
    isRemoved: ({ event }: Scope) => event.type === 'request.failed' && event.code === 'LEASEHOLD_REMOVED',
    /**
     * Another member of the cluster has the model, or starts it; or the last one that was known has failed. A request of
     * another member is not retried here.
     */
    isRedirected: ({ context, event }: Scope) =>
      event.type === 'request.failed' &&
      event.retryable &&
      (event.code === 'LEASEHOLD_ELSEWHERE' ||
        (event.isOfMember === true && context.index + 1 >= context.candidates.length)) &&
      (event.isMove === true || context.redirects < MAX_REDIRECTS),
    canStartOver: ({ context }: Scope) => context.restarts < MAX_RESTARTS,
    hasNextCandidate: ({ context }: Scope) => context.index + 1 < context.candidates.length,
    hasTimeLimit: ({ event }: Scope) => event.type === 'lease.granted' && event.timeLimitMs !== null,
    canAwaitLoading: ({ context, event }: Scope) =>
      event.type === 'server.loading' && context.loadings * LOADING_RETRY_MS < event.limitMs,
    canMove: ({ event }: Scope) => event.type === 'member.queued' && event.moveAfterMs > 0,
    /** The answer has begun: nothing is tried again. */
    hasBegun: ({ context }: Scope) => context.status !== null,
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
        if (!('code' in event) || ref === undefined) return context.attempts
        return [...context.attempts, { ref, code: event.code }]
      },
    }),
    startOver: request.assign({
      candidates: [],
      index: 0,
      refusals: 0,
      loadings: 0,
      attempts: [],
      restarts: ({ context }) => context.restarts + 1,
    }),
    lookUpAgain: request.assign({ candidates: [], index: 0, refusals: 0, loadings: 0, attempts: [] }),
    // A move is bounded by the longest wait in a line, not by a count: one that waits for long may move often.
    countRedirect: request.assign({
      redirects: ({ context, event }) =>
        event.type === 'request.failed' && event.isMove === true ? context.redirects : context.redirects + 1,
    }),
    moveOn: request.assign({ index: ({ context }) => context.index + 1, refusals: 0, loadings: 0 }),
    countRefusal: request.assign({ refusals: ({ context }) => context.refusals + 1, loadings: 0 }),
    countLoading: request.assign({ loadings: ({ context }) => context.loadings + 1 }),
    noteStatus: request.assign({
      status: ({ context, event }) => (event.type === 'response.started' ? event.status : context.status),
    }),
    noteMoveAfter: request.assign({
      moveAfterMs: ({ context, event }) =>
        event.type === 'member.queued' ? event.moveAfterMs : context.moveAfterMs,
    }),
    limitTime: raise({ type: 'time.elapsed' }, { delay: 'timeLimit', id: 'timeLimit' }),
    forgetTimeLimit: cancel('timeLimit'),

    // The effects. `src/request` provides them; each that can fail reports `request.failed`.
    /** Finds the candidates of the model that was asked for: `request.resolved`. */
    resolve: () => {},
    /** Asks for a lease of the candidate's service: `lease.granted`. */
    requestLease: () => {},
    /** Gives the lease back, or the place in its queue. */
    releaseLease: () => {},
    /** Makes the request that the candidate's server should get: model name, compat rewrites, key. */
    rewrite: () => {},
    /** Sends it: `response.started`, `server.loading`, `connection.refused` or `connection.broken`. */
    dispatch: () => {},
    /** Passes the answer on to the client: `response.ended` or `connection.broken`. */
    relay: () => {},
    /** Looks whether another member would serve it sooner: then `request.failed` with `LEASEHOLD_ELSEWHERE` and `isMove`. */
    lookForRoom: () => {},
    /** Ends the connection to the server, where it has not ended. */
    hangUp: () => {},
    /** Tells the events, and the service that did not listen, how an attempt failed. */
    reportAttempt: () => {},
    /** The limit of the whole answer has passed: `request.failed`. */
    failOverdue: () => {},
    /** No exit explains the broken connection: `request.failed`. */
    failBroken: () => {},
    /** Tells the client and the events how it ended. */
    finish: (_: unknown, _how: { readonly outcome: Outcome }) => {},
  },
})

/**
 * The life of one request: one root actor per request, without invokes and without events for the pieces of an answer.
 * The chart decides what comes next and names the effects, which `src/request` provides.
 */
export const requestMachine = chart.createMachine({
  id: 'request',
  initial: 'resolving',
  context: ({ input }) => ({
    id: input.id,
    candidates: [],
    index: 0,
    refusals: 0,
    loadings: 0,
    attempts: [],
    restarts: 0,
    redirects: 0,
    moveAfterMs: 0,
    status: null,
  }),
  on: { 'request.cancelled': '.cancelled' },
  states: {
    resolving: {
      description: 'Its model is looked up: which servers can answer, in which order.',
      entry: 'resolve',
      on: {
        'request.resolved': { target: 'waiting', actions: 'noteCandidates' },
        'request.failed': 'failed',
      },
    },

    waiting: {
      description: 'It waits for a lease, before its first try and before the next.',
      on: {
        'lease.granted': [
          { guard: 'hasTimeLimit', target: 'leased', actions: 'limitTime' },
          { target: 'leased' },
        ],
        'request.failed': [
          { guard: and(['isRemoved', 'canStartOver']), target: 'resolving', actions: 'startOver' },
          {
            guard: 'isRedirected',
            target: 'redirected',
            actions: ['noteAttempt', 'reportAttempt', 'countRedirect'],
          },
          {
            guard: and(['isRetryable', 'hasNextCandidate']),
            target: 'waiting',
            reenter: true,
            actions: ['noteAttempt', 'reportAttempt', 'moveOn'],
          },
          { target: 'failed', actions: ['noteAttempt', 'reportAttempt'] },
        ],
        'request.cancelled': { target: 'cancelled', actions: 'releaseLease' },
      },
      initial: 'leasing',
      states: {
        leasing: {
          description: 'It waits for a lease of the service of its candidate.',
          entry: 'requestLease',
          on: { 'member.queued': { guard: 'canMove', target: 'queued', actions: 'noteMoveAfter' } },
        },
        queued: {
          description: 'It waits in the line of this member of a cluster, and may move to another one.',
          after: { moveAfter: { target: 'queued', reenter: true, actions: 'lookForRoom' } },
        },
        reconnecting: {
          description: 'It was refused the connection, and waits for a lease of the same candidate again.',
          entry: 'requestLease',
          after: {
            listenAgain: {
              guard: 'hasNextCandidate',
              target: 'leasing',
              actions: ['releaseLease', 'moveOn'],
            },
          },
        },
      },
    },

    leased: {
      description: 'It holds a lease: the service stays up.',
      initial: 'sending',
      exit: ['hangUp', 'forgetTimeLimit', 'releaseLease'],
      on: {
        'time.elapsed': { actions: 'failOverdue' },
        'request.failed': [
          {
            guard: and(['isRedirected', not('hasBegun')]),
            target: 'redirected',
            actions: ['noteAttempt', 'reportAttempt', 'countRedirect'],
          },
          {
            guard: and(['isRetryable', 'hasNextCandidate', not('hasBegun')]),
            target: 'waiting',
            actions: ['noteAttempt', 'reportAttempt', 'moveOn'],
          },
          { target: 'failed', actions: ['noteAttempt', 'reportAttempt'] },
        ],
      },
      states: {
        sending: {
          description: 'It was sent and waits for the head of the answer.',
          entry: ['rewrite', 'dispatch'],
          on: {
            'response.started': { target: 'streaming', actions: 'noteStatus' },
            'server.loading': { guard: 'canAwaitLoading', target: 'loading', actions: 'countLoading' },
            'connection.broken': 'broken',
            'member.queued': [
              { guard: 'canMove', target: 'queued', actions: 'noteMoveAfter' },
              { target: 'admitted' },
            ],
            'connection.refused': [
              {
                guard: and(['hasAnotherTry', 'isFirstRefusal']),
                target: '#request.waiting.reconnecting',
                actions: ['noteAttempt', 'reportAttempt', 'countRefusal'],
              },
              {
                guard: 'hasAnotherTry',
                target: '#request.pausing',
                actions: ['noteAttempt', 'reportAttempt', 'countRefusal'],
              },
              {
                guard: 'hasNextCandidate',
                target: '#request.waiting',
                actions: ['noteAttempt', 'reportAttempt', 'moveOn'],
              },
              { target: '#request.failed', actions: ['noteAttempt', 'reportAttempt'] },
            ],
          },
        },
        queued: {
          description:
            'The member that was asked lets it wait. No server has seen it: it may move to another one.',
          after: { moveAfter: { target: 'queued', reenter: true, actions: 'lookForRoom' } },
          on: {
            'member.granted': 'admitted',
            'response.started': { target: 'streaming', actions: 'noteStatus' },
            'connection.broken': 'broken',
          },
        },
        admitted: {
          description: 'It has waited at a member and has its lease there, or stays in its queue.',
          on: {
            'response.started': { target: 'streaming', actions: 'noteStatus' },
            'connection.broken': 'broken',
          },
        },
        loading: {
          description: 'Its server says that it is still loading, although its health check passed.',
          after: { loadingRetry: 'sending' },
        },
        streaming: {
          description: 'The answer is passed on to the client.',
          entry: 'relay',
          on: { 'response.ended': '#request.done', 'connection.broken': 'broken' },
        },
        broken: {
          description: 'The connection broke. If the process has ended, its exit says why.',
          after: { crashNotice: { actions: 'failBroken' } },
        },
      },
    },

    pausing: {
      description: 'It was refused the connection more than once, although the health check passed.',
      after: { reconnectPause: 'waiting.reconnecting' },
    },

    redirected: {
      description:
        'Another member of the cluster has its model, or the last one that was known failed: after a pause it is looked up again.',
      after: { redirectPause: { target: 'resolving', actions: 'lookUpAgain' } },
    },

    done: {
      description: 'The whole answer was passed on to the client.',
      type: 'final',
      entry: { type: 'finish', params: { outcome: 'done' } },
    },
    failed: {
      description:
        'The client gets the error, or its answer is cut off: no candidate is left, or an answer broke.',
      type: 'final',
      entry: { type: 'finish', params: { outcome: 'failed' } },
    },
    cancelled: {
      description: 'The client has left, or the request was cancelled by hand.',
      type: 'final',
      entry: { type: 'finish', params: { outcome: 'cancelled' } },
    },
  },
})

/** Where a request stands: the name of its innermost state. */
export type RequestState =
  | 'resolving'
  | 'leasing'
  | 'sending'
  | 'queued'
  | 'admitted'
  | 'loading'
  | 'streaming'
  | 'broken'
  | 'reconnecting'
  | 'pausing'
  | 'redirected'
  | Outcome

/** The innermost state of a state value: `streaming` of `{ leased: 'streaming' }`. */
export function nameRequestState(value: StateValueFrom<typeof requestMachine>): RequestState {
  const [name] = typeof value === 'string' ? [value] : Object.values(value)
  // xstate types the outer states alone as values, too.
  if (name === undefined || name === 'leased') return 'sending'
  // It waits for its lease, whether or not it may move.
  if (typeof value === 'object' && 'waiting' in value && name === 'queued') return 'leasing'
  return name === 'waiting' ? 'leasing' : name
}

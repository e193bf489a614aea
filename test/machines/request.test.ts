import { describe, expect, test } from 'vitest'
import { createActor, type EventFromLogic } from 'xstate'
import {
  MAX_REDIRECTS,
  MAX_REFUSALS,
  MAX_RESTARTS,
  nameRequestState,
  requestMachine,
} from '../../machines/request.ts'

type Event = EventFromLogic<typeof requestMachine>

const resolved: Event = { type: 'request.resolved', candidates: ['a/x', 'b/y', 'c/z'] }
const granted: Event = { type: 'lease.granted', timeLimitMs: null }
const started: Event = { type: 'response.started', status: 200 }
const ended: Event = { type: 'response.ended' }
const cancelled: Event = { type: 'request.cancelled' }
const retryable: Event = { type: 'request.failed', code: 'LEASEHOLD_READY_TIMEOUT', retryable: true }
const fatal: Event = { type: 'request.failed', code: 'LEASEHOLD_BAD_REQUEST', retryable: false }

const refused: Event = { type: 'connection.refused', code: 'LEASEHOLD_UPSTREAM_FAILED' }
const broken: Event = { type: 'connection.broken' }
const loading: Event = { type: 'server.loading', limitMs: 500 }
// What xstate sends itself when a delay has passed.
const loadingOver = { type: 'xstate.after.loadingRetry.request.leased.loading' } as unknown as Event
const pauseOver = { type: 'xstate.after.reconnectPause.request.pausing' } as unknown as Event
const elsewhere: Event = { type: 'request.failed', code: 'LEASEHOLD_ELSEWHERE', retryable: true }
const redirectOver = { type: 'xstate.after.redirectPause.request.redirected' } as unknown as Event
const queued: Event = { type: 'member.queued', moveAfterMs: 1_000 }
const moved: Event = { ...elsewhere, isMove: true }
const ownMoveDue = { type: 'xstate.after.moveAfter.request.waiting.queued' } as unknown as Event
const moveDue = { type: 'xstate.after.moveAfter.request.leased.queued' } as unknown as Event
const ofMember: Event = { type: 'request.failed', code: 'X', retryable: true, isOfMember: true }
const removed: Event = { type: 'request.failed', code: 'LEASEHOLD_REMOVED', retryable: true }

interface Path {
  readonly title: string
  readonly events: readonly Event[]
  readonly state: string
  readonly index?: number
  readonly attempts?: readonly string[]
}

const paths: Path[] = [
  {
    title: 'a request is resolved, leased, sent, streamed and done',
    events: [resolved, granted, started, ended],
    state: 'done',
  },
  { title: 'an unknown reference fails', events: [fatal], state: 'failed' },
  {
    title: 'a lease that is refused for good fails',
    events: [resolved, fatal],
    state: 'failed',
    attempts: ['a/x'],
  },
  {
    title: 'a lease that is refused for now moves to the next candidate',
    events: [resolved, retryable],
    state: 'leasing',
    index: 1,
    attempts: ['a/x'],
  },
  {
    title: 'a failure before the first byte moves to the next candidate',
    events: [resolved, granted, retryable],
    state: 'leasing',
    index: 1,
    attempts: ['a/x'],
  },
  {
    title: 'the next candidate can finish',
    events: [resolved, granted, retryable, granted, started, ended],
    state: 'done',
    index: 1,
    attempts: ['a/x'],
  },
  {
    title: 'when the last candidate fails, the request fails',
    events: [resolved, retryable, granted, retryable, retryable],
    state: 'failed',
    index: 2,
    attempts: ['a/x', 'b/y', 'c/z'],
  },
  {
    title: 'a failure before the first byte that no other candidate can mend fails',
    events: [resolved, granted, fatal],
    state: 'failed',
    attempts: ['a/x'],
  },
  {
    title: 'a failure after the first byte is never retried',
    events: [resolved, granted, started, retryable],
    state: 'failed',
    attempts: ['a/x'],
  },
  {
    title:
      'a service that is removed while it is waited for sends the request back to be resolved (fault 95)',
    events: [resolved, retryable, removed],
    state: 'resolving',
  },
  {
    title: 'a request that is resolved again can finish',
    events: [resolved, removed, resolved, granted, started, ended],
    state: 'done',
  },
  {
    title: 'a service that is removed under its lease is one that failed',
    events: [resolved, granted, removed],
    state: 'leasing',
    index: 1,
    attempts: ['a/x'],
  },
  {
    title:
      'a member that says that another one has the model sends the request back to be looked up, after a pause',
    events: [resolved, retryable, granted, elsewhere],
    state: 'redirected',
    index: 1,
    attempts: ['a/x', 'b/y'],
  },
  {
    title: 'a start here that belongs to another member does so, too',
    events: [resolved, elsewhere, redirectOver],
    state: 'resolving',
  },
  {
    title: 'a request that was sent back can finish',
    events: [resolved, elsewhere, redirectOver, resolved, granted, started, ended],
    state: 'done',
  },
  {
    title: 'a request that is sent back again and again moves to the next candidate in the end',
    events: [
      ...Array.from({ length: MAX_REDIRECTS }, () => [resolved, elsewhere, redirectOver]).flat(),
      resolved,
      elsewhere,
    ],
    state: 'leasing',
    index: 1,
    attempts: ['a/x'],
  },
  {
    title: 'a request of another member that is sent elsewhere fails: it goes no further',
    events: [resolved, { ...elsewhere, retryable: false }],
    state: 'failed',
    attempts: ['a/x'],
  },
  {
    title: 'after the first byte a word that another member has the model changes nothing',
    events: [resolved, granted, started, elsewhere],
    state: 'failed',
    attempts: ['a/x'],
  },
  {
    title: 'a request whose last known member fails is looked up again: others may have the model now',
    events: [resolved, retryable, retryable, granted, ofMember, redirectOver],
    state: 'resolving',
  },
  {
    title: 'a request whose member fails goes to the next candidate at once',
    events: [resolved, granted, ofMember],
    state: 'leasing',
    index: 1,
    attempts: ['a/x'],
  },
  {
    title: 'a request that waits at a member moves to one that has room',
    events: [resolved, granted, queued, moveDue, elsewhere, redirectOver],
    state: 'resolving',
  },
  {
    title: 'a request that waits at a member stays there while no other has room',
    events: [resolved, granted, queued, moveDue],
    state: 'queued',
  },
  {
    title: 'a request that waits in the line of this member moves to one that has room',
    events: [resolved, queued, ownMoveDue, moved, redirectOver],
    state: 'resolving',
  },
  {
    title: 'a request that waits in the line of this member is served there, too',
    events: [resolved, queued, ownMoveDue, granted, started, ended],
    state: 'done',
  },
  {
    title: 'a request that waits in the line of this member waits for its lease',
    events: [resolved, queued],
    state: 'leasing',
  },
  {
    title: 'moves do not count as redirects: a request that waits for long may move often',
    events: [
      ...Array.from({ length: MAX_REDIRECTS + 1 }, () => [
        resolved,
        granted,
        queued,
        moved,
        redirectOver,
      ]).flat(),
      resolved,
      elsewhere,
    ],
    state: 'redirected',
    attempts: ['a/x'],
  },
  {
    title: 'a request that has its lease at a member does not move',
    events: [resolved, granted, queued, { type: 'member.granted' }, moveDue],
    state: 'admitted',
  },
  {
    title: 'a request that may not move waits without a timer',
    events: [resolved, granted, { type: 'member.queued', moveAfterMs: 0 }, moveDue],
    state: 'admitted',
  },
  {
    title: 'a request that has waited at a member can finish',
    events: [resolved, granted, queued, { type: 'member.granted' }, started, ended],
    state: 'done',
  },
  {
    title: 'a client that leaves before its model is looked up again cancels',
    events: [resolved, elsewhere, cancelled],
    state: 'cancelled',
    attempts: ['a/x'],
  },
  {
    title: 'a request that was refused the connection waits for a lease of the same candidate once more',
    events: [resolved, granted, refused],
    state: 'reconnecting',
    attempts: ['a/x'],
  },
  {
    title: 'and moves to the next candidate when it is refused again',
    events: [resolved, granted, refused, granted, refused],
    state: 'leasing',
    index: 1,
    attempts: ['a/x', 'a/x'],
  },
  {
    title: 'the last candidate is tried until it had time to listen again, and then the request fails',
    events: [
      ...[resolved, retryable, retryable],
      ...Array.from({ length: MAX_REFUSALS + 1 }, () => [granted, refused, pauseOver]).flat(),
    ],
    state: 'failed',
    index: 2,
    attempts: ['a/x', 'b/y', ...Array.from({ length: MAX_REFUSALS + 1 }, () => 'c/z')],
  },
  {
    title: 'a client that leaves while its request waits for a listener cancels',
    events: [resolved, granted, refused, cancelled],
    state: 'cancelled',
    attempts: ['a/x'],
  },
  {
    title: 'a client that leaves while the reference is resolved cancels',
    events: [cancelled],
    state: 'cancelled',
  },
  {
    title: 'a client that leaves while it waits for a lease cancels',
    events: [resolved, cancelled],
    state: 'cancelled',
  },
  {
    title: 'a client that leaves before the answer cancels',
    events: [resolved, granted, cancelled],
    state: 'cancelled',
  },
  {
    title: 'a client that leaves during the answer cancels',
    events: [resolved, granted, started, cancelled],
    state: 'cancelled',
  },
  {
    title: 'a server that says it is loading is asked again',
    events: [resolved, granted, loading, loadingOver],
    state: 'sending',
  },
  {
    title: 'and no longer than it may load',
    events: [resolved, granted, loading, loadingOver, loading, loadingOver, loading],
    state: 'sending',
  },
  {
    title: 'a broken connection waits for the exit that explains it',
    events: [resolved, granted, broken],
    state: 'broken',
  },
  {
    title: 'and moves to the next candidate with it',
    events: [resolved, granted, broken, retryable],
    state: 'leasing',
    index: 1,
    attempts: ['a/x'],
  },
  {
    title: 'an answer that broke off is never sent again',
    events: [resolved, granted, started, broken, retryable],
    state: 'failed',
    attempts: ['a/x'],
  },
]

describe('a request', () => {
  test.each(paths)('$title', ({ events, state, index = 0, attempts = [] }) => {
    const actor = createActor(requestMachine, { input: { id: 'r1' } }).start()
    for (const event of events) if (actor.getSnapshot().status === 'active') actor.send(event)
    const { value, context } = actor.getSnapshot()
    expect(nameRequestState(value)).toBe(state)
    expect(context.index).toBe(index)
    expect(context.attempts.map(({ ref }) => ref)).toEqual(attempts)
  })

  test('follows ten replaced configurations and then fails as with any other refusal', () => {
    const actor = createActor(requestMachine, { input: { id: 'r1' } }).start()
    for (let restart = 1; restart <= MAX_RESTARTS; restart += 1) {
      actor.send(resolved)
      actor.send(removed)
      expect(actor.getSnapshot().value).toBe('resolving')
    }
    for (const event of [resolved, removed, removed, removed]) actor.send(event)
    expect(actor.getSnapshot().value).toBe('failed')
  })

  test('remembers the status of its answer', () => {
    const actor = createActor(requestMachine, { input: { id: 'r1' } }).start()
    for (const event of [resolved, granted, started]) actor.send(event)
    expect(actor.getSnapshot().context.status).toBe(200)
  })
})

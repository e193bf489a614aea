import { and, not } from 'xstate'
import { down } from './provider-down.ts'
import { leased } from './provider-leased.ts'
import { provider } from './provider-setup.ts'
import { starting } from './provider-starting.ts'
import { stopping } from './provider-stopping.ts'
import {
  admitSuccessor,
  admitUnreachable,
  failWith,
  leaveAsSuccessor,
  refuseForStop,
  settle,
} from './provider-transitions.ts'

/** The life of one service: one actor per service key. */
export const providerMachine = provider.createMachine({
  id: 'provider',
  initial: 'down',
  context: ({ input }) => ({
    ...input,
    run: 0,
    generation: null,
    ownership: 'none',
    holder: null,
    lostPeers: 0,
    pid: null,
    leases: 0,
    waiters: [],
    failures: 0,
    failure: null,
    retries: 0,
    follows: false,
    lookedMs: 0,
    verdict: null,
    misses: 0,
    isUnreachable: false,
    stop: null,
    receipt: null,
    why: null,
  }),
  invoke: [
    { id: 'process', src: 'process', input: ({ context }) => ({ key: context.key }) },
    { id: 'health', src: 'health', input: ({ context }) => ({ key: context.key }) },
    { id: 'peer', src: 'peer', input: ({ context }) => ({ key: context.key }) },
  ],
  on: {
    'lease.cancelled': { guard: 'isKnownWaiter', actions: 'unqueue' },
    'waiter.expired': { guard: 'isKnownWaiter', actions: ['refuseExpired', 'unqueue'] },
    'stability.reached': { actions: 'forgive' },
    'breaker.reset': { actions: 'forgive' },
    'policy.replaced': { actions: 'replacePolicy' },
    'process.failed': { actions: 'reportEnd' },
    'process.settled': [
      { guard: 'hasSurvivors', actions: [...settle, 'noteLateSurvivors', 'soundAlarm'] },
      { actions: settle },
    ],
    'peer.granted': { guard: 'isCurrentGeneration', actions: 'returnGrant' },
    'peer.refused': {
      guard: and(['isCurrentGeneration', 'isKnownWaiter']),
      actions: ['refuseByOwner', 'unqueue'],
    },
  },
  states: {
    down,

    probing: {
      // Its look waits until the service that ran at its address before has ended.
      entry: 'foreseeStart',
      invoke: {
        id: 'probe',
        src: 'probe',
        input: ({ context }) => ({ key: context.key }),
        onDone: [
          {
            guard: 'isReady',
            target: 'ready',
            actions: ['leaveQueue', 'adopt', 'noteVerdict', 'watchHealth'],
          },
          {
            guard: 'isLoading',
            target: 'starting.warming',
            actions: ['leaveQueue', 'watchStranger', 'noteVerdict'],
          },
          {
            guard: and(['isRefused', 'isManaged']),
            target: 'starting',
            actions: ['noteVerdict', 'explainStart'],
          },
          { guard: 'isHeld', target: 'starting.warming.borrowing', actions: ['leaveQueue', 'borrow'] },
          {
            guard: 'isClaimImpossible',
            target: 'down.backoff',
            actions: ['noteClaimFailure', 'refuseWaiters'],
          },
          { target: 'down.backoff', actions: ['noteVerdict', 'noteVerdictFailure', 'refuseWaiters'] },
        ],
        onError: { target: 'down.backoff', actions: ['noteEffectFailure', 'refuseWaiters'] },
      },
      on: {
        ...leaveAsSuccessor,
        'lease.requested': admitSuccessor,
        'service.stop': [
          { guard: 'isRetirement', target: 'retired', actions: refuseForStop },
          { guard: not('isEviction'), target: 'down.cold', actions: refuseForStop },
        ],
      },
    },

    starting,

    ready: {
      entry: ['forgetRetries', 'reportRest'],
      always: {
        guard: and(['isQueueUsed', not('isUnreachable')]),
        target: 'leased',
        actions: 'grantWaiters',
      },
      after: {
        idleStop: [
          { guard: 'isQueueUsed' },
          { guard: and(['canIdleStop', 'isOwned']), target: 'idle-stopping', actions: 'noteIdle' },
          { guard: 'canIdleStop', target: 'down.cold', actions: 'explainLetGo' },
        ],
      },
      on: {
        'lease.requested': [
          { guard: not('isUnreachable'), target: 'leased', actions: ['countLease', 'grant'] },
          ...admitUnreachable,
        ],
        // The idle clock counts from the last request that waited.
        'lease.cancelled': { guard: 'isKnownWaiter', target: 'ready', reenter: true, actions: 'unqueue' },
        'waiter.expired': {
          guard: 'isKnownWaiter',
          target: 'ready',
          reenter: true,
          actions: ['refuseExpired', 'unqueue'],
        },
        'health.verdict': [
          { guard: not('isCurrentGeneration') },
          {
            guard: and(['isReady', 'isQueueUsed']),
            target: 'leased',
            actions: ['noteVerdict', 'noteHealthy', 'explainReady', 'grantWaiters'],
          },
          { guard: 'isReady', actions: ['noteVerdict', 'noteHealthy'] },
          {
            guard: and(['isRefused', not('isOwned'), 'isQueueUsed']),
            target: 'probing',
            actions: ['explainGone', 'forgetRun'],
          },
          {
            guard: and(['isRefused', not('isOwned')]),
            target: 'down.cold',
            actions: ['noteVerdict', 'explainGone'],
          },
          { guard: and(['isOfRequest', 'isSuspect']), actions: 'noteVerdict' },
          // Another user has taken the port of the server that was used.
          {
            guard: and(['isOtherUser', not('isOwned'), 'isQueueUsed']),
            target: 'probing',
            actions: ['explainGone', 'forgetRun'],
          },
          {
            guard: and(['isOtherUser', not('isOwned')]),
            target: 'down.cold',
            actions: ['noteVerdict', 'explainGone'],
          },
          {
            guard: and(['isHung', 'isOwned']),
            target: 'idle-stopping',
            actions: ['noteVerdict', 'noteUnhealthy', 'charge', 'noteHung'],
          },
          {
            guard: and(['isHung', 'isQueueUsed']),
            target: 'probing',
            actions: ['explainGone', 'forgetRun'],
          },
          { guard: 'isHung', target: 'down.cold', actions: ['noteVerdict', 'explainGone'] },
          { actions: ['noteVerdict', 'noteMiss'] },
        ],
        // The idle clock counts anew: with another limit, and after a time in which nobody could have asked.
        'policy.replaced': [
          { guard: 'hasNewIdleStop', target: 'ready', reenter: true, actions: 'replacePolicy' },
          { actions: ['replacePolicy', 'reportRest'] },
        ],
        'host.resumed': { target: 'ready', reenter: true, actions: 'forgetMisses' },
        'process.exited': [{ guard: not('isCurrentGeneration') }, ...failWith('noteExit')],
        'service.stop': [
          { guard: and(['isOwned', 'isEviction']), target: 'idle-stopping', actions: 'noteStop' },
          { guard: 'isOwned', target: 'idle-stopping', actions: refuseForStop },
          { guard: 'isRetirement', target: 'retired', actions: 'noteStop' },
          { target: 'down.cold', actions: refuseForStop },
        ],
      },
    },

    leased,

    'idle-stopping': stopping,

    retired: { type: 'final', entry: ['restHealth', 'refuseStopped', 'releaseClaim'] },
  },
  output: ({ context }) => ({ key: context.key, receipt: context.receipt }),
})

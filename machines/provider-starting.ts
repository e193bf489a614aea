import { and, not } from 'xstate'
import { provider } from './provider-setup.ts'
import {
  admit,
  admitAsking,
  failStart,
  failWith,
  missDeadline,
  refuseForStop,
  stopAtDeadline,
} from './provider-transitions.ts'

const giveUpPeer = [
  { guard: not('isCurrentGeneration') },
  { target: '#provider.down.backoff', actions: ['notePeerFailure', 'refuseWaiters'] },
] as const

/** A start is under way: it waits for its turn, claims the service on this host, spawns, and is probed until it is ready. */
export const starting = provider.createStateConfig({
  initial: 'claiming',
  entry: 'awaitAbandon',
  exit: ['finishStart', 'forgetAbandon'],
  on: {
    'lease.requested': admit,
    'lease.cancelled': { guard: 'isKnownWaiter', actions: ['unqueue', 'awaitAbandon'] },
    'waiter.expired': { guard: 'isKnownWaiter', actions: ['refuseExpired', 'unqueue', 'awaitAbandon'] },
    'start.abandoned': [
      { guard: 'isOwned', target: 'idle-stopping', actions: 'noteAbandoned' },
      { target: 'down.cold', actions: 'explainAbandoned' },
    ],
    'process.failed': [{ guard: not('isCurrentGeneration'), actions: 'reportEnd' }, ...failStart.spawn],
    'process.exited': [{ guard: not('isCurrentGeneration') }, ...failStart.exit],
    'service.stop': [
      { guard: 'isEviction' },
      { guard: 'isOwned', target: 'idle-stopping', actions: refuseForStop },
      { guard: 'isRetirement', target: 'retired', actions: refuseForStop },
      { target: 'down.cold', actions: refuseForStop },
    ],
  },
  states: {
    claiming: {
      initial: 'queued',
      states: {
        queued: {
          entry: 'requestStart',
          on: {
            'start.permitted': { target: 'asking', actions: 'noteRoomMade' },
            'start.declined': {
              guard: 'isDeclinable',
              target: '#provider.down.cold',
              actions: ['refuseNoRoom', 'explainDeclined'],
            },
            'lease.requested': admitAsking,
            'lease.cancelled': {
              guard: 'isKnownWaiter',
              actions: ['unqueue', 'awaitAbandon', 'reportDemand'],
            },
            'waiter.expired': {
              guard: 'isKnownWaiter',
              actions: ['refuseExpired', 'unqueue', 'awaitAbandon', 'reportDemand'],
            },
          },
        },
        asking: {
          invoke: {
            id: 'claim',
            src: 'claim',
            input: ({ context }) => ({ key: context.key }),
            onDone: [
              {
                guard: 'isHeld',
                target: '#provider.starting.warming.borrowing',
                actions: ['finishStart', 'borrow'],
              },
              {
                guard: 'isClaimImpossible',
                target: '#provider.down.backoff',
                actions: ['noteClaimFailure', 'refuseWaiters'],
              },
              { target: '#provider.starting.spawning' },
            ],
            onError: failWith('noteEffectFailure', 'refuseWaiters'),
          },
        },
      },
    },
    spawning: {
      entry: ['beginRun', 'spawn'],
      after: { readyTimeout: stopAtDeadline },
      on: { 'process.spawned': { guard: 'isCurrentGeneration', target: 'warming', actions: 'notePid' } },
    },
    warming: {
      initial: 'polling',
      states: {
        polling: {
          entry: 'warmHealth',
          after: { readyTimeout: missDeadline },
          on: {
            'health.verdict': [
              { guard: not('isCurrentGeneration') },
              {
                guard: and(['isReady', 'isOwned', 'isStrangers']),
                target: '#provider.idle-stopping',
                actions: ['noteVerdict', 'noteStrangers', 'noteStartFailed', 'refuseWaiters'],
              },
              {
                guard: and(['isReady', 'isOwned']),
                target: '#provider.ready',
                actions: ['noteVerdict', 'explainReady', 'watchHealth', 'awaitStability'],
              },
              {
                guard: 'isReady',
                target: '#provider.ready',
                actions: ['adopt', 'noteVerdict', 'watchHealth'],
              },
              {
                guard: and(['isHopeless', 'isOwned']),
                target: '#provider.idle-stopping',
                actions: ['noteVerdict', 'noteVerdictFailure', 'charge', 'noteStartFailed', 'refuseWaiters'],
              },
              {
                guard: 'isHopeless',
                target: '#provider.down.backoff',
                actions: ['noteVerdict', 'noteVerdictFailure', 'refuseWaiters'],
              },
              {
                guard: and(['isRefused', not('isOwned'), 'isManaged']),
                target: '#provider.starting.claiming',
                actions: ['noteVerdict', 'explainStart'],
              },
              { actions: 'noteVerdict' },
            ],
          },
        },
        /** Another supervisor runs it: its grants come in the order that it decides. */
        borrowing: {
          initial: 'meeting',
          always: { guard: not('isQueueUsed'), target: '#provider.down.cold', actions: 'explainLeft' },
          on: {
            'peer.granted': [
              { guard: not('isCurrentGeneration') },
              { guard: 'isKnownWaiter', target: '#provider.leased', actions: 'grantWaiter' },
            ],
            'peer.refused': [
              { guard: not('isCurrentGeneration') },
              {
                guard: and(['isKnownWaiter', 'isLastWaiter', 'isStartFailure']),
                target: '#provider.down.backoff',
                actions: ['notePeerFailure', 'refuseWaiters'],
              },
            ],
            'peer.lost': [
              { guard: not('isCurrentGeneration') },
              {
                guard: 'isLostTooOften',
                target: '#provider.down.backoff',
                actions: ['notePeerAbsence', 'refuseWaiters'],
              },
              { target: '.retrying', actions: 'noteLostPeer' },
            ],
            'peer.failed': giveUpPeer,
            // Its claim is held: what it runs cannot be started a second time.
            'peer.silent': giveUpPeer,
          },
          states: {
            meeting: {
              after: {
                peerTimeout: {
                  target: '#provider.down.backoff',
                  actions: ['notePeerSilence', 'refuseWaiters'],
                },
              },
              on: {
                'peer.met': { guard: 'isCurrentGeneration', target: 'waiting', actions: 'noteHolder' },
              },
            },
            waiting: {},
            retrying: { after: { peerRetry: { target: '#provider.probing', actions: 'forgetRun' } } },
          },
        },
      },
    },
  },
})

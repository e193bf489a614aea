import { and, not } from 'xstate'
import { provider } from './provider-setup.ts'
import {
  admit,
  admitAsking,
  endStop,
  endWithSurvivors,
  failStart,
  failWith,
  missDeadline,
  refuseForStop,
  returnLease,
  settle,
  stopAtDeadline,
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
    verdict: null,
    misses: 0,
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
    down: {
      initial: 'cold',
      entry: ['restHealth', 'forgetStability', 'releaseClaim', 'forgetRun', 'forgetPeers'],
      on: {
        'process.settled': [
          {
            guard: 'hasSurvivors',
            target: '#provider.down.tripped',
            actions: [...settle, 'noteSurvivors', 'soundAlarm'],
          },
          { actions: settle },
        ],
      },
      states: {
        cold: {
          entry: 'forgetRetries',
          on: {
            'lease.requested': { target: '#provider.probing', actions: ['explainRequest', 'enqueue'] },
            'service.stop': { guard: 'isRetirement', target: '#provider.retired', actions: 'noteStop' },
          },
        },
        backoff: {
          after: {
            backoff: [
              { guard: 'isQueueUsed', target: '#provider.probing', actions: 'explainRetry' },
              { target: 'cold', actions: 'explainUnwanted' },
            ],
          },
          on: {
            'lease.requested': admit,
            'breaker.reset': [
              { guard: 'isQueueUsed', target: '#provider.probing', actions: ['explainReset', 'forgive'] },
              { target: 'cold', actions: ['explainReset', 'forgive'] },
            ],
            // Another configuration may have cured it.
            'policy.replaced': [
              {
                guard: 'isQueueUsed',
                target: '#provider.probing',
                actions: ['replacePolicy', 'explainReset', 'forgive'],
              },
              { target: 'cold', actions: ['replacePolicy', 'explainReset', 'forgive'] },
            ],
            'service.stop': [
              { guard: 'isRetirement', target: '#provider.retired', actions: refuseForStop },
              { guard: not('isEviction'), target: 'cold', actions: refuseForStop },
            ],
          },
        },
        tripped: {
          entry: ['refuseWaiters', 'forgetRetries'],
          after: { breakerCooldown: { target: 'cold', actions: ['explainCooledDown', 'allowOneTrial'] } },
          on: {
            'lease.requested': { actions: 'refuseTripped' },
            'breaker.reset': { target: 'cold', actions: ['explainReset', 'forgive'] },
            'policy.replaced': { target: 'cold', actions: ['replacePolicy', 'explainReset', 'forgive'] },
            'service.stop': { guard: 'isRetirement', target: '#provider.retired', actions: 'noteStop' },
          },
        },
      },
    },

    probing: {
      invoke: {
        id: 'probe',
        src: 'probe',
        input: ({ context }) => ({ key: context.key }),
        onDone: [
          { guard: 'isReady', target: 'ready', actions: ['adopt', 'noteVerdict', 'watchHealth'] },
          { guard: 'isLoading', target: 'starting.warming', actions: ['watchStranger', 'noteVerdict'] },
          {
            guard: and(['isRefused', 'isManaged']),
            target: 'starting',
            actions: ['noteVerdict', 'explainStart'],
          },
          { guard: 'isHeld', target: 'starting.warming.borrowing', actions: 'borrow' },
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
        'lease.requested': admit,
        'service.stop': [
          { guard: 'isRetirement', target: 'retired', actions: refuseForStop },
          { guard: not('isEviction'), target: 'down.cold', actions: refuseForStop },
        ],
      },
    },

    starting: {
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
                  guard: not('isQueueUsed'),
                  target: '#provider.down.cold',
                  actions: 'explainDeclined',
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
                    actions: [
                      'noteVerdict',
                      'noteVerdictFailure',
                      'charge',
                      'noteStartFailed',
                      'refuseWaiters',
                    ],
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
                'peer.failed': [
                  { guard: not('isCurrentGeneration') },
                  { target: '#provider.down.backoff', actions: ['notePeerFailure', 'refuseWaiters'] },
                ],
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
    },

    ready: {
      entry: ['forgetRetries', 'reportRest'],
      always: { guard: 'isQueueUsed', target: 'leased', actions: 'grantWaiters' },
      after: {
        idleStop: [
          { guard: and(['canIdleStop', 'isOwned']), target: 'idle-stopping', actions: 'noteIdle' },
          { guard: 'canIdleStop', target: 'down.cold', actions: 'explainLetGo' },
        ],
      },
      on: {
        'lease.requested': { target: 'leased', actions: ['countLease', 'grant'] },
        'health.verdict': [
          { guard: not('isCurrentGeneration') },
          { guard: 'isReady', actions: ['noteVerdict', 'noteHealthy'] },
          {
            guard: and(['isRefused', not('isOwned')]),
            target: 'down.cold',
            actions: ['noteVerdict', 'explainGone'],
          },
          {
            guard: and(['isHung', 'isOwned']),
            target: 'idle-stopping',
            actions: ['noteVerdict', 'noteUnhealthy', 'charge', 'noteHung'],
          },
          { guard: 'isHung', target: 'down.cold', actions: ['noteVerdict', 'explainGone'] },
          { actions: ['noteVerdict', 'noteMiss'] },
        ],
        // The idle clock counts anew: with another limit, and after a time in which nobody could have asked.
        'policy.replaced': [
          { guard: 'hasNewIdleStop', target: 'ready', reenter: true, actions: 'replacePolicy' },
          { actions: ['replacePolicy', 'reportRest'] },
        ],
        'host.resumed': { target: 'ready', reenter: true, actions: 'noteHealthy' },
        'process.exited': [{ guard: not('isCurrentGeneration') }, ...failWith('noteExit')],
        'service.stop': [
          { guard: 'isOwned', target: 'idle-stopping', actions: 'noteStop' },
          { guard: 'isRetirement', target: 'retired', actions: 'noteStop' },
          { target: 'down.cold', actions: 'noteStop' },
        ],
      },
    },

    leased: {
      initial: 'open',
      entry: 'reportUse',
      on: {
        'policy.replaced': { actions: ['replacePolicy', 'reportUse'] },
        'health.verdict': [
          { guard: not('isCurrentGeneration') },
          { guard: 'isReady', actions: ['noteVerdict', 'noteHealthy'] },
          { actions: ['noteVerdict', 'noteMiss'] },
        ],
        'host.resumed': { actions: 'noteHealthy' },
        'process.exited': [{ guard: not('isCurrentGeneration') }, ...failWith('noteExit', 'revokeLeases')],
        'peer.lost': [
          { guard: not('isCurrentGeneration') },
          { guard: 'isRetiring', target: 'retired', actions: ['notePeerFailure', 'revokeLeases'] },
          {
            guard: 'isQueueUsed',
            target: 'probing',
            actions: ['notePeerFailure', 'revokeLeases', 'forgetRun'],
          },
          { target: 'down.cold', actions: ['notePeerFailure', 'revokeLeases'] },
        ],
      },
      states: {
        open: {
          on: {
            'lease.requested': [{ guard: 'hasRoom', actions: ['countLease', 'grant'] }, ...admit],
            'peer.granted': [
              { guard: not('isCurrentGeneration') },
              { guard: 'isKnownWaiter', actions: 'grantWaiter' },
            ],
            'lease.released': [
              { guard: not('isCurrentGeneration') },
              ...returnLease,
              { guard: 'isQueueUsed', actions: ['release', 'grantWaiters'] },
              {
                guard: and(['isLastLease', 'isSuspect']),
                target: '#provider.ready',
                actions: ['release', 'checkHealth'],
              },
              { guard: 'isLastLease', target: '#provider.ready', actions: 'release' },
              { actions: 'release' },
            ],
            'service.stop': [
              { guard: 'isYield', target: 'draining', actions: 'noteStop' },
              { guard: 'isEviction' },
              { guard: 'isForced', target: 'draining', actions: [...refuseForStop, 'revokeStopped'] },
              { target: 'draining', actions: refuseForStop },
            ],
          },
        },
        draining: {
          always: [
            { guard: and(['isUnleased', 'isOwned']), target: '#provider.idle-stopping' },
            { guard: and(['isUnleased', 'isRetiring']), target: '#provider.retired' },
            {
              guard: and(['isUnleased', 'isQueueUsed']),
              target: '#provider.probing',
              actions: ['forgetRun', 'explainNewRun'],
            },
            { guard: 'isUnleased', target: '#provider.down.cold' },
          ],
          after: { drainTimeout: { actions: 'revokeUndrained' } },
          on: {
            'service.stay': {
              guard: 'isYielding',
              target: 'open',
              actions: ['forgetStop', 'explainStay', 'grantWaiters'],
            },
            'lease.requested': [{ guard: 'isRetiring', actions: 'refuseWhileStopping' }, ...admit],
            'lease.released': { guard: 'isCurrentGeneration', actions: 'release' },
            'process.exited': [
              { guard: not('isCurrentGeneration') },
              {
                guard: 'isRetiring',
                target: '#provider.idle-stopping.sweeping',
                actions: ['noteExit', 'revokeLeases'],
              },
              ...failWith('noteExit', 'revokeLeases'),
            ],
            'service.stop': [
              { guard: 'isEviction' },
              { guard: 'isForced', actions: [...refuseForStop, 'revokeStopped'] },
              // From now on there is a deadline.
              { guard: 'isYielding', target: 'draining', reenter: true, actions: refuseForStop },
              { actions: refuseForStop },
            ],
          },
        },
      },
    },

    'idle-stopping': {
      initial: 'terminating',
      entry: ['forgetStability', 'reportStop'],
      on: {
        'lease.requested': [{ guard: 'isRetiring', actions: 'refuseWhileStopping' }, ...admit],
        'process.exited': { guard: 'isCurrentGeneration', target: '.sweeping' },
        'process.failed': [{ guard: not('isCurrentGeneration'), actions: 'reportEnd' }, ...endStop],
        'service.stop': [
          { guard: 'isEviction' },
          { guard: 'isForced', target: '.killing', actions: refuseForStop },
          { actions: refuseForStop },
        ],
      },
      states: {
        terminating: {
          initial: 'closing',
          entry: 'terminate',
          after: { stopGrace: 'killing' },
          states: {
            closing: {
              on: {
                'lease.requested': [
                  { guard: 'isRetiring', actions: 'refuseWhileStopping' },
                  {
                    guard: 'canCallOff',
                    target: '#provider.leased',
                    actions: [
                      'spare',
                      'awaitStability',
                      'countLease',
                      'explainCallOff',
                      'forgetStop',
                      'grant',
                    ],
                  },
                  ...admit,
                ],
                'process.signalled': { guard: 'isCurrentGeneration', target: 'signalled' },
              },
            },
            signalled: { entry: 'restHealth' },
          },
        },
        killing: {
          entry: 'kill',
          after: { killGrace: 'sweeping' },
          on: { 'service.stop': [{ guard: 'isEviction' }, { actions: refuseForStop }] },
        },
        sweeping: {
          entry: 'sweep',
          after: {
            sweepTimeout: [
              { guard: 'isRetiring', target: '#provider.retired', actions: ['noteSurvivors', 'soundAlarm'] },
              { target: '#provider.down.tripped', actions: ['noteSurvivors', 'soundAlarm'] },
            ],
          },
          on: {
            'process.exited': {},
            'process.settled': [
              { guard: not('isCurrentGeneration'), actions: 'reportEnd' },
              ...endWithSurvivors,
              ...endStop,
            ],
            'service.stop': [{ guard: 'isEviction' }, { actions: refuseForStop }],
          },
        },
      },
    },

    retired: { type: 'final', entry: ['restHealth', 'refuseStopped', 'releaseClaim'] },
  },
  output: ({ context }) => ({ key: context.key, receipt: context.receipt }),
})

import { and, not } from 'xstate'
import { provider } from './setup.ts'

/**
 * The life of one service, from top to bottom: one actor per service key.
 *
 * `down` → `probing` → `starting` → `ready` ⇄ `leased` → `idle-stopping` → `down`; `retired` is the end. Guards, actions
 * and delays are named here and written in the files beside this one. Of several transitions for an event the first
 * whose guard is true is taken; an event that no transition of the inner state takes goes to the state around it. An
 * entry without a target and without actions ignores the event.
 */
export const providerMachine = provider.createMachine({
  id: 'provider',
  description: 'One local model server: started on demand, leased to requests, stopped when idle.',
  context: ({ input }) => ({
    ...input,
    run: 0,
    generation: null,
    ownership: 'none',
    holder: null,
    lostPeers: 0,
    pid: null,
    leases: 0,
    keepAliveMs: null,
    waiters: [],
    failures: 0,
    failure: null,
    retries: 0,
    follows: false,
    lookedMs: 0,
    verdict: null,
    misses: 0,
    isUnreachable: false,
    isAsleep: false,
    stop: null,
    receipt: null,
    why: null,
  }),

  invoke: [
    { id: 'requests', src: 'requests', input: ({ context }) => ({ key: context.key }) },
    { id: 'process', src: 'process', input: ({ context }) => ({ key: context.key }) },
    { id: 'health', src: 'health', input: ({ context }) => ({ key: context.key }) },
    { id: 'peer', src: 'peer', input: ({ context }) => ({ key: context.key }) },
  ],

  // What happens wherever no state says otherwise.
  on: {
    'lease.requested': [
      { guard: 'isKnownWaiter' },
      { guard: 'isQueueFull', actions: 'refuseQueueFull' },
      { actions: 'enqueueWaiter' },
    ],
    'lease.cancelled': { guard: 'isKnownWaiter', actions: 'removeWaiter' },
    'waiter.expired': { guard: 'isKnownWaiter', actions: ['refuseExpired', 'removeWaiter'] },
    'stability.reached': { actions: 'resetFailures' },
    'breaker.reset': { actions: 'resetFailures' },
    'policy.replaced': { actions: 'replacePolicy' },
    // Results of a run that is over.
    'process.failed': { actions: 'reportRunEnd' },
    'process.settled': [
      {
        guard: 'hasSurvivors',
        actions: ['recordReceipt', 'reportRunEnd', 'recordLateSurvivors', 'reportIncompleteStop'],
      },
      { actions: ['recordReceipt', 'reportRunEnd'] },
    ],
    'peer.granted': { guard: 'isCurrentGeneration', actions: 'returnGrant' },
    'peer.refused': {
      guard: and(['isCurrentGeneration', 'isKnownWaiter']),
      actions: ['refuseAsOwnerDid', 'removeWaiter'],
    },
  },

  initial: 'down',
  states: {
    down: {
      description: 'No process of ours runs, and no health check is made.',
      tags: ['down', 'settled'],
      entry: [
        'stopProbing',
        'cancelStabilityTimer',
        'releaseClaim',
        'clearRun',
        'resetLostPeers',
        'leaveStartQueue',
      ],
      on: {
        'process.settled': [
          {
            guard: 'hasSurvivors',
            target: '.tripped',
            actions: ['recordReceipt', 'reportRunEnd', 'recordSurvivors', 'reportIncompleteStop'],
          },
          { actions: ['recordReceipt', 'reportRunEnd'] },
        ],
      },
      initial: 'cold',
      states: {
        cold: {
          description: 'Not running and not needed. The next request starts it.',
          tags: 'cold',
          entry: 'resetRetries',
          on: {
            'lease.requested': { target: '#provider.probing', actions: ['explainRequest', 'enqueueWaiter'] },
            'service.stop': { guard: 'isRetirement', target: '#provider.retired', actions: 'recordStop' },
          },
        },

        failing: {
          description:
            'A start or a run has just failed: the number of failures decides what follows, at once.',
          always: [{ guard: 'isBreakerOpen', target: 'tripped' }, { target: 'backoff' }],
        },

        backoff: {
          description:
            'A start or a run failed; the next start waits, longer after each failure. After a failed start that was told, requests are told the same until then. Otherwise they queue.',
          tags: 'backoff',
          after: {
            backoff: [
              { guard: 'hasWaiters', target: '#provider.probing', actions: 'explainRetry' },
              { target: 'cold', actions: 'explainUnwanted' },
            ],
          },
          on: {
            // A client that tries again at once meets the failure that it was told, and causes no start.
            'lease.requested': { guard: 'isToldFailure', actions: 'refuse' },
            'breaker.reset': [
              {
                guard: 'hasWaiters',
                target: '#provider.probing',
                actions: ['explainReset', 'resetFailures'],
              },
              { target: 'cold', actions: ['explainReset', 'resetFailures'] },
            ],
            // The new configuration may have cured it.
            'policy.replaced': [
              {
                guard: 'hasWaiters',
                target: '#provider.probing',
                actions: ['replacePolicy', 'explainReset', 'resetFailures'],
              },
              { target: 'cold', actions: ['replacePolicy', 'explainReset', 'resetFailures'] },
            ],
            'service.stop': [
              {
                guard: 'isRetirement',
                target: '#provider.retired',
                actions: ['recordStop', 'refuseStopped'],
              },
              { guard: not('isRoomRequest'), target: 'cold', actions: ['recordStop', 'refuseStopped'] },
            ],
          },
        },

        tripped: {
          description:
            'The breaker is open: requests are refused at once with the last failure. After the cooldown one start is tried.',
          tags: 'tripped',
          entry: ['refuseWaiters', 'resetRetries'],
          after: {
            breakerCooldown: { target: 'cold', actions: ['explainCooledDown', 'allowOneTrial'] },
          },
          on: {
            'lease.requested': { actions: 'refuseTripped' },
            'breaker.reset': { target: 'cold', actions: ['explainReset', 'resetFailures'] },
            'policy.replaced': {
              target: 'cold',
              actions: ['replacePolicy', 'explainReset', 'resetFailures'],
            },
            'service.stop': { guard: 'isRetirement', target: '#provider.retired', actions: 'recordStop' },
          },
        },
      },
    },

    probing: {
      description:
        'One health check decides: use a server that is there, wait for one that loads, start ours, or refuse.',
      tags: 'probing',
      // The check waits until the service that ran at its address before has ended.
      entry: 'foreseeStart',
      invoke: {
        id: 'probe',
        src: 'probe',
        input: ({ context }) => ({ key: context.key }),
        onDone: [
          {
            guard: 'isReady',
            target: 'ready',
            actions: ['leaveStartQueue', 'adopt', 'recordVerdict', 'startHeartbeat'],
          },
          {
            guard: 'isLoading',
            target: 'starting.warming',
            actions: ['leaveStartQueue', 'followForeignStart', 'recordVerdict'],
          },
          {
            guard: and(['isRefused', 'isManaged']),
            target: 'starting',
            actions: ['recordVerdict', 'explainStart'],
          },
          {
            guard: 'isClaimHeld',
            target: 'starting.warming.borrowing',
            actions: ['leaveStartQueue', 'borrow'],
          },
          {
            guard: 'isClaimImpossible',
            target: 'down.backoff',
            actions: ['recordClaimFailure', 'refuseWaiters'],
          },
          {
            target: 'down.backoff',
            actions: ['recordVerdict', 'recordVerdictFailure', 'refuseWaiters'],
          },
        ],
        onError: { target: 'down.backoff', actions: ['recordEffectFailure', 'refuseWaiters'] },
      },
      on: {
        'lease.requested': { guard: 'canQueue', actions: ['enqueueWaiter', 'foreseeStart'] },
        'lease.cancelled': { guard: 'isKnownWaiter', actions: ['removeWaiter', 'reportDemand'] },
        'waiter.expired': {
          guard: 'isKnownWaiter',
          actions: ['refuseExpired', 'removeWaiter', 'reportDemand'],
        },
        'service.stop': [
          { guard: 'isRetirement', target: 'retired', actions: ['recordStop', 'refuseStopped'] },
          { guard: not('isRoomRequest'), target: 'down.cold', actions: ['recordStop', 'refuseStopped'] },
        ],
      },
    },

    starting: {
      description:
        'A start is under way: it waits for its turn, claims the service on this host, spawns and warms up.',
      tags: 'starting',
      entry: 'startAbandonTimer',
      exit: ['finishStart', 'cancelAbandonTimer'],
      on: {
        'lease.cancelled': { guard: 'isKnownWaiter', actions: ['removeWaiter', 'startAbandonTimer'] },
        'waiter.expired': {
          guard: 'isKnownWaiter',
          actions: ['refuseExpired', 'removeWaiter', 'startAbandonTimer'],
        },
        'start.abandoned': [
          { guard: 'isOwned', target: 'idle-stopping', actions: 'recordAbandonedStop' },
          { target: 'down.cold', actions: 'explainAbandoned' },
        ],
        'start.revoked': {
          guard: 'isOwned',
          target: 'idle-stopping',
          actions: ['recordRevocation', 'refuseWaiters'],
        },
        'process.failed': [
          { guard: not('isCurrentGeneration'), actions: 'reportRunEnd' },
          // Only another configuration, or a start by hand, changes anything.
          {
            guard: 'isPermanent',
            target: 'down.tripped',
            actions: ['recordSpawnFailure', 'reportRunEnd', 'countFailure'],
          },
          // A port conflict is no failed start: it does not count towards the breaker.
          {
            guard: and(['isPortConflict', 'hasRetry']),
            target: 'down.backoff',
            actions: ['recordSpawnFailure', 'reportRunEnd', 'countRetry'],
          },
          {
            guard: 'isPortConflict',
            target: 'down.backoff',
            actions: ['recordSpawnFailure', 'reportRunEnd', 'refuseWaiters'],
          },
          {
            guard: and(['isTransient', 'hasRetry', not('isLastAllowedFailure')]),
            target: 'down.backoff',
            actions: ['recordSpawnFailure', 'reportRunEnd', 'countFailure', 'countRetry'],
          },
          {
            target: 'down.failing',
            actions: ['recordSpawnFailure', 'reportRunEnd', 'refuseWaiters', 'countFailure'],
          },
        ],
        'process.exited': [
          { guard: not('isCurrentGeneration') },
          {
            guard: and(['isPortTaken', 'hasRetry']),
            target: 'down.backoff',
            actions: ['recordPortTaken', 'countRetry'],
          },
          { guard: 'isPortTaken', target: 'down.backoff', actions: ['recordPortTaken', 'refuseWaiters'] },
          // The same start would fail in the same way: later requests meet this failure and start nothing.
          {
            guard: 'isPermanentExit',
            target: 'down.tripped',
            actions: ['recordEarlyExit', 'countFailure'],
          },
          // The memory of the process that ran before may still be in use.
          {
            guard: and(['hasPredecessor', 'hasRetry', not('isLastAllowedFailure')]),
            target: 'down.backoff',
            actions: ['recordEarlyExit', 'countFailure', 'countRetry'],
          },
          { target: 'down.failing', actions: ['recordEarlyExit', 'refuseWaiters', 'countFailure'] },
        ],
        'service.stop': [
          { guard: 'isRoomRequest' },
          { guard: 'isOwned', target: 'idle-stopping', actions: ['recordStop', 'refuseStopped'] },
          { guard: 'isRetirement', target: 'retired', actions: ['recordStop', 'refuseStopped'] },
          { target: 'down.cold', actions: ['recordStop', 'refuseStopped'] },
        ],
      },
      initial: 'claiming',
      states: {
        claiming: {
          description: 'The start waits for its turn, then claims the service on this host.',
          tags: 'claiming',
          initial: 'queued',
          states: {
            queued: {
              description: 'The scheduler has not permitted the start yet: it waits for room or for a place.',
              entry: 'requestStart',
              on: {
                'start.permitted': { target: 'locking', actions: 'recordRoomMade' },
                'start.declined': [
                  {
                    guard: 'hasOnlyPreload',
                    target: '#provider.down.cold',
                    actions: ['refuseNoRoom', 'explainDeclined'],
                  },
                  // Waiting would be of no use: only pinned services hold the room.
                  {
                    guard: 'isKeptOut',
                    target: '#provider.down.cold',
                    actions: ['recordNoRoom', 'refuseWaiters'],
                  },
                ],
                'lease.requested': { guard: 'canQueue', actions: ['enqueueWaiter', 'reportDemand'] },
                'lease.cancelled': {
                  guard: 'isKnownWaiter',
                  actions: ['removeWaiter', 'startAbandonTimer', 'reportDemand'],
                },
                'waiter.expired': {
                  guard: 'isKnownWaiter',
                  actions: ['refuseExpired', 'removeWaiter', 'startAbandonTimer', 'reportDemand'],
                },
              },
            },
            locking: {
              description: 'The claim is asked for: on a host at most one supervisor runs a service.',
              on: {
                'start.revoked': {
                  target: '#provider.down.cold',
                  actions: ['recordRevocation', 'refuseWaiters'],
                },
              },
              invoke: {
                id: 'claim',
                src: 'claim',
                input: ({ context }) => ({ key: context.key }),
                onDone: [
                  {
                    guard: 'isClaimHeld',
                    target: '#provider.starting.warming.borrowing',
                    actions: ['finishStart', 'borrow'],
                  },
                  {
                    guard: 'isClaimImpossible',
                    target: '#provider.down.backoff',
                    actions: ['recordClaimFailure', 'refuseWaiters'],
                  },
                  // It asks for its turn again. Nothing has failed.
                  { guard: 'isRoomLost', target: 'queued', actions: 'finishStart' },
                  // Requests ask there: nothing has failed.
                  {
                    guard: 'isElsewhere',
                    target: '#provider.down.cold',
                    actions: ['recordElsewhere', 'refuseWaiters'],
                  },
                  { target: '#provider.starting.spawning' },
                ],
                onError: {
                  target: '#provider.down.failing',
                  actions: ['recordEffectFailure', 'refuseWaiters', 'countFailure'],
                },
              },
            },
          },
        },

        spawning: {
          description: 'The process is being spawned.',
          tags: ['loading', 'spawning'],
          entry: ['beginRun', 'spawn'],
          after: {
            readyTimeout: {
              target: '#provider.idle-stopping',
              actions: ['recordReadyTimeout', 'countFailure', 'recordFailedStartStop', 'refuseWaiters'],
            },
          },
          on: {
            'process.spawned': { guard: 'isCurrentGeneration', target: 'warming', actions: 'recordPid' },
          },
        },

        warming: {
          description: 'A server is loading, ours or another: it is waited for.',
          tags: ['loading', 'warming'],
          initial: 'polling',
          states: {
            polling: {
              description:
                'Its health is asked for until it is ready, exits, or `readyTimeoutMs` has passed.',
              entry: 'pollReadiness',
              after: {
                readyTimeout: [
                  {
                    guard: 'isOwned',
                    target: '#provider.idle-stopping',
                    actions: ['recordReadyTimeout', 'countFailure', 'recordFailedStartStop', 'refuseWaiters'],
                  },
                  {
                    target: '#provider.down.failing',
                    actions: ['recordReadyTimeout', 'refuseWaiters', 'countFailure'],
                  },
                ],
              },
              on: {
                'health.verdict': [
                  { guard: not('isCurrentGeneration') },
                  {
                    guard: and(['isReady', 'isOwned', 'hasForeignListener']),
                    target: '#provider.idle-stopping',
                    actions: [
                      'recordVerdict',
                      'recordForeignListener',
                      'recordFailedStartStop',
                      'refuseWaiters',
                    ],
                  },
                  {
                    guard: and(['isReady', 'isOwned']),
                    target: '#provider.ready',
                    actions: ['recordVerdict', 'explainReady', 'startHeartbeat', 'startStabilityTimer'],
                  },
                  {
                    guard: 'isReady',
                    target: '#provider.ready',
                    actions: ['adopt', 'recordVerdict', 'startHeartbeat'],
                  },
                  {
                    guard: and(['isFailedOrForeign', 'isOwned']),
                    target: '#provider.idle-stopping',
                    actions: [
                      'recordVerdict',
                      'recordVerdictFailure',
                      'countFailure',
                      'recordFailedStartStop',
                      'refuseWaiters',
                    ],
                  },
                  {
                    guard: 'isFailedOrForeign',
                    target: '#provider.down.backoff',
                    actions: ['recordVerdict', 'recordVerdictFailure', 'refuseWaiters'],
                  },
                  {
                    guard: and(['isRefused', not('isOwned'), 'isManaged']),
                    target: '#provider.starting.claiming',
                    actions: ['recordVerdict', 'explainStart'],
                  },
                  { actions: 'recordVerdict' },
                ],
              },
            },

            borrowing: {
              description: 'Another supervisor runs it and lends leases, in the order that it decides.',
              initial: 'meeting',
              always: { guard: not('hasWaiters'), target: '#provider.down.cold', actions: 'explainLeft' },
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
                    actions: ['recordPeerFailure', 'refuseWaiters'],
                  },
                ],
                'peer.lost': [
                  { guard: not('isCurrentGeneration') },
                  {
                    guard: 'isLostPeerLimitReached',
                    target: '#provider.down.backoff',
                    actions: ['recordPeerAbsence', 'refuseWaiters'],
                  },
                  { target: '.retrying', actions: 'countLostPeer' },
                ],
                'peer.failed': [
                  { guard: not('isCurrentGeneration') },
                  { target: '#provider.down.backoff', actions: ['recordPeerFailure', 'refuseWaiters'] },
                ],
                // The claim is held, so the service cannot be started here.
                'peer.silent': [
                  { guard: not('isCurrentGeneration') },
                  { target: '#provider.down.backoff', actions: ['recordPeerFailure', 'refuseWaiters'] },
                ],
              },
              states: {
                meeting: {
                  description: 'The supervisor that holds the claim is being contacted.',
                  after: {
                    peerTimeout: {
                      target: '#provider.down.backoff',
                      actions: ['recordPeerTimeout', 'refuseWaiters'],
                    },
                  },
                  on: {
                    'peer.met': { guard: 'isCurrentGeneration', target: 'waiting', actions: 'recordHolder' },
                  },
                },
                waiting: { description: 'The owner has been asked for leases and has not granted one yet.' },
                retrying: {
                  description: 'The owner is gone: after a short pause everything begins anew.',
                  after: { peerRetry: { target: '#provider.probing', actions: 'clearRun' } },
                },
              },
            },
          },
        },
      },
    },

    ready: {
      description:
        'Its process runs, and no lease is held: it is awake, or gives its memory back and sleeps.',
      entry: 'resetRetries',
      after: {
        idleStop: [
          { guard: 'hasWaiters' },
          { guard: and(['canIdleStop', 'isOwned']), target: 'idle-stopping', actions: 'recordIdleStop' },
          { guard: 'canIdleStop', target: 'down.cold', actions: 'explainLetGo' },
        ],
      },
      on: {
        // `asleep` alone leaves this to the state around it: a new limit restarts the idle clock, which runs here.
        'policy.replaced': [
          {
            guard: 'isSleepRemoved',
            target: 'idle-stopping',
            actions: ['replacePolicy', 'finishStart', 'recordSleepRemoved'],
          },
          { guard: 'hasNewIdleStop', target: '.asleep', reenter: true, actions: 'replacePolicy' },
          { actions: 'replacePolicy' },
        ],
        'host.resumed': { actions: 'resetMisses' },
        'process.exited': [
          { guard: not('isCurrentGeneration') },
          // A daemon may unload what is not in use. The next request loads it again.
          {
            guard: and(['isUnloaded', not('hasWaiters')]),
            target: 'down.cold',
            actions: ['reportStop', 'explainUnloaded'],
          },
          { target: 'down.failing', actions: ['reportStop', 'recordExit', 'countFailure'] },
        ],
        'service.stop': [
          { guard: and(['isOwned', 'isRoomRequest']), target: 'idle-stopping', actions: 'recordStop' },
          { guard: 'isOwned', target: 'idle-stopping', actions: ['recordStop', 'refuseStopped'] },
          { guard: 'isRetirement', target: 'retired', actions: 'recordStop' },
          { target: 'down.cold', actions: ['recordStop', 'refuseStopped'] },
        ],
      },
      initial: 'awake',
      states: {
        awake: {
          description:
            'Healthy, no lease held; the idle clock runs when `idleStopMs` is above zero, or for the time that a lease of this run asked for. After a refused connection requests queue until the next good check.',
          tags: ['up', 'serving', 'idle'],
          entry: ['reportRest', 'startSleepTimer'],
          exit: 'cancelSleepTimer',
          always: {
            guard: and(['hasWaiters', not('isUnreachable')]),
            target: '#provider.leased',
            actions: 'grantWaiters',
          },
          on: {
            'lease.requested': [
              {
                guard: not('isUnreachable'),
                target: '#provider.leased',
                actions: ['countLease', 'grantLease'],
              },
              { guard: 'canQueue', actions: ['enqueueWaiter', 'pollUntilReady'] },
            ],
            // The idle clock counts from the last request that waited.
            'lease.cancelled': {
              guard: 'isKnownWaiter',
              target: '#provider.ready',
              reenter: true,
              actions: 'removeWaiter',
            },
            'waiter.expired': {
              guard: 'isKnownWaiter',
              target: '#provider.ready',
              reenter: true,
              actions: ['refuseExpired', 'removeWaiter'],
            },
            'health.verdict': [
              { guard: not('isCurrentGeneration') },
              {
                guard: and(['isReady', 'hasWaiters']),
                target: '#provider.leased',
                actions: ['recordVerdict', 'recordHealthy', 'explainReady', 'grantWaiters'],
              },
              { guard: 'isReady', actions: ['recordVerdict', 'recordHealthy'] },
              {
                guard: and(['isRefused', not('isOwned'), 'hasWaiters']),
                target: '#provider.probing',
                actions: ['explainGone', 'clearRun'],
              },
              {
                guard: and(['isRefused', not('isOwned')]),
                target: '#provider.down.cold',
                actions: ['recordVerdict', 'explainGone'],
              },
              { guard: and(['isSeenByRequest', 'isSuspect']), actions: 'recordVerdict' },
              // Another user has taken the port of the server that was used.
              {
                guard: and(['isListenerOfOtherUser', not('isOwned'), 'hasWaiters']),
                target: '#provider.probing',
                actions: ['explainGone', 'clearRun'],
              },
              {
                guard: and(['isListenerOfOtherUser', not('isOwned')]),
                target: '#provider.down.cold',
                actions: ['recordVerdict', 'explainGone'],
              },
              {
                guard: and(['isHung', 'isOwned']),
                target: '#provider.idle-stopping',
                actions: ['recordVerdict', 'recordUnhealthy', 'countFailure', 'recordUnhealthyStop'],
              },
              {
                guard: and(['isHung', 'hasWaiters']),
                target: '#provider.probing',
                actions: ['explainGone', 'clearRun'],
              },
              { guard: 'isHung', target: '#provider.down.cold', actions: ['recordVerdict', 'explainGone'] },
              { actions: ['recordVerdict', 'countMiss'] },
            ],
            'sleep.due': { guard: 'canSleep', target: 'falling-asleep', actions: 'recordSleepWhenIdle' },
            'service.sleep': [
              { guard: 'canSleep', target: 'falling-asleep', actions: 'recordSleepForRoom' },
              { guard: 'isOwned', target: '#provider.idle-stopping', actions: 'recordEviction' },
            ],
            // It sleeps by itself, or another program has told it to.
            'sleep.seen': {
              guard: and(['isCurrentGeneration', 'isSeenAsleep', 'isOwned', not('hasWaiters')]),
              target: 'asleep',
              actions: 'recordAsleep',
            },
            // A new limit restarts the idle clock, and so does a new time to sleep.
            'policy.replaced': [
              {
                guard: 'hasNewIdleStop',
                target: '#provider.ready',
                reenter: true,
                actions: 'replacePolicy',
              },
              { actions: ['replacePolicy', 'reportRest'] },
            ],
            // No request could arrive while the host was suspended, so the idle clock restarts.
            'host.resumed': { target: '#provider.ready', reenter: true, actions: 'resetMisses' },
          },
        },

        'falling-asleep': {
          description:
            'It was told to sleep. Requests wait, and nothing else is asked of it, until its check says that it sleeps.',
          tags: ['sleeping', 'falling-asleep'],
          entry: ['stopProbing', 'reportFallingAsleep'],
          on: {
            'lease.cancelled': { guard: 'isKnownWaiter', actions: ['removeWaiter', 'reportDemand'] },
            'waiter.expired': {
              guard: 'isKnownWaiter',
              actions: ['refuseExpired', 'removeWaiter', 'reportDemand'],
            },
            'policy.replaced': [
              {
                guard: 'isSleepRemoved',
                target: '#provider.idle-stopping',
                actions: ['replacePolicy', 'recordSleepRemoved'],
              },
              { actions: 'replacePolicy' },
            ],
          },
          invoke: {
            id: 'sleep',
            src: 'sleep',
            input: ({ context }) => ({ key: context.key }),
            onDone: [
              { guard: 'isSleepFault', target: '#provider.idle-stopping', actions: 'recordSleepFault' },
              { guard: 'hasWaiters', target: 'asleep', actions: 'recordAsleep' },
              // The requests that waited when it gave way have left.
              { target: 'asleep', actions: ['leaveStartQueue', 'recordAsleep'] },
            ],
            onError: { target: '#provider.idle-stopping', actions: 'recordSleepFault' },
          },
          after: {
            sleepTimeout: { target: '#provider.idle-stopping', actions: 'recordSleepTimeout' },
          },
        },

        asleep: {
          description: 'Its check says that it sleeps, and it holds only what it needs asleep.',
          tags: ['sleeping', 'asleep'],
          entry: 'watchSleep',
          on: {
            'sleep.seen': [
              { guard: not('isCurrentGeneration') },
              { guard: 'isSeenAsleep', actions: 'resetMisses' },
              {
                guard: 'isSelfSleeper',
                target: 'awake',
                actions: ['finishStart', 'reportAwake', 'recordAwake', 'startHeartbeat'],
              },
              // The room that it takes may have been given to another service.
              {
                target: '#provider.idle-stopping',
                actions: ['finishStart', 'reportAwake', 'recordLostSleep'],
              },
            ],
            'health.verdict': [
              { guard: not('isCurrentGeneration') },
              {
                guard: 'isHung',
                target: '#provider.idle-stopping',
                actions: [
                  'finishStart',
                  'recordVerdict',
                  'recordUnhealthy',
                  'countFailure',
                  'recordUnhealthyStop',
                ],
              },
              { actions: ['recordVerdict', 'countMiss'] },
            ],
            'process.exited': [
              { guard: not('isCurrentGeneration') },
              {
                target: '#provider.down.failing',
                actions: ['finishStart', 'reportStop', 'recordExit', 'countFailure'],
              },
            ],
          },
          initial: 'resting',
          states: {
            resting: {
              description:
                'No request waits for it. The idle clock runs here, too: it may have run out while a request waited that has left.',
              entry: 'reportAsleep',
              after: {
                idleStop: {
                  guard: and(['canIdleStop', 'isOwned']),
                  target: '#provider.idle-stopping',
                  actions: 'recordIdleStop',
                },
              },
              always: { guard: 'hasWaiters', target: 'wanted' },
            },
            wanted: {
              description:
                'Requests wait for it: it is woken when there is room for all that it needs awake.',
              entry: 'requestWake',
              always: { guard: not('hasWaiters'), target: 'resting', actions: 'finishStart' },
              on: {
                'start.permitted': { target: '#provider.ready.waking', actions: 'recordWaking' },
                'start.declined': [
                  { guard: 'hasOnlyPreload', actions: 'refuseNoRoom' },
                  // Waiting would be of no use: only pinned services hold the room.
                  { guard: 'isKeptOut', actions: ['recordNoRoom', 'refuseWaiters', 'recordAsleep'] },
                ],
                'lease.requested': { guard: 'canQueue', actions: ['enqueueWaiter', 'reportDemand'] },
                'lease.cancelled': { guard: 'isKnownWaiter', actions: ['removeWaiter', 'reportDemand'] },
                'waiter.expired': {
                  guard: 'isKnownWaiter',
                  actions: ['refuseExpired', 'removeWaiter', 'reportDemand'],
                },
                // It keeps its place in the queue where another service takes its room.
                'service.stop': [
                  { guard: 'isRoomRequest', target: '#provider.idle-stopping', actions: 'recordStop' },
                  {
                    target: '#provider.idle-stopping',
                    actions: ['finishStart', 'recordStop', 'refuseStopped'],
                  },
                ],
              },
            },
          },
        },

        waking: {
          description:
            'It is being woken, with room for all that it needs. Requests wait until it is awake and healthy.',
          tags: ['sleeping', 'waking'],
          entry: 'stopProbing',
          exit: 'finishStart',
          on: {
            'policy.replaced': [
              {
                guard: 'isSleepRemoved',
                target: '#provider.idle-stopping',
                actions: ['replacePolicy', 'recordSleepRemoved'],
              },
              { actions: 'replacePolicy' },
            ],
          },
          invoke: {
            id: 'wake',
            src: 'wake',
            input: ({ context }) => ({ key: context.key }),
            onDone: [
              { guard: 'isSleepFault', target: '#provider.idle-stopping', actions: 'recordWakeFault' },
              { guard: 'isRoomLost', target: 'asleep', actions: 'recordAsleep' },
              // The idle clock may have run out while a request waited that has left.
              { target: '#provider.ready', reenter: true, actions: ['recordAwake', 'startHeartbeat'] },
            ],
            onError: { target: '#provider.idle-stopping', actions: 'recordWakeFault' },
          },
          after: {
            wakeTimeout: { target: '#provider.idle-stopping', actions: 'recordWakeTimeout' },
          },
        },
      },
    },

    leased: {
      description: 'At least one lease is held: `open` grants more, `draining` waits for the last release.',
      tags: ['up', 'busy'],
      entry: 'reportUse',
      on: {
        'policy.replaced': { actions: ['replacePolicy', 'reportUse'] },
        // A failed health check never ends a lease: it is looked at again when the last one ends.
        'health.verdict': [
          { guard: not('isCurrentGeneration') },
          { guard: 'isReady', actions: ['recordVerdict', 'recordHealthy'] },
          { guard: and(['isSeenByRequest', 'isSuspect']), actions: 'recordVerdict' },
          { actions: ['recordVerdict', 'countMiss'] },
        ],
        'host.resumed': { actions: 'resetMisses' },
        'process.exited': [
          { guard: not('isCurrentGeneration') },
          { target: 'down.failing', actions: ['reportStop', 'recordExit', 'revokeLeases', 'countFailure'] },
        ],
        'peer.lost': [
          { guard: not('isCurrentGeneration') },
          { guard: 'isRetiring', target: 'retired', actions: ['recordPeerFailure', 'revokeLeases'] },
          {
            guard: 'hasWaiters',
            target: 'probing',
            actions: ['recordPeerFailure', 'revokeLeases', 'clearRun'],
          },
          { target: 'down.cold', actions: ['recordPeerFailure', 'revokeLeases'] },
        ],
      },
      initial: 'open',
      states: {
        open: {
          description: 'Leases are granted up to `maxConcurrent`; further requests queue.',
          tags: 'serving',
          on: {
            'lease.requested': [
              { guard: 'hasFreePlace', actions: ['countLease', 'grantLease'] },
              { guard: and(['isUnreachable', 'canQueue']), actions: ['enqueueWaiter', 'pollUntilReady'] },
            ],
            'health.verdict': {
              guard: and(['isCurrentGeneration', 'isReady', 'hasWaiters', not('isBorrowed')]),
              actions: ['recordVerdict', 'recordHealthy', 'grantWaiters'],
            },
            'peer.granted': [
              { guard: not('isCurrentGeneration') },
              { guard: 'isKnownWaiter', actions: 'grantWaiter' },
            ],
            // The server may be well: only requests that wait for the owner are refused.
            'peer.silent': [
              { guard: not('isCurrentGeneration') },
              { guard: 'hasWaiters', actions: ['recordSilence', 'refuseWaiters'] },
            ],
            'lease.released': [
              { guard: not('isCurrentGeneration') },
              // A borrowed lease goes back at once, so that the idle clock of its owner can run.
              {
                guard: and(['isBorrowed', 'isLastLease', 'hasWaiters']),
                target: '#provider.starting.warming.borrowing.waiting',
                actions: ['releaseLease', 'explainHeld'],
              },
              {
                guard: and(['isBorrowed', 'isLastLease']),
                target: '#provider.down.cold',
                actions: 'releaseLease',
              },
              { guard: 'isBorrowed', actions: 'releaseLease' },
              {
                guard: and(['isUnreachable', 'hasWaiters', 'isLastLease']),
                target: '#provider.ready',
                actions: ['releaseLease', 'pollUntilReady'],
              },
              {
                guard: and(['isUnreachable', 'hasWaiters']),
                actions: ['releaseLease', 'pollUntilReady'],
              },
              { guard: 'hasWaiters', actions: ['releaseLease', 'grantWaiters'] },
              {
                guard: and(['isLastLease', 'isSuspect']),
                target: '#provider.ready',
                actions: ['releaseLease', 'probeOnce'],
              },
              { guard: 'isLastLease', target: '#provider.ready', actions: 'releaseLease' },
              { actions: 'releaseLease' },
            ],
            'service.stop': [
              {
                guard: and(['isDrainRequest', 'isSleepEnough']),
                target: 'draining.before-sleep',
                actions: 'recordStop',
              },
              { guard: 'isDrainRequest', target: 'draining', actions: 'recordStop' },
              { guard: 'isRoomRequest' },
              {
                guard: 'isForced',
                target: 'draining',
                actions: ['recordStop', 'refuseStopped', 'revokeStopped'],
              },
              { target: 'draining', actions: ['recordStop', 'refuseStopped'] },
            ],
          },
        },

        draining: {
          description:
            'A stop is due: no new leases, and the held ones end by themselves or at the drain deadline.',
          tags: 'draining',
          entry: 'foreseeStart',
          always: [
            // It rests, and the scheduler decides anew whether its sleep makes room enough.
            {
              guard: and(['hasNoLeases', 'isYielding', 'canSleep']),
              target: '#provider.ready',
              actions: ['leaveStartQueue', 'clearStop', 'explainRest'],
            },
            { guard: and(['hasNoLeases', 'isOwned']), target: '#provider.idle-stopping' },
            { guard: and(['hasNoLeases', 'isRetiring']), target: '#provider.retired' },
            {
              guard: and(['hasNoLeases', 'hasWaiters']),
              target: '#provider.probing',
              actions: ['clearRun', 'explainNewRun'],
            },
            { guard: 'hasNoLeases', target: '#provider.down.cold' },
          ],
          after: { drainTimeout: { actions: 'revokeUndrained' } },
          on: {
            'service.stay': {
              guard: 'isYielding',
              target: 'open',
              actions: ['leaveStartQueue', 'clearStop', 'explainStay', 'grantWaiters'],
            },
            'lease.requested': [
              { guard: 'isRetiring', actions: 'refuseStopping' },
              { guard: 'canQueue', actions: ['enqueueWaiter', 'foreseeStart'] },
            ],
            'lease.cancelled': { guard: 'isKnownWaiter', actions: ['removeWaiter', 'reportDemand'] },
            'waiter.expired': {
              guard: 'isKnownWaiter',
              actions: ['refuseExpired', 'removeWaiter', 'reportDemand'],
            },
            'lease.released': { guard: 'isCurrentGeneration', actions: 'releaseLease' },
            'process.exited': {
              guard: and(['isCurrentGeneration', 'isRetiring']),
              target: '#provider.idle-stopping.sweeping',
              actions: ['recordExit', 'revokeLeases'],
            },
            'service.stop': [
              { guard: 'isRoomRequest' },
              {
                guard: 'isForced',
                actions: ['recordStop', 'refuseStopped', 'reportDemand', 'revokeStopped'],
              },
              // From now on there is a deadline.
              {
                guard: 'isYielding',
                target: 'draining',
                reenter: true,
                actions: ['recordStop', 'refuseStopped', 'reportDemand'],
              },
              { actions: ['recordStop', 'refuseStopped', 'reportDemand'] },
            ],
          },
          initial: 'before-stop',
          states: {
            'before-stop': { description: 'It is stopped when the last lease has ended.' },
            'before-sleep': {
              description:
                'Its sleep makes room enough: with requests that wait, it sleeps when the last lease has ended, and is woken in its turn.',
              always: {
                guard: and(['hasNoLeases', 'isYielding', 'isSleeper', 'hasWaiters']),
                target: '#provider.ready.falling-asleep',
                actions: ['clearStop', 'recordSleepForRoom'],
              },
            },
          },
        },
      },
    },

    'idle-stopping': {
      description: 'A stop is under way, whatever its reason. It ends with a receipt.',
      tags: 'stopping',
      entry: ['cancelStabilityTimer', 'reportStop', 'foreseeStart'],
      on: {
        'lease.requested': [
          { guard: 'isRetiring', actions: 'refuseStopping' },
          { guard: 'canQueue', actions: ['enqueueWaiter', 'foreseeStart'] },
        ],
        'lease.cancelled': { guard: 'isKnownWaiter', actions: ['removeWaiter', 'reportDemand'] },
        'waiter.expired': {
          guard: 'isKnownWaiter',
          actions: ['refuseExpired', 'removeWaiter', 'reportDemand'],
        },
        'process.exited': { guard: 'isCurrentGeneration', target: '.sweeping' },
        'process.failed': [
          { guard: not('isCurrentGeneration'), actions: 'reportRunEnd' },
          { target: '.settled', actions: ['recordReceipt', 'reportRunEnd'] },
        ],
        'process.settled': [
          { guard: not('isCurrentGeneration'), actions: 'reportRunEnd' },
          // A receipt with survivors completes nothing: no process is started beside a survivor.
          {
            guard: and(['isRetiring', 'hasSurvivors']),
            target: 'retired',
            actions: ['recordReceipt', 'reportRunEnd', 'recordSurvivors', 'reportIncompleteStop'],
          },
          {
            guard: 'hasSurvivors',
            target: 'down.tripped',
            actions: ['recordReceipt', 'reportRunEnd', 'recordSurvivors', 'reportIncompleteStop'],
          },
          { target: '.settled', actions: ['recordReceipt', 'reportRunEnd'] },
        ],
        'service.stop': [
          { guard: 'isRoomRequest' },
          {
            guard: 'isForced',
            target: '.killing',
            actions: ['recordStop', 'refuseStopped', 'reportDemand'],
          },
          { actions: ['recordStop', 'refuseStopped', 'reportDemand'] },
        ],
      },
      initial: 'terminating',
      states: {
        terminating: {
          description: 'The process group ends by itself or at the end of `stopGraceMs`.',
          tags: 'terminating',
          entry: 'terminate',
          after: { stopGrace: 'killing' },
          initial: 'closing',
          states: {
            closing: {
              description: 'Our own connections to it are being closed; SIGTERM is not sent yet.',
              on: {
                'lease.requested': {
                  guard: 'canCallOff',
                  target: '#provider.leased',
                  actions: [
                    'callOffTermination',
                    'startStabilityTimer',
                    'countLease',
                    'explainCallOff',
                    'clearStop',
                    'grantLease',
                  ],
                },
                'process.signalled': { guard: 'isCurrentGeneration', target: 'signalled' },
              },
            },
            signalled: {
              description: 'SIGTERM is sent. The stop cannot be called off any more.',
              entry: 'stopProbing',
              on: { 'process.exited': { guard: 'isCurrentGeneration', target: 'leaving' } },
            },
            leaving: {
              description: 'The leader has ended; the rest of its tree has the rest of the grace.',
              on: { 'process.exited': {} },
            },
          },
        },

        killing: {
          description: 'SIGKILL is sent to the process group.',
          tags: 'killing',
          entry: 'kill',
          after: { killGrace: 'sweeping' },
          on: {
            'service.stop': [
              { guard: 'isRoomRequest' },
              { actions: ['recordStop', 'refuseStopped', 'reportDemand'] },
            ],
          },
        },

        sweeping: {
          description: 'Every survivor of the tree is killed, then the receipt is written.',
          entry: 'sweep',
          after: {
            sweepTimeout: [
              {
                guard: 'isRetiring',
                target: '#provider.retired',
                actions: ['recordSurvivors', 'reportIncompleteStop'],
              },
              { target: '#provider.down.tripped', actions: ['recordSurvivors', 'reportIncompleteStop'] },
            ],
          },
          on: {
            'process.exited': {},
            'service.stop': [
              { guard: 'isRoomRequest' },
              { actions: ['recordStop', 'refuseStopped', 'reportDemand'] },
            ],
          },
        },

        settled: {
          description: 'The receipt is here: why it was stopped and who waits decide what follows, at once.',
          always: [
            { guard: 'isRetiring', target: '#provider.retired' },
            { guard: and(['isFailureStop', 'isBreakerOpen']), target: '#provider.down.tripped' },
            { guard: 'isFailureStop', target: '#provider.down.backoff' },
            {
              guard: 'hasWaiters',
              target: '#provider.starting',
              actions: ['clearRun', 'explainNewRun', 'recordPredecessor'],
            },
            { target: '#provider.down.cold' },
          ],
        },
      },
    },

    retired: {
      description: 'Removed from the configuration or shut down: none of its processes is left.',
      tags: ['settled', 'retired'],
      type: 'final',
      entry: ['stopProbing', 'refuseStopped', 'releaseClaim'],
    },
  },

  output: ({ context }) => ({ key: context.key, receipt: context.receipt }),
})

import { and, not } from 'xstate'
import { provider } from './provider-setup.ts'
import {
  admitSuccessor,
  failWith,
  leaveAsSuccessor,
  refuseForStop,
  refuseSuccessors,
  returnLease,
} from './provider-transitions.ts'

/** Somebody uses it; it takes more, or makes an end of them. */
export const leased = provider.createStateConfig({
  initial: 'open',
  entry: 'reportUse',
  on: {
    'policy.replaced': { actions: ['replacePolicy', 'reportUse'] },
    'health.verdict': [
      { guard: not('isCurrentGeneration') },
      { guard: 'isReady', actions: ['noteVerdict', 'noteHealthy'] },
      { guard: and(['isOfRequest', 'isSuspect']), actions: 'noteVerdict' },
      { actions: ['noteVerdict', 'noteMiss'] },
    ],
    'host.resumed': { actions: 'forgetMisses' },
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
        'lease.requested': [
          { guard: 'hasRoom', actions: ['countLease', 'grant'] },
          { guard: 'isKnownWaiter' },
          { guard: 'isQueueFull', actions: 'refuseQueueFull' },
          { guard: 'isUnreachable', actions: ['enqueue', 'awaitHealth'] },
          { actions: 'enqueue' },
        ],
        'health.verdict': {
          guard: and(['isCurrentGeneration', 'isReady', 'isQueueUsed', not('isBorrowed')]),
          actions: ['noteVerdict', 'noteHealthy', 'grantWaiters'],
        },
        'peer.granted': [
          { guard: not('isCurrentGeneration') },
          { guard: 'isKnownWaiter', actions: 'grantWaiter' },
        ],
        // The server may be well: only those who wait for the owner's word are told.
        'peer.silent': [
          { guard: not('isCurrentGeneration') },
          { guard: 'isQueueUsed', actions: ['noteSilence', 'refuseWaiters'] },
        ],
        'lease.released': [
          { guard: not('isCurrentGeneration') },
          ...returnLease,
          {
            guard: and(['isUnreachable', 'isQueueUsed', 'isLastLease']),
            target: '#provider.ready',
            actions: ['release', 'awaitHealth'],
          },
          { guard: and(['isUnreachable', 'isQueueUsed']), actions: ['release', 'awaitHealth'] },
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
      entry: 'foreseeStart',
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
          actions: ['leaveQueue', 'forgetStop', 'explainStay', 'grantWaiters'],
        },
        ...leaveAsSuccessor,
        'lease.requested': [{ guard: 'isRetiring', actions: 'refuseWhileStopping' }, ...admitSuccessor],
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
          { guard: 'isForced', actions: [...refuseSuccessors, 'revokeStopped'] },
          // From now on there is a deadline.
          { guard: 'isYielding', target: 'draining', reenter: true, actions: refuseSuccessors },
          { actions: refuseSuccessors },
        ],
      },
    },
  },
})

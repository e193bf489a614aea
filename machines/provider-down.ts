import { not } from 'xstate'
import { provider } from './provider-setup.ts'
import { admit, refuseForStop, settle } from './provider-transitions.ts'

/** Nothing of ours runs: never asked for, waiting after a failure, or given up for a while. */
export const down = provider.createStateConfig({
  initial: 'cold',
  entry: ['restHealth', 'forgetStability', 'releaseClaim', 'forgetRun', 'forgetPeers', 'leaveQueue'],
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
})

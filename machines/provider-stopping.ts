import { not } from 'xstate'
import { provider } from './provider-setup.ts'
import {
  admitSuccessor,
  endStop,
  endWithSurvivors,
  leaveAsSuccessor,
  refuseSuccessors,
} from './provider-transitions.ts'

/** A stop is under way, for whatever reason; it ends with a receipt. */
export const stopping = provider.createStateConfig({
  initial: 'terminating',
  entry: ['forgetStability', 'reportStop', 'foreseeStart'],
  on: {
    ...leaveAsSuccessor,
    'lease.requested': [{ guard: 'isRetiring', actions: 'refuseWhileStopping' }, ...admitSuccessor],
    'process.exited': { guard: 'isCurrentGeneration', target: '.sweeping' },
    'process.failed': [{ guard: not('isCurrentGeneration'), actions: 'reportEnd' }, ...endStop],
    'process.settled': [
      { guard: not('isCurrentGeneration'), actions: 'reportEnd' },
      ...endWithSurvivors,
      ...endStop,
    ],
    'service.stop': [
      { guard: 'isEviction' },
      { guard: 'isForced', target: '.killing', actions: refuseSuccessors },
      { actions: refuseSuccessors },
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
                actions: ['spare', 'awaitStability', 'countLease', 'explainCallOff', 'forgetStop', 'grant'],
              },
              ...admitSuccessor,
            ],
            'process.signalled': { guard: 'isCurrentGeneration', target: 'signalled' },
          },
        },
        signalled: {
          entry: 'restHealth',
          on: { 'process.exited': { guard: 'isCurrentGeneration', target: 'leaving' } },
        },
        /** The leader ended of our SIGTERM. The rest of its tree has the rest of the grace. */
        leaving: { on: { 'process.exited': {} } },
      },
    },
    killing: {
      entry: 'kill',
      after: { killGrace: 'sweeping' },
      on: { 'service.stop': [{ guard: 'isEviction' }, { actions: refuseSuccessors }] },
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
        'service.stop': [{ guard: 'isEviction' }, { actions: refuseSuccessors }],
      },
    },
  },
})

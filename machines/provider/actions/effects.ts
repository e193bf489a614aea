import type { HealthCommand, ProcessCommand } from '../../messages.ts'
import type { ProviderContext } from '../context.ts'
import { idOf } from '../event-facts.ts'
import { base } from '../guards.ts'
import { returnLease } from './peer-commands.ts'

/** Commands to the effects, and timers that outlive one state. */
export const effects = {
  // The process.
  spawn: base.sendTo('process', ({ context }) => buildProcessCommand('process.spawn', context)),
  terminate: base.sendTo('process', ({ context }) => buildProcessCommand('process.terminate', context)),
  callOffTermination: base.sendTo('process', ({ context }) => buildProcessCommand('process.spare', context)),
  kill: base.sendTo('process', ({ context }) => buildProcessCommand('process.kill', context)),
  sweep: base.sendTo('process', ({ context }) => buildProcessCommand('process.sweep', context)),

  // Health checks.
  pollReadiness: base.sendTo('health', ({ context }) => buildHealthCommand('health.warm', context)),
  startHeartbeat: base.sendTo('health', ({ context }) => buildHealthCommand('health.watch', context)),
  probeOnce: base.sendTo('health', ({ context }) => buildHealthCommand('health.check', context)),
  /** Polls beside the heartbeat until the server listens again. */
  pollUntilReady: base.sendTo('health', ({ context }) => buildHealthCommand('health.await', context)),
  /** The heartbeat of a server that sleeps. */
  watchSleep: base.sendTo('health', ({ context }) => buildHealthCommand('health.doze', context)),
  stopProbing: base.sendTo('health', { type: 'health.rest' }),

  // Other supervisors.
  /** The owner granted a lease to a waiter that has left. */
  returnGrant: base.sendTo('peer', ({ context, event }) => returnLease(context, idOf(event))),
  releaseClaim: base.sendTo('peer', { type: 'claim.release' }),

  // Timers.
  startStabilityTimer: base.raise({ type: 'stability.reached' }, { delay: 'stability', id: 'stability' }),
  cancelStabilityTimer: base.cancel('stability'),
  /** Where the policy says so, a start without waiters is given up after a while. */
  startAbandonTimer: base.enqueueActions(({ context, enqueue }) => {
    if (context.waiters.length === 0 && context.policy.abandonStartMs !== null)
      enqueue.raise({ type: 'start.abandoned' }, { delay: 'abandonStart', id: 'abandon' })
  }),
  /** Every request causes these two, so a service that cannot sleep arms nothing. */
  startSleepTimer: base.enqueueActions(({ context, enqueue }) => {
    if (context.policy.sleep !== null && !context.policy.sleep.isSelf)
      enqueue.raise({ type: 'sleep.due' }, { delay: 'sleepAfter', id: 'sleepAfter' })
  }),
  cancelSleepTimer: base.enqueueActions(({ context, enqueue }) => {
    if (context.policy.sleep !== null) enqueue.cancel('sleepAfter')
  }),
  cancelAbandonTimer: base.cancel('abandon'),
}

function buildProcessCommand(type: ProcessCommand['type'], { generation }: ProviderContext): ProcessCommand {
  return { type, generation: generation ?? '' }
}

function buildHealthCommand(
  type: Exclude<HealthCommand['type'], 'health.rest'>,
  { generation }: ProviderContext,
): HealthCommand {
  return { type, generation: generation ?? '' }
}

import type { ProcessCommand } from './messages.ts'
import { toReturn, toWant } from './peer-commands.ts'
import { countRequests, type ProviderContext } from './provider-context.ts'
import { idOf, verdictOf } from './provider-events.ts'
import { base } from './provider-guards.ts'

/** Whose process it is, and what the effects are asked to do about it. */
export const runs = {
  beginRun: base.assign(({ context }) => ({
    ...toNextRun(context),
    ownership: 'owned',
    lostPeers: 0,
    why: { kind: 'spawning', waiting: countRequests(context) },
  })),
  adopt: base.assign(({ context, event }) => ({
    ...toNextRun(context),
    ownership: 'adopted',
    lostPeers: 0,
    failure: null,
    why: { kind: 'adopted', verdict: verdictOf(event) ?? null },
  })),
  watchStranger: base.assign(({ context, event }) => ({
    ...toNextRun(context),
    ownership: 'none',
    lostPeers: 0,
    lookedMs: verdictOf(event)?.tookMs ?? 0,
    why: { kind: 'loading-elsewhere', verdict: verdictOf(event) ?? null },
  })),
  /** Another supervisor runs it: what is wanted here is asked for there. */
  borrow: base.enqueueActions(({ context, enqueue }) => {
    const next = toNextRun(context)
    enqueue.assign({ ...next, ownership: 'borrowed', why: { kind: 'held', holder: null } })
    for (const waiter of context.waiters) enqueue.sendTo('peer', toWant(next, waiter))
  }),
  forgetRun: base.enqueueActions(({ context, enqueue }) => {
    if (context.ownership === 'borrowed')
      enqueue.sendTo('peer', { type: 'peer.leave', generation: context.generation ?? '' })
    enqueue.assign({
      ownership: 'none',
      holder: null,
      pid: null,
      generation: null,
      misses: 0,
      isUnreachable: false,
      stop: null,
      leases: 0,
      verdict: null,
    })
  }),

  // What the effects are asked to do.
  spawn: base.sendTo('process', ({ context }) => toProcessCommand('process.spawn', context)),
  terminate: base.sendTo('process', ({ context }) => toProcessCommand('process.terminate', context)),
  spare: base.sendTo('process', ({ context }) => toProcessCommand('process.spare', context)),
  kill: base.sendTo('process', ({ context }) => toProcessCommand('process.kill', context)),
  sweep: base.sendTo('process', ({ context }) => toProcessCommand('process.sweep', context)),
  warmHealth: base.sendTo('health', ({ context }) => ({
    type: 'health.warm',
    generation: context.generation ?? '',
  })),
  watchHealth: base.sendTo('health', ({ context }) => ({
    type: 'health.watch',
    generation: context.generation ?? '',
  })),
  checkHealth: base.sendTo('health', ({ context }) => ({
    type: 'health.check',
    generation: context.generation ?? '',
  })),
  awaitHealth: base.sendTo('health', ({ context }) => ({
    type: 'health.await',
    generation: context.generation ?? '',
  })),
  restHealth: base.sendTo('health', { type: 'health.rest' }),
  /** A grant for somebody who does not wait any more. */
  returnGrant: base.sendTo('peer', ({ context, event }) => toReturn(context, idOf(event))),
  releaseClaim: base.sendTo('peer', { type: 'claim.release' }),
  awaitStability: base.raise({ type: 'stability.reached' }, { delay: 'stability', id: 'stability' }),
  forgetStability: base.cancel('stability'),
  /** A start that nobody waits for is given up after a while, where the policy says so. */
  awaitAbandon: base.enqueueActions(({ context, enqueue }) => {
    if (context.waiters.length === 0 && context.policy.abandonStartMs !== null)
      enqueue.raise({ type: 'start.abandoned' }, { delay: 'abandonStart', id: 'abandon' })
  }),
  forgetAbandon: base.cancel('abandon'),
}

function toNextRun({ instance, run }: ProviderContext) {
  return {
    run: run + 1,
    generation: `${instance}.${run + 1}`,
    pid: null,
    misses: 0,
    isUnreachable: false,
    verdict: null,
    lookedMs: 0,
    stop: null,
  }
}

function toProcessCommand(type: ProcessCommand['type'], { generation }: ProviderContext): ProcessCommand {
  return { type, generation: generation ?? '' }
}

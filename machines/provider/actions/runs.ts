import { countRequests, type ProviderContext } from '../context.ts'
import { verdictOf } from '../event-facts.ts'
import { base } from '../guards.ts'
import { wantLease } from './peer-commands.ts'

/** Whose server it is. Each of these but the last begins a new generation. */
export const runs = {
  /** Our own process is about to be spawned. */
  beginRun: base.assign(({ context }) => ({
    ...buildNextRun(context),
    ownership: 'owned',
    lostPeers: 0,
    why: { kind: 'spawning', waiting: countRequests(context) },
  })),
  /** A server was already there: it is used and never signalled. */
  adopt: base.assign(({ context, event }) => ({
    ...buildNextRun(context),
    ownership: 'adopted',
    lostPeers: 0,
    failure: null,
    why: {
      kind: 'adopted',
      verdict: verdictOf(event) ?? null,
      ...(context.policy.member === undefined ? {} : { member: context.policy.member }),
    },
  })),
  /** A server that we did not start is loading: it is waited for under the same deadline. */
  followForeignStart: base.assign(({ context, event }) => ({
    ...buildNextRun(context),
    ownership: 'none',
    lostPeers: 0,
    lookedMs: verdictOf(event)?.tookMs ?? 0,
    why: { kind: 'loading-elsewhere', verdict: verdictOf(event) ?? null },
  })),
  /** Another supervisor runs it: it is asked for a lease for every waiter. */
  borrow: base.enqueueActions(({ context, enqueue }) => {
    const next = buildNextRun(context)
    enqueue.assign({ ...next, ownership: 'borrowed', why: { kind: 'held', holder: null } })
    for (const waiter of context.waiters) enqueue.sendTo('peer', wantLease(next, waiter))
  }),
  clearRun: base.enqueueActions(({ context, enqueue }) => {
    if (context.ownership === 'borrowed')
      enqueue.sendTo('peer', { type: 'peer.leave', generation: context.generation ?? '' })
    enqueue.assign({
      ownership: 'none',
      holder: null,
      pid: null,
      generation: null,
      misses: 0,
      isUnreachable: false,
      isAsleep: false,
      stop: null,
      leases: 0,
      keepAliveMs: null,
      verdict: null,
    })
  }),
}

function buildNextRun({ instance, run }: ProviderContext) {
  return {
    run: run + 1,
    generation: `${instance}.${run + 1}`,
    pid: null,
    misses: 0,
    isUnreachable: false,
    isAsleep: false,
    keepAliveMs: null,
    verdict: null,
    lookedMs: 0,
    stop: null,
  }
}

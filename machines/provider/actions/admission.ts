import type { Failure, ProviderEmitted, Waiter } from '../../messages.ts'
import type { Reason } from '../../reasons.ts'
import { lineUp } from '../../waiting-line.ts'
import type { ProviderContext } from '../context.ts'
import { causeOf, idOf, keepAliveOf } from '../event-facts.ts'
import { toStopFailure, toTrippedFailure, UNEXPLAINED } from '../failures.ts'
import { base } from '../guards.ts'
import { returnLease, wantLease } from './peer-commands.ts'

/** Refuses every waiter with this failure. */
const refuseAll = (buildFailure: (context: ProviderContext) => Failure) =>
  base.enqueueActions(({ context, enqueue }) => {
    for (const { id } of context.waiters) {
      enqueue.cancel(timerOf(id))
      enqueue.emit({ type: 'lease.refused', id, failure: buildFailure(context) })
      if (context.ownership === 'borrowed') enqueue.sendTo('peer', returnLease(context, id))
    }
    enqueue.assign({ waiters: [], retries: 0, follows: false })
  })

/** Ends every lease with this failure. */
const revokeAll = (buildFailure: (context: ProviderContext) => Failure) =>
  base.enqueueActions(({ context, enqueue }) => {
    const { leases, generation } = context
    enqueue.assign({ leases: 0 })
    if (leases > 0 && generation !== null)
      enqueue.emit({ type: 'leases.revoked', generation, failure: buildFailure(context) })
  })

/** Queue, grants, refusals: every `lease.requested` is answered by exactly one of these, and every lease ends once. */
export const admission = {
  enqueueWaiter: base.enqueueActions(({ context, event, enqueue }) => {
    if (event.type !== 'lease.requested') return
    const { id, priority = 0, sinceMs = 0, cause, keepAliveMs } = event
    const waiter: Waiter = {
      id,
      priority,
      sinceMs,
      ...(cause === undefined ? {} : { cause }),
      ...(keepAliveMs === undefined ? {} : { keepAliveMs }),
    }
    enqueue.assign({ waiters: lineUp(context.waiters, waiter) })
    enqueue.raise(
      { type: 'waiter.expired', id: waiter.id },
      { delay: context.policy.maxQueueMs, id: timerOf(waiter.id) },
    )
    enqueue.cancel('abandon')
    if (context.ownership === 'borrowed') enqueue.sendTo('peer', wantLease(context, waiter))
  }),
  removeWaiter: base.enqueueActions(({ context, event, enqueue }) => {
    enqueue.assign({ waiters: context.waiters.filter(({ id }) => id !== idOf(event)) })
    enqueue.cancel(timerOf(idOf(event)))
    if (context.ownership === 'borrowed') enqueue.sendTo('peer', returnLease(context, idOf(event)))
  }),
  /** The owner of a borrowed server has granted a lease to this waiter. */
  grantWaiter: base.enqueueActions(({ context, event, enqueue }) => {
    const waiter = context.waiters.find(({ id }) => id === idOf(event))
    enqueue.assign({
      leases: context.leases + 1,
      keepAliveMs: waiter?.keepAliveMs ?? context.keepAliveMs,
      waiters: context.waiters.filter((one) => one !== waiter),
      failure: null,
      why: { kind: 'leased', id: idOf(event) },
    })
    enqueue.cancel(timerOf(idOf(event)))
    enqueue.emit(buildGrant(context, idOf(event), waiter?.keepAliveMs))
  }),
  refuseAsOwnerDid: base.emit(({ event }) => ({
    type: 'lease.refused',
    id: idOf(event),
    failure: event.type === 'peer.refused' ? event.failure : UNEXPLAINED,
  })),
  countLease: base.assign(({ context, event }) => ({
    leases: context.leases + 1,
    keepAliveMs: keepAliveOf(event) ?? context.keepAliveMs,
    why: { kind: 'leased', id: idOf(event), ...causeOf(event) },
  })),
  grantLease: base.emit(({ context, event }) => buildGrant(context, idOf(event), keepAliveOf(event))),
  grantWaiters: base.enqueueActions(({ context, enqueue }) => {
    // A replaced policy may allow fewer leases than are held.
    const granted = context.waiters.slice(0, Math.max(0, context.policy.maxConcurrent - context.leases))
    enqueue.assign({
      retries: 0,
      follows: false,
      leases: context.leases + granted.length,
      keepAliveMs: granted.reduce<number | null>(
        (before, one) => one.keepAliveMs ?? before,
        context.keepAliveMs,
      ),
      waiters: context.waiters.slice(granted.length),
    })
    for (const { id, keepAliveMs } of granted) {
      enqueue.cancel(timerOf(id))
      enqueue.emit(buildGrant(context, id, keepAliveMs))
    }
  }),
  refuse: base.emit(({ context, event }) => ({
    type: 'lease.refused',
    id: idOf(event),
    failure: context.failure ?? UNEXPLAINED,
  })),
  refuseQueueFull: base.emit(({ context, event }) => ({
    type: 'lease.refused',
    id: idOf(event),
    failure: {
      code: 'LEASEHOLD_QUEUE_FULL',
      message: `its queue is full: ${context.waiters.length} requests are waiting`,
    },
  })),
  refuseExpired: base.emit(({ context, event }) => ({
    type: 'lease.refused',
    id: idOf(event),
    failure: {
      code: 'LEASEHOLD_QUEUE_TIMEOUT',
      message: `no lease within ${context.policy.maxQueueMs} ms of waiting`,
      ...(context.verdict === null ? {} : { verdict: context.verdict }),
    },
  })),
  refuseTripped: base.emit(({ context, event }) => ({
    type: 'lease.refused',
    id: idOf(event),
    failure: toTrippedFailure(context),
  })),
  refuseStopping: base.emit(({ context, event }) => ({
    type: 'lease.refused',
    id: idOf(event),
    failure: toStopFailure(context.stop),
  })),
  refuseWaiters: refuseAll(({ failure }) => failure ?? UNEXPLAINED),
  refuseNoRoom: refuseAll(() => ({
    code: 'LEASEHOLD_NO_ROOM',
    message: 'it is preloaded only into room that is free',
  })),
  refuseStopped: refuseAll(({ stop }) => toStopFailure(stop)),
  releaseLease: base.enqueueActions(({ context, event, enqueue }) => {
    const isUnused = context.waiters.length === 0 || context.isUnreachable
    const isDone = context.leases === 1 && isUnused && context.stop === null
    enqueue.assign({ leases: context.leases - 1, ...(isDone ? { why: RELEASED } : {}) })
    if (context.ownership === 'borrowed') enqueue.sendTo('peer', returnLease(context, idOf(event)))
  }),
  revokeLeases: revokeAll(({ failure }) => failure ?? UNEXPLAINED),
  revokeStopped: revokeAll(({ stop }) => toStopFailure(stop)),
  revokeUndrained: revokeAll(({ stop, policy }) => {
    const { code, message } = toStopFailure(stop)
    const late = `the lease outlasted the drain deadline of ${policy.drainTimeoutMs} ms`
    return { code, message: `${message}, and ${late}` }
  }),
}

const RELEASED: Reason = { kind: 'released' }

function buildGrant(
  { generation, ownership }: ProviderContext,
  id: string,
  keepAliveMs: number | undefined,
): ProviderEmitted {
  const owned = ownership === 'owned'
  const grant = { type: 'lease.granted', id, generation: generation ?? '', owned } as const
  return keepAliveMs === undefined ? grant : { ...grant, keepAliveMs }
}

function timerOf(waiterId: string): string {
  return `waiter.${waiterId}`
}

import { enqueueActions, sendParent } from 'xstate'
import type { ProviderEvent, Receipt, SharingEvent } from './messages.ts'
import { providerMachine } from './provider.ts'
import type { ProviderContext } from './provider-context.ts'

/** The provider machine as it lives under a supervisor: it asks its parent before it starts, and says what it takes. */
export const supervisedProviderMachine = providerMachine.provide({
  actions: {
    requestStart: sendParent(
      ({ context }): SharingEvent => ({
        type: 'start.requested',
        key: context.key,
        generation: `${context.instance}.${context.run + 1}`,
        ...toDemand(context),
      }),
    ),
    // Only services that share anything keep a place.
    foreseeStart: enqueueActions(({ context, enqueue }) => {
      const { key, policy, waiters, instance, run } = context
      const generation = `${instance}.${run + 1}`
      if (policy.drawsOnLimits && waiters.length > 0)
        enqueue(sendParent({ type: 'start.foreseen', key, generation, ...toDemand(context) }))
    }),
    leaveQueue: enqueueActions(({ context: { key, policy }, enqueue }) => {
      if (policy.drawsOnLimits) enqueue(sendParent({ type: 'start.finished', key, isRunning: false }))
    }),
    reportDemand: sendParent(
      ({ context }): SharingEvent => ({ type: 'start.changed', key: context.key, ...toDemand(context) }),
    ),
    finishStart: sendParent(
      ({ context: { key, ownership } }): SharingEvent => ({
        type: 'start.finished',
        key,
        isRunning: ownership === 'owned',
      }),
    ),
    // These three are on the way of every request, so only services that share anything report them.
    reportRest: enqueueActions(({ context, enqueue }) => {
      // Those that wait are granted in the same step, and then it is in use.
      if (context.policy.drawsOnLimits && context.waiters.length === 0)
        enqueue(sendParent(toReport('service.rested', context)))
    }),
    reportUse: enqueueActions(({ context, enqueue }) => {
      if (context.policy.drawsOnLimits) enqueue(sendParent(toReport('service.used', context)))
    }),
    reportStop: enqueueActions(({ context, enqueue }) => {
      if (context.policy.drawsOnLimits) enqueue(sendParent(toReport('service.leaving', context)))
    }),
    reportEnd: sendParent(({ event }) => toEnd(event)),
  },
})

/** How many wait for a start, and the highest priority among them. */
function toDemand({ waiters }: ProviderContext) {
  const [first, ...others] = waiters.map(({ priority }) => priority)
  return {
    waiting: waiters.length,
    priority: others.reduce((a, b) => Math.max(a, b), first ?? 0),
    isPreload: waiters.length > 0 && waiters.every(({ cause }) => cause === 'preload'),
  }
}

function toReport<Type extends 'service.rested' | 'service.used' | 'service.leaving'>(
  type: Type,
  { key, generation }: ProviderContext,
) {
  return { type, key, generation: generation ?? '' }
}

function toEnd(event: ProviderEvent): SharingEvent {
  return {
    type: 'run.ended',
    generation: 'generation' in event ? event.generation : '',
    survivors: event.type === 'process.settled' ? countLeft(event.receipt) : 0,
    ...(event.type === 'process.settled' ? { left: listLeft(event.receipt) } : {}),
  }
}

/** What listens at the address of a run may hold its memory, too. */
function countLeft({ survivors, isPortHeld = false }: Receipt): number {
  return survivors.length + (isPortHeld ? 1 : 0)
}

function listLeft({ survivors, isPortHeld = false, portOwner }: Receipt): readonly number[] {
  const listeners = isPortHeld ? (portOwner?.strangers ?? []).map(({ pid }) => pid) : []
  return [...new Set([...survivors, ...listeners])]
}

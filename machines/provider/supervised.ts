import { enqueueActions, sendParent } from 'xstate'
import { isServerLeft, type ProviderEvent, type Receipt, type SharingEvent } from '../messages.ts'
import { providerMachine } from './chart.ts'
import type { ProviderContext } from './context.ts'

/** The provider machine below a supervisor: it asks its parent before each start and reports which room it takes. */
export const supervisedProviderMachine = providerMachine.provide({
  actions: {
    requestStart: sendParent(
      ({ context }): SharingEvent => ({
        type: 'start.requested',
        key: context.key,
        generation: `${context.instance}.${context.run + 1}`,
        ...describeDemand(context),
      }),
    ),
    // Only a service that draws on shared limits has a place in the queue for starts.
    foreseeStart: enqueueActions(({ context, enqueue }) => {
      const { key, policy, waiters, instance, run } = context
      const generation = `${instance}.${run + 1}`
      if (policy.drawsOnLimits && waiters.length > 0)
        enqueue(sendParent({ type: 'start.foreseen', key, generation, ...describeDemand(context) }))
    }),
    leaveStartQueue: enqueueActions(({ context: { key, policy }, enqueue }) => {
      if (policy.drawsOnLimits) enqueue(sendParent({ type: 'start.finished', key, isRunning: false }))
    }),
    reportDemand: sendParent(
      ({ context }): SharingEvent => ({
        type: 'start.changed',
        key: context.key,
        ...describeDemand(context),
      }),
    ),
    finishStart: sendParent(
      ({ context: { key, ownership } }): SharingEvent => ({
        type: 'start.finished',
        key,
        isRunning: ownership === 'owned',
      }),
    ),
    // Every request causes these three, so a service that draws on no shared limit does not report them.
    reportRest: enqueueActions(({ context, enqueue }) => {
      // Waiters are granted leases in the same step: the service is not at rest.
      if (context.policy.drawsOnLimits && context.waiters.length === 0)
        enqueue(sendParent(buildReport('service.rested', context)))
    }),
    reportUse: enqueueActions(({ context, enqueue }) => {
      if (context.policy.drawsOnLimits) enqueue(sendParent(buildReport('service.used', context)))
    }),
    reportStop: enqueueActions(({ context, enqueue }) => {
      if (context.policy.drawsOnLimits) enqueue(sendParent(buildReport('service.leaving', context)))
    }),
    requestWake: sendParent(
      ({ context }): SharingEvent => ({
        type: 'start.requested',
        key: context.key,
        generation: context.generation ?? '',
        isWake: true,
        ...describeDemand(context),
      }),
    ),
    reportFallingAsleep: sendParent(({ context }) => buildReport('service.falling-asleep', context)),
    reportAsleep: sendParent(({ context }) => buildReport('service.asleep', context)),
    reportAwake: sendParent(({ context }) => buildReport('service.awake', context)),
    reportRunEnd: sendParent(({ event }) => buildRunEnd(event)),
  },
})

/** How many waiters there are, and the highest priority among them. */
function describeDemand({ waiters }: ProviderContext) {
  const [first, ...others] = waiters.map(({ priority }) => priority)
  return {
    waiting: waiters.length,
    priority: others.reduce((a, b) => Math.max(a, b), first ?? 0),
    isPreload: waiters.length > 0 && waiters.every(({ cause }) => cause === 'preload'),
  }
}

type Report =
  | 'service.rested'
  | 'service.used'
  | 'service.leaving'
  | 'service.falling-asleep'
  | 'service.asleep'
  | 'service.awake'

function buildReport<Type extends Report>(type: Type, { key, generation }: ProviderContext) {
  return { type, key, generation: generation ?? '' }
}

function buildRunEnd(event: ProviderEvent): SharingEvent {
  return {
    type: 'run.ended',
    generation: 'generation' in event ? event.generation : '',
    survivors: event.type === 'process.settled' ? countSurvivors(event.receipt) : 0,
    ...(event.type === 'process.settled' ? { pids: listSurvivors(event.receipt) } : {}),
  }
}

/** A process that still listens on the port, or a server outside the tree, may hold memory: it counts as a survivor. */
function countSurvivors(receipt: Receipt): number {
  const { survivors, isPortHeld = false } = receipt
  return survivors.length + (isPortHeld || isServerLeft(receipt) ? 1 : 0)
}

function listSurvivors({ survivors, isPortHeld = false, portHolder }: Receipt): readonly number[] {
  const listeners = isPortHeld ? (portHolder?.strangers ?? []).map(({ pid }) => pid) : []
  return [...new Set([...survivors, ...listeners])]
}

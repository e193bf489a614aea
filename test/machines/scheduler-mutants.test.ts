import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { assign, enqueueActions, raise } from 'xstate'
import type { SupervisorEvent } from '../../machines/messages.ts'
import { supervisedProviderMachine } from '../../machines/provider/supervised.ts'
import { type QueuedStart, toAsleepNeeds } from '../../machines/scheduler.ts'
import { supervisorMachine } from '../../machines/supervisor.ts'
import { noteAsking, type SupervisorContext } from '../../machines/supervisor-context.ts'
import type { SchedulerInvariant } from '../../src/testing/scheduler-invariants.ts'
import { playWorkload, SchedulerInvariantError, workloads } from './workload.ts'

type Scope = { readonly context: SupervisorContext; readonly event: SupervisorEvent }

const generationOf = (event: SupervisorEvent) => ('generation' in event ? event.generation : '')
const changed = (
  { context, event }: Scope,
  toChange: (resident: SupervisorContext['residents'][number]) => object,
) => ({
  residents: context.residents.map((one) =>
    one.generation === generationOf(event) ? { ...one, ...toChange(one) } : one,
  ),
})

const asks = (changes: Partial<QueuedStart>) => (scope: Scope) => {
  if (scope.event.type !== 'start.requested') return {}
  const change = noteAsking(scope.context, scope.event)
  return { ...change, queuedStarts: change.queuedStarts?.map((one) => ({ ...one, ...changes })) ?? [] }
}

/** Each mutant, and the invariant that it breaks. */
const mutants: Record<string, readonly [typeof supervisorMachine, SchedulerInvariant]> = {
  'room that is free as soon as a stop begins, without a receipt': [
    supervisorMachine.provide({
      actions: {
        noteLeaving: assign(({ context, event }) => ({
          residents: context.residents.filter(({ generation }) => generation !== generationOf(event)),
        })),
      },
    }),
    'withinLimits',
  ],
  'a run that is booked as asleep when it is told to sleep': [
    supervisorMachine.provide({
      actions: {
        noteFallingAsleep: assign((scope) =>
          changed(scope, ({ key }) => ({ phase: 'asleep', holds: toAsleepNeeds(scope.context, key) })),
        ),
      },
    }),
    'sleepIsBooked',
  ],
  'a run that is woken and booked as asleep': [
    supervisorMachine.provide({
      actors: {
        provider: supervisedProviderMachine.provide({
          actions: { requestWake: ({ self }) => self.send({ type: 'start.permitted' }) },
        }),
      },
    }),
    'sleepIsBooked',
  ],
  'a minimum residency that is over at once': [
    supervisorMachine.provide({
      actions: { noteRest: assign((scope) => changed(scope, () => ({ phase: 'idle', residency: 'over' }))) },
    }),
    'residencyKept',
  ],
  'a service that gave way and is not known to return': [
    supervisorMachine.provide({ actions: { noteAsking: assign(asks({ isReturning: false })) } }),
    'residencyKept',
  ],
  'a minimum residency that keeps out a request that waits alone': [
    supervisorMachine.provide({ actions: { noteAsking: assign(asks({ isReturning: true })) } }),
    'idleGivesWay',
  ],
  'a service that makes room for what is only preloaded': [
    supervisorMachine.provide({ actions: { noteAsking: assign(asks({ isPreload: false })) } }),
    'preloadTakesNothing',
  ],
  'patience that never ends': [
    supervisorMachine.provide({ actions: { noteOverdue: () => {} } }),
    'starvationBounded',
  ],
  'a permit for every start': [
    supervisorMachine.provide({
      actions: {
        decide: enqueueActions(({ event, enqueue }) => {
          if (event.type === 'start.requested') enqueue.sendTo(event.key, { type: 'start.permitted' })
        }),
      },
    }),
    'decisionsExplained',
  ],
  'a start that keeps its room when it fails': [
    supervisorMachine.provide({ actions: { noteEnded: () => {} } }),
    'roomIsUsed',
  ],
  'a service that makes room under its leases': [
    supervisorMachine.provide({
      actors: { provider: supervisedProviderMachine.provide({ guards: { hasNoLeases: () => true } }) },
    }),
    'leasedStays',
  ],
  'a pin that is forgotten': [
    supervisorMachine.provide({
      actions: {
        recount: assign(({ context }) => ({
          shares: Object.fromEntries(
            Object.entries(context.shares).map(([key, share]) => [key, { ...share, isPinned: false }]),
          ),
        })),
      },
    }),
    'pinnedStays',
  ],
  'patience that is over at once': [
    supervisorMachine.provide({
      actions: {
        awaitStarvation: raise(({ event }) => ({ type: 'start.overdue', generation: generationOf(event) })),
      },
    }),
    'yieldsForWaiter',
  ],
  'a service that goes on making room when no service waits for it any more': [
    supervisorMachine.provide({
      actors: { provider: supervisedProviderMachine.provide({ guards: { isYielding: () => false } }) },
    }),
    'yieldsForWaiter',
  ],
}

describe('random workloads', () => {
  test.each(Object.entries(mutants))(
    'catch %s',
    async (_name, [machine, invariant]) => {
      const { errorInstance } = await fc.check(
        fc.asyncProperty(workloads, async (workload) => {
          try {
            await playWorkload(workload, machine)
          } catch (error) {
            // A mutant may break more than one.
            if (error instanceof SchedulerInvariantError && !error.broken.includes(invariant)) return
            throw error
          }
        }),
        // Found is enough: the shortest workload that breaks it is of no interest here.
        { numRuns: 300, seed: 1, endOnFailure: true },
      )
      expect(errorInstance).toBeInstanceOf(SchedulerInvariantError)
      expect(errorInstance).toMatchObject({ broken: expect.arrayContaining([invariant]) })
    },
    300_000,
  )
})

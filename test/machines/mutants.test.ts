import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { assign } from 'xstate'
import type { ProviderEvent } from '../../machines/messages.ts'
import { providerMachine } from '../../machines/provider.ts'
import type { ProviderContext } from '../../machines/provider-context.ts'
import { InvariantError } from '../../src/testing/invariants.ts'
import { playSchedule, schedules } from './schedule.ts'

const NET = { numRuns: 2_000, endOnFailure: true }
const catchIn = (machine: typeof providerMachine) =>
  fc.check(
    fc.asyncProperty(schedules, (schedule) => playSchedule(schedule, machine)),
    NET,
  )

type Scope = { readonly context: ProviderContext; readonly event: ProviderEvent }

/** Takes results of every generation for events of one type, and of the current one for the others. */
const believeEvery =
  (type: ProviderEvent['type']) =>
  ({ context, event }: Scope) =>
    event.type === type || ('generation' in event && event.generation === context.generation)

const mutants: Record<string, typeof providerMachine> = {
  'a stop that does not look at leases': providerMachine.provide({ guards: { isUnleased: () => true } }),
  'an exit that forgets those who wait': providerMachine.provide({
    actions: { refuseWaiters: assign({ waiters: [] }) },
  }),
  'a health success that is believed too late': providerMachine.provide({
    guards: { isCurrentGeneration: believeEvery('health.verdict') },
  }),
  'a release that is counted for another generation': providerMachine.provide({
    guards: { isCurrentGeneration: believeEvery('lease.released') },
  }),
}

describe('2,000 random schedules', () => {
  test.each(Object.entries(mutants))('catch %s', async (_name, machine) => {
    const { errorInstance } = await catchIn(machine)
    expect(errorInstance).toBeInstanceOf(InvariantError)
  })

  test('find nothing in the true machine', async () => {
    const { failed, counterexample, errorInstance, seed } = await catchIn(providerMachine)
    expect({ failed, counterexample, errorInstance, seed }).toMatchObject({ failed: false })
  })
})

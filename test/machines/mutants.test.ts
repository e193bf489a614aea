import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { and, assign, createMachine, sendTo } from 'xstate'
import type { ProviderEvent } from '../../machines/messages.ts'
import { providerMachine } from '../../machines/provider/chart.ts'
import type { ProviderContext } from '../../machines/provider/context.ts'
import { type Invariant, InvariantError } from '../../src/testing/invariants.ts'
import { runScript } from '../../src/testing/run-script.ts'
import { parseScript } from '../../src/testing/script.ts'
import { playSchedule, schedules } from './schedule.ts'

/** With a seed the same schedule catches a mutant every time, and so by the same invariant. */
const catchIn = (machine: typeof providerMachine) =>
  fc.check(
    fc.asyncProperty(schedules, (schedule) => playSchedule(schedule, machine)),
    { numRuns: 2_000, endOnFailure: true, seed: 1 },
  )

type Scope = { readonly context: ProviderContext; readonly event: ProviderEvent }

/** Takes results of every generation for events of one type, and of the current one for the others. */
const believeEvery =
  (type: ProviderEvent['type']) =>
  ({ context, event }: Scope) =>
    event.type === type || ('generation' in event && event.generation === context.generation)

/** Takes a health success while the stop after a missed deadline is under way. */
function believeAfterDeadline(): typeof providerMachine {
  const { config, implementations } = providerMachine
  const stopping = config.states?.['idle-stopping']
  const on = {
    ...stopping?.on,
    'health.verdict': { guard: and(['isReady', 'isCurrentGeneration']), target: 'ready' },
  }
  const mutated = { ...config, states: { ...config.states, 'idle-stopping': { ...stopping, on } } }
  // The types of a chart are inferred from its literal, and this one is made.
  return createMachine(mutated as never, implementations as never) as never
}

/** Each mutant, and the invariant that it breaks. */
const mutants: Record<string, readonly [typeof providerMachine, Invariant]> = {
  'a stop that does not look at leases': [
    providerMachine.provide({ guards: { hasNoLeases: () => true } }),
    'leasesAreCounted',
  ],
  'an exit that forgets the waiters': [
    providerMachine.provide({ actions: { refuseWaiters: assign({ waiters: [] }) } }),
    'requestsAnsweredOnce',
  ],
  'a health success that is believed for another generation': [
    providerMachine.provide({ guards: { isCurrentGeneration: believeEvery('health.verdict') } }),
    'oldGenerationsAreMute',
  ],
  'a wake whose failure is not looked at': [
    providerMachine.provide({ guards: { isSleepFault: () => false } }),
    'sleepersAreLeftAlone',
  ],
  'a stop of a sleeping server that a request calls off': [
    providerMachine.provide({
      guards: { canCallOff: ({ context }) => context.stop === 'idle' || context.stop === 'evicted' },
    }),
    'sleepersAreLeftAlone',
  ],
  'a sleeping server that is asked for its health': [
    providerMachine.provide({
      actions: {
        watchSleep: sendTo('health', ({ context }) => ({
          type: 'health.watch',
          generation: context.generation ?? '',
        })),
      },
    }),
    'sleepersAreLeftAlone',
  ],
  'a release that is counted for another generation': [
    providerMachine.provide({ guards: { isCurrentGeneration: believeEvery('lease.released') } }),
    'oldGenerationsAreMute',
  ],
}

test('a script catches a health success that is believed after the deadline', async () => {
  const file = new URL('../scripts/health-success-after-the-deadline-is-too-late.json5', import.meta.url)
  const script = parseScript(readFileSync(file, 'utf8'))
  expect(await runScript(script, believeAfterDeadline())).toMatchObject({ ok: false })
  expect(await runScript(script)).toMatchObject({ ok: true })
})

// That the true machine passes is what 10,000 schedules say elsewhere.
describe('2,000 random schedules', { timeout: 300_000 }, () => {
  test.each(Object.entries(mutants))('catch %s', async (_name, [machine, invariant]) => {
    const { errorInstance } = await catchIn(machine)
    expect(errorInstance).toBeInstanceOf(InvariantError)
    expect(errorInstance).toMatchObject({ broken: expect.arrayContaining([invariant]) })
  })
})

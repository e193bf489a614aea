import { expect, test } from 'vitest'
import { createActor, fromPromise, type SnapshotFrom } from 'xstate'
import { type ClaimEvent, claimMachine } from '../../machines/claim.ts'
import type { HostClaimOutcome } from '../../machines/messages.ts'
import { compile } from '../../src/statechart/compile.ts'
import { findUntaken, walk } from './walk.ts'

test('a walk through every state of a claim takes every transition', () => {
  const { taken } = walk<SnapshotFrom<typeof claimMachine>>(claimMachine, {
    input: {},
    toEvents: ({ context: { askers, runs } }) => [
      ...(askers < 2 ? [{ type: 'claim.wanted' }] : []),
      ...(runs < 2 ? [{ type: 'run.begun' }] : []),
      { type: 'claim.abandoned' },
      { type: 'claim.unneeded' },
      { type: 'run.ended' },
      { type: 'xstate.done.actor.0.claim.asking', output: { outcome: 'claimed' } },
      { type: 'xstate.done.actor.0.claim.asking', output: { outcome: 'held' } },
    ],
    toKey: ({ value, context: { askers, runs } }) => JSON.stringify([value, askers, runs]),
  })
  expect(findUntaken(claimMachine, taken)).toEqual([])
})

/** The states and releases of one story. The mutants below differ from the chart in it. */
async function tell(machine: typeof claimMachine): Promise<string[]> {
  const seen: string[] = []
  const outcomes = ['held', 'claimed', 'claimed'] as const
  let asked = 0
  const actor = createActor(
    compile(
      machine.provide({
        actors: {
          take: fromPromise<HostClaimOutcome>(async () => ({ outcome: outcomes[asked++] ?? 'held' })),
        },
        actions: { release: () => seen.push('release') },
      }),
    ),
  ).start()
  const step = async (...types: ClaimEvent['type'][]) => {
    for (const type of types) actor.send({ type })
    await new Promise<void>((resolve) => setImmediate(resolve))
    const { value, context } = actor.getSnapshot()
    seen.push(JSON.stringify([value, context]))
  }
  await step('claim.wanted')
  await step('claim.wanted', 'claim.wanted', 'claim.abandoned')
  await step('run.begun', 'run.begun', 'claim.unneeded')
  await step('run.ended')
  await step('run.ended')
  await step('claim.wanted', 'claim.abandoned')
  return seen
}

test('one story of a claim: held by another, ours, outliving its service, free', async () => {
  expect(await tell(claimMachine)).toEqual([
    '["free",{"askers":0,"runs":0,"outcome":{"outcome":"held"}}]',
    '[{"held":"needed"},{"askers":0,"runs":0,"outcome":{"outcome":"claimed"}}]',
    '[{"held":"outliving"},{"askers":0,"runs":2,"outcome":{"outcome":"claimed"}}]',
    '[{"held":"outliving"},{"askers":0,"runs":1,"outcome":{"outcome":"claimed"}}]',
    'release',
    '["free",{"askers":0,"runs":0,"outcome":{"outcome":"claimed"}}]',
    '["free",{"askers":1,"runs":0,"outcome":null}]',
  ])
})

test.each<[string, typeof claimMachine]>([
  ['takes every answer for a claim', claimMachine.provide({ guards: { isClaimed: () => true } })],
  ['forgets the processes that still run', claimMachine.provide({ guards: { hasRuns: () => false } })],
  ['is free at the first receipt', claimMachine.provide({ guards: { isLastRun: () => true } })],
  ['is never free', claimMachine.provide({ guards: { isLastRun: () => false } })],
  ['gives up for all who ask', claimMachine.provide({ guards: { isLastAsker: () => true } })],
])('a chart that %s is caught', async (_, mutant) => {
  expect(await tell(mutant)).not.toEqual(await tell(claimMachine))
})

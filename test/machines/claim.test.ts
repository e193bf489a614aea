import { expect, test } from 'vitest'
import type { SnapshotFrom } from 'xstate'
import { claimMachine } from '../../machines/claim.ts'
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

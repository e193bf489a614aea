import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { compile } from '../../src/statechart/compile.ts'
import { Step } from '../../src/statechart/step.ts'
import { listRandomRuns } from '../random-runs.ts'
import { findDifference } from './record.ts'
import { buildSynthetic, playSynthetic, type Synthetic, synthetics } from './synthetic.ts'

// xstate's development build warns of every event that a stopped actor is sent.
beforeEach(() => void vi.spyOn(console, 'warn').mockImplementation(() => {}))
afterEach(() => vi.restoreAllMocks())

async function compare(one: Synthetic): Promise<string | null> {
  const machine = buildSynthetic(one)
  const byXstate = await playSynthetic(machine, one.events)
  return findDifference(byXstate, await playSynthetic(compile(machine), one.events))
}

for (const { numRuns, tags } of listRandomRuns(200, 2_000))
  test(`${numRuns} charts of random shape run the same way from the table as in the interpreter of xstate`, {
    tags,
    timeout: 30_000 + numRuns * 60,
  }, async () => {
    await fc.assert(
      fc.asyncProperty(synthetics, async (one) => {
        expect(compile(buildSynthetic(one))).not.toBe(one)
        const difference = await compare(one)
        if (difference !== null) throw new Error(difference)
      }),
      { numRuns },
    )
  })

describe('a mutated executor is caught:', () => {
  const { prototype } = Step
  test.each<[string, () => void]>([
    ['guards are ignored', () => void vi.spyOn(prototype, 'select').mockImplementation(([first]) => first)],
    ['emitted events are lost', () => void vi.spyOn(prototype, 'emit').mockImplementation(() => {})],
    ['raised events are lost', () => void vi.spyOn(prototype, 'raise').mockImplementation(() => {})],
    ['cancelled events still come', () => void vi.spyOn(prototype, 'cancel').mockImplementation(() => {})],
    ['assignments are lost', () => void vi.spyOn(prototype, 'assign').mockImplementation(() => {})],
    [
      'actions run in the reverse order',
      () => {
        const { carryOut } = prototype
        vi.spyOn(prototype, 'carryOut').mockImplementation(function (this: Step, plan) {
          carryOut.call(this, { ...plan, blocks: plan.blocks.toReversed() })
        })
      },
    ],
    [
      'entry and exit actions are left out',
      () => {
        const { carryOut } = prototype
        vi.spyOn(prototype, 'carryOut').mockImplementation(function (this: Step, plan) {
          carryOut.call(this, { ...plan, blocks: plan.blocks.slice(0, 1) })
        })
      },
    ],
  ])('%s', async (_name, mutate) => {
    const sample = fc.sample(synthetics, { numRuns: 200, seed: 7 })
    mutate()
    for (const one of sample) if ((await compare(one)) !== null) return
    expect.fail('every chart ran the same way')
  })
})

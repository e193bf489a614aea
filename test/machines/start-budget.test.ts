import fc from 'fast-check'
import { expect, test } from 'vitest'
import { providerMachine } from '../../machines/provider/chart.ts'
import { createStage } from '../../src/testing/stage.ts'
import { defaultWorld, type WorldOptions } from '../../src/testing/world.ts'

type Move =
  | { readonly kind: 'request' | 'crash' }
  | { readonly kind: 'wait'; readonly ms: number }
  | { readonly kind: 'world'; readonly changes: Partial<WorldOptions> }

/** Ways in which a start fails, or a server does not last. */
const changes = fc.constantFrom<Partial<WorldOptions>[]>(
  { exitAfterMs: 20 },
  { exitAfterMs: 150 },
  { exitAfterMs: 5_000 },
  { exitAfterMs: null },
  { readyAfterMs: null },
  { readyAfterMs: 0 },
  { readyAfterMs: 1_000 },
)
const move: fc.Arbitrary<Move> = fc.oneof(
  { weight: 5, arbitrary: fc.constant<Move>({ kind: 'request' }) },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('wait' as const),
      ms: fc.constantFrom(1, 25, 100, 500, 1_000, 5_000, 10_000, 70_000),
    }),
  },
  { weight: 3, arbitrary: fc.constant<Move>({ kind: 'crash' }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('world' as const), changes }) },
)
const plans = fc.record({
  policy: fc.record({
    readyTimeoutMs: fc.constant(2_000),
    backoffMs: fc.constantFrom(0, 100, 1_000),
    breakerFailures: fc.constantFrom(1, 2, 5),
    breakerCooldownMs: fc.constantFrom(10_000, 30_000),
    stabilityMs: fc.constant(60_000),
  }),
  moves: fc.array(move, { maxLength: 80, size: 'max' }),
})

/** Nothing is stopped or reset by hand: every start beyond the first follows a failure. */
const budget = (machine: typeof providerMachine) =>
  fc.asyncProperty(plans, async ({ policy, moves }) => {
    const world = { ...defaultWorld, warmPollMs: 50, heartbeatMs: 5_000, exitAfterMs: 20 }
    const stage = createStage({ policy, world, machine })
    try {
      for (const [index, one] of moves.entries()) {
        if (one.kind === 'request') stage.send({ type: 'lease.requested', id: `r${index}`, priority: 0 })
        if (one.kind === 'wait') await stage.advanceTo(stage.clock.now() + one.ms)
        if (one.kind === 'crash') stage.world.crash({ exitCode: 1 })
        if (one.kind === 'world') stage.world.set(one.changes)
      }
      const startsMs = stage.facts.flatMap(({ type, atMs }) => (type === 'process.spawned' ? [atMs] : []))
      for (const [index, startMs] of startsMs.entries()) {
        const nextMs = startsMs[index + policy.breakerFailures] ?? Number.POSITIVE_INFINITY
        expect(nextMs - startMs).toBeGreaterThanOrEqual(policy.breakerCooldownMs)
      }
    } finally {
      stage.stop()
    }
  })

test('no schedule of requests and failures makes more than breakerFailures starts within breakerCooldownMs (promise P17)', async () => {
  await fc.assert(budget(providerMachine), { numRuns: 500 })
}, 120_000)

test('a chart that charges no failure is caught by it', async () => {
  const machine = providerMachine.provide({ actions: { countFailure: () => {} } })
  const { failed } = await fc.check(budget(machine), { numRuns: 2_000, endOnFailure: true })
  expect(failed).toBe(true)
}, 120_000)

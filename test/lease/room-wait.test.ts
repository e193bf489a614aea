import { afterEach, describe, expect, test } from 'vitest'
import type { Config } from '../../src/config/config.ts'
import { toDecisionText } from '../../src/explanation/decision-text.ts'
import { findDecision } from '../../src/lease/room-wait.ts'
import { createCatalogue } from '../../src/service/catalogue.ts'
import { createDurations } from '../../src/service/past-durations.ts'
import { createRegistry } from '../../src/service/registry.ts'
import { stampDelays } from '../../src/statechart/armed-delays.ts'
import { build, closeHouses } from '../machines/house.ts'

afterEach(closeHouses)

/** Two services of one group that have both been started and stopped once, with the estimates of a supervisor. */
async function buildKnown() {
  const oneEach = { needs: { 'group:gpu': 1 }, minResidencyMs: 10_000 }
  const house = build({
    keys: ['a', 'b'],
    limits: { 'group:gpu': 1 },
    shares: { a: oneEach, b: oneEach },
    world: { termMs: 700, sweepMs: 50, readyAfterMs: 900 },
  })
  const { clock, actor } = house
  stampDelays(actor, clock)
  const starts = createDurations()
  const decisionOf = (key: string) => findDecision(actor, house.context(), key, clock)
  const registry = createRegistry({
    catalogue: createCatalogue({ providers: [], leasehold: {} } as unknown as Config),
    clock,
    actorOf: house.provider as never,
    keysOf: () => ['a', 'b'],
    outputOf: () => undefined,
    guestsOf: () => [],
    leaseTimesOf: () => null,
    totalsOf: () => ({ requests: 0, failed: 0, promptTokens: 0, completionTokens: 0 }),
    decisionOf,
    history: {
      pastStartsOf: () => [],
      startsOf: starts.of,
      addStart: starts.add,
      needsOf: () => ({}),
      addRun: () => {},
    },
    memoryOf: () => null,
  })
  for (const key of ['a', 'b']) {
    registry.follow(key, { message: () => {}, changed: () => {} })
    house.request(key, `first-${key}`)
    await clock.advanceTo(clock.now() + 2_000)
    house.release(key, `first-${key}`)
    house.send(key, { type: 'service.stop', reason: 'asked' })
    await clock.advanceTo(clock.now() + 2_000)
  }
  /** What is told now, and how long it is until the lease is granted. */
  const compare = async (key: string, id: string) => {
    const told = registry.placeOf(key, id)?.estimatedMs
    const sinceMs = clock.now()
    for (let ms = 1; registry.placeOf(key, id) !== undefined && ms < 60_000; ms += 1)
      await clock.advanceTo(sinceMs + ms)
    return { told, passed: clock.now() - sinceMs }
  }
  return { house, registry, decisionOf, compare }
}

describe('the estimate of a start that waits for room is the time that passes', () => {
  test('with the stop of the service that makes room', async () => {
    const { house, compare } = await buildKnown()
    house.request('a', 'r1')
    await house.advanceTo(house.clock.now() + 2_000)
    house.release('a', 'r1')
    house.request('b', 'r2')
    await house.advanceTo(house.clock.now() + 100)
    expect(house.states()).toEqual({ a: 'idle-stopping.terminating', b: 'starting.claiming' })
    const { told, passed } = await compare('b', 'r2')
    expect(told).toBeGreaterThan(1_000)
    expect(told).toBe(passed)
  })

  test('with what is left of a minimum residency, which is told in seconds', async () => {
    const { house, compare, decisionOf } = await buildKnown()
    house.request('b', 'r1')
    await house.advanceTo(house.clock.now() + 2_000)
    house.release('b', 'r1')
    house.request('a', 'r2')
    await house.advanceTo(house.clock.now() + 1_000)
    // It gave way to a start that is not over: the two take turns.
    house.request('b', 'r3')
    await house.advanceTo(house.clock.now() + 1_000)
    house.release('a', 'r2')
    await house.advanceTo(house.clock.now() + 3_000)
    expect(house.states()).toEqual({ a: 'ready', b: 'starting.claiming' })
    const decision = decisionOf('b')
    expect(decision?.rejected).toMatchObject([{ because: 'settling', minResidencyMs: 10_000 }])
    const leftMs = decision?.rejected[0]?.residencyLeftMs ?? 0
    expect(decision && toDecisionText(decision)).toMatch(
      /until it has been up for its minimum time \(10 s, [567](\.\d)? s left\)/,
    )
    const { told, passed } = await compare('b', 'r3')
    expect(told).toBeGreaterThan(leftMs + 1_000)
    expect(told).toBe(passed)
  })

  test('and none is told while a lease of the one that holds the room may last as long as it likes', async () => {
    const { house, registry } = await buildKnown()
    house.request('a', 'r1')
    await house.advanceTo(house.clock.now() + 2_000)
    house.request('b', 'r2')
    await house.advanceTo(house.clock.now() + 100)
    expect(registry.placeOf('b', 'r2')).toEqual({ position: 1, estimatedMs: null })
  })
})

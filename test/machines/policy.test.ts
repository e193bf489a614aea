import { expect, test } from 'vitest'
import { createActor } from 'xstate'
import { providerMachine } from '../../machines/provider/chart.ts'
import { defaultPolicy } from '../../src/testing/stage.ts'
import { createVirtualClock } from '../../src/testing/virtual-clock.ts'
import { createWorld } from '../../src/testing/world.ts'

test('a new policy that allows fewer leases than are held grants none until enough have ended', async () => {
  const clock = createVirtualClock()
  const actor = createActor(
    providerMachine.provide({
      actors: createWorld(clock).actors,
      actions: { requestStart: ({ self }) => self.send({ type: 'start.permitted' }) },
    }),
    { clock, input: { key: 'demo', instance: 'g', policy: { ...defaultPolicy, maxConcurrent: 3 } } },
  ).start()
  const ids = ['r1', 'r2', 'r3', 'r4', 'r5', 'r6']
  for (const id of ids) actor.send({ type: 'lease.requested', id })
  await clock.advanceTo(200)
  actor.send({ type: 'policy.replaced', policy: { ...defaultPolicy, maxConcurrent: 1 } })

  const seen = ['r1', 'r2', 'r3'].map((id) => {
    actor.send({ type: 'lease.released', id, generation: 'g.1' })
    const { leases, waiters } = actor.getSnapshot().context
    return [leases, waiters.length]
  })
  actor.stop()
  expect(seen).toEqual([
    [2, 3],
    [1, 3],
    [1, 2],
  ])
})

import { expect, test } from 'vitest'
import { type AnyStateMachine, createActor, setup } from 'xstate'
import { toTimers } from '../../src/service/snapshot.ts'
import { stampDelays } from '../../src/statechart/armed-delays.ts'
import { compile } from '../../src/statechart/compile.ts'
import { createVirtualClock } from '../../src/testing/virtual-clock.ts'

test.each([
  ['xstate', (machine: AnyStateMachine) => machine],
  ['the executor', compile],
])('a delay counts from when it was armed, run by %s', async (_, toRun) => {
  const clock = createVirtualClock()
  const machine: AnyStateMachine = setup({ delays: { idleStop: 10_000 } }).createMachine({
    initial: 'ready',
    states: {
      ready: {
        after: { idleStop: 'down' },
        on: { 'host.resumed': { target: 'ready', reenter: true } },
      },
      down: {},
    },
  })
  const actor = createActor(toRun(machine), { clock })
  stampDelays(actor, clock)
  actor.start()
  await clock.advanceTo(6_000)
  expect(toTimers(actor)).toMatchObject([{ name: 'idleStop', delayMs: 10_000, armedAtMs: 0 }])
  actor.send({ type: 'host.resumed' })
  expect(toTimers(actor)).toMatchObject([{ name: 'idleStop', delayMs: 10_000, armedAtMs: 6_000 }])
  await clock.advanceTo(15_000)
  expect(actor.getSnapshot().value).toBe('ready')
  actor.stop()
})

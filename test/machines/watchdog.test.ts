import { expect, test } from 'vitest'
import { createActor, fromCallback, SimulatedClock } from 'xstate'
import {
  type WatchdogCommand,
  type WatchdogEmitted,
  type WatchdogEvent,
  watchdogMachine,
} from '../../machines/watchdog.ts'

function start() {
  const clock = new SimulatedClock()
  const commands: string[] = []
  const events: WatchdogEmitted['type'][] = []
  let spawns = 0
  let report: (event: WatchdogEvent) => void = () => {}
  const effect = fromCallback<WatchdogCommand, undefined, WatchdogEvent>(({ sendBack, receive }) => {
    spawns += 1
    report = sendBack
    receive(({ type }) => commands.push(type))
  })
  const actor = createActor(watchdogMachine.provide({ actors: { process: effect } }), { clock })
  actor.on('*', ({ type }) => events.push(type))
  actor.start()
  return {
    actor,
    commands,
    events,
    increment: (ms: number) => clock.increment(ms),
    report: (event: WatchdogEvent) => report(event),
    spawns: () => spawns,
    state: () => JSON.stringify(actor.getSnapshot().value),
  }
}

test('a watchdog that cannot be spawned is tried again after 1, 2, 4 … and at most 60 s', () => {
  const { report, increment, spawns, events } = start()
  for (const seconds of [1, 2, 4, 8, 16, 32, 60, 60]) {
    const before = spawns()
    report({ type: 'watchdog.failed', reason: 'EAGAIN' })
    increment(seconds * 1_000 - 1)
    expect(spawns()).toBe(before)
    increment(1)
    expect(spawns()).toBe(before + 1)
  }
  expect(events).toEqual(['watchdog.lost'])
})

test('one that is stable again counts its failures from zero', () => {
  const { report, increment, actor, events } = start()
  report({ type: 'watchdog.failed', reason: 'EAGAIN' })
  increment(1_000)
  report({ type: 'watchdog.reported' })
  increment(1_000)
  expect(events).toEqual(['watchdog.lost', 'watchdog.restored'])
  expect(actor.getSnapshot().context).toEqual({ failures: 0, pauses: 0, problem: null })
})

test('one that was stable is replaced at once, however often it ends', () => {
  const { report, increment, spawns, events } = start()
  for (let deaths = 1; deaths <= 8; deaths += 1) {
    report({ type: 'watchdog.reported' })
    increment(1_000)
    report({ type: 'watchdog.ended', reason: 'it ended with SIGKILL' })
    expect(spawns()).toBe(deaths + 1)
  }
  expect(events).toEqual([])
})

test('one that hangs is killed after 10 s, and a close that meanwhile comes waits for its end only', () => {
  const { report, increment, actor, commands } = start()
  increment(10_000)
  expect(commands).toEqual(['kill'])
  actor.send({ type: 'watchdog.close' })
  report({ type: 'watchdog.ended', reason: 'it ended with SIGKILL' })
  expect(actor.getSnapshot().status).toBe('done')
})

test('a close ends after 3 s at most, whatever the watchdog does', () => {
  const { report, increment, actor, commands, state } = start()
  report({ type: 'watchdog.reported' })
  actor.send({ type: 'watchdog.close' })
  expect(commands).toEqual(['dismiss'])
  increment(2_000)
  expect([commands, state()]).toEqual([['dismiss', 'kill'], '{"running":"killing"}'])
  increment(1_000)
  expect(actor.getSnapshot().status).toBe('done')
})

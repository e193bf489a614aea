import { describe, expect, test } from 'vitest'
import { createActor, fromCallback, fromPromise, type SnapshotFrom } from 'xstate'
import { type RunEvent, type RunReport, runMachine } from '../../machines/run.ts'
import { compile } from '../../src/statechart/compile.ts'
import { createVirtualClock } from '../../src/testing/virtual-clock.ts'
import { findUntaken, walk } from './walk.ts'

const exit = { type: 'process.exited', exitCode: 0, signal: null, tail: [] } as const
const receipt = { generation: 'g', pid: 1, exitCode: 0, signal: null, survivors: [], durationMs: 0 }
const failure = { code: 'LEASEHOLD_PORT_TAKEN', message: 'its port is taken' } as const

/** A run whose effects end when the test says so. */
function openRun({ closesFirst = false, hasStopCommand = false } = {}) {
  const clock = createVirtualClock()
  const ends = new Map<string, (output: unknown) => void>()
  const asked: string[] = []
  const effect = <Output>(name: string) =>
    fromPromise<Output>(() => new Promise((resolve) => ends.set(name, resolve as (output: unknown) => void)))
  const ask = (name: string) => () => void asked.push(name)
  const machine = compile(
    runMachine.provide({
      actors: {
        prepare: effect('prepare'),
        spawn: fromCallback<RunEvent, undefined, RunEvent>(() => {}),
        exit: effect('exit'),
        close: effect('close'),
        command: effect('command'),
        explain: effect('explain'),
        rest: effect('rest'),
        settle: effect('settle'),
        retry: effect('retry'),
      },
      actions: {
        cancelSpawn: ask('cancel'),
        terminate: ask('SIGTERM'),
        kill: ask('SIGKILL'),
        sweep: ask('sweep'),
      },
    }),
  )
  const reports: string[] = []
  const actor = createActor(machine, { clock, input: { closesFirst, hasStopCommand } })
  actor.on('*', ({ type }: RunReport) => reports.push(type))
  actor.start()
  return {
    clock,
    asked,
    reports,
    send: (...types: Extract<RunEvent['type'], `run.${string}`>[]) => {
      for (const type of types) actor.send({ type })
    },
    signalled: (signal: 'SIGTERM' | 'SIGKILL') => actor.send({ type: 'process.signalled', signal }),
    spawned: () => actor.send({ type: 'process.spawned', pid: 1 }),
    end: async (name: string, output: unknown = null) => {
      ends.get(name)?.(output)
      await new Promise<void>((resolve) => setImmediate(resolve))
    },
    value: () => actor.getSnapshot().value,
    tags: () => [...actor.getSnapshot().tags],
  }
}

async function openRunning(options?: { readonly closesFirst: boolean; readonly hasStopCommand?: boolean }) {
  const run = openRun(options)
  await run.end('prepare')
  run.spawned()
  return run
}

describe('the chart of a run', () => {
  test('goes from its turn over the exit to the receipt', async () => {
    const run = openRun()
    expect(run.tags()).toEqual(['waiting'])
    await run.end('prepare')
    run.spawned()
    expect(run.tags()).toEqual(['running'])
    await run.end('exit', true)
    expect(run.tags()).toEqual(['exited'])
    await run.end('explain', exit)
    await run.end('settle', receipt)
    expect(run.tags()).toEqual(['settled'])
    expect(run.reports).toEqual(['process.spawned', 'process.exited', 'process.settled'])
  })

  test('spawns nothing when it may not', async () => {
    const run = openRun()
    await run.end('prepare', failure)
    expect(run.tags()).toEqual(['settled'])
    expect(run.reports).toEqual(['process.failed'])
  })

  test.each(['run.terminate', 'run.kill', 'run.sweep'] as const)('cancels the spawn on %s', async (type) => {
    const run = openRun()
    run.send(type)
    await run.end('prepare')
    run.send(type)
    expect(run.asked).toEqual(['cancel', 'cancel'])
  })

  test('sends SIGTERM once, after our connections are closed', async () => {
    const run = await openRunning({ closesFirst: true })
    run.send('run.terminate', 'run.terminate')
    expect([run.asked, run.tags()]).toEqual([[], ['running']])
    await run.end('close')
    run.signalled('SIGTERM')
    run.send('run.terminate')
    expect([run.asked, run.tags()]).toEqual([['SIGTERM'], ['stopping']])
  })

  test('sends SIGTERM after two seconds when closing hangs', async () => {
    const run = await openRunning({ closesFirst: true })
    run.send('run.terminate')
    await run.clock.advanceTo(1_999)
    expect(run.asked).toEqual([])
    await run.clock.advanceTo(2_000)
    expect(run.asked).toEqual(['SIGTERM'])
  })

  test('can be spared until SIGTERM is sent', async () => {
    const run = await openRunning({ closesFirst: true })
    run.send('run.terminate', 'run.spare')
    await run.end('close')
    await run.clock.advanceTo(5_000)
    expect([run.asked, run.value()]).toEqual([[], { alive: 'running' }])
    run.send('run.terminate')
    await run.end('close')
    run.send('run.spare')
    expect([run.asked, run.value()]).toEqual([['SIGTERM'], { alive: 'stopping' }])
  })

  test('kills while our connections are being closed, and sends no SIGTERM then', async () => {
    const run = await openRunning({ closesFirst: true })
    run.send('run.terminate', 'run.kill')
    await run.end('close')
    await run.clock.advanceTo(5_000)
    expect(run.asked).toEqual(['SIGKILL'])
  })

  test('runs the stop command before SIGTERM, and cannot be spared then', async () => {
    const run = await openRunning({ closesFirst: true, hasStopCommand: true })
    run.send('run.terminate')
    await run.end('close')
    run.send('run.spare')
    expect([run.value(), run.reports]).toEqual([
      { alive: 'commanding' },
      ['process.spawned', 'process.signalled'],
    ])
    await run.end('command')
    expect([run.asked, run.value()]).toEqual([['SIGTERM'], { alive: 'stopping' }])
  })

  test('waits for its stop command when the leader has ended because of it', async () => {
    const run = await openRunning({ closesFirst: false, hasStopCommand: true })
    run.send('run.terminate')
    await run.end('exit', true)
    await run.end('explain', exit)
    expect(run.value()).toBe('resting')
  })

  test('tries the stop command again while the server is there after the receipt', async () => {
    const run = await openRunning({ closesFirst: false, hasStopCommand: true })
    run.send('run.kill')
    await run.end('exit', true)
    await run.end('explain', exit)
    await run.end('settle', { ...receipt, outside: { exitCode: 1, status: 'there' } })
    expect([run.value(), run.tags()]).toEqual(['lingering', ['settled']])
    await run.end('retry')
    expect(run.value()).toBe('settled')
  })

  test('leaves the rest of a tree the grace when it was asked to end, and none when it was not', async () => {
    const asked = await openRunning()
    asked.send('run.terminate')
    asked.signalled('SIGTERM')
    await asked.end('exit', true)
    await asked.end('explain', exit)
    expect(asked.value()).toBe('resting')
    const crashed = await openRunning()
    await crashed.end('exit', true)
    await crashed.end('explain', exit)
    expect(crashed.value()).toBe('sweeping')
  })

  test('reports each signal once, and none after the receipt; survivors can still be killed', async () => {
    const run = await openRunning()
    run.send('run.kill', 'run.sweep')
    run.signalled('SIGKILL')
    run.signalled('SIGKILL')
    // A sweep has ended, and the leader lives: it waits in the kernel.
    await run.end('exit', false)
    await run.end('settle', { ...receipt, survivors: [1] })
    run.send('run.kill')
    run.signalled('SIGTERM')
    expect(run.asked).toEqual(['SIGKILL', 'sweep', 'SIGKILL'])
    expect(run.reports).toEqual(['process.spawned', 'process.signalled', 'process.settled'])
  })
})

test('a walk through every state of a run takes every transition', () => {
  const invokes = (src: string, path: string) => `xstate.done.actor.0.run.${path || src}`
  const left = { ...receipt, outside: { exitCode: 0, status: 'there' } } as const
  const takenWith = (hasStopCommand: boolean) =>
    walk<SnapshotFrom<typeof runMachine>>(runMachine, {
      input: { closesFirst: true, hasStopCommand },
      toEvents: () => [
        ...(['run.terminate', 'run.spare', 'run.kill', 'run.sweep'] as const).map((type) => ({ type })),
        { type: 'process.spawned', pid: 1 },
        { type: 'process.failed', failure },
        { type: 'process.signalled', signal: 'SIGTERM' },
        { type: 'process.signalled', signal: 'SIGKILL' },
        { type: invokes('prepare', 'preparing'), output: null },
        { type: invokes('prepare', 'preparing'), output: failure },
        { type: invokes('exit', 'alive'), output: true },
        { type: invokes('exit', 'alive'), output: false },
        { type: invokes('close', 'alive.closing'), output: undefined },
        { type: 'xstate.error.actor.0.run.alive.closing', error: 'a bug' },
        { type: 'xstate.after.close.run.alive.closing' },
        { type: invokes('explain', 'exited'), output: exit },
        { type: invokes('rest', 'resting'), output: undefined },
        { type: invokes('settle', 'sweeping'), output: receipt },
        { type: invokes('settle', 'sweeping'), output: left },
        { type: 'process.detached' },
        { type: invokes('command', 'alive.commanding'), output: undefined },
        { type: 'xstate.error.actor.0.run.alive.commanding', error: 'a bug' },
        { type: invokes('retry', 'lingering'), output: undefined },
      ],
      toKey: ({ value, context }) => JSON.stringify([value, context]),
    }).taken
  const takenWithoutClosing = (hasStopCommand: boolean) =>
    walk<SnapshotFrom<typeof runMachine>>(runMachine, {
      input: { closesFirst: false, hasStopCommand },
      toEvents: () => [
        { type: 'run.terminate' },
        { type: 'process.spawned', pid: 1 },
        { type: invokes('prepare', 'preparing'), output: null },
      ],
      toKey: ({ value, context }) => JSON.stringify([value, context]),
    }).taken
  const taken = [true, false].flatMap((has) => [...takenWith(has), ...takenWithoutClosing(has)])
  expect(findUntaken(runMachine, new Set(taken))).toEqual([])
})

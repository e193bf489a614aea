import { describe, expect, test } from 'vitest'
import { createActor, fromCallback, fromPromise, type SnapshotFrom } from 'xstate'
import type { Presence, Receipt } from '../../machines/messages.ts'
import { type RunEvent, type RunInput, type RunReport, runMachine } from '../../machines/run.ts'
import { compile } from '../../src/statechart/compile.ts'
import { createVirtualClock } from '../../src/testing/virtual-clock.ts'
import { findUntaken, walk } from './walk.ts'

const exit = { type: 'process.exited', exitCode: 0, signal: null, tail: [] } as const
const receipt = { generation: 'g', pid: 1, exitCode: 0, signal: null, survivors: [], durationMs: 0 }
const failure = { code: 'LEASEHOLD_PORT_TAKEN', message: 'its port is taken' } as const

/** A run of a process without commands. */
const plain: RunInput = {
  closesFirst: false,
  hasStopCommand: false,
  hasStatusCommand: false,
  isExternal: false,
  isModel: false,
  loadOutlastsMs: 0,
}
/** A run of a server outside the tree. */
const outside: RunInput = { ...plain, hasStopCommand: true, hasStatusCommand: true, isExternal: true }

/** A run whose effects end when the test says so. */
function openRun(given: Partial<RunInput> = {}) {
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
        leader: fromCallback<RunEvent, undefined, RunEvent>(() => {}),
        ask: effect('ask'),
        close: effect('close'),
        command: fromPromise<void, { readonly isAgain: boolean }>(({ input }) => {
          asked.push(input.isAgain ? 'command again' : 'command')
          return new Promise((resolve) => ends.set('command', resolve as (output: unknown) => void))
        }),
        explain: effect('explain'),
        rest: effect('rest'),
        settle: fromPromise<Receipt, { readonly isFound: boolean; readonly isLoadOpen: boolean }>(
          () => new Promise((resolve) => ends.set('settle', resolve as (output: unknown) => void)),
        ),
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
  const actor = createActor(machine, { clock, input: { ...plain, ...given } })
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
    exited: (exitCode: number | null = 0, signal: string | null = null) =>
      actor.send({ type: 'leader.exited', exitCode, signal }),
    stuck: () => actor.send({ type: 'leader.stuck' }),
    spawned: () => actor.send({ type: 'process.spawned', pid: 1 }),
    end: async (name: string, output: unknown = null) => {
      ends.get(name)?.(output)
      await new Promise<void>((resolve) => setImmediate(resolve))
    },
    value: () => actor.getSnapshot().value,
    context: () => actor.getSnapshot().context,
    tags: () => [...actor.getSnapshot().tags],
  }
}

async function openRunning(options?: Partial<RunInput>) {
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
    run.exited()
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
    expect([run.asked, run.value()]).toEqual([[], { alive: { running: 'seen' } }])
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
    expect([run.asked, run.value()]).toEqual([['command', 'SIGTERM'], { alive: 'stopping' }])
  })

  test('waits for its stop command when the leader has ended because of it', async () => {
    const run = await openRunning({ hasStopCommand: true })
    run.send('run.terminate')
    run.exited()
    await run.end('explain', exit)
    expect(run.value()).toBe('resting')
  })

  test('tries the stop command again while the server is there after the receipt, later each time', async () => {
    const run = await openRunning({ hasStopCommand: true })
    run.send('run.kill')
    run.exited()
    await run.end('explain', exit)
    await run.end('settle', { ...receipt, outside: { exitCodes: [1, 1], status: 'there' } })
    expect([run.value(), run.tags()]).toEqual([{ lingering: 'pausing' }, ['settled']])
    const pauses: number[] = []
    for (let tries = 0; tries < 6; tries += 1) {
      const beganAtMs = run.clock.now()
      while (JSON.stringify(run.value()).includes('pausing'))
        await run.clock.advanceTo(run.clock.now() + 1_000)
      pauses.push(run.clock.now() - beganAtMs)
      await run.end('retry', tries % 2 === 0 ? 'there' : 'unknown')
    }
    expect(pauses).toEqual([5_000, 10_000, 20_000, 40_000, 60_000, 60_000])
    expect(run.context().isServerLeft).toBe(true)
    await run.clock.advanceTo(run.clock.now() + 60_000)
    await run.end('retry', 'gone')
    expect([run.value(), run.context().isServerLeft]).toEqual(['settled', false])
  })

  test('ends the tries when its table is closed, and the server is still left', async () => {
    const run = await openRunning({ hasStopCommand: true })
    run.send('run.kill')
    run.exited()
    await run.end('explain', exit)
    await run.end('settle', { ...receipt, outside: { exitCodes: [1, 1], status: 'there' } })
    run.send('run.sweep')
    expect([run.value(), run.context().isServerLeft]).toEqual(['settled', true])
  })

  test('leaves the rest of a tree the grace when it was asked to end, and none when it was not', async () => {
    const asked = await openRunning()
    asked.send('run.terminate')
    asked.signalled('SIGTERM')
    asked.exited()
    await asked.end('explain', exit)
    expect(asked.value()).toBe('resting')
    const crashed = await openRunning()
    crashed.exited()
    await crashed.end('explain', exit)
    expect(crashed.value()).toBe('sweeping')
  })

  test('reports each signal once, and none after the receipt; survivors can still be killed', async () => {
    const run = await openRunning()
    run.send('run.kill', 'run.sweep')
    run.signalled('SIGKILL')
    run.signalled('SIGKILL')
    // A sweep has ended, and the leader lives: it waits in the kernel.
    run.stuck()
    await run.end('settle', { ...receipt, survivors: [1] })
    run.send('run.kill')
    run.signalled('SIGTERM')
    expect(run.asked).toEqual(['SIGKILL', 'sweep', 'SIGKILL'])
    expect(run.reports).toEqual(['process.spawned', 'process.signalled', 'process.settled'])
  })
})

describe('the chart of a run whose server is outside its tree', () => {
  const openDetached = async (presence: Presence = 'there', options?: Partial<RunInput>) => {
    const run = await openRunning({ ...outside, ...options })
    run.exited()
    await run.end('ask', presence)
    return run
  }
  type Ended = readonly [exitCode: number | null, signal: string | null]
  const succeeded: Ended = [0, null]
  const failed: Ended = [125, null]
  const killed: Ended = [null, 'SIGKILL']

  test('looks for a server that was never seen after 1, 2, 4, 5 and 5 seconds, and no more when it is there', async () => {
    const run = await openRunning(outside)
    const looks: number[] = []
    for (let count = 0; count < 5; count += 1) {
      while (JSON.stringify(run.value()).includes('seeking'))
        await run.clock.advanceTo(run.clock.now() + 1_000)
      looks.push(run.clock.now())
      await run.end('ask', 'gone')
    }
    expect(looks).toEqual([1_000, 3_000, 7_000, 12_000, 17_000])
    await run.clock.advanceTo(22_000)
    await run.end('ask', 'there')
    expect([run.value(), run.context().isFound]).toEqual([{ alive: { running: 'seen' } }, true])
  })

  test.for<[string, boolean, Ended, Presence, boolean]>([
    ['a client that succeeded', false, succeeded, 'gone', true],
    ['a client that succeeded', false, succeeded, 'unknown', true],
    ['a client that succeeded', true, succeeded, 'gone', false],
    ['a client that succeeded', true, succeeded, 'unknown', true],
    ['a client that failed', false, failed, 'gone', false],
    ['a client that failed', true, failed, 'there', true],
    ['a client that failed', true, failed, 'unknown', true],
    ['a client that failed', true, failed, 'gone', false],
    ['a client that failed', false, failed, 'unknown', false],
    ['a client that was killed', true, killed, 'there', true],
    ['a client that was killed', true, killed, 'unknown', true],
    ['a client that was killed', false, killed, 'gone', false],
  ])(
    '%s, of a server that was seen before (%s), and ended with %s: %s outlives it (%s)',
    async ([, isFound, [exitCode, signal], presence, isAlive]) => {
      const run = await openRunning(outside)
      if (isFound) {
        await run.clock.advanceTo(1_000)
        await run.end('ask', 'there')
      }
      run.exited(exitCode, signal)
      expect(run.value()).toEqual({ alive: 'asking' })
      await run.end('ask', presence)
      expect(run.tags()).toEqual([isAlive ? 'running' : 'exited'])
      expect(run.reports.includes('process.detached')).toBe(isAlive)
    },
  )

  test.for<[Ended, Presence]>([
    [failed, 'there'],
    [failed, 'unknown'],
    [killed, 'there'],
  ])(
    'a model of a daemon is not there when its load ended with %s, even if a look says %s',
    async ([[exitCode, signal], presence]) => {
      const run = await openRunning({ ...outside, isModel: true })
      await run.clock.advanceTo(1_000)
      await run.end('ask', 'there')
      run.exited(exitCode, signal)
      await run.end('ask', presence)
      expect(run.tags()).toEqual(['exited'])
      expect(run.reports).not.toContain('process.detached')
    },
  )

  test('without a status command only a client that succeeded leaves a server, which no look ends', async () => {
    const run = await openDetached('unknown', { hasStatusCommand: false })
    await run.clock.advanceTo(3_600_000)
    expect(run.value()).toEqual({ alive: { detached: 'unasked' } })
    const other = await openRunning({ ...outside, hasStatusCommand: false })
    other.exited(null, 'SIGKILL')
    await other.end('ask', 'unknown')
    expect(other.value()).toBe('exited')
  })

  test('is a crash when it is gone twice, a second apart', async () => {
    const run = await openDetached()
    await run.clock.advanceTo(1_000)
    await run.end('ask', 'gone')
    expect(run.value()).toEqual({ alive: { detached: 'missed' } })
    await run.clock.advanceTo(1_999)
    expect(run.value()).toEqual({ alive: { detached: 'missed' } })
    await run.clock.advanceTo(2_000)
    await run.end('ask', 'gone')
    expect(run.value()).toBe('exited')
  })

  test.for<Presence>(['there', 'unknown'])(
    'is no crash when it was missed once, then %s',
    async (presence) => {
      const run = await openDetached()
      await run.clock.advanceTo(1_000)
      await run.end('ask', 'gone')
      await run.clock.advanceTo(2_000)
      await run.end('ask', presence)
      expect(run.value()).toEqual({ alive: { detached: 'watched' } })
      await run.clock.advanceTo(6_999)
      expect(run.value()).toEqual({ alive: { detached: 'watched' } })
      await run.clock.advanceTo(7_000)
      expect(run.value()).toEqual({ alive: { detached: 'looking' } })
    },
  )

  test('is never gone while that cannot be told, or before it was seen', async () => {
    const run = await openDetached('gone')
    for (let count = 0; count < 5; count += 1) {
      await run.clock.advanceTo(run.clock.now() + 1_000)
      await run.end('ask', 'gone')
    }
    expect(run.value()).toEqual({ alive: { detached: 'expected' } })
    await run.clock.advanceTo(run.clock.now() + 1_000)
    for (let count = 0; count < 5; count += 1) {
      await run.end('ask', 'unknown')
      await run.clock.advanceTo(run.clock.now() + 5_000)
    }
    expect(run.tags()).toEqual(['running'])
  })

  test('is ended by its stop command when its leader has ended: no signal is waited for', async () => {
    const run = await openDetached()
    run.send('run.terminate')
    expect(run.value()).toEqual({ alive: 'commanding' })
    await run.end('command')
    expect(run.value()).toBe('exited')
    await run.end('explain', exit)
    expect(run.value()).toBe('resting')
  })

  test.for(['run.kill', 'run.sweep'] as const)('goes to its receipt on %s', async (type) => {
    const run = await openDetached()
    run.send(type)
    expect(run.value()).toBe('exited')
    await run.end('explain', exit)
    expect(run.value()).toBe('sweeping')
  })

  /** Its stop command has run, and its leader lives. */
  const openStopped = async (options?: Partial<RunInput>) => {
    const run = await openRunning({ ...outside, ...options })
    run.send('run.terminate')
    await run.end('command')
    return run
  }

  test('that comes after its stop command is ended by a second one, and only then the leader gets a signal', async () => {
    const run = await openStopped()
    await run.clock.advanceTo(100)
    await run.end('ask', 'gone')
    await run.clock.advanceTo(200)
    expect(run.asked).toEqual(['command'])
    await run.end('ask', 'there')
    expect([run.value(), run.asked]).toEqual([{ alive: 'commanding' }, ['command', 'command again']])
    await run.end('command')
    expect([run.value(), run.asked]).toEqual([{ alive: 'stopping' }, ['command', 'command again', 'SIGTERM']])
  })

  test('that does not come after its stop command is looked for fifteen times', async () => {
    const run = await openStopped()
    for (let looks = 1; looks <= 15; looks += 1) {
      expect(run.asked).toEqual(['command'])
      await run.clock.advanceTo(looks * 100)
      await run.end('ask', 'gone')
    }
    expect([run.value(), run.asked]).toEqual([{ alive: 'stopping' }, ['command', 'SIGTERM']])
  })

  test('is not waited for when its leader ends after the stop command, or when it cannot be told', async () => {
    const left = await openStopped()
    left.exited()
    expect([left.value(), left.asked]).toEqual(['exited', ['command']])
    const untold = await openStopped()
    await untold.clock.advanceTo(100)
    await untold.end('ask', 'unknown')
    expect(untold.asked).toEqual(['command', 'SIGTERM'])
    const killed = await openStopped()
    killed.send('run.kill')
    expect([killed.value(), killed.asked]).toEqual([{ alive: 'stopping' }, ['command', 'SIGKILL']])
  })

  test.for<Partial<RunInput>>([{ isModel: true }, { isExternal: false }, { hasStatusCommand: false }])(
    'is not waited for where its leader is no client of an engine that can tell: %j',
    async (options) => {
      expect((await openStopped(options)).asked).toEqual(['command', 'SIGTERM'])
    },
  )

  test('is asked for when its leader ends while a stop is called off', async () => {
    const run = await openRunning({ ...outside, closesFirst: true })
    run.send('run.terminate')
    run.exited(null, 'SIGKILL')
    expect(run.value()).toEqual({ alive: 'closing' })
    run.send('run.spare')
    await run.end('ask', 'there')
    expect([run.value(), run.reports]).toEqual([
      { alive: { detached: 'expected' } },
      ['process.spawned', 'process.detached'],
    ])
  })
})

describe('the load of a model that outlasts its client', () => {
  const model = { ...outside, isModel: true, loadOutlastsMs: 60_000 }

  test('is not cut off by a stop: its answer is waited for, and the model is unloaded at the end', async () => {
    const run = await openRunning(model)
    run.send('run.terminate')
    await run.end('command')
    expect([run.value(), run.asked]).toEqual([{ alive: 'loading' }, ['command']])
    run.exited()
    await run.end('explain', exit)
    await run.end('rest')
    expect(run.value()).toBe('sweeping')
    await run.end('settle', receipt)
    expect(run.value()).toBe('settled')
  })

  const left = { ...receipt, outside: { exitCodes: [1], status: 'unknown' } } as const
  async function openLeft() {
    const run = await openRunning(model)
    run.send('run.terminate')
    await run.end('command')
    run.send('run.kill')
    run.exited(null, 'SIGKILL')
    await run.end('explain', exit)
    await run.end('rest')
    await run.end('settle', left)
    expect(run.value()).toEqual({ lingering: 'pausing' })
    return run
  }

  test('is unloaded when it comes after its client was killed', async () => {
    const run = await openLeft()
    await run.clock.advanceTo(5_000)
    await run.end('ask', 'gone')
    await run.end('retry', 'gone')
    expect([run.value(), run.context().isServerLeft]).toEqual([{ lingering: 'pausing' }, true])
    await run.clock.advanceTo(15_000)
    await run.end('ask', 'there')
    await run.end('retry', 'gone')
    expect([run.value(), run.context().isServerLeft]).toEqual(['settled', false])
  })

  test('is waited for no longer than a load may take', async () => {
    const run = await openLeft()
    await run.clock.advanceTo(60_000)
    for (let tries = 0; tries < 3; tries += 1) {
      await run.end('ask', 'gone')
      await run.end('retry', 'gone')
      await run.clock.advanceTo(run.clock.now() + 60_000)
    }
    expect([run.value(), run.context().isServerLeft]).toEqual(['settled', false])
  })
})

test('a walk through every state of a run takes every transition', () => {
  const invokes = (path: string) => `xstate.done.actor.0.run.${path}`
  const left = { ...receipt, outside: { exitCodes: [0, 0], status: 'there' } } as const
  const presences = ['there', 'gone', 'unknown'] as const
  const asks = ['running.looking', 'asking', 'detached.looking', 'detached.confirming', 'awaiting.looking']
  const model = { ...outside, isModel: true, loadOutlastsMs: 60_000 }
  const after = (delay: string, path: string) => ({ type: `xstate.after.${delay}.run.${path}` })
  const takenWith = (input: RunInput) =>
    walk<SnapshotFrom<typeof runMachine>>(runMachine, {
      input,
      toEvents: () => [
        ...(['run.terminate', 'run.spare', 'run.kill', 'run.sweep'] as const).map((type) => ({ type })),
        { type: 'process.spawned', pid: 1 },
        { type: 'process.failed', failure },
        { type: 'process.signalled', signal: 'SIGTERM' },
        { type: 'process.signalled', signal: 'SIGKILL' },
        { type: invokes('preparing'), output: null },
        { type: invokes('preparing'), output: failure },
        { type: 'leader.exited', exitCode: 0, signal: null },
        { type: 'leader.exited', exitCode: null, signal: 'SIGKILL' },
        { type: 'leader.stuck' },
        ...asks.flatMap((path) => presences.map((output) => ({ type: invokes(`alive.${path}`), output }))),
        { type: invokes('alive.closing'), output: undefined },
        { type: 'xstate.error.actor.0.run.alive.closing', error: 'a bug' },
        after('close', 'alive.closing'),
        after('seek', 'alive.running.seeking'),
        after('confirm', 'alive.detached.expected'),
        after('watch', 'alive.detached.watched'),
        after('confirm', 'alive.detached.missed'),
        after('late', 'alive.awaiting.pausing'),
        after('retry', 'lingering.pausing'),
        after('outlast', 'lingering'),
        ...presences.map((output) => ({ type: invokes('lingering.looking'), output })),
        { type: invokes('exited'), output: exit },
        { type: invokes('resting'), output: undefined },
        { type: invokes('sweeping'), output: receipt },
        { type: invokes('sweeping'), output: left },
        { type: invokes('alive.commanding'), output: undefined },
        { type: 'xstate.error.actor.0.run.alive.commanding', error: 'a bug' },
        ...presences.map((output) => ({ type: invokes('lingering.retrying'), output })),
      ],
      toKey: ({ value, context: { seekMs: _, retryMs: __, lateLooks, ...context } }) => {
        const state = JSON.stringify(value)
        return JSON.stringify([state, context, state.includes('awaiting') ? lateLooks : lateLooks > 0])
      },
    }).taken
  const taken = [
    plain,
    { ...plain, hasStopCommand: true },
    outside,
    { ...outside, hasStatusCommand: false },
    model,
  ]
    .flatMap((input) => [input, { ...input, closesFirst: true }])
    .flatMap((input) => [...takenWith(input)])
  expect(findUntaken(runMachine, new Set(taken))).toEqual([])
})

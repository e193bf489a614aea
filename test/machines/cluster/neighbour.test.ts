import { describe, expect, test } from 'vitest'
import { createActor, fromPromise, type SnapshotFrom } from 'xstate'
import type { Card } from '../../../machines/cluster/messages.ts'
import {
  type NeighbourContext,
  type NeighbourEvent,
  type NeighbourProbe,
  neighbourMachine,
} from '../../../machines/cluster/neighbour.ts'
import { compile } from '../../../src/statechart/compile.ts'
import { createVirtualClock } from '../../../src/testing/virtual-clock.ts'
import { card } from '../../cluster/attic-card.ts'
import { findUntaken, walk } from '../walk.ts'

const policy = { beatMs: 500, lostMs: 1_600, probeMs: 400 }
const heard = (seq: number, boot?: string, state?: Card['state']) =>
  ({ type: 'card.heard', card: card(seq, boot, state) }) as const
const echo = { type: 'echo.heard' } as const
const frozen = { type: 'view.frozen' } as const
const thawed = { type: 'view.thawed' } as const
const failed = { type: 'connection.failed' } as const
const bye = (boot = 'a1') => ({ type: 'bye.heard', boot }) as const
const none = (boot = 'a1') => ({ type: 'responders.none', boot }) as const
const refused: NeighbourProbe = { outcome: 'refused' }
const silent: NeighbourProbe = { outcome: 'silent' }
const answered = (seq: number, boot?: string): NeighbourProbe => ({
  outcome: 'answered',
  card: card(seq, boot),
})

/** A neighbour that HTTP finds as the test says. `null`: no answer comes. */
async function open(given = neighbourMachine, first: NeighbourProbe | null = answered(1), isFrozen = false) {
  const clock = createVirtualClock()
  const said: string[] = []
  let probes = 0
  const world = { http: first }
  const probe = fromPromise<NeighbourProbe, NeighbourContext>(() => {
    probes += 1
    return world.http === null ? new Promise(() => {}) : Promise.resolve(world.http)
  })
  const actor = createActor(compile(given.provide({ actors: { probe } })), {
    clock,
    input: { card: card(1), policy, isFrozen },
  })
  for (const type of ['neighbour.met', 'neighbour.lost', 'neighbour.muted'] as const)
    actor.on(type, (event) =>
      said.push([type.slice(10), event.boot, ...('because' in event ? [event.because] : [])].join(' ')),
    )
  actor.start()
  const send = async (...events: readonly NeighbourEvent[]) => {
    for (const event of events) actor.send(event)
    await clock.advanceTo(clock.now())
  }
  await send()
  return {
    said,
    world,
    send,
    /** Waits, in milliseconds. */
    wait: (ms: number) => clock.advanceTo(clock.now() + ms),
    /** Cards for some time, every half second, and the own echo with each. */
    beat: async (times: number, seq = 100) => {
      for (let at = 0; at < times; at += 1) {
        await clock.advanceTo(clock.now() + 500)
        await send(heard(seq + at), echo)
      }
    },
    probes: () => probes,
    tags: () => [...actor.getSnapshot().tags].join(),
    state: () => JSON.stringify(actor.getSnapshot().value),
    context: () => actor.getSnapshot().context,
    isDone: () => actor.getSnapshot().status === 'done',
  }
}

describe('a neighbour', () => {
  test('is used as soon as HTTP reaches it, and stays without a further question while its cards come', async () => {
    const attic = await open()
    await attic.beat(40)
    expect([attic.said, attic.probes(), attic.tags()]).toEqual([['met a1'], 1, 'usable'])
  })

  test('keeps the address of its run: a card with another one is forged', async () => {
    const attic = await open()
    await attic.send({ type: 'card.heard', card: { ...card(9), address: 'http://10.0.0.66:4141' } })
    expect([attic.context().card, attic.tags()]).toEqual([card(1), 'usable'])
    await attic.send(heard(2))
    expect(attic.context().card.seq).toBe(2)
  })

  test('is not used while HTTP does not reach it, and is asked again after a pause, not with each card', async () => {
    const attic = await open(neighbourMachine, refused)
    await attic.beat(120)
    // Once when it was met, then with the first card of each two seconds in one minute.
    expect([attic.said, attic.tags(), attic.probes()]).toEqual([[], 'lost', 31])
    attic.world.http = answered(1)
    await attic.wait(2_000)
    await attic.send(heard(300))
    expect([attic.said, attic.tags()]).toEqual([['met a1'], 'usable'])
  })

  test('is asked over HTTP after lostMs of silence and an echo of our own, and is muted when it answers (row 8)', async () => {
    const attic = await open()
    await attic.wait(1_599)
    await attic.send(echo)
    expect(attic.state()).toBe('{"alive":"open"}')
    await attic.wait(1)
    expect([attic.state(), attic.probes()]).toEqual(['"overdue"', 1])
    await attic.send(echo)
    expect([attic.said, attic.tags()]).toEqual([['met a1', 'muted a1'], 'muted'])
    await attic.wait(5_000)
    expect([attic.tags(), attic.probes()]).toEqual(['muted', 12])
    await attic.send(heard(9))
    expect([attic.tags(), attic.context().isSettling]).toEqual(['usable', false])
  })

  test('is never lost while our own card does not come back', async () => {
    const attic = await open(neighbourMachine, answered(1))
    attic.world.http = null
    await attic.wait(60_000)
    expect([attic.said, attic.state()]).toEqual([['met a1'], '"overdue"'])
  })

  test.each<[string, NeighbourProbe | null, number, string]>([
    ['refuses a connection', refused, 0, 'refused'],
    ['cannot be reached', silent, 0, 'silent'],
    ['does not answer for probeMs', null, 400, 'silent'],
  ])('that is silent on NATS and %s is lost', async (_, http, ms, because) => {
    const attic = await open()
    attic.world.http = http
    await attic.wait(1_600)
    await attic.send(echo)
    await attic.wait(ms)
    expect(attic.said.slice(1)).toEqual([`lost a1 ${because}`])
  })

  test('is lost in milliseconds when it refuses a connection, and not when it is only slow', async () => {
    const attic = await open()
    attic.world.http = null
    await attic.send(failed)
    await attic.wait(400)
    expect([attic.said, attic.state()]).toEqual([['met a1'], '{"alive":"open"}'])
    attic.world.http = refused
    await attic.send(failed)
    expect(attic.said).toEqual(['met a1', 'lost a1 refused'])
  })

  test('that stands still is lost although requests to it fail again and again', async () => {
    const attic = await open()
    attic.world.http = null
    for (let at = 0; at < 9; at += 1) {
      await attic.send(failed)
      await attic.wait(300)
      await attic.send(echo)
    }
    expect(attic.said).toEqual(['met a1', 'lost a1 silent'])
  })

  test('that NATS does not know is asked over HTTP at once', async () => {
    const attic = await open()
    await attic.send(none('a0'))
    expect(attic.tags()).toBe('usable')
    await attic.send(none())
    expect(attic.tags()).toBe('muted')
    attic.world.http = refused
    await attic.send(failed)
    expect(attic.said).toEqual(['met a1', 'muted a1', 'lost a1 refused'])
  })

  test('that is muted is asked twice before it is lost', async () => {
    const attic = await open()
    await attic.send(none())
    attic.world.http = null
    await attic.wait(500 + 400)
    expect(attic.tags()).toBe('muted')
    attic.world.http = answered(2)
    await attic.send(heard(3))
    await attic.send(none())
    attic.world.http = null
    await attic.wait(500 + 400 + 400)
    expect(attic.said.at(-1)).toBe('lost a1 silent')
  })

  test('that says bye is lost at once, and a late card of that run does not bring it back', async () => {
    const attic = await open()
    await attic.send(bye('a0'))
    expect(attic.tags()).toBe('usable')
    await attic.send(bye(), heard(50))
    await attic.wait(6_000)
    expect([attic.said, attic.tags()]).toEqual([['met a1', 'lost a1 left'], 'lost'])
    attic.world.http = answered(1, 'a2')
    await attic.send(heard(1, 'a2'))
    expect([attic.said.at(-1), attic.tags()]).toEqual(['met a2', 'usable'])
  })

  test('that left because another run had its name is back after that run was lost', async () => {
    const attic = await open()
    attic.world.http = answered(1, 'a2')
    await attic.send(bye(), heard(1, 'a2'))
    expect([attic.said.at(-1), attic.tags()]).toEqual(['met a2', 'usable'])
    await attic.send(heard(50, 'a1'))
    expect(attic.context().card.boot).toBe('a2')
    attic.world.http = refused
    await attic.send(failed)
    attic.world.http = answered(51, 'a1')
    await attic.send(heard(51, 'a1'))
    expect([attic.said.slice(-2), attic.tags()]).toEqual([['lost a2 refused', 'met a1'], 'usable'])
  })

  test('that is back gets no start for five seconds (row 17)', async () => {
    const attic = await open()
    attic.world.http = refused
    await attic.send(failed)
    attic.world.http = answered(1)
    await attic.send(heard(2))
    expect([attic.tags(), attic.context().isSettling]).toEqual(['usable', true])
    await attic.beat(9)
    await attic.wait(499)
    expect(attic.context().isSettling).toBe(true)
    await attic.wait(1)
    expect(attic.context().isSettling).toBe(false)
  })

  test('that was restarted loses its former run, and late cards of that run change nothing', async () => {
    const attic = await open()
    attic.world.http = answered(1, 'a2')
    await attic.send(heard(1, 'a2'))
    await attic.send(heard(99, 'a1'), bye('a1'), none('a1'))
    expect([attic.said, attic.tags(), attic.context().card]).toEqual([
      ['met a1', 'lost a1 restarted', 'met a2'],
      'usable',
      card(1, 'a2'),
    ])
  })

  test('is not lost by a late card of a former run that was never heard of', async () => {
    const attic = await open()
    await attic.send(heard(70, 'a0'))
    await attic.send(heard(2))
    expect([attic.said, attic.tags(), attic.context().card]).toEqual([['met a1'], 'usable', card(2)])
  })

  test('whose former run was heard last is found by its answer, and not ignored for ever', async () => {
    const attic = await open()
    // A card that took another way and came late: the run a0 is over, a1 lives.
    attic.world.http = null
    await attic.send(heard(70, 'a0'))
    attic.world.http = answered(3, 'a1')
    await attic.beat(1, 4)
    await attic.wait(6_000)
    await attic.beat(2, 10)
    expect([attic.tags(), attic.context().card.boot]).toEqual(['usable', 'a1'])
  })

  test('whose former run was heard last is back with its next card, too, where an answer does not tell the run', async () => {
    const attic = await open(neighbourMachine, silent)
    await attic.send(heard(70, 'a0'))
    expect(attic.context().card.boot).toBe('a0')
    attic.world.http = answered(4, 'a1')
    await attic.send(heard(4, 'a1'))
    expect([attic.tags(), attic.context().card.boot]).toEqual(['usable', 'a1'])
  })

  test('that is heard twice, late or out of order is what its newest card says', async () => {
    const attic = await open()
    await attic.send(heard(5, 'a1', 'draining'), heard(4), heard(5), heard(3))
    expect([attic.context().card, attic.tags()]).toEqual([card(5, 'a1', 'draining'), 'usable,draining'])
    await attic.send(heard(6))
    expect(attic.tags()).toBe('usable')
  })

  test('that is lost is asked every five seconds, and is forgotten after ten minutes', async () => {
    const attic = await open()
    attic.world.http = null
    await attic.wait(1_600)
    await attic.send(echo)
    await attic.wait(400)
    const before = attic.probes()
    await attic.wait(54_000)
    expect(attic.probes() - before).toBe(10)
    attic.world.http = answered(9)
    await attic.wait(5_400)
    expect([attic.tags(), attic.context().isSettling]).toEqual(['muted', true])
    await attic.send(bye())
    await attic.wait(600_000)
    expect(attic.isDone()).toBe(true)
  })
})

describe('a neighbour of a member that does not reach NATS', () => {
  test('is asked for its card twice a second, is used, and is silent for a fresh lostMs afterwards', async () => {
    const attic = await open()
    await attic.wait(1_590)
    await attic.send(frozen)
    await attic.wait(5_000)
    expect([attic.said, attic.tags(), attic.probes()]).toEqual([['met a1'], 'usable', 12])
    await attic.send(thawed)
    await attic.wait(1_599)
    await attic.send(echo)
    expect([attic.said, attic.tags()]).toEqual([['met a1'], 'usable'])
  })

  test('is not lost, however long it cannot be reached, but ranks last', async () => {
    const attic = await open()
    attic.world.http = null
    await attic.send(frozen)
    await attic.wait(60_000)
    expect([attic.said, attic.tags()]).toEqual([['met a1'], 'muted,unreachable'])
    attic.world.http = answered(7)
    await attic.wait(1_000)
    expect(attic.tags()).toBe('usable')
  })

  test('is lost when its host refuses the connection, and comes back over HTTP', async () => {
    const attic = await open()
    await attic.send(frozen)
    attic.world.http = refused
    await attic.send(failed)
    expect(attic.said).toEqual(['met a1', 'lost a1 refused'])
    attic.world.http = answered(1, 'a2')
    await attic.wait(5_000)
    expect([attic.said.at(-1), attic.tags()]).toEqual(['met a2', 'usable'])
  })

  test('that is new is met over HTTP', async () => {
    const attic = await open(neighbourMachine, answered(1), true)
    expect([attic.said, attic.tags(), attic.state()]).toEqual([['met a1'], 'usable', '{"frozen":"resting"}'])
  })
})

test('a walk through every state of a neighbour takes every transition', () => {
  const states = ['meeting', 'doubted', 'silent', 'muted.probing', 'muted.probingAgain', 'frozen.probing']
  const events = [
    ...[1, 2].flatMap((seq) => [
      ...['a1', 'a2'].flatMap((boot) => [heard(seq, boot), heard(seq, boot, 'draining')]),
    ]),
    bye('a1'),
    bye('a2'),
    none('a1'),
    failed,
    echo,
    frozen,
    thawed,
    { type: 'silence.due' },
    { type: 'settling.over' },
    ...[refused, silent, answered(1), answered(1, 'a2')].map((output) => ({
      type: 'xstate.done.actor.probe',
      output,
    })),
    ...[...states, 'frozen.probingAgain', 'lost.greeting', 'lost.retrying'].map((state) => ({
      type: `xstate.after.probeTimeout.neighbour.${state}`,
    })),
    ...['muted.resting', 'frozen.resting', 'frozen.unreachable'].map((state) => ({
      type: `xstate.after.beat.neighbour.${state}`,
    })),
    { type: 'xstate.after.retry.neighbour.lost.resting' },
    { type: 'xstate.after.silence.neighbour.lost.pausing' },
    { type: 'xstate.after.forget.neighbour.lost' },
  ]
  const { taken, states: found } = walk<SnapshotFrom<typeof neighbourMachine>>(neighbourMachine, {
    input: { card: card(1), policy, isFrozen: false },
    toEvents: () => events,
    toKey: ({ value, context }) => {
      const { card: latest, pastBoots, leftBoot, isFrozen } = context
      return JSON.stringify([
        value,
        latest.boot,
        latest.seq,
        (latest as Card).state,
        pastBoots,
        leftBoot,
        isFrozen,
      ])
    },
  })
  expect(findUntaken(neighbourMachine, taken)).toEqual([])
  for (const { value, context, tags } of found) {
    expect(context.pastBoots).not.toContain(context.card.boot)
    // With a frozen view no neighbour is silent.
    if (context.isFrozen) expect(JSON.stringify(value)).not.toMatch(/alive|doubted|overdue|silent|"muted/)
    expect([...tags].filter((tag) => ['usable', 'muted', 'lost', 'unmet'].includes(tag)).length).toBeLessThan(
      2,
    )
  }
})

/** What a neighbour says and shows in a few stories. Each mutant below differs from the chart in one of them. */
async function tell(machine: typeof neighbourMachine): Promise<unknown> {
  const told: unknown[] = []
  const play = async (
    http: NeighbourProbe | null,
    ...steps: readonly (NeighbourEvent | number | { readonly http: NeighbourProbe | null })[]
  ) => {
    const attic = await open(machine, http)
    const look = () => [[...attic.said], attic.state(), attic.context(), attic.probes()]
    for (const step of steps) {
      if (typeof step === 'number') await attic.wait(step)
      else if ('http' in step) attic.world.http = step.http
      else await attic.send(step)
      told.push(look())
    }
  }
  await play(refused, heard(2))
  await play(answered(1, 'a2'), heard(2, 'a2'), heard(3))
  await play(answered(1), heard(0), heard(2, 'a1', 'draining'), failed, heard(3), heard(1, 'a2'), heard(9))
  await play(answered(1), heard(2, 'a1', 'draining'), heard(3, 'a1', 'draining'), heard(4))
  await play(answered(1), { http: answered(1, 'a2') }, heard(1, 'a2'), heard(9))
  await play(answered(1), none('a0'), none(), bye('a0'), bye(), heard(7), 5_000)
  await play(
    answered(1),
    1_000,
    heard(2),
    1_000,
    600,
    echo,
    { http: refused },
    500,
    { http: answered(2) },
    5_000,
    5_000,
  )
  await play(
    answered(1),
    { http: null },
    1_600,
    echo,
    400,
    heard(2),
    400,
    { http: answered(2) },
    heard(3),
    5_000,
  )
  await play(answered(1), frozen, { http: silent }, 500, 500, { http: refused }, 500)
  await play(answered(1), { http: refused }, failed, frozen, { http: answered(1) }, 5_000, thawed, 1_600)
  return told
}

const chart = tell(neighbourMachine)

test.each(
  Object.keys(neighbourMachine.implementations.guards).flatMap((name) => [
    [name, true] as const,
    [name, false] as const,
  ]),
)('a chart whose guard %s is always %s is caught', async (name, answer) => {
  const mutant = neighbourMachine.provide({ guards: { [name]: () => answer } })
  // A guard that lets through what it reads no card of breaks the chart: that is caught as well.
  const told = await tell(mutant).catch(() => 'broken')
  expect(told).not.toEqual(await chart)
})

test.each(Object.keys(neighbourMachine.implementations.actions))(
  'a chart without the action %s is caught',
  async (name) => {
    expect(await tell(neighbourMachine.provide({ actions: { [name]: () => {} } }))).not.toEqual(await chart)
  },
)

import { describe, expect, test } from 'vitest'
import { createActor, type SnapshotFrom } from 'xstate'
import { type MemberEvent, memberMachine } from '../../../machines/cluster/member.ts'
import { compile } from '../../../src/statechart/compile.ts'
import { createVirtualClock } from '../../../src/testing/virtual-clock.ts'
import { findUntaken, walk } from '../walk.ts'

const input = { self: { member: 'tower', boot: 'b5' }, policy: { lostMs: 1_600 } }
const twin = (boot: string) => ({ type: 'twin.proven', boot, address: 'http://10.0.0.9:4141' }) as const
const refused = { type: 'nats.refused', reason: 'authorization violation' } as const

function open(given = memberMachine) {
  const clock = createVirtualClock()
  const said: string[] = []
  const actor = createActor(compile(given), { clock, input })
  actor.on('*', ({ type }) => void said.push(type))
  actor.start()
  return {
    said,
    send: (...events: readonly (MemberEvent | MemberEvent['type'])[]) => {
      for (const event of events)
        actor.send(typeof event === 'string' ? ({ type: event } as MemberEvent) : event)
    },
    wait: (ms: number) => clock.advanceTo(clock.now() + ms),
    state: () => JSON.stringify(actor.getSnapshot().value),
    isMeeting: () => actor.getSnapshot().hasTag('meeting'),
    context: () => actor.getSnapshot().context,
    isDone: () => actor.getSnapshot().status === 'done',
    /** What was said since the last call. */
    news: () => said.splice(0).join(),
  }
}

async function join(given?: typeof memberMachine) {
  const tower = open(given)
  tower.send('nats.connected')
  await tower.wait(300)
  tower.news()
  return tower
}

describe('a member', () => {
  test('asks for all cards, waits for a member of its name, and only then says that it is there', async () => {
    const tower = open()
    tower.send('nats.connected')
    expect(tower.news()).toBe('census.ask,view.thawed')
    await tower.wait(299)
    expect([tower.news(), tower.state()]).toEqual(['', '"joining"'])
    await tower.wait(1)
    expect([tower.news(), tower.state()]).toEqual(['card.publish', '{"joined":"open"}'])
  })

  test('that has just begun meets the others before it starts a model, or waits lostMs for NATS', async () => {
    const tower = open()
    const seen = [tower.isMeeting()]
    tower.send({ type: 'nats.unreachable', reason: 'ECONNREFUSED' }, 'nats.connected')
    await tower.wait(299)
    seen.push(tower.isMeeting())
    await tower.wait(1)
    seen.push(tower.isMeeting())
    const attic = open()
    await attic.wait(1_599)
    seen.push(attic.isMeeting())
    await attic.wait(1)
    seen.push(attic.isMeeting())
    attic.send('nats.connected', 'nats.disconnected')
    expect([...seen, attic.isMeeting()]).toEqual([true, true, false, true, false, false])
  })

  test('that hears its own cards passes each on to its neighbours and is never cut off', async () => {
    const tower = await join()
    for (let at = 0; at < 10; at += 1) {
      await tower.wait(1_500)
      tower.send('echo.heard')
    }
    expect([tower.news(), tower.state()]).toEqual([Array(10).fill('echo.heard').join(), '{"joined":"open"}'])
  })

  test('that does not hear its own card for lostMs freezes its view until it does', async () => {
    const tower = await join()
    await tower.wait(1_599)
    expect(tower.news()).toBe('')
    await tower.wait(1)
    expect([tower.news(), tower.state()]).toEqual(['view.frozen', '{"cutOff":"deaf"}'])
    tower.send('echo.heard')
    expect([tower.news(), tower.context().problem]).toEqual(['view.thawed,census.ask', null])
  })

  test('that was disconnected is back with its own card and not with the connection', async () => {
    const tower = await join()
    tower.send('nats.disconnected', { type: 'nats.unreachable', reason: 'ECONNREFUSED' })
    expect([tower.news(), tower.context().problem]).toEqual(['view.frozen', 'ECONNREFUSED'])
    tower.send('nats.connected')
    expect([tower.news(), tower.state()]).toEqual(['card.publish,census.ask', '{"cutOff":"deaf"}'])
    tower.send('echo.heard')
    expect([tower.news(), tower.state()]).toEqual(['view.thawed,census.ask', '{"joined":"open"}'])
  })

  test('that stood still freezes its view at once', async () => {
    const tower = await join()
    tower.send('stood.still')
    expect([tower.news(), tower.state()]).toEqual(['view.frozen,card.publish', '{"cutOff":"deaf"}'])
  })

  test('drains and undoes it, also while it is cut off', async () => {
    const tower = await join()
    tower.send('drain.asked')
    expect([tower.news(), tower.state()]).toEqual(['card.publish', '{"joined":"draining"}'])
    tower.send('nats.disconnected', 'nats.connected', 'echo.heard')
    expect(tower.state()).toBe('{"joined":"draining"}')
    tower.news()
    tower.send('drain.undone')
    expect([tower.news(), tower.context().availability]).toEqual(['card.publish', 'open'])
    tower.send(
      'nats.disconnected',
      'drain.asked',
      'drain.undone',
      'drain.asked',
      'nats.connected',
      'echo.heard',
    )
    expect(tower.state()).toBe('{"joined":"draining"}')
  })

  test('that leaves takes nothing new, and says bye after its last lease', async () => {
    const tower = await join()
    tower.send('leave.asked')
    expect([tower.news(), tower.context().availability]).toEqual(['card.publish', 'draining'])
    tower.send('leave.asked', 'drain.undone', 'leave.done')
    expect([tower.news(), tower.isDone()]).toEqual(['bye.say', true])
  })

  test('that is refused says why, and joins when NATS lets it in', async () => {
    const tower = open()
    tower.send(refused)
    expect([tower.state(), tower.context().problem]).toEqual(['{"refused":"credentials"}', refused.reason])
    tower.send('nats.connected')
    expect([tower.state(), tower.context().problem]).toEqual(['"joining"', null])
    await tower.wait(300)
    tower.send(refused)
    expect([tower.state(), tower.context().problem]).toEqual(['{"joined":"open"}', refused.reason])
    tower.send('nats.disconnected', refused)
    expect(tower.state()).toBe('{"refused":"credentials"}')
  })

  test('that is forbidden something forgets it when that is not repeated', async () => {
    const tower = await join()
    tower.send(refused)
    for (let ms = 0; ms < 9_000; ms += 1_500) {
      await tower.wait(1_500)
      tower.send('echo.heard')
      if (ms < 3_000) tower.send(refused)
      expect(tower.context().problem).toBe(ms < 7_500 ? refused.reason : null)
    }
  })

  test('that is deaf says which refusal makes it so, as long as that is repeated', async () => {
    const tower = await join()
    await tower.wait(1_600)
    expect(tower.context().problem).toBe('NATS does not deliver')
    tower.send(refused)
    await tower.wait(4_999)
    expect([tower.state(), tower.context().problem]).toEqual(['{"cutOff":"deaf"}', refused.reason])
    await tower.wait(1)
    expect(tower.context().problem).toBe('NATS does not deliver')
  })

  test('whose name is taken does not join, names the other one, and tries again', async () => {
    const tower = open()
    tower.send('nats.connected', twin('b9'))
    expect(tower.context().problem).toBe(
      'another member is called tower, at http://10.0.0.9:4141: give this one another name',
    )
    expect(tower.said).not.toContain('card.publish')
    await tower.wait(5_300)
    expect(tower.state()).toBe('{"joined":"open"}')
  })
})

test('of two members of one name that joined at the same time exactly one leaves', async () => {
  const former = await join()
  former.send(twin('b9'))
  expect([former.state(), former.news()]).toEqual(['{"joined":"open"}', ''])
  const later = await join()
  later.send(twin('b1'))
  expect([later.state(), later.news()]).toEqual(['{"refused":"name"}', 'bye.say,view.frozen'])
})

test('a walk through every state of a member takes every transition', () => {
  const events = [
    ...['nats.connected', 'nats.disconnected', 'echo.heard', 'stood.still', 'drain.asked', 'drain.undone'],
    ...['leave.asked', 'leave.done', 'deafness.due', 'refusal.over'],
    'xstate.after.census.member.joining',
    'xstate.after.meeting.member.connecting.first',
    'xstate.after.retry.member.refused.name',
  ].map((type) => ({ type }))
  const { taken } = walk<SnapshotFrom<typeof memberMachine>>(memberMachine, {
    input,
    toEvents: () => [
      ...events,
      twin('b1'),
      twin('b9'),
      refused,
      { type: 'nats.unreachable', reason: 'ECONNREFUSED' },
    ],
    toKey: ({ value, context: { availability } }) => JSON.stringify([value, availability]),
  })
  expect(findUntaken(memberMachine, taken)).toEqual([])
})

/** What a member says and shows in a few stories. Each mutant below differs from the chart in one of them. */
async function tell(machine: typeof memberMachine): Promise<unknown> {
  const told: unknown[] = []
  const stories: readonly (readonly (MemberEvent | MemberEvent['type'] | number)[])[] = [
    ['nats.connected', 'drain.asked', 300, 1_000, 'echo.heard', 1_000, 1_000, 'echo.heard', 'drain.undone'],
    [refused, 'nats.connected', 300, twin('b9'), twin('b1'), 5_300],
    [
      'nats.connected',
      300,
      'stood.still',
      'nats.disconnected',
      'drain.asked',
      'nats.connected',
      'echo.heard',
    ],
    ['nats.connected', 300, refused, ...Array(4).fill([1_500, 'echo.heard']).flat()],
    ['nats.connected', 300, 'leave.asked', 'leave.done'],
  ]
  for (const story of stories) {
    const tower = open(machine)
    for (const step of story) {
      if (typeof step === 'number') await tower.wait(step)
      else tower.send(step)
      told.push([[...tower.said], tower.state(), tower.context()])
    }
  }
  return told
}

const { actions, guards } = memberMachine.implementations

test.each<[string, Parameters<typeof memberMachine.provide>[0]]>([
  ...Object.keys(actions).map((name): [string, object] => [
    `without the action ${name}`,
    { actions: { [name]: () => {} } },
  ]),
  ...Object.keys(guards).flatMap((name) =>
    [true, false].map((answer): [string, object] => [
      `whose guard ${name} is always ${answer}`,
      { guards: { [name]: () => answer } },
    ]),
  ),
])('a chart %s is caught', async (_, mutation) => {
  expect(await tell(memberMachine.provide(mutation))).not.toEqual(await tell(memberMachine))
})

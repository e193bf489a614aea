import { describe, expect, test } from 'vitest'
import { createActor, fromCallback, type SnapshotFrom } from 'xstate'
import {
  type BorrowingEvent,
  borrowingMachine,
  type ConnectionEvent,
  type OwnerMessage,
} from '../../machines/borrowing.ts'
import type { PeerEvent } from '../../machines/messages.ts'
import { compile } from '../../src/statechart/compile.ts'
import { createVirtualClock } from '../../src/testing/virtual-clock.ts'
import { findUntaken, walk } from './walk.ts'

const owner = { pid: 7, name: 'serve' }
const failure = { code: 'LEASEHOLD_STOPPED', message: 'it was stopped' } as const
const want = (id = 'a', generation = 'g.1') => ({ type: 'peer.want', generation, id, priority: 0 }) as const
const leave = (generation = 'g.1') => ({ type: 'peer.leave', generation }) as const

/** A borrowing whose connection says what the test says. */
function openBorrowing(given = borrowingMachine) {
  const clock = createVirtualClock()
  const sent: string[] = []
  const reports: PeerEvent[] = []
  let connections = 0
  let open = 0
  let report: (event: BorrowingEvent) => void = () => {}
  const connection = fromCallback<OwnerMessage, undefined, BorrowingEvent>(({ sendBack, receive }) => {
    connections += 1
    open += 1
    report = sendBack
    receive((message) => sent.push('id' in message ? `${message.type} ${message.id}` : message.type))
    return () => {
      open -= 1
    }
  })
  const actor = createActor(compile(given.provide({ actors: { connection } })), { clock })
  actor.on('*', (event) => reports.push(event))
  actor.start()
  return {
    clock,
    sent,
    reports,
    types: () => reports.map(({ type }) => type),
    send: (...events: BorrowingEvent[]) => {
      for (const event of events) actor.send(event)
    },
    say: (...events: ConnectionEvent[]) => {
      for (const event of events) report(event)
    },
    connections: () => ({ made: connections, open }),
    tags: () => [...actor.getSnapshot().tags],
  }
}

/** One that talks with its owner about the lease `a`. */
function openTalk(given?: typeof borrowingMachine) {
  const talk = openBorrowing(given)
  talk.send(want())
  talk.say({ type: 'connection.made', owner })
  return talk
}

describe('the chart of borrowing', () => {
  test('keeps what is asked until the connection is made, and then sends it in order', () => {
    const talk = openBorrowing()
    expect(talk.connections()).toEqual({ made: 0, open: 0 })
    talk.send(want('a'), want('b'), { type: 'peer.return', generation: 'g.1', id: 'a' })
    expect([talk.sent, talk.connections()]).toEqual([[], { made: 1, open: 1 }])
    talk.say({ type: 'connection.made', owner })
    talk.send(want('c'))
    expect(talk.sent).toEqual(['want a', 'want b', 'return a', 'want c'])
    expect(talk.reports).toEqual([{ type: 'peer.met', generation: 'g.1', holder: owner }])
  })

  test('reports the answers of the owner for the run that asked', () => {
    const talk = openTalk()
    talk.say({ type: 'owner.granted', id: 'a' }, { type: 'owner.refused', id: 'b', failure })
    expect(talk.reports.slice(1)).toEqual([
      { type: 'peer.granted', generation: 'g.1', id: 'a' },
      { type: 'peer.refused', generation: 'g.1', id: 'b', failure },
    ])
  })

  test.each<[string, ConnectionEvent, object]>([
    ['the owner revokes', { type: 'owner.revoked', failure }, failure],
    [
      'the connection closes',
      { type: 'connection.closed' },
      { code: 'LEASEHOLD_OWNER_LOST', message: expect.stringContaining('leasehold serve, process 7') },
    ],
  ])('loses every lease when %s, and asks no more in that run', (_, event, reason) => {
    const talk = openTalk()
    talk.say(event)
    talk.send(want('b'))
    expect(talk.reports.slice(1)).toEqual([{ type: 'peer.lost', generation: 'g.1', failure: reason }])
    expect([talk.sent, talk.connections()]).toEqual([['want a'], { made: 1, open: 0 }])
    talk.send(want('b', 'g.2'))
    expect(talk.connections()).toEqual({ made: 2, open: 1 })
  })

  test.each<[string, ConnectionEvent, PeerEvent['type'], object]>([
    [
      'gone',
      { type: 'connection.refused', reason: 'closed' },
      'peer.lost',
      { code: 'LEASEHOLD_OWNER_LOST', message: expect.stringContaining('is gone') },
    ],
    [
      'silent',
      { type: 'connection.refused', reason: 'timeout', pid: 12 },
      'peer.silent',
      { code: 'LEASEHOLD_OWNER_SILENT', message: expect.stringContaining('kill -CONT 12') },
    ],
    [
      'silent and unseen',
      { type: 'connection.refused', reason: 'timeout' },
      'peer.silent',
      { code: 'LEASEHOLD_OWNER_SILENT', message: expect.stringContaining('resume it or end it') },
    ],
    [
      'a stranger',
      { type: 'connection.refused', reason: 'unproven' },
      'peer.failed',
      { code: 'LEASEHOLD_CLAIM_FAILED' },
    ],
  ])('reports a holder of the claim that is %s', (_, event, type, reason) => {
    const talk = openBorrowing()
    talk.send(want())
    talk.say(event)
    expect(talk.reports).toEqual([{ type, generation: 'g.1', failure: expect.objectContaining(reason) }])
    expect(talk.tags()).toEqual(['over'])
  })

  test('lets go of one run when another one asks, and when it is told to leave', () => {
    const talk = openTalk()
    talk.send(leave('g.0'))
    expect(talk.connections()).toEqual({ made: 1, open: 1 })
    talk.send(want('b', 'g.2'), { type: 'peer.return', generation: 'g.1', id: 'a' })
    expect(talk.connections()).toEqual({ made: 2, open: 1 })
    talk.say({ type: 'connection.made', owner })
    expect(talk.sent).toEqual(['want a', 'want b'])
    talk.send(leave('g.2'))
    expect([talk.connections(), talk.tags()]).toEqual([{ made: 2, open: 0 }, ['resting']])
  })
})

describe('an owner', () => {
  test('that answers is asked every second and is never silent', async () => {
    const { clock, sent, say, types } = openTalk()
    for (let second = 1; second <= 20; second += 1) {
      await clock.advanceTo(second * 1_000)
      say({ type: 'owner.heard' })
    }
    expect(sent.slice(1)).toEqual(Array(20).fill('ping'))
    expect(types()).toEqual(['peer.met'])
  })

  test('that leaves a ping unanswered for five seconds is silent: said every second until anything comes', async () => {
    const { clock, sent, say, types, tags } = openTalk()
    await clock.advanceTo(5_999)
    expect([sent, types()]).toEqual([['want a', 'ping'], ['peer.met']])
    await clock.advanceTo(8_000)
    expect(types()).toEqual(['peer.met', 'peer.silent', 'peer.silent', 'peer.silent'])
    expect(tags()).toContain('silent')
    say({ type: 'owner.heard' })
    await clock.advanceTo(9_000)
    expect([sent.slice(2), tags()]).toEqual([['ping'], ['talking']])
  })

  test('is asked anew after we stood still: what it did not answer meanwhile proves nothing', async () => {
    const { clock, sent, send, types } = openTalk()
    await clock.advanceTo(5_900)
    send({ type: 'host.resumed' })
    await clock.advanceTo(10_899)
    expect([sent, types()]).toEqual([['want a', 'ping', 'ping'], ['peer.met']])
    await clock.advanceTo(10_900)
    expect(types()).toEqual(['peer.met', 'peer.silent'])
  })

  test('that was left is asked nothing more', async () => {
    const { clock, sent, send, types } = openTalk()
    send(leave())
    await clock.advanceTo(60_000)
    expect([sent, types()]).toEqual([['want a'], ['peer.met']])
  })
})

test('a walk through every state of a borrowing takes every transition', () => {
  const events: readonly (BorrowingEvent | { readonly type: `xstate.after.${string}` })[] = [
    want('a', 'g.1'),
    want('a', 'g.2'),
    { type: 'peer.return', generation: 'g.1', id: 'a' },
    leave(),
    { type: 'connection.made', owner },
    { type: 'connection.refused', reason: 'closed' },
    { type: 'connection.refused', reason: 'timeout' },
    { type: 'connection.refused', reason: 'unproven' },
    { type: 'connection.closed' },
    { type: 'owner.heard' },
    { type: 'owner.granted', id: 'a' },
    { type: 'owner.refused', id: 'a', failure },
    { type: 'owner.revoked', failure },
    { type: 'host.resumed' },
    { type: 'xstate.after.ping.borrowing.conversing.talking.quiet' },
    { type: 'xstate.after.ownerSilence.borrowing.conversing.talking.asked' },
    { type: 'xstate.after.ping.borrowing.conversing.talking.silent' },
  ]
  const { taken } = walk<SnapshotFrom<typeof borrowingMachine>>(borrowingMachine, {
    input: {},
    toEvents: () => events,
    toKey: ({ value, context: { generation, unsent } }) =>
      JSON.stringify([value, generation, Math.min(unsent.length, 2)]),
  })
  expect(findUntaken(borrowingMachine, taken)).toEqual([])
})

/** What an owner and a provider see of one story. The mutants below differ from the chart in it. */
async function tell(machine: typeof borrowingMachine): Promise<unknown> {
  const talk = openBorrowing(machine)
  talk.send(want('a'), want('b'))
  talk.say({ type: 'connection.made', owner })
  await talk.clock.advanceTo(4_000)
  talk.say({ type: 'owner.heard' }, { type: 'owner.granted', id: 'a' })
  await talk.clock.advanceTo(10_500)
  talk.send(leave('g.0'), want('c', 'g.2'))
  talk.say({ type: 'connection.refused', reason: 'closed' })
  talk.send(want('d', 'g.2'), want('e', 'g.3'))
  talk.say({ type: 'connection.refused', reason: 'timeout', pid: 1 })
  return [talk.sent, talk.reports, talk.connections()]
}

test.each<[string, typeof borrowingMachine]>([
  ['believes every run', borrowingMachine.provide({ guards: { isCurrent: () => true } })],
  ['believes no run', borrowingMachine.provide({ guards: { isCurrent: () => false } })],
  ['forgets what was asked early', borrowingMachine.provide({ actions: { sendUnsent: () => {} } })],
  [
    'takes a claim that is free for a stranger',
    borrowingMachine.provide({ guards: { isGone: () => false } }),
  ],
  ['takes silence for a stranger', borrowingMachine.provide({ guards: { isTimeout: () => false } })],
  ['does not ping', borrowingMachine.provide({ actions: { ping: () => {} } })],
  ['waits twice as long', borrowingMachine.provide({ delays: { ownerSilence: 10_000 } })],
])('a chart that %s is caught', async (_, mutant) => {
  expect(await tell(mutant)).not.toEqual(await tell(borrowingMachine))
})

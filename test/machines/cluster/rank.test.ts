import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { chooseHome } from '../../../machines/cluster/home.ts'
import {
  explainRanks,
  type ReplicaLoad,
  type ReplicaStanding,
  rankReplicas,
} from '../../../machines/replicas.ts'

const here: ReplicaLoad = { state: 'ready', leases: 0, queue: 0, maxConcurrent: 4 }
const coldHere: ReplicaLoad = { ...here, state: 'down.cold' }
const ready: ReplicaStanding = {
  member: 'attic',
  state: 'ready',
  leases: 0,
  waiting: 0,
  room: 4,
  startMs: null,
  fit: 'fits',
  isMuted: false,
  isSettling: false,
  uncounted: 0,
}
const on = (member: string, part: Partial<ReplicaStanding> = {}): ReplicaLoad => ({
  // The provider that stands for another member is never more than a remote one.
  ...coldHere,
  standing: { ...ready, member, ...part },
})
const options = { self: 'tower', service: 'llama/qwen' }

/** The members in the order of their rank, each with what put it there. */
const order = (replicas: readonly ReplicaLoad[], prefer: 'warm' | 'local' = 'warm') =>
  explainRanks(replicas, { ...options, prefer }).map(
    ({ index, because }) => `${replicas[index]?.standing?.member ?? 'here'}: ${because ?? 'first'}`,
  )

describe('among the members of a cluster', () => {
  test('every group comes before the next one', () => {
    const members = [
      on('never', { state: 'cold', fit: 'never' }),
      on('failed', { state: 'failed' }),
      on('muted', { isMuted: true }),
      on('settling', { state: 'cold', isSettling: true }),
      on('waits', { state: 'cold', fit: 'waits' }),
      on('full', { leases: 2, room: 2 }),
      on('evicts', { state: 'cold', fit: 'evicts' }),
      on('fits', { state: 'asking' }),
      on('asleep', { state: 'cold', isAsleep: true, fit: 'evicts' }),
      on('starting', { state: 'starting', waiting: 3 }),
      on('ready', { leases: 3 }),
    ]
    const names = explainRanks(members, options).map(({ group }) => group)
    expect(names).toEqual(members.map(({ standing }) => standing?.member).reverse())
  })

  test('one that drains is not tried, and neither is this host while it drains', () => {
    expect(order([on('attic', { state: 'draining' }), { ...here, isDraining: true }])).toEqual([])
  })

  test('the least busy is first, and requests of this gateway count before a card includes them', () => {
    const busy = on('attic', { leases: 1 })
    expect(order([busy, on('barn', { uncounted: 2 })])).toEqual(['attic: first', 'barn: load'])
    expect(order([busy, on('barn', { uncounted: 3, room: 3 }), coldHere])).toEqual([
      'attic: first',
      'here: group',
      'barn: group',
    ])
  })

  test('among equals this host is first, and load counts more than that', () => {
    expect(order([on('attic'), here])).toEqual(['here: first', 'attic: here'])
    expect(order([{ ...here, leases: 1 }, on('attic')])).toEqual(['attic: first', 'here: load'])
  })

  test('a running server elsewhere comes before a start on this host, unless local is preferred', () => {
    expect(order([coldHere, on('attic')])).toEqual(['attic: first', 'here: group'])
    expect(order([coldHere, on('attic')], 'local')).toEqual(['here: first', 'attic: local'])
    const taken = { ...here, leases: 4 }
    expect(order([taken, on('attic')], 'local')).toEqual(['attic: first', 'here: group'])
  })

  test('of cold ones the faster start is first, and neither load nor place counts', () => {
    const cold = (member: string, startMs: number | null) =>
      on(member, { state: 'cold', startMs, leases: 3, room: null })
    expect(order([{ ...coldHere, startMs: 9_000 }, cold('attic', 4_000), cold('barn', null)])).toEqual([
      'attic: first',
      'here: startMs',
      'barn: startMs',
    ])
  })

  test('one that sleeps is woken rather than another one started, where there is room for it awake', () => {
    const asleepHere = { ...here, state: 'ready.asleep' }
    const asleep = on('attic', { state: 'cold', isAsleep: true })
    expect(order([coldHere, asleep])).toEqual(['attic: first', 'here: group'])
    expect(order([asleepHere, on('attic', { state: 'cold' })])).toEqual(['here: first', 'attic: group'])
    expect(order([coldHere, on('attic', { state: 'cold', isAsleep: true, fit: 'waits' })])).toEqual([
      'here: first',
      'attic: group',
    ])
    expect(order([{ ...asleepHere, fit: 'never' }, on('attic', { state: 'cold' })])).toEqual([
      'attic: first',
      'here: group',
    ])
    // One that is being woken is about to serve.
    expect(order([{ ...here, state: 'ready.waking' }, asleep])).toEqual(['here: first', 'attic: group'])
    expect(order([asleepHere, on('attic', { state: 'starting' })], 'local')).toEqual([
      'here: first',
      'attic: local',
    ])
  })

  test('a member whose connection failed here comes last, whatever its card says', () => {
    expect(order([{ ...on('attic'), state: 'down.tripped' }, on('barn', { isMuted: true })])).toEqual([
      'barn: first',
      'attic: group',
    ])
  })
})

const names = ['tower', 'attic', 'barn', 'cellar', 'den', 'east', 'field']
const standings: fc.Arbitrary<Omit<ReplicaStanding, 'member'>> = fc.record({
  state: fc.constantFrom('cold', 'asking', 'starting', 'ready', 'failed', 'draining'),
  leases: fc.nat(3),
  waiting: fc.nat(2),
  room: fc.option(fc.nat(5)),
  startMs: fc.option(fc.nat(3)),
  fit: fc.constantFrom('fits', 'evicts', 'waits', 'never'),
  isMuted: fc.boolean(),
  isSettling: fc.boolean(),
  uncounted: fc.nat(2),
})

test('the order does not depend on the order of the list', () => {
  const members = fc.tuple(...names.map((member) => standings.map((standing) => on(member, standing))))
  fc.assert(
    fc.property(members, fc.shuffledSubarray(names.map((_, at) => at)), (list, shuffled) => {
      const moved = shuffled.map((at) => list[at] ?? here)
      const expected = rankReplicas(list, options).filter((at) => shuffled.includes(at))
      expect(rankReplicas(moved, options).map((at) => shuffled[at])).toEqual(expected)
    }),
  )
})

test('every gateway chooses the same one of members that are cold or asleep, whichever of them it is itself', () => {
  const colds = fc.array(
    fc.tuple(fc.constantFrom('fits' as const, 'evicts' as const), fc.option(fc.nat(2)), fc.boolean()),
    {
      minLength: 7,
      maxLength: 7,
    },
  )
  fc.assert(
    fc.property(colds, fc.string(), (list, service) => {
      const chosen = names.map((self) => {
        const replicas = list.map(([fit, startMs, isAsleep], at): ReplicaLoad => {
          const member = names[at] ?? ''
          const state = isAsleep ? 'ready.asleep' : 'down.cold'
          return member === self
            ? { ...here, state, fit, startMs }
            : on(member, { state: 'cold', isAsleep, fit, startMs })
        })
        return names[rankReplicas(replicas, { self, service })[0] ?? -1]
      })
      expect(new Set(chosen).size).toBe(1)
    }),
  )
})

test('services have different homes: of 700 each of seven members gets at least half of its share', () => {
  const homes = Array.from({ length: 700 }, (_, at) => chooseHome(`llama/model-${at}`, names))
  for (const name of names) expect(homes.filter((home) => home === name).length).toBeGreaterThan(50)
})

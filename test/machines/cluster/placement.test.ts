import { describe, expect, test } from 'vitest'
import { createActor, fromPromise, type SnapshotFrom } from 'xstate'
import { chooseHome } from '../../../machines/cluster/home.ts'
import {
  type ClaimReply,
  type HolderProbe,
  type HolderReply,
  type PlacementContext,
  type PlacementEvent,
  type PlacementInput,
  placementMachine,
  type ServiceSight,
} from '../../../machines/cluster/placement.ts'
import { compile } from '../../../src/statechart/compile.ts'
import { createVirtualClock } from '../../../src/testing/virtual-clock.ts'
import { findUntaken, walk } from '../walk.ts'

const self = { member: 'tower', boot: 't1' }
const input: PlacementInput = {
  service: 'llama/qwen',
  self,
  policy: { claimTimeoutMs: 700, claimTtlMs: 30_000, claimLingerMs: 2_000, prefer: 'warm' },
}
const attic: ServiceSight = {
  member: 'attic',
  state: 'cold',
  hasRoom: true,
  canStart: true,
  isSettling: false,
}
const starting: ServiceSight = { ...attic, state: 'starting' }
const held = { outcome: 'held', holder: { member: 'attic', boot: 'a1' }, revision: 7 } as const
const ours = (revision: number): ClaimReply => ({ outcome: 'ours', revision })
const unavailable: ClaimReply = { outcome: 'unavailable' }
const never = Symbol('never')

/** What each effect answers, one for each time that it is asked; the last one again and again. */
interface Answers {
  readonly look?: readonly (readonly ServiceSight[])[]
  readonly askMembers?: readonly (readonly ServiceSight[])[]
  readonly claim?: readonly (ClaimReply | typeof never)[]
  readonly takeOver?: readonly (ClaimReply | typeof never)[]
  readonly confirm?: readonly (ClaimReply | typeof never)[]
  readonly renew?: readonly (ClaimReply | typeof never)[]
  readonly askHolder?: readonly (HolderReply | typeof never)[]
  readonly probeHolder?: readonly HolderProbe[]
}

function open(answers: Answers, given = placementMachine, part: Partial<PlacementInput> = {}) {
  const clock = createVirtualClock()
  /** Everything that was asked and said, in order. */
  const said: string[] = []
  const answer = <Reply>(name: keyof Answers, standard: Reply) => {
    let asked = 0
    return fromPromise<Reply, PlacementContext>(() => {
      const list = (answers[name] ?? [standard]) as readonly (Reply | typeof never)[]
      const reply = list[Math.min(asked++, list.length - 1)] as Reply | typeof never
      said.push(name)
      return reply === never ? new Promise(() => {}) : Promise.resolve(reply as Reply)
    })
  }
  const actor = createActor(
    compile(
      given.provide({
        actors: {
          look: answer<readonly ServiceSight[]>('look', []),
          askMembers: answer<readonly ServiceSight[]>('askMembers', []),
          claim: answer<ClaimReply>('claim', ours(1)),
          takeOver: answer<ClaimReply>('takeOver', ours(2)),
          confirm: answer<ClaimReply>('confirm', ours(1)),
          renew: answer<ClaimReply>('renew', ours(3)),
          askHolder: answer<HolderReply>('askHolder', { outcome: 'none' }),
          probeHolder: answer<HolderProbe>('probeHolder', { outcome: 'gone' }),
        },
        actions: { release: ({ context }) => void said.push(`release ${context.revision}`) },
      }),
    ),
    { clock, input: { ...input, ...part } },
  )
  actor.on('start.revoked', ({ member }) => said.push(`revoked by ${member}`))
  actor.start()
  return {
    said,
    clock,
    send: async (...types: PlacementEvent['type'][]) => {
      for (const type of types) actor.send({ type })
      await clock.advanceTo(clock.now())
    },
    outcome: () => actor.getSnapshot().context.outcome,
    tags: () => [...actor.getSnapshot().tags],
    state: () => JSON.stringify(actor.getSnapshot().value),
  }
}

/** Asks once; what it was told and what was done for it. */
async function ask(answers: Answers, part?: Partial<PlacementInput>) {
  const placement = open(answers, placementMachine, part)
  await placement.send('start.wanted')
  return { outcome: placement.outcome(), said: placement.said.join(', ') }
}

describe('a start', () => {
  test('is permitted after a look, the claim, another look and a last reading', async () => {
    const { outcome, said } = await ask({})
    expect([outcome, said]).toEqual([{ outcome: 'permitted' }, 'look, claim, look, confirm'])
  })

  test('is made by the member that is at it or has room, and a start counts more', async () => {
    expect((await ask({ look: [[starting]] })).outcome).toEqual({
      outcome: 'elsewhere',
      member: 'attic',
      because: 'starting',
    })
    const barn = { ...attic, member: 'barn', state: 'ready' } as const
    expect((await ask({ look: [[barn]] })).outcome).toEqual({
      outcome: 'elsewhere',
      member: 'barn',
      because: 'ready',
    })
    expect((await ask({ look: [[barn, starting]] })).outcome).toMatchObject({ member: 'attic' })
    expect(
      (
        await ask({
          look: [
            [
              { ...barn, hasRoom: false },
              { ...attic, state: 'asking' },
            ],
          ],
        })
      ).outcome,
    ).toEqual({
      outcome: 'permitted',
    })
  })

  test('is made here although another server is ready, if local is preferred; a start elsewhere still counts', async () => {
    const part = { policy: { ...input.policy, prefer: 'local' as const } }
    expect((await ask({ look: [[{ ...attic, state: 'ready' }]] }, part)).outcome).toEqual({
      outcome: 'permitted',
    })
    expect((await ask({ look: [[starting]] }, part)).outcome).toMatchObject({ member: 'attic' })
  })

  test('is not made while a server sleeps elsewhere that can be woken, unless local is preferred', async () => {
    const barn = { ...attic, member: 'barn', canWake: true }
    expect((await ask({ look: [[barn]] })).outcome).toEqual({
      outcome: 'elsewhere',
      member: 'barn',
      because: 'asleep',
    })
    // It comes behind one that is up.
    expect((await ask({ look: [[barn, { ...attic, state: 'ready' }]] })).outcome).toMatchObject({
      member: 'attic',
    })
    const local = { policy: { ...input.policy, prefer: 'local' as const } }
    for (const [look, part] of [
      [[{ ...barn, canWake: false }]],
      [[{ ...barn, hasRoom: false }]],
      [[{ ...barn, isSettling: true }]],
      [[barn], local],
    ] as const)
      expect((await ask({ look: [look] }, part)).outcome).toEqual({ outcome: 'permitted' })
  })

  test('of a member that was lost and is back does not count without its claim', async () => {
    expect((await ask({ look: [[{ ...starting, isSettling: true }]] })).outcome).toEqual({
      outcome: 'permitted',
    })
  })

  test('is given back when another member has begun before the claim was won', async () => {
    expect(await ask({ look: [[], [starting]] })).toEqual({
      outcome: { outcome: 'elsewhere', member: 'attic', because: 'starting' },
      said: 'look, claim, look, release 1',
    })
  })

  test.each<[string, Partial<Answers>, string]>([
    [
      'answers over NATS',
      { askHolder: [{ outcome: 'answered', state: 'asking' }] },
      'look, claim, askHolder',
    ],
    [
      'answers over HTTP alone',
      { probeHolder: [{ outcome: 'answered', state: 'starting' }] },
      'look, claim, askHolder, probeHolder',
    ],
    [
      'is silent and not lost',
      { probeHolder: [{ outcome: 'silent' }] },
      'look, claim, askHolder, probeHolder',
    ],
    [
      'lost its claim to a third one',
      { takeOver: [{ ...held, revision: 8 }] },
      'look, claim, askHolder, probeHolder, takeOver',
    ],
  ])('is made where the claim is while its holder %s', async (_, answers, said) => {
    expect(await ask({ claim: [held], ...answers })).toEqual({
      outcome: { outcome: 'elsewhere', member: 'attic', because: 'claim' },
      said,
    })
  })

  test.each<[string, Partial<Answers>, string]>([
    ['is gone', {}, 'askHolder, probeHolder'],
    ['does not use it', { askHolder: [{ outcome: 'answered', state: 'cold' }] }, 'askHolder'],
    [
      'answers over HTTP alone and does not use it',
      { probeHolder: [{ outcome: 'answered', state: 'failed' }] },
      'askHolder, probeHolder',
    ],
  ])('takes over a claim whose holder %s', async (_, answers, proof) => {
    expect(await ask({ claim: [held], ...answers })).toEqual({
      outcome: { outcome: 'permitted' },
      said: `look, claim, ${proof}, takeOver, look, confirm`,
    })
  })

  test('takes over a claim of its own member from before a restart, and keeps one that is its own', async () => {
    const before: ClaimReply = { ...held, holder: { member: 'tower', boot: 't0' } }
    expect((await ask({ claim: [before] })).said).toBe('look, claim, takeOver, look, confirm')
    const placement = open({ claim: [{ outcome: 'held', holder: self, revision: 9 }], confirm: [ours(9)] })
    await placement.send('start.wanted')
    expect([placement.outcome(), placement.said.join()]).toEqual([
      { outcome: 'permitted' },
      'look,claim,look,confirm',
    ])
    await placement.send('start.ended')
    expect(placement.said.at(-1)).toBe('release 9')
  })

  test('is not permitted when the claim is lost during the last look', async () => {
    expect((await ask({ confirm: [held] })).outcome).toMatchObject({ because: 'claim' })
    const again = await ask({ confirm: [{ outcome: 'free' }, ours(1)] })
    expect(again).toEqual({
      outcome: { outcome: 'permitted' },
      said: 'look, claim, look, confirm, claim, look, confirm',
    })
  })
})

describe('without NATS', () => {
  const names = ['attic', 'barn', 'cellar', 'den', 'east']
  const others = names.map((member) => ({ ...attic, member }))

  test.each<[string, Answers]>([
    ['says that there is none', { claim: [unavailable] }],
    ['does not answer', { claim: [never] }],
    ['does not answer to a taking over', { claim: [held], takeOver: [never] }],
    ['cannot take a claim over', { claim: [held], takeOver: [unavailable] }],
    ['does not answer to the last reading', { confirm: [never] }],
    ['cannot be read at the end', { confirm: [unavailable] }],
  ])('the members are asked over HTTP when the store %s (rows 9, 13, 14)', async (_, answers) => {
    const placement = open(answers)
    await placement.send('start.wanted')
    await placement.clock.advanceTo(700)
    expect(placement.said.at(-1)).toBe('askMembers')
    expect(placement.outcome()).toEqual({ outcome: 'permitted' })
  })

  test('the same member starts it wherever it is asked for', async () => {
    const all = [...names, 'tower']
    for (const service of ['a/x', 'b/y', 'c/z', 'd/w']) {
      const home = chooseHome(service, all)
      for (const member of all) {
        const sights = all.filter((name) => name !== member).map((name) => ({ ...attic, member: name }))
        const { outcome } = await ask(
          { claim: [unavailable], askMembers: [sights] },
          { service, self: { member, boot: 'b' } },
        )
        const expected =
          member === home ? { outcome: 'permitted' } : { outcome: 'elsewhere', member: home, because: 'home' }
        expect(outcome).toEqual(expected)
      }
    }
  })

  test('a start that is under way elsewhere is found, and one that cannot start it is no home', async () => {
    const found = await ask({ claim: [unavailable], askMembers: [[...others.slice(1), starting]] })
    expect(found.outcome).toMatchObject({ member: 'attic', because: 'starting' })
    const none = others.map((sight) => ({ ...sight, canStart: false }))
    expect((await ask({ claim: [unavailable], askMembers: [none] })).outcome).toEqual({
      outcome: 'permitted',
    })
  })
})

describe('a permitted start', () => {
  test('renews its claim, lingers after it is ready, and gives the claim back', async () => {
    const placement = open({ renew: [ours(3), ours(4), never] })
    await placement.send('start.wanted')
    await placement.clock.advanceTo(31_000)
    expect([placement.said.slice(4).join(), placement.tags()]).toEqual(['renew,renew,renew', ['permitted']])
    await placement.send('start.ready')
    expect(placement.tags()).toEqual(['lingering'])
    await placement.clock.advanceTo(32_999)
    expect(placement.tags()).toEqual(['lingering'])
    await placement.clock.advanceTo(33_000)
    expect([placement.said.at(-1), placement.tags()]).toEqual(['release 4', ['free']])
  })

  test('that failed gives its claim back at once', async () => {
    const placement = open({})
    await placement.send('start.wanted', 'start.wanted')
    await placement.send('start.ended')
    expect([placement.said.at(-1), placement.tags()]).toEqual(['release 1', ['free']])
  })

  test.each<[string, Answers, PlacementEvent['type']]>([
    ['stood still', { confirm: [ours(1), held] }, 'stood.still'],
    ['was cut off', { confirm: [ours(1), held] }, 'nats.back'],
    [
      'stood still for longer than claims live, and another one is ready',
      { confirm: [ours(1), { outcome: 'free' }], look: [[], [], [{ ...attic, state: 'ready' }]] },
      'stood.still',
    ],
  ])('is given up after this process %s and the claim went to another member', async (_, answers, event) => {
    const placement = open(answers)
    await placement.send('start.wanted')
    await placement.send(event)
    expect(placement.said.slice(4)).toContain('revoked by attic')
    expect([placement.outcome(), placement.tags()]).toEqual([
      expect.objectContaining({ outcome: 'elsewhere', member: 'attic' }),
      ['free'],
    ])
  })

  test('goes on after a stand-still if the claim is still its own, or free and no other member has begun', async () => {
    const kept = open({})
    await kept.send('start.wanted')
    await kept.send('stood.still')
    expect([kept.said.slice(4).join(), kept.tags()]).toEqual(['confirm', ['permitted']])
    const free = open({ confirm: [ours(1), { outcome: 'free' }], claim: [ours(1), ours(5)] })
    await free.send('start.wanted')
    await free.send('stood.still')
    expect([free.said.slice(4).join(), free.state()]).toEqual([
      'confirm,claim,look',
      '{"permitted":"claimed"}',
    ])
  })

  test('asks again whose the claim is until the store answers', async () => {
    const placement = open({ confirm: [ours(1), unavailable, never, held] })
    await placement.send('start.wanted')
    await placement.send('stood.still')
    await placement.clock.advanceTo(1_399)
    expect(placement.tags()).toEqual(['permitted'])
    await placement.clock.advanceTo(2_100)
    expect(placement.said).toContain('revoked by attic')
  })

  test('without a claim asks for one when NATS is back, and another start that it sees then ends it', async () => {
    const placement = open({ claim: [unavailable, ours(5)] })
    await placement.send('start.wanted')
    await placement.send('nats.back')
    expect([placement.said.slice(3).join(), placement.state()]).toEqual([
      'claim,look',
      '{"permitted":"claimed"}',
    ])
    const second = open({ claim: [unavailable, ours(5)], look: [[], [starting]] })
    await second.send('start.wanted')
    await second.send('nats.back')
    expect(second.said.slice(3).join()).toBe('claim,look,release 5,revoked by attic')
  })

  test('without a claim goes on while another member holds the claim: its holder sees this start', async () => {
    const placement = open({ claim: [unavailable, held, ours(5)] })
    await placement.send('start.wanted')
    await placement.send('nats.back')
    expect(placement.state()).toBe('{"permitted":"unclaimed"}')
    await placement.clock.advanceTo(10_000)
    expect(placement.state()).toBe('{"permitted":"claimed"}')
  })
})

test('a server that ended while its claim lingers is started again without another claim', async () => {
  const placement = open({})
  await placement.send('start.wanted')
  await placement.send('start.ready')
  await placement.send('start.wanted')
  expect([placement.said.slice(4).join(), placement.tags()]).toEqual(['look,confirm', ['permitted']])
})

test('a question that is not waited for is dropped, and the claim with it', async () => {
  const placement = open({ confirm: [never] })
  await placement.send('start.wanted')
  await placement.send('start.abandoned')
  expect([placement.said.at(-1), placement.tags(), placement.outcome()]).toEqual([
    'release 1',
    ['free'],
    null,
  ])
})

test('a walk through every state of a placement takes every transition', () => {
  const done = (name: string, output: unknown) => ({ type: `xstate.done.actor.${name}`, output })
  const replies: ClaimReply[] = [
    ours(1),
    held,
    { outcome: 'held', holder: { member: 'tower', boot: 't0' }, revision: 1 },
    { outcome: 'free' },
    unavailable,
  ]
  const home = [[], [starting], ['attic', 'barn', 'cellar', 'den'].map((member) => ({ ...attic, member }))]
  const holders = [
    { outcome: 'answered', state: 'asking' },
    { outcome: 'answered', state: 'cold' },
    { outcome: 'none' },
    { outcome: 'gone' },
    { outcome: 'silent' },
  ]
  const states = [
    'placing.claiming',
    'placing.proving.asking',
    'placing.takingOver',
    'placing.confirming',
    'permitted.renewing',
    'permitted.verifying',
    'permitted.unverified',
    'permitted.reclaiming',
  ]
  const { taken } = walk<SnapshotFrom<typeof placementMachine>>(placementMachine, {
    input,
    toEvents: () => [
      { type: 'start.wanted' },
      { type: 'start.abandoned' },
      { type: 'start.ready' },
      { type: 'start.ended' },
      { type: 'stood.still' },
      { type: 'nats.back' },
      ...home.flatMap((sights) => [done('look', sights), done('askMembers', sights)]),
      ...['claim', 'takeOver', 'confirm', 'renew'].flatMap((name) =>
        replies.map((reply) => done(name, reply)),
      ),
      ...['askHolder', 'probeHolder'].flatMap((name) => holders.map((reply) => done(name, reply))),
      ...states.map((state) => ({ type: `xstate.after.claimTimeout.placement.${state}` })),
      { type: 'xstate.after.renewal.placement.permitted.claimed' },
      { type: 'xstate.after.renewal.placement.permitted.unclaimed' },
      { type: 'xstate.after.claimLinger.placement.lingering' },
    ],
    toKey: ({ value, context: { revision, held, outcome } }) =>
      JSON.stringify([value, revision === null, held?.holder, outcome?.outcome]),
  })
  expect(findUntaken(placementMachine, taken)).toEqual([])
})

/** What is done and said in a few stories. Each mutant below differs from the chart in one of them. */
async function tell(machine: typeof placementMachine): Promise<unknown> {
  const stories: readonly (readonly [Answers, readonly PlacementEvent['type'][]])[] = [
    [{ look: [[starting]] }, []],
    [{}, ['start.ended']],
    [{}, ['start.ready', 'start.wanted']],
    [{ claim: [held] }, []],
    [{ claim: [held], askHolder: [{ outcome: 'answered', state: 'asking' }] }, []],
    [{ claim: [held], askHolder: [{ outcome: 'answered', state: 'cold' }] }, []],
    [{ claim: [held], probeHolder: [{ outcome: 'silent' }] }, []],
    [{ claim: [{ ...held, holder: { member: 'tower', boot: 't0' } }] }, []],
    [{ confirm: [{ outcome: 'free' }, ours(1)] }, []],
    [
      {
        claim: [unavailable],
        askMembers: [['attic', 'barn', 'cellar', 'den'].map((member) => ({ ...attic, member }))],
      },
      [],
    ],
    [{ claim: [never] }, []],
    [{ confirm: [unavailable, held] }, []],
    [{ claim: [unavailable] }, ['start.ready', 'start.wanted']],
    [{}, ['stood.still']],
    [{ confirm: [ours(1), held] }, ['stood.still']],
  ]
  const told: unknown[] = []
  for (const [answers, events] of stories) {
    const placement = open(answers, machine)
    await placement.send('start.wanted')
    for (const event of events) await placement.send(event)
    for (const timeMs of [700, 2_000, 10_000]) {
      await placement.clock.advanceTo(timeMs)
      told.push(placement.outcome(), [...placement.said], placement.state())
    }
  }
  return told
}

const chart = tell(placementMachine)
const guards = Object.keys(placementMachine.implementations.guards)

test.each(guards.flatMap((name) => [[name, true] as const, [name, false] as const]))(
  'a chart whose guard %s is always %s is caught',
  async (name, answer) => {
    const mutant = placementMachine.provide({ guards: { [name]: () => answer } })
    // A guard that lets a reply through that has no holder breaks the chart: that is caught as well.
    const told = await tell(mutant).catch(() => 'broken')
    expect(told).not.toEqual(await chart)
  },
)

test.each<[string, typeof placementMachine]>([
  ['waits twice as long for the store', placementMachine.provide({ delays: { claimTimeout: 1_400 } })],
  ['does not linger', placementMachine.provide({ delays: { claimLinger: 0 } })],
  ['renews its claim half as often', placementMachine.provide({ delays: { renewal: 20_000 } })],
  [
    'forgets to say that a start is revoked',
    placementMachine.provide({ actions: { reportRevocation: () => {} } }),
  ],
])('a chart that %s is caught', async (_, mutant) => {
  const told = async (machine: typeof placementMachine) => {
    const placement = open({ confirm: [ours(1), held], renew: [ours(3)] }, machine)
    await placement.send('start.wanted')
    await placement.send('start.ready')
    await placement.clock.advanceTo(2_000)
    const kept = open({ confirm: [ours(1), held] }, machine)
    await kept.send('start.wanted')
    await kept.send('stood.still')
    return [await tell(machine), placement.said, placement.tags(), kept.said]
  }
  expect(await told(mutant)).not.toEqual(await told(placementMachine))
})

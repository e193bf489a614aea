import { describe, expect, test } from 'vitest'
import { parseConfig } from '../../src/config/load.ts'
import { type Offer, withMembers } from '../../src/config/members.ts'
import { listReplicas, resolveModel } from '../../src/config/model-ref.ts'
import { findModelListing, toModelList } from '../../src/service/model-list.ts'
import { toServices } from '../../src/service/services.ts'

const own = parseConfig(`{
  models: { providers: {
    llama: { baseUrl: 'http://127.0.0.1:1/v1', models: [{ id: 'qwen' }, { id: 'small' }],
      replicas: [{ baseUrl: 'http://127.0.0.1:2/v1' }] },
    takesAny: { baseUrl: 'http://127.0.0.1:3/v1', models: [] },
  } },
}`)
const toOffer = (member: string, models: Readonly<Record<string, readonly object[]>>): Offer => ({
  member,
  address: `http://${member}:4141`,
  services: Object.fromEntries(
    Object.entries(models).map(([id, list]) => [
      id,
      {
        models: list.map((model) => ({ id: '', api: 'openai-completions', ...model })),
        state: 'ready',
        leases: 0,
        waiting: 0,
        room: null,
        startMs: null,
        fit: 'fits',
      },
    ]),
  ),
})
const offers = [
  toOffer('attic', {
    llama: [{ id: 'qwen' }, { id: 'phi', aliases: ['tiny'], input: ['text', 'image'], context: 4096 }],
    vllm: [{ id: 'big', api: 'anthropic-messages' }],
  }),
  toOffer('cellar', { Llama: [{ id: 'qwen' }], vllm: [{ id: 'big' }], other: [{ id: 'phi' }] }),
]
const config = withMembers(own, 'tower', offers)
const refs = (ref: string) => listReplicas(config, resolveModel(config, ref)).map((target) => target.ref)

describe('the models of other members', () => {
  test.each([
    ['llama/qwen', ['llama/qwen', 'llama#2/qwen', 'attic:llama/qwen', 'cellar:Llama/qwen']],
    ['small', ['llama/small', 'llama#2/small']],
    ['llama/phi', ['attic:llama/phi']],
    ['LLAMA/PHI', ['attic:llama/phi']],
    ['tiny', ['attic:llama/phi']],
    ['big', ['attic:vllm/big', 'cellar:vllm/big']],
    ['attic:llama/qwen', ['attic:llama/qwen']],
    ['ATTIC:big', ['attic:vllm/big']],
    ['cellar:phi', ['cellar:other/phi']],
    ['tower:qwen', ['llama/qwen', 'llama#2/qwen']],
    ['takesAny/attic:llama/qwen', ['takesAny/attic:llama/qwen']],
  ])('%s is asked of %j', (ref, expected) => {
    expect(refs(ref)).toEqual(expected)
  })

  test.each([
    ['phi', 'LEASEHOLD_MODEL_AMBIGUOUS'],
    ['cellar:llama/phi', 'LEASEHOLD_MODEL_UNKNOWN'],
    ['tower:big', 'LEASEHOLD_MODEL_UNKNOWN'],
    ['loft:llama/qwen', 'LEASEHOLD_MODEL_UNKNOWN'],
  ])('%s is refused with %s', (ref, code) => {
    expect(() => resolveModel(config, ref)).toThrow(expect.objectContaining({ code }))
  })

  test('are named to their owner by their full reference', () => {
    expect(resolveModel(config, 'attic:qwen').upstreamId).toBe('attic:llama/qwen')
    expect(resolveModel(config, 'big').provider).toMatchObject({
      baseUrl: 'http://attic:4141/v1',
      api: 'anthropic-messages',
      memberOf: { member: 'attic', provider: 'vllm' },
    })
  })

  test('leave out what is not wanted, members without an address and names that cannot be shown', () => {
    const hidden = { ...toOffer('loft', { llama: [{ id: 'hidden' }] }), address: null }
    const strange = toOffer('shed', { llama: [{ id: 'a\u0007b' }, { id: 'fine' }], 'x\n': [{ id: 'y' }] })
    const { members } = withMembers(own, 'tower', [...offers, hidden, strange], (id) => id !== 'vllm')
    expect(members?.providers.map(({ id, models }) => [id, models.map((model) => model.id)])).toEqual([
      ['attic:llama', ['qwen', 'phi']],
      ['cellar:Llama', ['qwen']],
      ['cellar:other', ['phi']],
      ['shed:llama', ['fine']],
    ])
  })

  test('have one service for each member, which says how it is without a key', () => {
    const services = [...toServices(config).values()].filter(({ key }) => key.startsWith('member:'))
    expect(services.map(({ key, name, healthUrl }) => [key, name, healthUrl])).toEqual([
      ['member:attic http://attic:4141/v1', 'attic', 'http://attic:4141/health'],
      ['member:cellar http://cellar:4141/v1', 'cellar', 'http://cellar:4141/health'],
    ])
  })

  test('are listed once, with the members that have them', () => {
    const list = toModelList(config, {
      stateOf: () => 'ready',
      contextOf: () => undefined,
      abilitiesOf: () => ({}),
      memberStateOf: () => 'starting.warming',
    })
    expect(
      list.map(({ id, members, state, context_length }) => [id, members, state, context_length]),
    ).toEqual([
      ['llama/qwen', ['tower', 'attic', 'cellar'], 'ready', undefined],
      ['llama/small', ['tower'], 'ready', undefined],
      ['llama/phi', ['attic'], 'starting.warming', 4096],
      ['vllm/big', ['attic', 'cellar'], 'starting.warming', undefined],
      ['other/phi', ['cellar'], 'starting.warming', undefined],
    ])
    expect(list[2]).toMatchObject({
      aliases: ['tiny'],
      owned_by: 'llama',
      architecture: { input_modalities: ['text', 'image'] },
    })
  })

  test('are in the best state of the members that have them: serving, then starting, then down', () => {
    const states = {
      attic: { llama: 'down.backoff', vllm: 'starting.warming' },
      cellar: { llama: 'leased.open', vllm: 'leased.draining', other: 'down.tripped' },
    } as const
    const facts = {
      stateOf: () => 'starting.spawning' as const,
      contextOf: () => undefined,
      abilitiesOf: () => ({}),
      memberStateOf: (member: string, provider: string) => Object(states)[member][provider.toLowerCase()],
    }
    expect(toModelList(config, facts).map(({ id, state }) => [id, state])).toEqual([
      ['llama/qwen', 'leased.open'],
      ['llama/small', 'starting.spawning'],
      ['llama/phi', 'down.backoff'],
      ['vllm/big', 'starting.warming'],
      ['other/phi', 'down.tripped'],
    ])
    // One that is named is asked alone.
    expect(findModelListing(config, 'attic:llama/qwen', facts).state).toBe('down.backoff')
    expect(findModelListing(config, 'llama/qwen', facts).state).toBe('leased.open')
  })

  test('leave the list as it is where no cluster is joined', () => {
    const list = toModelList(own, {
      stateOf: () => 'ready',
      contextOf: () => undefined,
      abilitiesOf: () => ({}),
    })
    expect(list.map(({ id }) => id)).toEqual(['llama/qwen', 'llama/small'])
    expect(list[0]).not.toHaveProperty('members')
  })

  test('are listed with looks that grow as their number does', () => {
    const countLooks = (models: number) => {
      let looks = 0
      const list = Array.from({ length: models }, (_, index) => ({ id: `m${index}`, aliases: [`a${index}`] }))
      const given = withMembers(own, 'tower', [
        toOffer('attic', { big: list }),
        toOffer('cellar', { big: list }),
      ])
      const { members } = given
      if (members === undefined) throw new Error('no members')
      const watch = <One extends object>(one: One, key: keyof One): One =>
        Object.defineProperty({ ...one }, key, {
          enumerable: true,
          get: () => {
            looks += 1
            return one[key]
          },
        })
      const providers = members.providers.map((provider) => ({
        ...provider,
        models: provider.models.map((model) => watch(model, 'id')),
      }))
      const aliases = members.aliases.map((alias) => watch(alias, 'ref'))
      const listed = toModelList(
        { ...given, members: { ...members, providers, aliases } },
        {
          stateOf: () => 'ready',
          contextOf: () => undefined,
          abilitiesOf: () => ({}),
        },
      )
      expect(listed.filter(({ owned_by: owner }) => owner === 'big')).toHaveLength(models)
      return looks
    }
    expect(countLooks(400)).toBeLessThan(2.5 * countLooks(200))
  })
})

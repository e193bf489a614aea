import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Card, isNewerCard, readCard, readStartClaim } from '../../../machines/cluster/messages.ts'

const card: Card = {
  v: 1,
  member: 'tower',
  boot: 'k3f9',
  seq: 412,
  address: 'http://10.0.0.11:4141',
  version: '2.1.0',
  state: 'open',
  services: {
    llama: {
      models: [{ id: 'qwen3-8b', api: 'openai-completions', aliases: ['qwen'], context: 32_768 }],
      state: 'ready',
      leases: 2,
      waiting: 0,
      room: 4,
      startMs: 41_000,
      fit: 'fits',
    },
  },
  counted: { attic: 118 },
}

describe('a card', () => {
  test('is read as it was written', () => {
    expect(readCard(JSON.parse(JSON.stringify(card)))).toEqual(card)
  })

  test('of a later version of the same format loses what is not known', () => {
    const llama = { ...card.services.llama, colour: 'red' }
    expect(readCard({ ...card, gpu: 'H200', services: { llama } })).toEqual(card)
    const odd = { ...card.services.llama, state: 'hibernating' }
    expect(readCard({ ...card, services: { ...card.services, odd } })).toEqual(card)
  })

  test('says of a cold service alone that its server sleeps', () => {
    const withService = (part: object) => ({
      ...card,
      services: { llama: { ...card.services.llama, ...part } },
    })
    const asleep = withService({ state: 'cold', isAsleep: true })
    expect(readCard(asleep)).toEqual(asleep)
    expect(readCard(withService({ state: 'ready', isAsleep: true }))).toEqual(card)
    expect(readCard(withService({ state: 'cold', isAsleep: 'yes' }))).toEqual(withService({ state: 'cold' }))
  })

  test('of a newer format is only told apart (row 20)', () => {
    const newer = readCard({ ...card, v: 2, state: 'resting', services: [] })
    expect(newer).toEqual({
      v: 2,
      member: 'tower',
      boot: 'k3f9',
      seq: 412,
      address: card.address,
      version: '2.1.0',
    })
    expect(newer !== undefined && isNewerCard(newer)).toBe(true)
    expect(isNewerCard(card)).toBe(false)
  })

  test.each([
    ['a member name with a wildcard', { member: 'tower.*' }],
    ['a boot with a dot', { boot: 'a.b' }],
    ['an address with a path', { address: 'http://10.0.0.1:4141/x' }],
    ['an address with a user', { address: 'http://a@10.0.0.1:4141' }],
    ['an address of another scheme', { address: 'file://10.0.0.1' }],
    ['a negative seq', { seq: -1 }],
    ['no format', { v: 0 }],
    ['a state of its own', { state: 'asleep' }],
    ['services in a list', { services: [] }],
    [
      'more services than a card may have',
      {
        services: Object.fromEntries(Array.from({ length: 513 }, (_, at) => [`s${at}`, card.services.llama])),
      },
    ],
  ])('with %s is no card', (_, part) => {
    expect(readCard({ ...card, ...part })).toBeUndefined()
  })

  test('that counts more origins than it may is read without the rest', () => {
    const counted = Object.fromEntries(Array.from({ length: 1_500 }, (_, at) => [`m${at}`, at]))
    const read = readCard({ ...card, counted })
    expect(read).toMatchObject({ member: 'tower', services: card.services, counted: { m0: 0, m1023: 1023 } })
    expect(Object.keys(Object(read).counted)).toHaveLength(1_024)
  })

  test('is never invented from anything else, and reading never throws', () => {
    const anything = fc.anything({ withBigInt: true, withNullPrototype: true })
    fc.assert(
      fc.property(anything, (value) => {
        expect(readCard(value)).toBeUndefined()
      }),
    )
    const changed = fc.tuple(fc.constantFrom(...Object.keys(card)), anything)
    fc.assert(
      fc.property(changed, ([key, value]) => {
        const read = readCard({ ...card, [key]: value })
        if (read !== undefined) expect(readCard(JSON.parse(JSON.stringify(read)))).toEqual(read)
      }),
    )
  })
})

test('a claim names a member and its boot, and anything else is no claim', () => {
  expect(readStartClaim({ member: 'tower', boot: 'k3f9', at: 'claimed' })).toEqual({
    member: 'tower',
    boot: 'k3f9',
  })
  expect(readStartClaim({ member: 'tower' })).toBeUndefined()
  expect(readStartClaim('')).toBeUndefined()
})

import { describe, expect, test } from 'vitest'
import { createMemberProof } from '../../src/transport/member-proof.ts'

const SECRET = 'a secret that has at least 32 characters'
const tower = { member: 'tower', boot: 'k3f9' }
const attic = { member: 'attic', boot: 'p0_-' }
const request = { method: 'POST', path: '/v1/chat/completions?x=1' }
const openPair = (secret = SECRET) =>
  ({ sender: createMemberProof(secret, tower), receiver: createMemberProof(SECRET, attic) }) as const

describe('the proof of a member', () => {
  test('names the sender, its run and the number, and holds no part of the secret', () => {
    const { sender, receiver } = openPair()
    const headers = sender.prove(attic, 118, request)
    expect(headers['x-leasehold-hop']).toBe('tower#118')
    expect(JSON.stringify(headers)).not.toContain(SECRET.slice(0, 8))
    expect(receiver.check(request, headers)).toEqual({ ...tower, number: 118 })
  })

  test('is absent from the request of a client, whose hop header means nothing', () => {
    const { receiver } = openPair()
    expect(receiver.check(request, { 'x-leasehold-hop': 'tower#1' })).toBeUndefined()
    expect(receiver.check(request, {})).toBeUndefined()
  })

  test.each([
    ['the method', { method: 'GET' }],
    ['the path', { path: '/v1/embeddings' }],
  ])('is refused where %s is another', (_, changed) => {
    const { sender, receiver } = openPair()
    const headers = sender.prove(attic, 1, request)
    expect(() => receiver.check({ ...request, ...changed }, headers)).toThrow(/does not prove/)
    // The number is still free: a forged request uses none up.
    expect(receiver.check(request, headers)?.number).toBe(1)
  })

  test.each([
    ['another member', { 'x-leasehold-hop': 'cellar#1' }, /does not prove/],
    ['another number', { 'x-leasehold-hop': 'tower#2' }, /does not prove/],
    ['a name that is none', { 'x-leasehold-hop': 'tower#1, attic#2' }, /not readable/],
    ['no hop', { 'x-leasehold-hop': undefined }, /not readable/],
    ['a short proof', { 'x-leasehold-proof': 'k3f9 p0_- abc' }, /not readable/],
    ['a list of proofs', { 'x-leasehold-proof': ['a', 'b'] }, /not readable/],
  ])('is refused with %s', (_, changed, message) => {
    const { sender, receiver } = openPair()
    const headers = { ...sender.prove(attic, 1, request), ...changed }
    expect(() => receiver.check(request, headers)).toThrow(
      expect.objectContaining({ code: 'LEASEHOLD_HOP_REFUSED', message: expect.stringMatching(message) }),
    )
  })

  test('of an answer is for one request of one run, and for what it says', () => {
    const { sender, receiver } = openPair()
    const proof = receiver.proveAnswer({ ...tower, number: 7 }, '{"v":1}')
    expect(sender.checkAnswer(attic, 7, '{"v":1}', proof)).toBe(true)
    expect(sender.checkAnswer(attic, 8, '{"v":1}', proof)).toBe(false)
    expect(sender.checkAnswer({ ...attic, boot: 'old' }, 7, '{"v":1}', proof)).toBe(false)
    expect(sender.checkAnswer(attic, 7, '{"v":2}', proof)).toBe(false)
    expect(sender.checkAnswer(attic, 7, '{"v":1}', undefined)).toBe(false)
    expect(
      openPair('another secret of at least 32 characters').sender.checkAnswer(attic, 7, '{"v":1}', proof),
    ).toBe(false)
  })

  test('is refused with another secret', () => {
    const { sender, receiver } = openPair('another secret of at least 32 characters')
    expect(() => receiver.check(request, sender.prove(attic, 1, request))).toThrow(/secret differs/)
  })

  test('is refused by another run of the receiver', () => {
    const { sender, receiver } = openPair()
    const headers = sender.prove({ ...attic, boot: 'old' }, 1, request)
    expect(() => receiver.check(request, headers)).toThrow(/earlier run of "attic"/)
  })

  test('is refused by another member that has the same boot', () => {
    const { sender } = openPair()
    const cellar = createMemberProof(SECRET, { member: 'cellar', boot: attic.boot })
    expect(() => cellar.check(request, sender.prove(attic, 1, request))).toThrow(/does not prove/)
  })

  test('is taken once, in any order, and a number that is far behind is refused', () => {
    const { sender, receiver } = openPair()
    const send = (number: number) => receiver.check(request, sender.prove(attic, number, request))?.number
    for (const number of [5, 3, 4, 9_000, 900, 8_999, 9_032]) expect(send(number)).toBe(number)
    for (const number of [3, 5, 900, 9_000, 9_032]) expect(() => send(number)).toThrow(/has come before/)
    expect(() => send(800)).toThrow(/has come before/)
    expect(send(1_000_000)).toBe(1_000_000)
    expect(send(999_000)).toBe(999_000)
    expect(() => send(9_031)).toThrow(/has come before/)
  })

  test('of another run of the sender begins with its own numbers', () => {
    const { sender, receiver } = openPair()
    const again = createMemberProof(SECRET, { ...tower, boot: 'next' })
    expect(receiver.check(request, sender.prove(attic, 1, request))?.boot).toBe('k3f9')
    expect(receiver.check(request, again.prove(attic, 1, request))?.boot).toBe('next')
  })
})

import { describe, expect, test } from 'vitest'
import { createLocalClaims } from '../../src/peers/host-claims.ts'

describe('a local claim', () => {
  test('is held by one at a time, in the order of asking', async () => {
    const claims = createLocalClaims()
    const order: number[] = []
    await Promise.all(
      [1, 2, 3].map(async (number) => {
        const claim = await claims.claim('a')
        order.push(number)
        await Promise.resolve()
        expect(order.at(-1)).toBe(number)
        claim.release()
      }),
    )
    expect(order).toEqual([1, 2, 3])
  })

  test('does not stand in the way of another key', async () => {
    const claims = createLocalClaims()
    const [a, b] = await Promise.all([claims.claim('a'), claims.claim('b')])
    expect([a.key, b.key]).toEqual(['a', 'b'])
  })

  test('is released once, however often it is asked', async () => {
    const claims = createLocalClaims()
    const first = await claims.claim('a')
    const second = claims.claim('a')
    const third = claims.claim('a')
    first.release()
    first.release()
    await second
    const state = await Promise.race([
      third.then(() => 'granted'),
      new Promise((resolve) => setImmediate(resolve, 'waiting')),
    ])
    expect(state).toBe('waiting')
  })

  test('passes over a claimant that gave up', async () => {
    const claims = createLocalClaims()
    const first = await claims.claim('a')
    const controller = new AbortController()
    const second = claims.claim('a', controller.signal)
    const third = claims.claim('a')
    controller.abort(new Error('left'))
    await expect(second).rejects.toThrow('left')
    first.release()
    const claim = await third
    controller.abort()
    claim.release()
    await claims.claim('a')
  })

  test('stays with a claimant whose signal is aborted after the grant', async () => {
    const claims = createLocalClaims()
    const controller = new AbortController()
    const first = await claims.claim('a')
    const second = claims.claim('a', controller.signal)
    const third = claims.claim('a')
    first.release()
    controller.abort()
    const held = await second
    held.release()
    expect(await third).toMatchObject({ key: 'a' })
  })

  test('is not given to a supervisor that has given up', async () => {
    const claims = createLocalClaims()
    await expect(claims.claim('a', AbortSignal.abort(new Error('left')))).rejects.toThrow('left')
    await claims.claim('a')
  })
})

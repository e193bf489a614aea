import { describe, expect, test } from 'vitest'
import { StateDirectoryError } from '../../src/errors.ts'
import { createClaimKeeper } from '../../src/peers/claim-keeper.ts'
import { type Claims, createLocalClaims } from '../../src/peers/host-claims.ts'

const never = new AbortController().signal
const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve))

/** Services whose keys begin with the address that they share. */
function openKeeper(claim?: Claims['claim']) {
  const local = createLocalClaims()
  const claims: Claims = {
    claim:
      claim ??
      (async (address, signal) => ({ outcome: 'claimed', claim: await local.claim(address, signal) })),
    meet: () => Promise.reject(new Error('no supervisor is met here')),
  }
  const keeper = createClaimKeeper(claims, (key) => key.charAt(0))
  return {
    keeper,
    /** Whether the claim on the address can be had by another service. */
    isFree: async () => {
      const controller = new AbortController()
      const other = local.claim('a', controller.signal).then(
        (mine) => {
          mine.release()
          return true
        },
        () => false,
      )
      await nextTurn()
      controller.abort()
      return other
    },
  }
}

describe('the claim of a service', () => {
  test('is kept from the first look until it is not needed, and is ours at once meanwhile', async () => {
    const { keeper, isFree } = openKeeper()
    expect(await keeper.take('a1', never)).toEqual({ outcome: 'claimed' })
    expect([keeper.keyOf('a'), await isFree()]).toEqual(['a1', false])
    expect(await keeper.take('a1', never)).toEqual({ outcome: 'claimed' })
    keeper.release('a1')
    keeper.release('a1')
    expect([keeper.keyOf('a'), await isFree()]).toEqual([undefined, true])
  })

  test('outlives a service that needs it no more until the last receipt of its processes', async () => {
    const { keeper, isFree } = openKeeper()
    await keeper.take('a1', never)
    keeper.noteBegin('a1')
    keeper.noteBegin('a1')
    keeper.release('a1')
    keeper.noteEnd('a1')
    expect(await isFree()).toBe(false)
    keeper.noteEnd('a1')
    expect(await isFree()).toBe(true)
  })

  test('stays when it is wanted again before the receipt', async () => {
    const { keeper, isFree } = openKeeper()
    await keeper.take('a1', never)
    keeper.noteBegin('a1')
    keeper.release('a1')
    await keeper.take('a1', never)
    keeper.noteEnd('a1')
    expect(await isFree()).toBe(false)
    keeper.release('a1')
    expect(await isFree()).toBe(true)
  })

  test('goes to the next service at the address when the first one is settled', async () => {
    const { keeper } = openKeeper()
    await keeper.take('a1', never)
    const second = keeper.take('a2', never)
    keeper.release('a1')
    expect([await second, keeper.keyOf('a')]).toEqual([{ outcome: 'claimed' }, 'a2'])
  })

  test('is not kept for one that has given up, and one that asks beside it still gets it', async () => {
    const { keeper, isFree } = openKeeper()
    await keeper.take('a1', never)
    const [left, stays] = [new AbortController(), new AbortController()]
    const [first, second] = [keeper.take('a2', left.signal), keeper.take('a2', stays.signal)]
    left.abort(new Error('left'))
    await expect(first).rejects.toThrow('left')
    keeper.release('a1')
    expect([await second, keeper.keyOf('a')]).toEqual([{ outcome: 'claimed' }, 'a2'])
    keeper.release('a2')

    await keeper.take('a1', never)
    const third = keeper.take('a2', left.signal)
    await expect(third).rejects.toThrow('left')
    const fourth = keeper.take('a3', stays.signal)
    stays.abort(new Error('left, too'))
    await expect(fourth).rejects.toThrow('left, too')
    keeper.release('a1')
    expect(await isFree()).toBe(true)
  })

  test('that comes when no service waits for it any more is given back', async () => {
    const released: string[] = []
    let give = () => {}
    const { keeper } = openKeeper(
      () =>
        new Promise((resolve) => {
          give = () => resolve({ outcome: 'claimed', claim: { key: 'a', release: () => released.push('a') } })
        }),
    )
    const controller = new AbortController()
    const taken = keeper.take('a1', controller.signal)
    controller.abort(new Error('left'))
    await expect(taken).rejects.toThrow('left')
    give()
    await nextTurn()
    expect([released, keeper.keyOf('a')]).toEqual([['a'], undefined])
  })

  test('that another supervisor has, or that cannot be had, is told and asked for again', async () => {
    const answers: (() => ReturnType<Claims['claim']>)[] = [
      async () => ({ outcome: 'held' }),
      () => Promise.reject(new StateDirectoryError('no directory', '/nowhere')),
      () => Promise.reject(new Error('EMFILE')),
    ]
    const { keeper } = openKeeper(() => (answers.shift() ?? (() => Promise.reject(new Error('too often'))))())
    expect(await keeper.take('a1', never)).toEqual({ outcome: 'held' })
    expect(await keeper.take('a1', never)).toMatchObject({ failure: { code: 'LEASEHOLD_STATE_UNUSABLE' } })
    expect(await keeper.take('a1', never)).toMatchObject({ failure: { code: 'LEASEHOLD_CLAIM_FAILED' } })
  })
})

import { describe, expect, test } from 'vitest'
import type { ClaimOutcome, Waiter } from '../../machines/messages.ts'
import { createStartPlace } from '../../src/supervisor/start-place.ts'

const { signal } = new AbortController()
const elsewhere = { outcome: 'elsewhere', member: 'attic' } as const

function open(waiters: Pick<Waiter, 'id' | 'cause'>[], isConfigured = true) {
  const asked: string[] = []
  const givenUp: string[] = []
  let answer: (outcome: ClaimOutcome) => void = () => {}
  const answered = new Promise<ClaimOutcome>((resolve) => {
    answer = resolve
  })
  const { place: decide, revoke } = createStartPlace({
    seat: {
      isConfigured,
      usesOthers: () => true,
      place: (key) => {
        asked.push(key)
        return answered
      },
    },
    waitersOf: () => waiters,
    requestOf: (id) => (id.startsWith('lease') ? undefined : { isForHere: () => id.startsWith('pinned') }),
    giveUp: (key, member) => givenUp.push(`${key} to ${member}`),
  })
  return {
    asked,
    givenUp,
    answer,
    decide: () => decide('llama', signal),
    revoke: () => revoke('llama', 'attic'),
  }
}

describe('a start in a cluster', () => {
  test.each<[string, Pick<Waiter, 'id' | 'cause'>]>([
    ['a request that names this member', { id: 'pinned' }],
    ['a start by hand', { id: 'lease', cause: 'start' }],
    ['preload', { id: 'lease', cause: 'preload' }],
    ['a lease that the host asks for', { id: 'lease' }],
  ])('is made here for %s, also where other requests wait', async (_, waiter) => {
    const { asked, decide, revoke, givenUp } = open([{ id: 'any' }, waiter])
    expect(await decide()).toEqual({ outcome: 'claimed' })
    revoke()
    expect([asked, givenUp]).toEqual([[], []])
  })

  test('is made here for a request that names this member and comes while the members are asked', async () => {
    const waiters = [{ id: 'any' }]
    const { decide, answer } = open(waiters)
    const outcome = decide()
    waiters.push({ id: 'pinned' })
    answer(elsewhere)
    expect(await outcome).toEqual({ outcome: 'claimed' })
  })

  test.each([[[{ id: 'any' }]], [[]]])('is the decision of the members where %j waits', async (waiters) => {
    const { decide, answer, revoke, givenUp } = open(waiters)
    answer(elsewhere)
    expect(await decide()).toEqual(elsewhere)
    revoke()
    expect(givenUp).toEqual(['llama to attic'])
  })

  test('asks no member where no cluster is configured', async () => {
    const { decide, asked } = open([{ id: 'any' }], false)
    expect(await decide()).toEqual({ outcome: 'claimed' })
    expect(asked).toEqual([])
  })
})

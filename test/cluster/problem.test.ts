import { expect, test } from 'vitest'
import type { CardAnswer } from '../../src/cluster/member-door.ts'
import { createNeighbours } from '../../src/cluster/neighbours.ts'
import { createVirtualClock } from '../../src/testing/virtual-clock.ts'
import { card } from './attic-card.ts'

test('a member that is well shows no problem: neither of a probe that was called off, nor of one before', async () => {
  const clock = createVirtualClock()
  let answer: ((answer: CardAnswer) => void) | undefined
  const neighbours = createNeighbours({
    clock,
    policy: { beatMs: 500, lostMs: 1_600, probeMs: 400 },
    askCard: () =>
      new Promise((resolve) => {
        answer = resolve
      }),
    onMet: () => {},
    onLost: () => {},
    onState: () => {},
    onChange: () => {},
  })
  const settle = () => new Promise(setImmediate)
  const seen = () => neighbours.all().map(({ state, problem }) => [state, problem])
  neighbours.hear(card(1))
  answer?.({ outcome: 'answered', card: card(1) })
  await settle()
  neighbours.suspect('attic')
  neighbours.hear(card(2))
  answer?.({ outcome: 'silent', detail: 'This operation was aborted' })
  await settle()
  neighbours.hear(card(3))
  expect(seen()).toEqual([['open', null]])
  neighbours.suspect('attic')
  answer?.({ outcome: 'refused', detail: 'connect ECONNREFUSED 10.0.0.2:4141' })
  await settle()
  expect(seen()).toEqual([['lost', 'connect ECONNREFUSED 10.0.0.2:4141']])
  neighbours.close()
})

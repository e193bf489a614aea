import { expect, test } from 'vitest'
import { lookAgain } from '../../src/cluster/look-again.ts'
import type { CardAnswer } from '../../src/cluster/member-door.ts'
import type { Neighbour } from '../../src/cluster/neighbours.ts'
import { card } from './attic-card.ts'

const answered: CardAnswer = { outcome: 'answered', card: card(2) }
const silent: CardAnswer = { outcome: 'silent', detail: 'timeout' }
const refused: CardAnswer = { outcome: 'refused', detail: 'ECONNREFUSED' }

test.each<[string, Neighbour['state'], number, CardAnswer, number | undefined, number]>([
  ['a card that is young is taken as it is', 'open', 1_000, answered, 1, 0],
  ['a card that is old is asked for, also of one that is not muted yet (row 9)', 'open', 999, answered, 2, 1],
  ['an old card stands while its member is silent', 'open', 999, silent, 1, 1],
  ['a member that refuses is not there', 'open', 999, refused, undefined, 1],
  ['one that is muted is always asked', 'muted', 5_000, answered, 2, 1],
  ['one that is muted and silent is not there', 'muted', 5_000, silent, undefined, 1],
])('%s', async (_, state, heardAtMs, answer, seq, questions) => {
  let asked = 0
  const found = await lookAgain({ state, card: card(1), heardAtMs }, 1_000, () => {
    asked += 1
    return Promise.resolve(answer)
  })
  expect([found?.seq, asked]).toEqual([seq, questions])
})

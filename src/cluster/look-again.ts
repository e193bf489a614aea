import type { Card, NewerCard } from '../../machines/cluster/messages.ts'
import type { CardAnswer } from './member-door.ts'
import type { Neighbour } from './neighbours.ts'

/**
 * The card of a member as it is now, before a start: one that is older than `sinceMs` is asked for over HTTP, because the
 * member may have begun a start that NATS does not tell. `undefined`: it is not there.
 */
export async function lookAgain(
  { state, card, heardAtMs }: Pick<Neighbour, 'state' | 'card' | 'heardAtMs'>,
  sinceMs: number,
  ask: (card: Card | NewerCard) => Promise<CardAnswer>,
): Promise<Card | NewerCard | undefined> {
  if (state !== 'muted' && heardAtMs >= sinceMs) return card
  const answer = await ask(card)
  if (answer.outcome === 'answered') return answer.card
  // Silence is no death: what it said last stands until it is lost. One that is muted may have no more to say.
  return answer.outcome === 'silent' && state !== 'muted' ? card : undefined
}

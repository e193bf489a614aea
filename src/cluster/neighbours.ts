import { type Card, isNewerCard, type NewerCard } from '../../machines/cluster/messages.ts'
import type { Clock } from '../clock.ts'
import type { CardAnswer } from './member-door.ts'

/** What is known of another member. */
export interface Neighbour {
  readonly member: string
  readonly card: Card | NewerCard
  readonly state: 'open' | 'draining' | 'muted' | 'settling' | 'lost'
  readonly heardAtMs: number
}

export interface NeighboursOptions {
  readonly clock: Clock
  readonly lostMs: number
  readonly probe: (card: Card | NewerCard) => Promise<CardAnswer>
  readonly onChange: (before: Neighbour | undefined, after: Neighbour) => void
  readonly onLost: (gone: { readonly member: string; readonly boot: string }, reason: string) => void
}

/** The other members of the cluster. */
export interface Neighbours {
  all(): readonly Neighbour[]
  of(member: string): Neighbour | undefined
  hear(card: Card | NewerCard): void
  farewell(member: string, boot: string): void
  /** NATS knows of no such run. */
  noResponders(member: string, boot: string): void
  /** A connection to it failed: it is asked whether it is there. */
  suspect(member: string): void
  close(): void
}

export function createNeighbours({ clock, lostMs, probe, onChange, onLost }: NeighboursOptions): Neighbours {
  const known = new Map<string, Neighbour>()
  const probing = new Set<string>()
  const timers = new Map<string, unknown>()
  const put = (after: Neighbour) => {
    const before = known.get(after.member)
    known.set(after.member, after)
    onChange(before, after)
  }
  const lose = (member: string, boot: string, reason: string) => {
    const now = known.get(member)
    if (now === undefined || now.card.boot !== boot || now.state === 'lost') return
    clock.clearTimeout(timers.get(member))
    put({ ...now, state: 'lost' })
    onLost({ member, boot }, reason)
  }
  const look = async (member: string) => {
    const now = known.get(member)
    if (now === undefined || now.state === 'lost' || probing.has(member)) return
    probing.add(member)
    const { boot } = now.card
    const answer = await probe(now.card)
    probing.delete(member)
    if (answer.outcome === 'answered') {
      wait(member)
      const current = known.get(member)
      if (current !== undefined && clock.now() - current.heardAtMs > lostMs)
        put({ ...current, card: answer.card, state: 'muted' })
    } else lose(member, boot, answer.detail)
  }
  const wait = (member: string) => {
    clock.clearTimeout(timers.get(member))
    timers.set(
      member,
      clock.setTimeout(() => void look(member), lostMs),
    )
  }
  return {
    all: () => [...known.values()],
    of: (member) => known.get(member),
    hear: (card) => {
      const before = known.get(card.member)
      if (before !== undefined && before.card.boot === card.boot && before.card.seq >= card.seq) return
      if (before !== undefined && before.card.boot !== card.boot)
        lose(card.member, before.card.boot, 'it was restarted')
      const state = !isNewerCard(card) && card.state === 'draining' ? 'draining' : 'open'
      put({ member: card.member, card, state, heardAtMs: clock.now() })
      wait(card.member)
    },
    farewell: (member, boot) => lose(member, boot, 'it has left'),
    noResponders: (member, boot) => lose(member, boot, 'NATS knows of no such run'),
    suspect: (member) => void look(member),
    close: () => {
      for (const timer of timers.values()) clock.clearTimeout(timer)
    },
  }
}

import { type Actor, createActor, fromPromise, type SnapshotFrom } from 'xstate'
import { type Card, isNewerCard, type NewerCard } from '../../machines/cluster/messages.ts'
import {
  type LossCause,
  type NeighbourContext,
  type NeighbourPolicy,
  type NeighbourProbe,
  neighbourMachine,
} from '../../machines/cluster/neighbour.ts'
import type { Clock } from '../clock.ts'
import type { MemberRun } from '../transport/member-proof.ts'
import type { CardAnswer } from './member-door.ts'

/** Another member as it is known here. */
export interface Neighbour {
  readonly member: string
  readonly card: Card | NewerCard
  /**
   * `unmet`: HTTP has not reached it yet. `muted`: NATS does not reach it, or this member reaches neither. `settling`: it
   * was lost and is back, so nothing is started there.
   */
  readonly state: 'unmet' | 'open' | 'draining' | 'muted' | 'settling' | 'lost'
  /** Its last card, on the clock. */
  readonly heardAtMs: number
  /** Why HTTP did not reach it last; `null`: it did, or was not asked. */
  readonly problem: string | null
}

export interface NeighboursOptions {
  readonly clock: Clock
  readonly policy: NeighbourPolicy
  /** Asks for its card over HTTP. */
  readonly askCard: (card: Card | NewerCard, signal: AbortSignal) => Promise<CardAnswer>
  readonly onMet: (neighbour: Neighbour) => void
  readonly onLost: (gone: MemberRun, because: LossCause) => void
  /** Its state is another one. */
  readonly onState: (neighbour: Neighbour) => void
  /** Anything is known anew of a member: its card, or its state. */
  readonly onChange: (member: string) => void
}

/** The other members of the cluster. The chart `machines/cluster/neighbour.ts` says what is known of each. */
export interface Neighbours {
  all(): readonly Neighbour[]
  of(member: string): Neighbour | undefined
  hear(card: Card | NewerCard): void
  farewell(member: string, boot: string): void
  /** NATS knows of no such run. */
  noResponders(member: string, boot: string): void
  /** A connection to it failed. */
  suspect(member: string): void
  /** This member has heard its own card. */
  echo(): void
  /** Whether this member reaches NATS. */
  setFrozen(isFrozen: boolean): void
  close(): void
}

interface Entry {
  readonly actor: Actor<typeof neighbourMachine>
  neighbour: Neighbour
  problem: string | null
}

export function createNeighbours({
  clock,
  policy,
  askCard,
  onMet,
  onLost,
  onState,
  onChange,
}: NeighboursOptions): Neighbours {
  const entries = new Map<string, Entry>()
  let isFrozen = false

  const provided = neighbourMachine.provide({
    actors: {
      probe: fromPromise<NeighbourProbe, NeighbourContext>(async ({ input: { card }, signal }) => {
        const answer = await askCard(card, signal)
        const entry = entries.get(card.member)
        // A probe that was called off found nothing out.
        if (entry !== undefined && !signal.aborted)
          entry.problem = answer.outcome === 'answered' ? null : answer.detail
        return answer
      }),
    },
  })
  const begin = (card: Card | NewerCard) => {
    const actor = createActor(provided, { clock, input: { card, policy, isFrozen } })
    const first = toNeighbour(actor.getSnapshot(), clock.now(), null)
    const entry: Entry = { actor, neighbour: first, problem: null }
    entries.set(card.member, entry)
    actor.on('neighbour.met', () => onMet(entry.neighbour))
    actor.on('neighbour.lost', ({ member, boot, because }) => onLost({ member, boot }, because))
    actor.subscribe({
      next: (snapshot) => {
        const before = entry.neighbour
        const isNew = before.card !== snapshot.context.card
        entry.neighbour = toNeighbour(snapshot, isNew ? clock.now() : before.heardAtMs, entry.problem)
        if (entry.neighbour.state !== before.state) onState(entry.neighbour)
        if (isNew || entry.neighbour.state !== before.state) onChange(card.member)
      },
      complete: () => {
        entries.delete(card.member)
        onChange(card.member)
      },
    })
    actor.start()
  }
  const tellAll = (event: Parameters<Entry['actor']['send']>[0]) => {
    for (const { actor } of [...entries.values()]) actor.send(event)
  }

  return {
    all: () => [...entries.values()].map(({ neighbour }) => neighbour),
    of: (member) => entries.get(member)?.neighbour,
    hear: (card) => {
      const entry = entries.get(card.member)
      if (entry === undefined) begin(card)
      else entry.actor.send({ type: 'card.heard', card })
    },
    farewell: (member, boot) => entries.get(member)?.actor.send({ type: 'bye.heard', boot }),
    noResponders: (member, boot) => entries.get(member)?.actor.send({ type: 'responders.none', boot }),
    suspect: (member) => entries.get(member)?.actor.send({ type: 'connection.failed' }),
    echo: () => {
      // It comes with each of our cards, and decides only about a member that is overdue.
      for (const { actor } of [...entries.values()])
        if (actor.getSnapshot().hasTag('overdue')) actor.send({ type: 'echo.heard' })
    },
    setFrozen: (isNow) => {
      if (isNow === isFrozen) return
      isFrozen = isNow
      tellAll({ type: isNow ? 'view.frozen' : 'view.thawed' })
    },
    close: () => {
      for (const { actor } of entries.values()) actor.stop()
    },
  }
}

/** Whether requests may go there. */
export function isUsable({ state }: Neighbour): boolean {
  return state !== 'lost' && state !== 'unmet'
}

/** States in which something keeps a member from being used as the others are. */
const UNWELL: ReadonlySet<Neighbour['state']> = new Set(['lost', 'unmet', 'muted'])

function toNeighbour(
  snapshot: SnapshotFrom<typeof neighbourMachine>,
  heardAtMs: number,
  problem: string | null,
): Neighbour {
  const { card, member } = snapshot.context
  const state = toState(snapshot)
  // A member whose cards come again is well, whatever the last probe said.
  return { member, card, state, heardAtMs, problem: UNWELL.has(state) ? problem : null }
}

function toState(snapshot: SnapshotFrom<typeof neighbourMachine>): Neighbour['state'] {
  const { card, isSettling } = snapshot.context
  if (snapshot.status === 'done' || snapshot.hasTag('lost')) return 'lost'
  if (snapshot.hasTag('unmet')) return 'unmet'
  if (snapshot.hasTag('muted')) return 'muted'
  if (!isNewerCard(card) && card.state === 'draining') return 'draining'
  return isSettling ? 'settling' : 'open'
}

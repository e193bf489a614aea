import { MAX_COUNTED } from '../../machines/cluster/messages.ts'
import { CARD_PATH, type ProvenHop } from '../transport/member-proof.ts'

/** The last request of each other member that this one has counted: its card tells them, of the latest members. */
export interface Arrivals {
  add(hop: ProvenHop, path: string): void
  counted(): Readonly<Record<string, number>>
}

export function createArrivals(): Arrivals {
  const last = new Map<string, ProvenHop>()
  return {
    add: (hop, path) => {
      // A question for the card is no load, and may pass requests that are under way. `cluster check` asks as a run of its own.
      if (path === CARD_PATH) return
      const before = last.get(hop.member)
      if (before?.boot === hop.boot && before.number > hop.number) return
      // The latest is at the end.
      last.delete(hop.member)
      last.set(hop.member, hop)
      const [quietest] = last.keys()
      if (last.size > MAX_COUNTED && quietest !== undefined) last.delete(quietest)
    },
    counted: () => Object.fromEntries([...last].map(([member, { number }]) => [member, number])),
  }
}

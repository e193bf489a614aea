import type { ProviderContext } from '../../machines/provider/context.ts'
import { hasTag } from '../../machines/provider/tags.ts'
import type { ServiceEventBody } from '../events/events.ts'

/** The invariants of a service, which hold after every step. */
export const invariants = {
  oneProcess: 'Never two live processes of one service.',
  noStopWhileLeased:
    'No stop signal while a lease is held, except crash, forced stop, or a passed drain deadline.',
  requestsAnsweredOnce: 'Every lease request is answered exactly once.',
  leasesEndOnce: 'Every granted lease ends exactly once.',
  spawnsSettledOnce: 'Every spawn ends in exactly one receipt.',
  adoptedNeverSignalled: 'An adopted server is never signalled.',
  readyMeansAlive: '`ready` implies that the child is alive.',
  coldIsQuiet: 'In `down.cold` no timer runs and no waiter waits.',
  oldGenerationsAreMute: 'Results of an old generation change nothing.',
  leasesAreCounted: 'The lease count is that of the leases held, and is above zero exactly in `leased`.',
  queueIsBounded:
    'No more leases than `maxConcurrent` of what is not borrowed, no more waiters than `maxQueue`, no waiter twice.',
  sleepersAreLeftAlone:
    'No request, and no health check, is sent to a server that is falling asleep, asleep or waking.',
  borrowedIsUsed: 'What is borrowed from another supervisor is waited for or leased, and nothing else.',
} as const

export type Invariant = keyof typeof invariants

/** A provider machine between two events. */
export interface ProviderView {
  /** The state as a dotted path: `leased.open`. */
  readonly state: string
  readonly context: ProviderContext
  /** Names of the delays that are armed. */
  readonly timers: readonly string[]
}

/** Tracks one service and reports the invariants that a state or a fact breaks. */
export interface Ledger {
  /** Records a fact; returns the invariants that it breaks. */
  record(fact: ServiceEventBody): readonly Invariant[]
  /** Compares the books with the machine between two events. */
  check(view: ProviderView): readonly Invariant[]
  /** The entries that are still open at the end. */
  checkEnd(): readonly Invariant[]
  /** Ids of requests without an answer, and of leases without an end. */
  readonly waiting: ReadonlySet<string>
  readonly held: ReadonlySet<string>
}

type Run = 'spawned' | 'exited' | 'settled'

/**
 * Opens empty books. `isDozing`: whether the server may not be asked anything, because it was told to sleep; default:
 * never.
 */
export function createLedger({ isDozing = () => false }: { readonly isDozing?: () => boolean } = {}): Ledger {
  const waiting = new Set<string>()
  const held = new Map<string, { generation: string; owned: boolean }>()
  const runs = new Map<string, Run>()
  let isStopAsked = false

  const isLive = (run: Run) => run === 'spawned'
  const revoke = (generation: string) => {
    for (const [id, lease] of held) if (lease.generation === generation) held.delete(id)
  }
  const answer = (id: string): Invariant[] => (waiting.delete(id) ? [] : ['requestsAnsweredOnce'])

  return {
    waiting,
    get held() {
      return new Set(held.keys())
    },
    record: (fact) => {
      switch (fact.type) {
        case 'lease.requested':
          waiting.add(fact.id)
          return []
        case 'lease.granted': {
          const isTwice = held.has(fact.id)
          held.set(fact.id, fact)
          return [
            ...answer(fact.id),
            ...(isTwice ? (['leasesEndOnce'] as const) : []),
            ...(isDozing() ? (['sleepersAreLeftAlone'] as const) : []),
          ]
        }
        case 'lease.refused':
        case 'lease.cancelled':
          return answer(fact.id)
        case 'lease.released':
          return held.delete(fact.id) ? [] : ['leasesEndOnce']
        case 'leases.revoked': {
          const hasCause = isStopAsked || runs.get(fact.generation) !== 'spawned'
          revoke(fact.generation)
          return hasCause ? [] : ['noStopWhileLeased']
        }
        case 'service.stop':
          isStopAsked = true
          return []
        case 'process.spawned': {
          const isSecond = [...runs.values()].some((run) => run !== 'settled')
          runs.set(fact.generation, 'spawned')
          return isSecond ? ['oneProcess'] : []
        }
        case 'process.signalled':
          if (!runs.has(fact.generation)) return ['adoptedNeverSignalled']
          return held.size > 0 ? ['noStopWhileLeased'] : []
        case 'process.exited':
          runs.set(fact.generation, 'exited')
          return []
        case 'process.settled': {
          const isTwice = runs.get(fact.generation) === 'settled'
          runs.set(fact.generation, 'settled')
          return isTwice ? ['spawnsSettledOnce'] : []
        }
        default:
          return []
      }
    },
    check: ({ state, context, timers }) => {
      const isUp = hasTag(state, 'up') || hasTag(state, 'sleeping')
      const run = context.generation === null ? undefined : runs.get(context.generation)
      const ids = context.waiters.map(({ id }) => id)
      const broken: [Invariant, boolean][] = [
        ['readyMeansAlive', isUp && context.ownership === 'owned' && run !== 'spawned'],
        ['oneProcess', [...runs.values()].filter(isLive).length > 1],
        ['coldIsQuiet', hasTag(state, 'cold') && (timers.length > 0 || ids.length > 0)],
        ['leasesAreCounted', context.leases !== held.size || hasTag(state, 'busy') !== context.leases > 0],
        [
          'queueIsBounded',
          (context.ownership !== 'borrowed' && context.leases > context.policy.maxConcurrent) ||
            ids.length > context.policy.maxQueue ||
            new Set(ids).size !== ids.length,
        ],
        ['sleepersAreLeftAlone', context.leases > 0 && context.isAsleep],
        [
          'borrowedIsUsed',
          context.ownership === 'borrowed' &&
            !(hasTag(state, 'warming') || hasTag(state, 'busy') || hasTag(state, 'retired')),
        ],
        ['requestsAnsweredOnce', ids.length !== waiting.size || ids.some((id) => !waiting.has(id))],
      ]
      return broken.filter(([, isBroken]) => isBroken).map(([name]) => name)
    },
    checkEnd: () => [
      ...(waiting.size > 0 ? (['requestsAnsweredOnce'] as const) : []),
      ...(held.size > 0 ? (['leasesEndOnce'] as const) : []),
      ...([...runs.values()].some((run) => run !== 'settled') ? (['spawnsSettledOnce'] as const) : []),
    ],
  }
}

/** Thrown by the test kit when an invariant is broken: the sentence, and where it was seen. */
export class InvariantError extends Error {
  readonly broken: readonly Invariant[]

  constructor(broken: readonly Invariant[], where: string) {
    super(`${where}\n${broken.map((name) => `  broken: ${invariants[name]}`).join('\n')}`)
    this.name = 'InvariantError'
    this.broken = broken
  }
}

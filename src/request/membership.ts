import type { Config, ProviderConfig } from '../config/config.ts'
import { type Offer, withMembers } from '../config/members.ts'
import type { MemberRun } from '../transport/member-proof.ts'
import type { Neighbourhood } from './neighbourhood.ts'

/** This supervisor's part in a cluster: nothing, until one is joined. */
export interface Membership {
  /** The other members; `undefined`: no cluster is joined. */
  readonly neighbourhood: Neighbourhood | undefined
  /** The configuration without what other members offer: for requests that another member has sent here. It knows the name of this member. */
  readonly own: Config
  /** Of that what other members may use. */
  readonly shared: Config
  /** From now on requests may go to other members. `isShared`: what they may use of this one. @default everything */
  join(neighbourhood: Neighbourhood, isShared?: (provider: ProviderConfig) => boolean): void
  /** What the other members offer now. Called when that changes, not for every card: a change is another configuration. */
  offer(offers: readonly Offer[], isUsed?: (providerId: string) => boolean): void
  /** Another file is in force; the offers stay. */
  replace(config: Config): void
}

export interface MembershipOptions {
  /** Puts a configuration into force. */
  readonly apply: (config: Config) => void
  /** A run of a member is gone. */
  readonly lost: (run: MemberRun) => void
}

export function createMembership(config: Config, { apply, lost }: MembershipOptions): Membership {
  let own = config
  let ownNamed = config
  let shared = config
  let isShared: (provider: ProviderConfig) => boolean = () => true
  let neighbourhood: Neighbourhood | undefined
  let offers: readonly Offer[] = []
  let isUsed: ((providerId: string) => boolean) | undefined
  const update = () => {
    ownNamed = neighbourhood === undefined ? own : withMembers(own, neighbourhood.self, [])
    shared = { ...ownNamed, providers: ownNamed.providers.filter(isShared) }
    apply(neighbourhood === undefined ? own : withMembers(own, neighbourhood.self, offers, isUsed))
  }
  return {
    get neighbourhood() {
      return neighbourhood
    },
    get own() {
      return ownNamed
    },
    get shared() {
      return shared
    },
    join: (next, isGiven = () => true) => {
      neighbourhood = next
      isShared = isGiven
      next.lost$.subscribe(lost)
      update()
    },
    offer: (next, uses) => {
      offers = next
      isUsed = uses
      if (neighbourhood !== undefined) update()
    },
    replace: (next) => {
      own = next
      update()
    },
  }
}

/**
 * What can be said of a state without its name. `starting`: a start was decided and is not over. `claiming`: it waits for
 * its turn or for the claim. `loading`: a process is spawned or loads (`spawning`, `warming`). `up`: healthy. `serving`:
 * it grants leases. `busy`: leases are held. `draining`: no new leases. `stopping`: a stop is under way (`killing`: by
 * SIGKILL). `down`: no process of ours runs (`cold`, `backoff`, `tripped`). `settled`: `down` or `retired`.
 */
export type ProviderTag =
  | 'starting'
  | 'claiming'
  | 'loading'
  | 'spawning'
  | 'warming'
  | 'up'
  | 'serving'
  | 'busy'
  | 'draining'
  | 'stopping'
  | 'killing'
  | 'down'
  | 'cold'
  | 'backoff'
  | 'tripped'
  | 'settled'
  | 'retired'

/**
 * The tags of every state that is shown, for code that has the name of a state and no snapshot: a reader of events, of a
 * recording or of an answer over HTTP. A test compares this table with the chart.
 */
const TAGS = {
  'down.cold': ['down', 'settled', 'cold'],
  'down.backoff': ['down', 'settled', 'backoff'],
  'down.tripped': ['down', 'settled', 'tripped'],
  probing: ['starting'],
  'starting.claiming': ['starting', 'claiming'],
  'starting.spawning': ['starting', 'loading', 'spawning'],
  'starting.warming': ['starting', 'loading', 'warming'],
  ready: ['up', 'serving'],
  'leased.open': ['up', 'busy', 'serving'],
  'leased.draining': ['up', 'busy', 'draining'],
  'idle-stopping.terminating': ['stopping'],
  'idle-stopping.killing': ['stopping', 'killing'],
  'idle-stopping.sweeping': ['stopping'],
  retired: ['settled', 'retired'],
} as const satisfies Record<string, readonly ProviderTag[]>

/** A state of a service as it is shown: a dotted name of at most two levels. */
export type ProviderState = keyof typeof TAGS

/** Every state that is shown, in the order of a life. */
export const providerStates = Object.keys(TAGS) as readonly ProviderState[]

/** The tags of a state. A name that is unknown, from a newer recording for one, has none. */
export function listTags(state: string): readonly ProviderTag[] {
  return Object.hasOwn(TAGS, state) ? TAGS[state as ProviderState] : []
}

/** Whether the chart gives this state this tag. */
export function hasTag(state: string, tag: ProviderTag): boolean {
  return listTags(state).includes(tag)
}

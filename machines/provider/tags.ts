/**
 * What code outside of the chart may ask of a state. `down`: no process of ours runs (`cold`, `backoff`, `tripped`).
 * `probing`: one health check decides. `starting`: a start is under way (`claiming`: waits for its turn or the claim;
 * `loading`: `spawning` or `warming`). `up`: healthy (`idle`: no lease is held; `busy`: leases are held; `serving`: grants
 * leases; `draining`: grants none). `sleeping`: its run is told to sleep (`falling-asleep`), sleeps (`asleep`)
 * or is woken (`waking`). `stopping`: a stop is under way (`terminating`: SIGTERM, `killing`: SIGKILL).
 * `settled`: `down` or `retired`.
 */
export type ProviderTag =
  | 'probing'
  | 'starting'
  | 'claiming'
  | 'loading'
  | 'spawning'
  | 'warming'
  | 'up'
  | 'serving'
  | 'idle'
  | 'busy'
  | 'draining'
  | 'sleeping'
  | 'falling-asleep'
  | 'asleep'
  | 'waking'
  | 'stopping'
  | 'terminating'
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
  probing: ['probing'],
  'starting.claiming': ['starting', 'claiming'],
  'starting.spawning': ['starting', 'loading', 'spawning'],
  'starting.warming': ['starting', 'loading', 'warming'],
  ready: ['up', 'serving', 'idle'],
  'ready.falling-asleep': ['sleeping', 'falling-asleep'],
  'ready.asleep': ['sleeping', 'asleep'],
  'ready.waking': ['sleeping', 'waking'],
  'leased.open': ['up', 'busy', 'serving'],
  'leased.draining': ['up', 'busy', 'draining'],
  'idle-stopping.terminating': ['stopping', 'terminating'],
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

import { hasTag } from '../../../machines/provider/tags.ts'
import { type Situation, toAwaited } from '../../explanation/situation.ts'

/** How a state looks: each has a shape of its own, a word and a colour. */
export type Look =
  | 'use'
  | 'idle'
  | 'asleep'
  | 'loading'
  | 'waiting'
  | 'stopping'
  | 'tripped'
  | 'backoff'
  | 'failed'
  | 'down'

export const lookWords: Readonly<Record<Look, string>> = {
  use: 'In use',
  idle: 'Ready',
  asleep: 'Asleep',
  loading: 'Loading',
  waiting: 'Waits for room',
  stopping: 'Stopping',
  tripped: 'Keeps failing',
  backoff: 'Failed',
  failed: 'Failed',
  down: 'Down',
}

/** Groups of services, in the order in which they are shown: what is broken is on top. */
export const groups = ['Failing', 'Busy', 'Idle', 'Down'] as const

export type Group = (typeof groups)[number]

const groupOf: Readonly<Record<Look, Group>> = {
  tripped: 'Failing',
  backoff: 'Failing',
  failed: 'Failing',
  use: 'Busy',
  loading: 'Busy',
  waiting: 'Busy',
  stopping: 'Busy',
  idle: 'Idle',
  asleep: 'Idle',
  down: 'Down',
}

export function findLook({
  key,
  state,
  decision,
  failure,
}: Pick<Situation, 'key' | 'state' | 'decision' | 'failure'>): Look {
  if (hasTag(state, 'busy')) return 'use'
  if (hasTag(state, 'idle')) return 'idle'
  if (hasTag(state, 'waking')) return 'loading'
  if (hasTag(state, 'sleeping')) return 'asleep'
  if (hasTag(state, 'claiming')) return toAwaited({ key, state, decision }) === null ? 'loading' : 'waiting'
  if (hasTag(state, 'starting') || hasTag(state, 'probing')) return 'loading'
  if (hasTag(state, 'stopping')) return 'stopping'
  if (hasTag(state, 'tripped')) return 'tripped'
  if (hasTag(state, 'backoff')) return 'backoff'
  return failure === null ? 'down' : 'backoff'
}

export function findGroup(look: Look): Group {
  return groupOf[look]
}

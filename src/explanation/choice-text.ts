import type { RankCause, ReplicaGroup } from '../../machines/replicas.ts'

/** Why a request went to a member of the cluster, and not to another one. */
export type Choice =
  /** `named`: by the client. `only`: no other one has the model. `redirected`: another one said that this one has it. */
  | { readonly member: string; readonly cause: 'named' | 'only' | 'redirected' }
  /** An earlier candidate failed. */
  | { readonly member: string; readonly cause: 'failed'; readonly ref: string }
  /** `other` ranked behind it: what a request would have met there, and what decided. */
  | {
      readonly member: string
      readonly cause: 'ranked'
      readonly model: string
      readonly other: string
      readonly group: ReplicaGroup
      readonly because: RankCause
    }

/** One clause without a full stop: `on attic, because tower is loading phi`. */
export function toChoiceText(choice: Choice): string {
  const { member } = choice
  switch (choice.cause) {
    case 'named':
      return `on ${member}, because the request names it`
    case 'only':
      return `on ${member}, because no other machine has the model`
    case 'redirected':
      return `on ${member}, because it has the model or starts it`
    case 'failed':
      return `on ${member}, because ${choice.ref} could not answer`
    case 'ranked':
      return `on ${member}, because ${describeRank(choice)}`
  }
}

function describeRank({
  member,
  model,
  other,
  group,
  because,
}: Extract<Choice, { cause: 'ranked' }>): string {
  switch (because) {
    case 'load':
      return `${other} has more requests`
    case 'startMs':
      return `${model} starts faster there than on ${other}`
    case 'group':
      return describeGroup(group, other, model)
    default:
      return `all machines choose ${member} before ${other}`
  }
}

function describeGroup(group: ReplicaGroup, other: string, model: string): string {
  switch (group) {
    case 'ready':
      return `${other} is no better`
    case 'starting':
      return `${other} is loading ${model}`
    case 'asleep':
      return `${other} would have to wake ${model}`
    case 'fits':
      return `${other} would have to load ${model}`
    case 'evicts':
      return `${other} would have to stop another service for ${model}`
    case 'full':
      return `${other} has no place free`
    case 'waits':
      return `${other} has no room for ${model}`
    case 'settling':
      return `${other} was lost and has just come back`
    case 'muted':
      return `${other} is reached over HTTP only`
    case 'backoff':
    case 'failed':
      return `${model} failed on ${other}`
    case 'never':
      return `${other} cannot run ${model}`
    case 'draining':
      return `${other} takes no new requests`
  }
}

import {
  type AnyActor,
  type AnyActorScope,
  type AnyEventObject,
  type AnyMachineSnapshot,
  type AnyStateMachine,
  createActor,
  initialTransition,
} from 'xstate'
import { toStateName } from '../../machines/provider/context.ts'

/** One transition as it is written in a chart. */
export type Definition = ReturnType<AnyStateMachine['getTransitionData']>[number]

/** What a walk found. */
export interface Walk<Snapshot> {
  readonly states: readonly Snapshot[]
  readonly taken: ReadonlySet<Definition>
  /** `STATE EVENT` of everything that was answered somewhere in that state. */
  readonly answered: ReadonlySet<string>
}

/** Where a walk begins, what can happen in a state, and which states count as the same. */
export interface WalkOptions<Snapshot> {
  readonly input: object
  toEvents(state: Snapshot): readonly AnyEventObject[]
  toKey(state: Snapshot): string
}

/** Walks breadth first through every state that the events can lead to. Nothing is carried out. */
export function walk<Snapshot extends AnyMachineSnapshot>(
  machine: AnyStateMachine,
  { input, toEvents, toKey }: WalkOptions<Snapshot>,
): Walk<Snapshot> {
  const [first] = initialTransition(machine, input)
  const states = [first as Snapshot]
  const seen = new Set(states.map(toKey))
  const taken = new Set<Definition>()
  const answered = new Set<string>()
  for (const state of states) {
    if (state.status !== 'active') continue
    // Whatever a step spawns stays with its scope, so an old scope is a slow one.
    const scope = toScope(createActor(machine, { input }))
    for (const event of toEvents(state)) {
      const chosen = machine.getTransitionData(state, event)
      if (chosen.length === 0) continue
      answered.add(`${toStateName(state.value)} ${event.type}`)
      for (const one of chosen) taken.add(one)
      const steps = machine.microstep(state, event, scope)
      steps.forEach((step, index) => {
        for (const one of eventlessOf(step, steps[index + 1])) taken.add(one)
      })
      const next = (steps.at(-1) ?? state) as Snapshot
      const key = toKey(next)
      if (seen.has(key)) continue
      seen.add(key)
      states.push(next)
    }
  }
  return { states, taken, answered }
}

/** Every transition that a chart has. */
export function definitionsOf(machine: AnyStateMachine): Set<Definition> {
  const found = new Set<Definition>()
  const visit = (node: AnyStateMachine['root']) => {
    for (const definitions of node.transitions.values()) for (const one of definitions) found.add(one)
    for (const one of node.always ?? []) found.add(one)
    for (const child of Object.values(node.states)) visit(child)
  }
  visit(machine.root)
  return found
}

/** The transitions that were never taken, in words. */
export function findUntaken(machine: AnyStateMachine, taken: ReadonlySet<Definition>): string[] {
  return [...definitionsOf(machine)]
    .filter((one) => !taken.has(one))
    .map(({ source, eventType, guard, target }) => {
      const name =
        typeof guard === 'string' ? ` if ${guard}` : guard === undefined ? '' : ' if several guards'
      return `${source.id} on ${eventType || 'nothing'}${name} to ${target?.map(({ id }) => id).join() ?? 'itself'}`
    })
}

/** The eventless transition between two small steps; those of one state lead to different places. */
function eventlessOf(before: AnyMachineSnapshot, after: AnyMachineSnapshot | undefined): Definition[] {
  if (after === undefined) return []
  return before._nodes
    .flatMap(({ always }) => always ?? [])
    .filter(({ target }) => target?.some((node) => after._nodes.includes(node)))
}

/** What a step needs around it when nothing is carried out. */
function toScope(self: AnyActor): AnyActorScope {
  const nothing = () => {}
  return {
    self,
    system: self.system,
    id: self.id,
    sessionId: self.sessionId,
    logger: nothing,
    defer: nothing,
    emit: nothing,
    stopChild: nothing,
    actionExecutor: nothing,
  }
}

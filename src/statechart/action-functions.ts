import type { Step } from './step.ts'
import type { ActionFunction, ActionReference, Builtin, Machine } from './xstate-internals.ts'

/** An action with its name and parameters resolved. */
export type Action = (step: Step) => void

/** Resolves the actions of one machine, each name once. */
export function createActions(implementations: Machine['implementations']['actions']) {
  const byName = new Map<string, Action>()

  return function resolve(reference: ActionReference): Action {
    if (typeof reference === 'function')
      return buildAction(reference, reference.name || '(anonymous)', undefined)
    if (typeof reference !== 'string')
      return buildAction(implementations[reference.type], reference.type, reference.params)
    const known = byName.get(reference)
    if (known !== undefined) return known
    const action = buildAction(implementations[reference], reference, undefined)
    byName.set(reference, action)
    return action
  }
}

function buildAction(implementation: ActionFunction | undefined, name: string, given: unknown): Action {
  const readParams =
    typeof given === 'function'
      ? ({ context, event }: Step) => given({ context, event }) as unknown
      : () => given
  if (!isBuiltin(implementation)) return (step) => step.run(name, implementation, readParams(step))
  switch (implementation.type) {
    case 'xstate.assign':
      return (step) => step.assign(implementation.assignment, readParams(step))
    case 'xstate.emit':
      return (step) => step.emit(implementation.event, readParams(step))
    case 'xstate.raise':
      return (step) => step.raise(implementation.event, implementation, readParams(step))
    case 'xstate.cancel':
      return (step) => step.cancel(implementation.sendId, readParams(step))
    case 'xstate.enqueueActions':
      return (step) => step.enqueueActions(implementation.collect, readParams(step))
    default:
      return (step) => step.runBuiltin(implementation, readParams(step))
  }
}

function isBuiltin(implementation: ActionFunction | undefined): implementation is Builtin {
  return implementation !== undefined && 'resolve' in implementation
}

import type { AnyStateMachine } from 'xstate'
import { toGuardText, toName } from './diagram.ts'

/**
 * A machine's definition as JSON that `createMachine` loads: every state and every edge, with the code behind the
 * names left out. A compound guard is one guard whose type is its text (`isReady and isOwned`), with its parts in
 * `params.guards`. Functions that compute input, output or context are left out.
 */
export function buildDefinition({ config }: AnyStateMachine): object {
  return JSON.parse(JSON.stringify(config, toJson)) as object
}

function toJson(key: string, value: unknown): unknown {
  if (key === 'context' || key === 'input' || key === 'output') return undefined
  if (key === 'guard' && isCompound(value))
    return { type: toGuardText(value), params: { guards: listParts(value) } }
  return typeof value === 'function' ? { type: toName(value) } : value
}

interface Compound {
  (): unknown
  readonly guards: readonly unknown[]
}

function isCompound(guard: unknown): guard is Compound {
  return typeof guard === 'function' && 'guards' in guard && Array.isArray(guard.guards)
}

function listParts({ guards }: Compound): unknown[] {
  return guards.map((part) =>
    isCompound(part) ? { type: toGuardText(part), params: { guards: listParts(part) } } : part,
  )
}

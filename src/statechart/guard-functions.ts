import { and, not, or } from 'xstate'
import type { GuardFunction, GuardReference, GuardScope, Machine, Snapshot } from './xstate-internals.ts'

/** A guard with its name, parts and parameters resolved. */
export type Guard = (scope: GuardScope, snapshot: Snapshot) => boolean

const checkOf = (guard: unknown) => (guard as GuardFunction).check
const checkAnd = checkOf(and([]))
const checkOr = checkOf(or([]))
const checkNot = checkOf(not(''))

/** Resolves the guards of one machine, each name once. */
export function createGuards(implementations: Machine['implementations']['guards']) {
  const byName = new Map<string, Guard>()

  function resolve(reference: GuardReference): Guard {
    if (typeof reference === 'function') return resolveFunction(reference, undefined, '')
    if (typeof reference !== 'string')
      return resolveNamed(reference.type, 'params' in reference ? reference.params : undefined)
    const known = byName.get(reference)
    if (known !== undefined) return known
    // Entered before its parts are resolved: a guard that names itself fails when it is asked, as in xstate.
    let guard: Guard | undefined
    byName.set(reference, (scope, snapshot) => guard?.(scope, snapshot) ?? false)
    guard = resolveNamed(reference, undefined)
    byName.set(reference, guard)
    return guard
  }

  function resolveNamed(name: string, params: unknown): Guard {
    const implementation = implementations[name]
    if (implementation === undefined)
      return () => {
        throw new Error(`Guard '${name}' is not implemented.'.`)
      }
    return typeof implementation === 'function'
      ? resolveFunction(implementation, params, name)
      : resolve(implementation)
  }

  function resolveFunction(guard: GuardFunction, params: unknown, name: string): Guard {
    const parts = () => (guard.guards ?? []).map(resolve)
    switch (guard.check) {
      case undefined:
        return typeof params === 'function'
          ? (scope) => guard(scope, params(scope))
          : (scope) => guard(scope, params)
      case checkAnd:
        return allOf(parts())
      case checkOr:
        return anyOf(parts())
      case checkNot: {
        const [part] = parts()
        if (part === undefined) throw new Error(`not() of "${name}" names no guard`)
        return (scope, snapshot) => !part(scope, snapshot)
      }
      default:
        return (scope, snapshot) => guard.check?.(snapshot, scope, guard) ?? false
    }
  }

  return resolve
}

function allOf(parts: readonly Guard[]): Guard {
  return (scope, snapshot) => {
    for (const part of parts) if (!part(scope, snapshot)) return false
    return true
  }
}

function anyOf(parts: readonly Guard[]): Guard {
  return (scope, snapshot) => {
    for (const part of parts) if (part(scope, snapshot)) return true
    return false
  }
}

import { type Finding, toError, toWarning } from './finding.ts'
import { findNearest, isNearMiss } from './nearest.ts'
import type { Entry } from './positions.ts'

/** How deep our sections may nest: far beyond any real file, and safe for code that recurses. */
export const MAX_DEPTH_OF_VALUES = 64

/** Keys that reach an object's prototype when a program copies them without a check. */
const MAGIC_KEYS: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype'])

/** The sections of which something is read. `secrets` and `env` are OpenClaw's: keys are found there. */
export const READ_SECTIONS: ReadonlySet<string> = new Set(['models', 'agents', 'leasehold', 'secrets', 'env'])

/** A JSON object: only its own keys count. */
export type JsonObject = Record<string, unknown>

/** Whether a parsed value is an object and no array. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Our sections of a file, and the dotted paths of all others. */
export interface Sections {
  readonly own: JsonObject
  readonly ignored: readonly string[]
  readonly findings: readonly Finding[]
}

/**
 * Takes `models`, `agents.defaults.model`, `agents.defaults.models` and `leasehold` out of a file. Every other
 * section is left alone and listed; a name that looks like a misspelling of one of ours gives a warning.
 */
export function pickSections(file: JsonObject): Sections {
  const ignored: string[] = []
  const findings: Finding[] = []
  const pick = (source: JsonObject, keys: readonly string[], at: readonly string[]): JsonObject => {
    const own: JsonObject = {}
    for (const [key, value] of Object.entries(source)) {
      if (keys.includes(key)) own[key] = value
      else {
        ignored.push([...at, key].join('.'))
        const nearest = findNearest(key, keys)
        if (nearest !== undefined && isNearMiss(key, nearest.edits)) {
          findings.push(toWarning([...at, key], `is ignored; did you mean "${nearest.candidate}"?`))
        }
      }
    }
    return own
  }
  const own = pick(file, ['models', 'agents', 'leasehold'], [])
  // One level too high is the commonest slip, and such a file configures nothing.
  if (own.models === undefined && isJsonObject(file.providers))
    findings.push(toWarning(['providers'], 'is ignored; did you mean "models.providers"?'))
  if (isJsonObject(own.agents)) own.agents = pick(own.agents, ['defaults'], ['agents'])
  if (isJsonObject(own.agents) && isJsonObject(own.agents.defaults)) {
    own.agents.defaults = pick(own.agents.defaults, ['model', 'models'], ['agents', 'defaults'])
  }
  return { own, ignored, findings }
}

/**
 * Removes keys such as `__proto__` from our sections, in place, and says where they were. A value nested deeper
 * than 64 levels is removed too.
 */
export function removeMagicKeys(value: unknown, path: readonly PropertyKey[] = []): Finding[] {
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, inner]) => {
    const innerPath = [...path, Array.isArray(value) ? Number(key) : key]
    const isMagic = MAGIC_KEYS.has(key)
    if (!isMagic && innerPath.length <= MAX_DEPTH_OF_VALUES) return removeMagicKeys(inner, innerPath)
    Reflect.deleteProperty(value, key)
    return [
      toError(
        innerPath,
        isMagic ? `"${key}" is not allowed as a key` : `is nested deeper than ${MAX_DEPTH_OF_VALUES} levels`,
      ),
    ]
  })
}

/** A warning for each key of our sections that is written twice in one object. */
export function findDuplicateKeys(own: unknown, entry: Entry, path: readonly PropertyKey[] = []): Finding[] {
  if (typeof own !== 'object' || own === null) return []
  return Object.entries(own).flatMap(([key, inner]) => {
    const innerEntry = entry.entries?.get(key)
    if (innerEntry === undefined) return []
    const innerPath = [...path, key]
    const rest = findDuplicateKeys(inner, innerEntry, innerPath)
    return innerEntry.isDuplicate
      ? [toWarning(innerPath, 'is written twice; the last one counts'), ...rest]
      : rest
  })
}

import { z } from 'zod'
import type { ConfigProblem } from '../errors.ts'
import { type Entry, findPosition } from './positions.ts'

/** Something wrong at a path, before its place in the text is known. */
export interface Finding {
  readonly severity: 'error' | 'warning'
  readonly path: readonly PropertyKey[]
  readonly message: string
  /** A misspelt key. It stays an error where other faults of a provider only make that provider unavailable. */
  readonly isSlip?: true
}

/** A finding that makes the configuration unusable. */
export function toError(path: readonly PropertyKey[], message: string): Finding {
  return { severity: 'error', path, message }
}

/** A finding that the rest of the configuration can live with. */
export function toWarning(path: readonly PropertyKey[], message: string): Finding {
  return { severity: 'warning', path, message }
}

/** The findings with their places in the text, in the order of the text, each once. */
export function toProblems(findings: readonly Finding[], root: Entry): ConfigProblem[] {
  const problems = findings.map(
    ({ severity, path, message }): ConfigProblem => ({
      severity,
      path: z.core.toDotPath([...path]),
      message,
      ...findPosition(root, path),
    }),
  )
  const unique = new Map(problems.map((problem) => [`${problem.path}\n${problem.message}`, problem]))
  return [...unique.values()].sort(
    (a, b) => (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0),
  )
}

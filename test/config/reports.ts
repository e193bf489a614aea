import { type ConfigOptions, parseConfig } from '../../src/config/load.ts'
import { ConfigError, type ConfigProblem } from '../../src/errors.ts'

/** The text of a file with these providers, in one line. */
export function toText(providers: string, rest = ''): string {
  return `{ models: { providers: { ${providers} } }, ${rest} }`
}

/** The problems of a text that must be refused. */
export function catchProblems(text: string, options?: ConfigOptions): readonly ConfigProblem[] {
  return catchConfigError(() => parseConfig(text, options)).problems
}

/** The error of a call that must throw one. */
export function catchConfigError(call: () => unknown): ConfigError {
  try {
    call()
  } catch (error) {
    if (error instanceof ConfigError) return error
    throw error
  }
  throw new Error('a ConfigError was expected')
}

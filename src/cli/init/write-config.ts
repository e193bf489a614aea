import { writeFile } from 'node:fs/promises'
import { parseConfig } from '../../config/load.ts'
import type { Environment } from '../../config/secrets.ts'
import { ConfigError, type ConfigProblem } from '../../errors.ts'
import { loadConfiguration } from '../configuration.ts'
import { formatProblem, UsageError } from '../exit-codes.ts'
import { describeFileFault } from '../file-fault.ts'
import { escapeText, type Terminal } from '../terminal.ts'

/** Where a new configuration goes. */
export interface WriteOptions {
  /** The name of the file, as it was given. */
  readonly output: string
  readonly dryRun?: boolean
  readonly json?: boolean
}

/**
 * Checks a new configuration and writes it, or prints it with `dryRun`. Only its owner can read it: keys may be added.
 * @throws {UsageError} when the file is there.
 */
export async function writeConfig(
  text: string,
  { file, output, dryRun, json }: WriteOptions & { readonly file: string },
  terminal: Terminal,
): Promise<void> {
  parseConfig(text, { file, env: addPlaceholders(text, terminal.env) })
  if (dryRun) {
    if (!json) terminal.out(escapeText(text))
    return
  }
  try {
    await writeFile(file, text, { mode: 0o600, flag: 'wx' })
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') throw toTakenError(output)
    throw new UsageError(
      `${output} cannot be written: ${describeFileFault(error)}. Name another file with --output.`,
    )
  }
  for (const problem of await listProblems(file, terminal.env)) terminal.note(formatProblem(output, problem))
}

/** The environment with every variable that a text names: one that is still to be set is no fault of the file. */
export function addPlaceholders(text: string, env: Environment): Environment {
  const names = [...text.matchAll(/\$\{([A-Za-z_]\w*)\}/g)].map(([, name = '']) => name)
  return { ...Object.fromEntries(names.map((name) => [name, 'to-be-set'])), ...env }
}

async function listProblems(file: string, env: Environment): Promise<readonly ConfigProblem[]> {
  try {
    return (await loadConfiguration(file, env)).problems
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
    throw error
  }
}

/** Prints what to do with a new file. */
export function tellNext(model: string | undefined, output: string, terminal: Terminal): void {
  const config = output === 'leasehold.json5' ? '' : ` --config ${output}`
  terminal.line(`\nWrote ${escapeText(output)}. Next:`)
  terminal.line(`  leasehold doctor${config}    # starts each model once, and says what it needs`)
  terminal.line(`  leasehold serve${config}`)
  if (model !== undefined) terminal.line(`  leasehold chat ${model}${config}`)
}

/** The file is there already. */
export function toTakenError(output: string): UsageError {
  return new UsageError(
    `${output} exists already, and is never written over. Name another file with --output, or look with --dry-run.`,
  )
}

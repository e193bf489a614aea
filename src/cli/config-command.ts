import { toPrintable } from '../config/printable.ts'
import { toJsonSchema } from '../config/schema.ts'
import { ConfigError, type ConfigProblem } from '../errors.ts'
import { loadConfiguration, loadConfigurationWithValues, tellDemo } from './configuration.ts'
import { exitCodes, formatProblem } from './exit-codes.ts'
import { escapeJson, type Terminal } from './terminal.ts'

export interface ConfigCommandOptions {
  readonly config?: string
  readonly json?: boolean
}

/** `leasehold config validate`: every problem of a configuration with its place, errors and warnings. */
export async function validateConfig(
  file: string | undefined,
  options: ConfigCommandOptions,
  terminal: Terminal,
): Promise<number> {
  tellDemo(file ?? options.config, terminal)
  const { ok, name, problems } = await check(file ?? options.config, terminal)
  if (options.json) terminal.json({ ok, file: name, problems })
  else {
    for (const problem of problems) terminal.note(formatProblem(name, problem))
    if (ok) terminal.line(`${name}: ok${formatWarningCount(problems.length)}`)
  }
  return ok ? exitCodes.ok : exitCodes.usage
}

/** `leasehold config print`: the configuration as a file with every default, engine and port written out, secrets as `***`. */
export async function printConfig(
  file: string | undefined,
  options: ConfigCommandOptions,
  terminal: Terminal,
): Promise<number> {
  tellDemo(file ?? options.config, terminal)
  const loaded = await loadConfigurationWithValues(file ?? options.config, terminal.env)
  terminal.line(escapeJson(JSON.stringify(toPrintable(loaded), null, options.json ? undefined : 2)))
  return exitCodes.ok
}

/** `leasehold config schema`: the JSON Schema of a configuration file. */
export function printConfigSchema(options: ConfigCommandOptions, terminal: Terminal): number {
  terminal.line(JSON.stringify(toJsonSchema(), null, options.json ? undefined : 2))
  return exitCodes.ok
}

function formatWarningCount(warnings: number): string {
  return warnings === 0 ? '' : `, ${warnings} warning${warnings === 1 ? '' : 's'}`
}

interface Checked {
  readonly ok: boolean
  readonly name: string
  readonly problems: readonly ConfigProblem[]
}

async function check(file: string | undefined, { env }: Terminal): Promise<Checked> {
  try {
    const config = await loadConfiguration(file, env)
    return { ok: true, name: config.file, problems: config.problems }
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return { ok: false, name: error.file, problems: error.problems }
  }
}

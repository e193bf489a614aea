import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import type { Config } from '../config/config.ts'
import { type FileOptions, type Loaded, loadWithValues } from '../config/load.ts'
import type { Environment } from '../config/secrets.ts'
import { createDemoConfig, DEMO_NAME } from './demo-config.ts'

/**
 * The configuration of a command: the given file, else the first one found, else the built-in demo. {@link DEMO_NAME}
 * names the demo explicitly.
 */
export async function loadConfiguration(
  file: string | undefined,
  env: Environment,
  gateway: NonNullable<FileOptions['gateway']> = {},
  onFile: NonNullable<FileOptions['onFile']> = () => {},
): Promise<Config> {
  return (await loadConfigurationWithValues(file, env, { gateway, onFile })).config
}

/** {@link loadConfiguration}, and what it read. */
export async function loadConfigurationWithValues(
  file: string | undefined,
  env: Environment,
  options: FileOptions = {},
): Promise<Loaded> {
  const found = findConfigurationFile(file, env)
  return found === undefined || found === DEMO_NAME
    ? createDemoConfig()
    : loadWithValues(found, { ...options, env })
}

/**
 * The configuration file: the one named, `$LEASEHOLD_CONFIG`, `./leasehold.json5`, `./leasehold.json`, then the same
 * names in `leasehold` below `$XDG_CONFIG_HOME` or `~/.config`. A given file need not exist: reading it reports that.
 * Absent if there is none.
 */
export function findConfigurationFile(file: string | undefined, env: Environment): string | undefined {
  return (
    file ?? (env.LEASEHOLD_CONFIG || listPlaces(env, ['json5', 'json']).find((place) => existsSync(place)))
  )
}

/** Prints a notice if a command uses the demo because there is no file. */
export function tellDemo(
  file: string | undefined,
  { env, note }: { readonly env: Environment; readonly note: (line: string) => void },
): void {
  if (findConfigurationFile(file, env) === undefined) note(describeSearch(env))
}

/**
 * The reason for using the demo: no file was found, and where leasehold looked. Names a YAML file, because YAML is
 * not read.
 */
function describeSearch(env: Environment): string {
  const yaml = listPlaces(env, ['yaml', 'yml']).find((place) => existsSync(place))
  const hint = yaml === undefined ? '' : ` ${yaml} is YAML, which is not read: a configuration is JSON5.`
  const places = listPlaces(env, ['json5', 'json']).join(', ')
  return `No configuration file found, so this is the built-in demo (looked for ${places}; --config names another).${hint}`
}

/** The paths where a configuration file is searched, in this order. */
function listPlaces(env: Environment, extensions: readonly string[]): readonly string[] {
  const home = env.XDG_CONFIG_HOME || join(env.HOME || homedir(), '.config')
  return ['', join(home, 'leasehold')].flatMap((folder) =>
    extensions.map((extension) => join(folder, `leasehold.${extension}`)),
  )
}

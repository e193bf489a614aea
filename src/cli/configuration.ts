import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import type { Config } from '../config/config.ts'
import { type ConfigOptions, loadConfig } from '../config/load.ts'
import type { Environment } from '../config/secrets.ts'
import { createDemoConfig, DEMO_NAME } from './demo-config.ts'

/**
 * The configuration of a command: the file named, else the first that is found, else the built-in demo. The demo can
 * be named as well, as {@link DEMO_NAME}.
 */
export async function loadConfiguration(
  file: string | undefined,
  env: Environment,
  gateway: NonNullable<ConfigOptions['gateway']> = {},
): Promise<Config> {
  const found = findConfigurationFile(file, env)
  return found === undefined || found === DEMO_NAME ? createDemoConfig() : loadConfig(found, { env, gateway })
}

/**
 * The configuration file: the one named, `$LEASEHOLD_CONFIG`, `./leasehold.json5`, then
 * `leasehold/leasehold.json5` below `$XDG_CONFIG_HOME` or `~/.config`. One that is named need not exist: reading it
 * will say so. Absent: there is none.
 */
export function findConfigurationFile(file: string | undefined, env: Environment): string | undefined {
  return file ?? (env.LEASEHOLD_CONFIG || listPlaces(env).find((place) => existsSync(place)))
}

/** Where a configuration file is looked for when none is named, in this order. */
function listPlaces(env: Environment): readonly string[] {
  const home = env.XDG_CONFIG_HOME || join(env.HOME || homedir(), '.config')
  return ['leasehold.json5', join(home, 'leasehold', 'leasehold.json5')]
}

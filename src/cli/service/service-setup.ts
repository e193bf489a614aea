import { realpathSync } from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, dirname, isAbsolute, join, resolve } from 'node:path'
import { KILL_GRACE_MS, SWEEP_TIMEOUT_MS } from '../../../machines/provider/delays.ts'
import type { Config } from '../../config/config.ts'
import type { Environment } from '../../config/secrets.ts'

/** What starts leasehold when the user logs in. */
export type ServiceManager = 'systemd' | 'launchd'

/** What a service file says. Paths are absolute. */
export interface ServiceSetup {
  readonly node: string
  /** The program of the command line. */
  readonly program: string
  readonly config: string
  /** Time from the stop signal until everything that is left is killed, in seconds. */
  readonly stopTimeoutSeconds: number
  /** Variables that the service is given: a service has not those of a shell. */
  readonly env: Readonly<Record<string, string>>
  /** A file of further variables, for secrets that the configuration names. It need not exist. */
  readonly environmentFile: string
  readonly logFile: string
}

/** Time for what comes before and after the stops, in seconds. */
const MARGIN_SECONDS = 10
/** Variables that decide what is found, and where records are kept. */
const KEPT = ['PATH', 'LEASEHOLD_STATE_DIR', 'XDG_STATE_HOME'] as const

/** Collects what a service file says, for this configuration and these paths. */
export function buildServiceSetup(
  config: Config,
  file: string,
  {
    argv,
    execPath,
    env,
  }: { readonly argv: readonly string[]; readonly execPath: string; readonly env: Environment },
): ServiceSetup {
  const home = env.HOME || homedir()
  return {
    node: findLastingPath(execPath, env),
    program: realpathSync(argv[1] ?? ''),
    config: resolve(file),
    stopTimeoutSeconds: findStopTimeoutSeconds(config),
    env: Object.fromEntries(KEPT.flatMap((name) => (env[name] ? [[name, env[name]]] : []))),
    environmentFile: join(env.XDG_CONFIG_HOME || join(home, '.config'), 'leasehold', 'environment'),
    logFile: join(home, 'Library', 'Logs', 'leasehold.log'),
  }
}

/** Where a service manager looks for the file. */
export function findServiceFile(manager: ServiceManager, env: Environment): string {
  const home = env.HOME || homedir()
  return manager === 'launchd'
    ? join(home, 'Library', 'LaunchAgents', 'leasehold.plist')
    : join(env.XDG_CONFIG_HOME || join(home, '.config'), 'systemd', 'user', 'leasehold.service')
}

/**
 * How long `serve` may take to stop, in seconds: services stop side by side, so the longest one decides. Each drains, has
 * its grace after SIGTERM, and is swept.
 */
export function findStopTimeoutSeconds({ providers }: Config): number {
  const longestMs = providers.reduce((longest, { localService }) => {
    if (localService === undefined) return longest
    const { drainTimeoutMs, stopGraceMs } = localService
    return Math.max(longest, drainTimeoutMs + stopGraceMs + KILL_GRACE_MS + SWEEP_TIMEOUT_MS)
  }, 0)
  return Math.ceil(longestMs / 1_000) + MARGIN_SECONDS
}

/** A path of the same program that stays when the program is updated: package managers link the newest one into PATH. */
function findLastingPath(execPath: string, { PATH = '' }: Environment): string {
  for (const folder of PATH.split(delimiter)) {
    const path = join(folder, 'node')
    if (isAbsolute(folder) && isSame(path, execPath)) return path
  }
  return execPath
}

function isSame(path: string, other: string): boolean {
  try {
    return realpathSync(path) === realpathSync(other)
  } catch {
    return false
  }
}

/** The folder in which the service runs: relative paths of the configuration begin there. */
export function findWorkingFolder({ config }: ServiceSetup): string {
  return dirname(config)
}

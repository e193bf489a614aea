import { isAbsolute } from 'node:path'
import { isLoopback } from '../net/loopback.ts'
import { findShellismProblems } from './arguments.ts'
import type { LeaseholdConfig, LocalServiceConfig, ProviderConfig } from './config.ts'
import { toModelSign } from './daemon-model.ts'
import { type Finding, toError, toWarning } from './finding.ts'
import { toProviderPath } from './provider.ts'
import { isJsonObject, type JsonObject } from './sections.ts'

/** Checks of a whole provider, or of several, which a schema of single options cannot make. */
export function findProviderProblems(providers: readonly ProviderConfig[]): Finding[] {
  const firstById = new Map<string, ProviderConfig>()
  const firstByEndpoint = new Map<string, Managed>()
  const servers = providers.filter(isManaged).filter(({ localService }) => localService.daemon === undefined)
  return providers.flatMap((provider) => {
    const at = toProviderPath(provider)
    const twin = setFirst(firstById, provider.id.toLowerCase(), provider)
    const findings = [...findTwinProblems(provider, twin, at), ...findModelProblems(provider, at)]
    if (!isManaged(provider)) return findings
    const rival = setFirst(firstByEndpoint, toPlace(provider), provider)
    const host = servers.find(({ baseUrl }) => toEndpoint(baseUrl) === toEndpoint(provider.baseUrl))
    return [
      ...findings,
      ...findPathProblems(provider.localService, [...at, 'localService']),
      ...findArgumentProblems(provider.localService, [...at, 'localService']),
      ...findShellismProblems(provider.localService, [...at, 'localService']),
      ...findOriginProblems(provider, at),
      ...findPortProblems(provider, rival, at),
      ...findDaemonProblems(provider, host, at),
    ]
  })
}

/** Checks between the options of the `leasehold` section. */
export function findLeaseholdProblems(leasehold: LeaseholdConfig): Finding[] {
  const { backoffMs, backoffMaxMs } = leasehold
  const findings = findKeyProblems(leasehold)
  if (backoffMs > backoffMaxMs)
    findings.push(
      toError(['leasehold', 'backoffMs'], `${backoffMs} is more than backoffMaxMs, which is ${backoffMaxMs}`),
    )
  return findings
}

/** Shorter keys can be guessed over a network. */
const LEAST_KEY_LENGTH = 16

function findKeyProblems({ host, apiKeys, controlKeys }: LeaseholdConfig): Finding[] {
  if (isLoopback(host)) return []
  if (apiKeys.length === 0)
    return [
      toError(
        ['leasehold', 'host'],
        `"${host}" can be reached from other hosts, so leasehold.apiKeys must hold a key (leasehold keys new makes one)`,
      ),
    ]
  return Object.entries({ apiKeys, controlKeys }).flatMap(([name, keys]) =>
    keys.flatMap((key, index) =>
      key.length < LEAST_KEY_LENGTH
        ? [toWarning(['leasehold', name, index], `is shorter than ${LEAST_KEY_LENGTH} characters`)]
        : [],
    ),
  )
}

/**
 * Numbers below a second are likely meant in seconds: other tools count in them. `own` holds the values as the file
 * writes them: a text such as `'500ms'` names its unit.
 */
export function findDurationProblems({ models }: JsonObject): Finding[] {
  const providers = isJsonObject(models) && isJsonObject(models.providers) ? models.providers : {}
  return Object.entries(providers).flatMap(([id, provider]) => {
    const service = isJsonObject(provider) ? provider.localService : undefined
    return isJsonObject(service)
      ? findShortDurations(service, ['models', 'providers', id, 'localService'])
      : []
  })
}

function findShortDurations(service: JsonObject, at: readonly PropertyKey[]): Finding[] {
  return ['idleStopMs', 'readyTimeoutMs'].flatMap((name) => {
    const ms = service[name]
    if (typeof ms !== 'number' || ms <= 0 || ms >= 1000) return []
    return [toWarning([...at, name], `is in milliseconds: ${ms} is less than a second; seconds are "${ms}s"`)]
  })
}

/** A provider whose server we run. */
interface Managed extends ProviderConfig {
  readonly localService: LocalServiceConfig
}

function isManaged(provider: ProviderConfig): provider is Managed {
  return provider.localService !== undefined
}

/** The first value that was set under this key: possibly this one. */
function setFirst<Value>(firsts: Map<string, Value>, key: string, value: Value): Value {
  const first = firsts.get(key) ?? value
  firsts.set(key, first)
  return first
}

function findTwinProblems(
  provider: ProviderConfig,
  twin: ProviderConfig,
  at: readonly PropertyKey[],
): Finding[] {
  if (twin === provider) return []
  return [toError(at, `"${provider.id}" differs from the provider "${twin.id}" only in case`)]
}

function findModelProblems({ models }: ProviderConfig, at: readonly PropertyKey[]): Finding[] {
  const seen = new Set<string>()
  return models.flatMap(({ id, compat }, index) => {
    const path = [...at, 'models', index]
    const findings: Finding[] = []
    if (seen.has(id)) findings.push(toError([...path, 'id'], `the model "${id}" is listed twice`))
    seen.add(id)
    if (compat.requiresMistralToolIds !== undefined) {
      findings.push(toWarning([...path, 'compat', 'requiresMistralToolIds'], 'is retired and has no effect'))
    }
    return findings
  })
}

function findPathProblems(
  { command, cwd, daemon }: LocalServiceConfig,
  at: readonly PropertyKey[],
): Finding[] {
  const check = (path: string, name: string) => {
    const fault = toPathFault(path, name === 'command')
    return fault === undefined ? [] : [toError([...at, name], fault)]
  }
  return [
    ...(daemon === undefined ? check(command, 'command') : []),
    ...(cwd === undefined ? [] : check(cwd, 'cwd')),
  ]
}

function toPathFault(path: string, isProgram: boolean): string | undefined {
  const shown = JSON.stringify(path)
  if (path.trim() === '') return 'must not be empty; give an absolute path'
  if (path !== path.trim()) return `${shown} has white space around it`
  if (path.startsWith('~'))
    return `${shown}: "~" is not expanded, because no shell is used; give an absolute path`
  if (path.startsWith('$')) return `${shown}: variables are not expanded here; give an absolute path`
  if (!isAbsolute(path))
    return `${shown} must be an absolute path${isProgram ? '; PATH is not searched' : ''}`
  return undefined
}

/** Every user of a host can read the arguments of every process; its environment only its owner can. */
function findArgumentProblems(
  { args, secretArgs }: LocalServiceConfig,
  at: readonly PropertyKey[],
): Finding[] {
  return secretArgs.flatMap((index) =>
    NAMES_SECRET.test(`${args[index - 1] ?? ''} ${/^--?[\w-]+=/.exec(args[index] ?? '') ?? ''}`)
      ? [
          toWarning(
            [...at, 'args', index],
            'looks like a secret, and every user of this host can read the arguments of a process; pass it in env if the server can take it there',
          ),
        ]
      : [],
  )
}

const NAMES_SECRET = /(^|[-_])(key|token|secret|password)([-_= ]|$)/i

function findOriginProblems({ baseUrl, localService }: Managed, at: readonly PropertyKey[]): Finding[] {
  const health = new URL(localService.healthUrl).origin
  const base = new URL(baseUrl).origin
  if (health === base) return []
  return [toWarning([...at, 'localService', 'healthUrl'], `asks ${health}, but requests go to ${base}`)]
}

function findPortProblems(provider: Managed, rival: Managed, at: readonly PropertyKey[]): Finding[] {
  if (rival.localService.key === provider.localService.key) return []
  if (provider.localService.daemon !== undefined)
    return [
      toError(
        [...at, 'localService', 'daemon'],
        `"${rival.id}" and "${provider.id}" load the same model in different ways; to share it they need the same daemon, baseUrl and key`,
      ),
    ]
  return [
    toError(
      [...at, 'baseUrl'],
      `the services of "${rival.id}" and "${provider.id}" would both listen on ${toEndpoint(provider.baseUrl)}; to share one service they need the same command, args, cwd, env and healthUrl`,
    ),
  ]
}

/** The daemon would start and stop with another service, and a model in it would not be told. */
function findDaemonProblems(
  { baseUrl, localService }: Managed,
  host: Managed | undefined,
  at: readonly PropertyKey[],
): Finding[] {
  if (localService.daemon === undefined || host === undefined) return []
  return [
    toError(
      [...at, 'localService', 'daemon'],
      `the server at ${toEndpoint(baseUrl)} is run by "${host.id}", and a daemon has to be run by something else: remove one of them`,
    ),
  ]
}

/** What only one service can have: the endpoint of its server, or its model of the server there. */
function toPlace({ baseUrl, localService: { daemon } }: Managed): string {
  const endpoint = toEndpoint(baseUrl)
  return daemon === undefined ? endpoint : `${endpoint} ${toModelSign(daemon)}`
}

/** Host and port, all names of this host being one. */
function toEndpoint(baseUrl: string): string {
  const { protocol, hostname, port } = new URL(baseUrl)
  const isThisHost =
    hostname === '[::1]' || hostname === '0.0.0.0' || hostname === '[::]' || hostname.startsWith('127.')
  return `${isThisHost ? 'localhost' : hostname}:${port || (protocol === 'https:' ? '443' : '80')}`
}

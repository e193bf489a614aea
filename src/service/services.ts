import type { ServicePolicy, SleepPolicy } from '../../machines/messages.ts'
import type {
  Config,
  LeaseholdConfig,
  LocalServiceConfig,
  ModelAlias,
  ProviderConfig,
} from '../config/config.ts'
import { toModelSign } from '../config/daemon-model.ts'
import { MAX_DURATION_MS } from '../config/fields.ts'
import { REQUEST_HEADERS } from '../text/requests-mark.ts'

/** A model of a service, under the name that requests use. */
export interface ServiceModel {
  /** `provider/model`; for a replica that of the provider it stands in for. */
  readonly id: string
  readonly aliases: readonly string[]
}

/** One service: the process behind one or more providers, or the remote server of one. */
export interface Service {
  /** Identity: command, arguments, directory, environment and health URL; for a remote server its base URL, for a member of the cluster its name, too. */
  readonly key: string
  /** Ids of its providers, for people: `inferrs` or `chat+embeddings`. */
  readonly name: string
  readonly providers: readonly ProviderConfig[]
  /** The configured models, unlisted ones included. Empty: its providers list none, and pass any model id on. */
  readonly models: readonly ServiceModel[]
  readonly healthUrl: string
  /** Sent with a health probe, which asks the provider's own origin. */
  readonly healthHeaders: Readonly<Record<string, string>>
  readonly policy: ServicePolicy
  /** Absent: leasehold does not run it. */
  readonly localService?: LocalServiceConfig
}

/** The limits of a server that leasehold does not run: it is neither started nor stopped. */
const REMOTE_LIMITS = {
  readyTimeoutMs: 120_000,
  idleStopMs: 0,
  stopGraceMs: 0,
  stopCommand: undefined,
  drainTimeoutMs: 30_000,
  abandonStartMs: undefined,
  sleep: undefined,
  maxConcurrent: 1024,
  maxQueue: 1000,
  maxQueueMs: 420_000,
} as const

/** A stop command gets the grace of its server, and this for itself, in milliseconds. */
const STOP_COMMAND_MS = 5_000

/** A server that wakes by itself is not waited for, in milliseconds. */
const SELF_WAKE_MS = 5_000

/** Where a service is claimed on this host: the origin of its server, and its model where the server has several services. */
export function toClaimAddress({
  healthUrl,
  localService,
}: Pick<Service, 'healthUrl' | 'localService'>): string {
  const { origin } = new URL(healthUrl)
  return localService?.daemon === undefined ? origin : `${origin} ${toModelSign(localService.daemon)}`
}

/** The variables of a service's process, of its commands, and of the requests that load its model. */
export function toEnvironment({ localService, healthHeaders }: Service): Readonly<Record<string, string>> {
  const { env = {}, daemon } = localService ?? {}
  if (daemon === undefined) return env
  const own = {
    load: daemon.load.map(({ headers }) => headers),
    unload: daemon.unload.map(({ headers }) => headers),
    status: [daemon.loaded.headers],
  }
  return { ...env, [REQUEST_HEADERS]: JSON.stringify({ common: healthHeaders, own }) }
}

/** The key of the service behind a provider. */
export function toServiceKey({ localService, baseUrl, memberOf }: ProviderConfig): string {
  if (memberOf !== undefined) return `member:${memberOf.member} ${baseUrl}`
  return localService?.key ?? `remote:${baseUrl}`
}

/** The services of a configuration, by key. A provider that is unavailable has none. */
export function toServices(config: Config): ReadonlyMap<string, Service> {
  const groups = new Map<string, ProviderConfig[]>()
  for (const provider of [...config.providers, ...(config.members?.providers ?? [])]) {
    if (provider.unavailable !== undefined) continue
    const key = toServiceKey(provider)
    groups.set(key, [...(groups.get(key) ?? []), provider])
  }
  return new Map([...groups].map(([key, providers]) => [key, toService(key, providers, config)]))
}

function toService(
  key: string,
  providers: readonly ProviderConfig[],
  { leasehold, aliases }: Pick<Config, 'leasehold' | 'aliases'>,
): Service {
  const [first] = providers
  if (first === undefined) throw new RangeError('A service has at least one provider.')
  const { localService, memberOf } = first
  return {
    key,
    name: memberOf?.member ?? providers.map(({ id }) => id).join('+'),
    providers,
    models: listServiceModels(providers, aliases),
    healthUrl: localService?.healthUrl ?? toRemoteHealthUrl(first),
    healthHeaders: toKeyHeaders(first),
    policy: {
      ...toPolicy(localService, leasehold),
      ...(memberOf === undefined ? {} : { member: memberOf.member }),
    },
    ...(localService === undefined ? {} : { localService }),
  }
}

/** The gateway of a member says how it is without a key. */
function toRemoteHealthUrl({ baseUrl, memberOf }: ProviderConfig): string {
  return memberOf === undefined ? `${baseUrl}/models` : `${new URL(baseUrl).origin}/health`
}

/** The models of some providers, each with its other names. */
export function listServiceModels(
  providers: readonly ProviderConfig[],
  aliases: readonly ModelAlias[],
): readonly ServiceModel[] {
  const ids = providers.flatMap(({ id, replicaOf, models }) =>
    models.map((model) => `${replicaOf?.provider ?? id}/${model.id}`),
  )
  return [...new Set(ids)].map((id) => ({
    id,
    aliases: aliases.filter(({ ref }) => ref === id).map(({ alias }) => alias),
  }))
}

function toPolicy(localService: LocalServiceConfig | undefined, shared: LeaseholdConfig): ServicePolicy {
  const limits = localService ?? REMOTE_LIMITS
  return {
    managed: localService !== undefined,
    drawsOnLimits: localService !== undefined && hasLimits(shared),
    readyTimeoutMs: limits.readyTimeoutMs,
    idleStopMs: limits.idleStopMs,
    stopGraceMs: limits.stopGraceMs,
    stopCommandMs: limits.stopCommand === undefined ? 0 : limits.stopGraceMs + STOP_COMMAND_MS,
    drainTimeoutMs: limits.drainTimeoutMs,
    abandonStartMs: limits.abandonStartMs ?? null,
    sleep: toSleepPolicy(limits.sleep),
    maxConcurrent: limits.maxConcurrent,
    maxQueue: limits.maxQueue,
    maxQueueMs: limits.maxQueueMs,
    backoffMs: shared.backoffMs,
    backoffMaxMs: shared.backoffMaxMs,
    breakerFailures: shared.breakerFailures,
    breakerCooldownMs: shared.breakerCooldownMs,
    stabilityMs: shared.stabilityMs,
  }
}

function toSleepPolicy(sleep: LocalServiceConfig['sleep']): SleepPolicy | null {
  if (sleep === undefined) return null
  const { afterMs, request, wake } = sleep
  const toTotal = (requests: typeof request) => requests.reduce((sum, { timeoutMs }) => sum + timeoutMs, 0)
  return {
    afterMs,
    isSelf: request.length === 0,
    requestMs: Math.min(toTotal(request), MAX_DURATION_MS),
    // A server that wakes by itself is sent the request that wakes it.
    wakeMs: Math.min(toTotal(wake) || SELF_WAKE_MS, MAX_DURATION_MS),
  }
}

/** Whether services compete for anything but the limit of concurrent starts. */
function hasLimits({ budgets, groups, returnToDefaultMs }: LeaseholdConfig): boolean {
  return Object.keys(budgets).length + Object.keys(groups).length > 0 || returnToDefaultMs > 0
}

/** The provider's own key and headers, in the form its API wants them. They go to the provider's origin only. */
export function toKeyHeaders({ api, apiKey, authHeader, headers }: ProviderConfig): Record<string, string> {
  const lower = toLowerCaseNames(headers)
  if (apiKey === undefined) return lower
  const isAnthropic = api === 'anthropic-messages' && authHeader !== true
  return isAnthropic ? { 'x-api-key': apiKey, ...lower } : { authorization: `Bearer ${apiKey}`, ...lower }
}

/** Headers as one record can hold them, so that a later one replaces an earlier one however it is spelled. */
export function toLowerCaseNames(headers: Readonly<Record<string, string>> = {}): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
}

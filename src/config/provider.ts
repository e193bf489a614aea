import { createHash } from 'node:crypto'
import { GENERATION } from '../text/generation-mark.ts'
import { type DaemonRequests, REQUESTS, type RequestsAction } from '../text/requests-mark.ts'
import type { LocalServiceConfig, ModelConfig, ProviderConfig } from './config.ts'
import { MAX_DURATION_MS } from './fields.ts'
import { type Finding, toError, toWarning } from './finding.ts'
import { toReplicaId } from './model-ref.ts'
import type { LocalServiceValues, ModelValues, ProviderValues } from './schema.ts'
import { type Environment, substituteVariables } from './secrets.ts'

const QUEUE_BEYOND_READY_MS = 300_000

/** A service with a program. */
type CompleteService = LocalServiceValues & { readonly command: string }

type Sleep = NonNullable<LocalServiceValues['sleep']>
type Daemon = NonNullable<LocalServiceValues['daemon']>

/** A provider with a URL, and with a program where it has a service. */
export interface CompleteProvider extends ProviderValues {
  readonly baseUrl: string
  readonly localService?: CompleteService | undefined
}

/** A provider of the file with what the schema cannot require; `undefined` where that is missing. */
export function findComplete({
  baseUrl,
  localService,
  ...rest
}: ProviderValues): CompleteProvider | undefined {
  if (baseUrl === undefined) return undefined
  // A model of a daemon is loaded by requests.
  const { daemon, command = daemon && REQUESTS } = localService ?? {}
  return {
    ...rest,
    baseUrl,
    ...(localService === undefined || command === undefined
      ? {}
      : { localService: { ...localService, command } }),
  }
}

/**
 * Completes one provider: `${VAR}` is substituted, URLs are normalised, dependent defaults are filled in. A missing
 * variable, or a value that no header can carry, is a warning and makes this provider unavailable.
 */
export function toProvider(
  id: string,
  { replicas: _, ...values }: CompleteProvider,
  env: Environment,
  at: readonly PropertyKey[] = ['models', 'providers', id],
): { provider: ProviderConfig; findings: readonly Finding[] } {
  const faults: { path: readonly PropertyKey[]; message: string }[] = []
  const substitute = (text: string, path: readonly PropertyKey[]) => {
    const { text: result, isSubstituted, missing } = substituteVariables(text, env)
    for (const name of missing) faults.push({ path, message: `\${${name}} is not set` })
    return { result, isSubstituted }
  }
  const toHeader = (text: string, path: readonly PropertyKey[]) => {
    const { result } = substitute(text, path)
    if (!/^[\t\x20-\x7e\x80-\xff]*$/.test(result)) {
      faults.push({ path, message: `${String(path.at(-1))} holds a character that no HTTP header can carry` })
    }
    return result
  }

  const { apiKey, timeoutSeconds, localService, models, ...rest } = values
  const baseUrl = toBaseUrl(values.baseUrl, values.api)
  const complete: ProviderConfig = {
    ...rest,
    id,
    baseUrl,
    ...(apiKey ? { apiKey: toHeader(apiKey, [...at, 'apiKey']) } : {}),
    headers: mapValues(values.headers, (text, name) => toHeader(text, [...at, 'headers', name])),
    ...(timeoutSeconds === undefined ? {} : { timeoutMs: timeoutSeconds * 1000 }),
    ...(localService === undefined
      ? {}
      : {
          localService: toLocalService(localService, baseUrl, [...at, 'localService'], substitute, [
            values.apiKey,
            values.headers,
          ]),
        }),
    models: models.map((model, index) => {
      const headers = mapValues(model.headers, (text, name) =>
        toHeader(text, [...at, 'models', index, 'headers', name]),
      )
      return toModel({ ...model, headers }, values.maxTokens)
    }),
  }
  const findings = faults.map(({ path, message }) =>
    toWarning(path, `${message}; provider "${id}" is unavailable`),
  )
  const reasons = [...new Set(faults.map(({ message }) => message))]
  return {
    provider: faults.length === 0 ? complete : { ...complete, unavailable: reasons.join('; ') },
    findings,
  }
}

/** The replicas of a provider as providers of their own, whose options are the provider's unless they state others. */
export function toReplicas(
  id: string,
  values: CompleteProvider,
  env: Environment,
): { provider: ProviderConfig; findings: readonly Finding[] }[] {
  return values.replicas.flatMap((replica, index) => {
    if (replica.baseUrl === undefined) return []
    const replicaOf = { provider: id, index }
    const at = toProviderPath({ id, replicaOf })
    const { provider, findings } = toProvider(
      toReplicaId(id, index),
      toReplicaValues(values, replica),
      env,
      at,
    )
    const isOwn = ({ path }: Finding) =>
      typeof path[at.length] === 'string' && String(path[at.length]) in replica
    // What is wrong with an option that a replica takes over is said once, where it is written.
    const isUnfounded = replica.localService !== undefined && values.localService === undefined
    const unfounded = toError(
      [...at, 'localService'],
      'has nothing to differ from: the provider has no localService',
    )
    return {
      provider: { ...provider, replicaOf },
      findings: [...findings.filter(isOwn), ...(isUnfounded ? [unfounded] : [])],
    }
  })
}

/** Where a provider is written in the file. */
export function toProviderPath({ id, replicaOf }: Pick<ProviderConfig, 'id' | 'replicaOf'>): PropertyKey[] {
  const at = ['models', 'providers']
  return replicaOf === undefined ? [...at, id] : [...at, replicaOf.provider, 'replicas', replicaOf.index]
}

function toReplicaValues(
  values: CompleteProvider,
  replica: ProviderValues['replicas'][number],
): CompleteProvider {
  const { localService, ...rest } = values
  const { baseUrl = values.baseUrl, apiKey = values.apiKey, headers = values.headers } = replica
  const common = { ...rest, baseUrl, headers, ...(apiKey === undefined ? {} : { apiKey }) }
  if (replica.localService === undefined || localService === undefined) return common
  const healthUrl = replica.localService.healthUrl ?? moveTo(baseUrl, localService.healthUrl)
  const { command = localService.command, ...differences } = replica.localService
  return {
    ...common,
    localService: { ...localService, ...differences, command, ...(healthUrl && { healthUrl }) },
  }
}

/** A URL at another host and port. */
function moveTo(baseUrl: string, url: string | undefined): string | undefined {
  if (url === undefined) return undefined
  const { pathname, search } = new URL(url)
  return new URL(baseUrl).origin + pathname + search
}

function toLocalService(
  values: CompleteService,
  baseUrl: string,
  at: readonly PropertyKey[],
  substitute: (text: string, path: readonly PropertyKey[]) => { result: string; isSubstituted: boolean },
  keys: readonly unknown[],
): LocalServiceConfig {
  const { stopCommand, statusCommand, daemon } = values
  // It stands for the id of a run, which is not known before the spawn.
  const keepGeneration = (text: string) =>
    stopCommand === undefined ? text : text.replaceAll(GENERATION, () => `$${GENERATION}`)
  const fill = (text: string, path: readonly PropertyKey[]) =>
    substitute(keepGeneration(text), [...at, ...path])
  const fillHeadersAt = (option: string) =>
    toFillHeaders((text, path) => substitute(text, [...at, option, ...path]).result)
  const args = values.args.map((text, index) => fill(text, ['args', index]))
  const complete = {
    ...values,
    args: args.map(({ result }) => result),
    ...(values.model === undefined ? {} : { model: substitute(values.model, [...at, 'model']).result }),
    env: mapValues(values.env, (text, name) => substitute(text, [...at, 'env', name]).result),
    ...(stopCommand === undefined
      ? {}
      : {
          stopCommand: stopCommand.map((command) =>
            command.map((text) => fill(text, ['stopCommand']).result),
          ),
        }),
    ...(statusCommand === undefined
      ? {}
      : { statusCommand: statusCommand.map((text, index) => fill(text, ['statusCommand', index]).result) }),
    ...(values.sleep === undefined ? {} : { sleep: toSleep(values.sleep, fillHeadersAt('sleep')) }),
    healthUrl: values.healthUrl === undefined ? `${baseUrl}/models` : new URL(values.healthUrl).href,
    maxQueueMs: values.maxQueueMs ?? Math.min(values.readyTimeoutMs + QUEUE_BEYOND_READY_MS, MAX_DURATION_MS),
    secretArgs: args.flatMap(({ isSubstituted }, index) => (isSubstituted ? [index] : [])),
    ...(daemon === undefined
      ? {}
      : {
          ...toDaemonCommands(daemon, baseUrl),
          healthUrl: new URL(daemon.loaded.path, baseUrl).href,
          daemon: toDaemon(daemon, fillHeadersAt('daemon')),
        }),
  }
  return { ...complete, key: toServiceHash(complete, keys) }
}

/** The commands that load a model of a daemon, unload it and look for it. Their headers come with the environment. */
function toDaemonCommands({ load, unload, loaded }: Daemon, baseUrl: string) {
  const { origin } = new URL(baseUrl)
  const toCommand = (
    action: RequestsAction,
    requests: readonly Daemon['load'][number][] | readonly Daemon['loaded'][],
    sign?: DaemonRequests['sign'],
  ): string[] => {
    const asked = requests.map(({ method, path, body }) => ({
      method,
      path,
      ...(body === undefined ? {} : { body }),
    }))
    return [REQUESTS, action, JSON.stringify({ origin, requests: asked, ...(sign && { sign }) })]
  }
  const { field, equals } = loaded
  return {
    args: toCommand('load', load).slice(1),
    external: true,
    stopCommand: [toCommand('unload', unload)],
    statusCommand: toCommand('status', [loaded], { field, equals }),
  }
}

/** Fills the headers of a request to the server itself. */
type FillHeaders = <Ask extends { readonly headers: Readonly<Record<string, string>> }>(
  ask: Ask,
  path: readonly PropertyKey[],
) => Ask

function toFillHeaders(fill: (text: string, path: readonly PropertyKey[]) => string): FillHeaders {
  return (ask, path) => ({
    ...ask,
    headers: mapValues(ask.headers, (text, name) => fill(text, [...path, 'headers', name])),
  })
}

function toDaemon({ load, unload, loaded }: Daemon, fillHeaders: FillHeaders): Daemon {
  return {
    load: load.map((ask, index) => fillHeaders(ask, ['load', index])),
    unload: unload.map((ask, index) => fillHeaders(ask, ['unload', index])),
    loaded: fillHeaders(loaded, ['loaded']),
  }
}

function toSleep({ request, wake, check, ...rest }: Sleep, fillHeaders: FillHeaders): Sleep {
  return {
    ...rest,
    request: request.map((ask, index) => fillHeaders(ask, ['request', index])),
    wake: wake.map((ask, index) => fillHeaders(ask, ['wake', index])),
    check: fillHeaders(check, ['check']),
  }
}

function toModel(
  { alias: _, context, ...model }: ModelValues,
  providerMaxTokens: number | undefined,
): ModelConfig {
  const maxTokens = model.maxTokens ?? providerMaxTokens
  const contextWindow = model.contextWindow ?? context
  return {
    ...model,
    ...(contextWindow === undefined ? {} : { contextWindow }),
    name: model.name ?? model.id,
    upstreamId: model.upstreamId ?? model.id,
    ...(maxTokens === undefined ? {} : { maxTokens: Math.min(maxTokens, contextWindow ?? maxTokens) }),
  }
}

/** Hashed, because the key is shown and `env` may hold secrets. */
function toServiceHash(service: Omit<LocalServiceConfig, 'key'>, keys: readonly unknown[]): string {
  const { command, args, cwd, env, healthUrl, external, stopCommand, statusCommand, daemon } = service
  const variables = Object.entries(env).sort(([a], [b]) => (a < b ? -1 : 1))
  // A model is unloaded with the key with which it was loaded.
  const model = daemon === undefined ? [] : [daemon, keys]
  const outside = stopCommand === undefined ? [] : [external, stopCommand, statusCommand ?? null, ...model]
  return createHash('sha256')
    .update(JSON.stringify([command, args, cwd ?? null, variables, healthUrl, ...outside]))
    .digest('hex')
}

/** OpenClaw's base URL of an Anthropic API is the one that Anthropic's own clients take: they add the `/v1`. */
function toBaseUrl(text: string, api: ProviderValues['api']): string {
  const { origin, pathname } = new URL(text)
  const path = pathname.replace(/\/+$/, '')
  return origin + (api === 'anthropic-messages' && !path.endsWith('/v1') ? `${path}/v1` : path)
}

function mapValues(
  record: Readonly<Record<string, string>>,
  convert: (text: string, name: string) => string,
): Record<string, string> {
  return Object.fromEntries(Object.entries(record).map(([name, text]) => [name, convert(text, name)]))
}

import { dirname, resolve } from 'node:path'
import { z } from 'zod'
import { ConfigError, type ConfigProblem } from '../errors.ts'
import { findAddressProblems } from './addresses.ts'
import { completeCluster } from './cluster.ts'
import type { Config, LeaseholdConfig, ProviderConfig } from './config.ts'
import { type Document, openDocument, readDocument } from './document.ts'
import { expandServices } from './expansion.ts'
import { findLiteralKey, findModeProblems } from './file-mode.ts'
import { type Finding, toError, toProblems, toWarning } from './finding.ts'
import { type FileListener, findIncludes, resolveIncludes } from './includes.ts'
import { isNoReplica, isSameName } from './model-ref.ts'
import { addInlineEnv, adoptOpenClaw, isOpenClawFile } from './openclaw.ts'
import { findPosition } from './positions.ts'
import { findDurationProblems, findLeaseholdProblems, findProviderProblems } from './problems.ts'
import { findComplete, toProvider, toProviderPath, toReplicas } from './provider.ts'
import { type NamedModel, resolveReferences } from './references.ts'
import type { ConfigInput, ConfigValues, LeaseholdValues, ProviderInput } from './schema.ts'
import { readSecretFiles, resolveSecretRef, type SecretFiles, type SecretRef } from './secret-refs.ts'
import { type Environment, substituteVariables } from './secrets.ts'
import {
  findDuplicateKeys,
  isJsonObject,
  type JsonObject,
  pickSections,
  removeMagicKeys,
} from './sections.ts'
import { findServiceFault } from './service-fault.ts'
import { findSharingProblems } from './sharing.ts'
import { findSleepProblems } from './sleep-problems.ts'
import { validateSections } from './validation.ts'

export type { ConfigInput } from './schema.ts'

/** What a configuration is completed with. */
export interface ConfigOptions {
  /** Where `${VAR}` is looked up. */
  readonly env?: Environment | undefined
  /** Providers that stay beside those of the file unless `models.mode` is `replace`; the file wins by id. */
  readonly builtin?: Readonly<Record<string, ProviderInput>> | undefined
  /** Where the gateway will listen, if not where the file says: no provider may be there. */
  readonly gateway?: { readonly host?: string | undefined; readonly port?: number | undefined } | undefined
}

/** What a configuration file is read with. */
export interface FileOptions extends ConfigOptions {
  /** Told of every further file that the configuration is made of, included files and files of secrets, before it is read. */
  readonly onFile?: FileListener | undefined
}

/**
 * Reads a JSON5 configuration file, an `openclaw.json` for instance, and looks whether the programs it names can run
 * on this host: one that cannot is a warning and makes its provider unavailable.
 * `env` defaults to the environment of this process, so that an embedder's `${VAR}` works without ceremony.
 * @throws {@link ConfigError} `LEASEHOLD_CONFIG_INVALID` with every problem and its place; also when the file is
 * missing, unreadable, not a regular file, in the hands of another user, not UTF-8, or larger than 1 MiB.
 */
export async function loadConfig(file: string, options: FileOptions = {}): Promise<Config> {
  return (await loadWithValues(file, options)).config
}

/** A configuration, and the file that says the same with everything written out. */
export interface Loaded {
  readonly config: Config
  /** Validated, with every default, before `${VAR}` is substituted. */
  readonly values: ConfigValues
}

/** {@link loadConfig}, and what it read. */
export async function loadWithValues(
  file: string,
  { env = process.env, builtin, gateway, onFile }: FileOptions = {},
): Promise<Loaded> {
  const document = await resolveIncludes(openDocument(await readDocument(file), file), file, onFile)
  const secretFiles = await readSecretFiles(document.value, env, onFile)
  // Reading fills in what is written as a reference, so this comes first.
  const literal = findLiteralKey(document.value)
  const { config, values, locate } = readConfig(document, file, {
    env,
    ...(builtin && { builtin }),
    ...(gateway && { gateway }),
    secretFiles,
  })
  const findings =
    literal === undefined
      ? []
      : await findModeProblems(findPosition(document.root, literal).file ?? file, literal)
  if (config.providers.length === 0 && listDeclared(document.value).length === 0)
    findings.push(toWarning(['models', 'providers'], 'names no provider, so no model is served'))
  const providers = await Promise.all(
    config.providers.map(async (provider): Promise<ProviderConfig> => {
      const fault = provider.localService && (await findServiceFault(provider.localService, env))
      if (fault === undefined) return provider
      const path = [...toProviderPath(provider), 'localService', fault.option]
      findings.push(toWarning(path, `${fault.message}; provider "${provider.id}" is unavailable`))
      const unavailable = [provider.unavailable, fault.message]
        .filter((reason) => reason !== undefined)
        .join('; ')
      return { ...provider, unavailable }
    }),
  )
  return {
    config: freeze({ ...config, providers, problems: [...config.problems, ...locate(findings)] }),
    values,
  }
}

/**
 * Makes a configuration from the text of a file. Of this host it looks only for the programs of an `engine`, in `PATH`
 * of `env` and in the usual places. `file` is its name in messages; `env` defaults to nothing.
 * @throws {@link ConfigError} `LEASEHOLD_CONFIG_INVALID` with every problem and its place.
 */
export function parseConfig(text: string, options: ConfigOptions & { readonly file?: string } = {}): Config {
  return parseWithValues(text, options).config
}

/** {@link parseConfig}, and what it read. */
export function parseWithValues(
  text: string,
  { file = '(text)', ...options }: ConfigOptions & { readonly file?: string } = {},
): Loaded {
  const document = openDocument(text, file)
  const includes = findIncludes(document)
  if (includes.length > 0) throw new ConfigError(file, toProblems(includes, document.root))
  const { config, values } = readConfig(document, file, options)
  return { config: freeze(config), values }
}

/**
 * A configuration as `loadConfig` gives it, from one or from what a file would hold. `undefined` counts as absent.
 * Without a file there is no look at this host: a program that cannot run fails when it is started.
 * @throws {@link ConfigError} as {@link parseConfig}
 */
export function toConfig(config: Config | ConfigInput, env: Environment): Config {
  if (isLoaded(config)) return config
  return parseConfig(JSON.stringify(config), { file: '(object)', env })
}

/** No file has a section `problems`. */
function isLoaded(config: Config | ConfigInput): config is Config {
  return 'problems' in config && Array.isArray(config.problems) && Array.isArray(config.providers)
}

/** The configuration, not yet frozen, and a function that finds the places of what is still to be found. */
function readConfig(
  { value, root }: Document,
  file: string,
  {
    env: given = {},
    builtin = {},
    gateway = {},
    secretFiles = new Map(),
  }: ConfigOptions & { readonly secretFiles?: SecretFiles },
): Loaded & { locate: (findings: readonly Finding[]) => ConfigProblem[] } {
  const isOpenClaw = isOpenClawFile(value, file)
  const env = isOpenClaw ? addInlineEnv(given, value.env) : given
  const { own, ignored, findings: nearMisses } = pickSections(value)

  const misplaced = [...nearMisses, ...removeMagicKeys(own), ...findDuplicateKeys(own, root)]
  const resolveSecret = (ref: SecretRef) => resolveSecretRef(ref, value.secrets, secretFiles)
  const adopted = isOpenClaw ? adoptOpenClaw(own, { env, resolveSecret }) : []
  addBuiltin(own, builtin)
  const declared = listDeclared(own)
  const expansion = expandServices(own, { isOpenClaw, env, folder: dirname(resolve(file)) })
  const locate = (findings: readonly Finding[]) =>
    toProblems(
      findings.map((finding) => ({ ...finding, path: expansion.toWritten(finding.path) })),
      root,
    )
  const { values, findings: invalid } = validateSections(expansion.own, { isLenient: isOpenClaw })
  const completed = Object.entries(values.models.providers).flatMap(([id, given]) => {
    const provider = findComplete(given)
    return provider === undefined ? [] : [toProvider(id, provider, env), ...toReplicas(id, provider, env)]
  })
  const complete = completed.map(({ provider }) => markAssigned(provider, expansion.assigned))
  const { leasehold, findings: unlocked } = completeSettings(values.leasehold, env, gateway)
  const { findings: ofProviders, providers } = settleFaults(complete, isOpenClaw, [
    ...adopted,
    ...expansion.findings,
    ...invalid,
    ...completed.flatMap((provider) => provider.findings),
    ...findProviderProblems(complete),
    ...findDurationProblems(expansion.own),
    ...findAddressProblems(complete, {
      allowLinkLocal: leasehold.allowLinkLocal,
      host: gateway.host ?? leasehold.host,
      port: gateway.port ?? leasehold.port,
    }),
  ])
  const broken = declared.filter(({ id }) => !providers.some((provider) => provider.id === id))
  const { findings: unresolved, ...references } = resolveReferences(
    values.agents.defaults,
    [
      ...providers,
      // A provider that is too broken to use is still there: references to it are not what is wrong.
      ...broken,
    ],
    listNamedModels(values),
    { isLenient: isOpenClaw },
  )
  const { defaultModel = findOnlyModel(providers, isOpenClaw) } = references
  const problems = locate([
    ...misplaced,
    ...ofProviders,
    ...unresolved,
    ...unlocked,
    ...findLeaseholdProblems(leasehold),
    ...findSharingProblems(providers, leasehold, references.defaultModel !== undefined, broken),
    ...findSleepProblems(providers, leasehold),
  ])
  if (problems.some(({ severity }) => severity === 'error')) throw new ConfigError(file, problems)
  const { mode } = values.models
  return {
    config: {
      file,
      mode,
      providers,
      ...references,
      ...(defaultModel === undefined ? {} : { defaultModel }),
      leasehold,
      problems,
      ignoredSections: ignored,
    },
    values,
    locate,
  }
}

function markAssigned(provider: ProviderConfig, assigned: ReadonlySet<string>): ProviderConfig {
  const { localService } = provider
  if (localService === undefined || !assigned.has(provider.id)) return provider
  return { ...provider, localService: { ...localService, isPortAssigned: true } }
}

/**
 * A model that is the only one is the default. In a file of OpenClaw's, models of providers that are not served do not
 * count. A provider without a list takes any model, so nothing is the only one beside it; and a model that is called
 * `default` is found by its name.
 */
function findOnlyModel(providers: readonly ProviderConfig[], isOpenClaw: boolean): Config['defaultModel'] {
  const served = providers.filter(
    (provider) => isNoReplica(provider) && !(isOpenClaw && provider.unavailable !== undefined),
  )
  const [only, ...others] = served.flatMap(({ id, models }) =>
    models.length === 0 ? [undefined] : models.map((model) => `${id}/${model.id}`),
  )
  return only === undefined || others.length > 0 || only.endsWith('/default')
    ? undefined
    : { primary: only, fallbacks: [] }
}

/**
 * In a file of OpenClaw's, what is wrong with a provider only makes that provider unavailable, and what is wrong with a
 * default or an alias only leaves it out. A misspelt key stays an error, and so does everything in a file of ours.
 */
function settleFaults(
  providers: readonly ProviderConfig[],
  isOpenClaw: boolean,
  given: readonly Finding[],
): { findings: Finding[]; providers: readonly ProviderConfig[] } {
  if (!isOpenClaw) return { findings: [...given], providers }
  const reasons = new Map<string, string[]>()
  const findings = given.map((finding) => {
    const { severity, path, message, isSlip } = finding
    const [section, kind, name, ...option] = path
    if (severity === 'warning' || isSlip) return finding
    if (section === 'agents') return toWarning(path, `${message}; it is left out`)
    if (section !== 'models' || kind !== 'providers' || name === undefined) return finding
    const id = String(name)
    const reason = option.length === 0 ? message : `${z.core.toDotPath(option)}: ${message}`
    reasons.set(id, [...(reasons.get(id) ?? []), reason])
    return toWarning(path, `${message}; provider "${id}" is unavailable`)
  })
  return {
    findings,
    providers: providers.map((provider) => {
      const more = reasons.get(provider.replicaOf?.provider ?? provider.id)
      if (more === undefined) return provider
      const known = provider.unavailable === undefined ? [] : [provider.unavailable]
      return { ...provider, unavailable: [...known, ...new Set(more)].join('; ') }
    }),
  }
}

/** Puts the caller's providers beside those of the file, so that both go the same way from here. */
function addBuiltin(own: JsonObject, builtin: NonNullable<ConfigOptions['builtin']>): void {
  const models = own.models === undefined ? {} : own.models
  if (!isJsonObject(models) || models.mode === 'replace') return
  const providers = models.providers === undefined ? {} : models.providers
  if (!isJsonObject(providers)) return
  const ids = Object.keys(providers)
  for (const [id, provider] of Object.entries(builtin)) {
    if (!ids.some((other) => isSameName(other, id))) providers[id] = structuredClone(provider)
  }
  own.models = { ...models, providers }
}

function listNamedModels({ models: { providers } }: ConfigValues): NamedModel[] {
  return Object.entries(providers).flatMap(([id, { models }]) =>
    models.flatMap(({ id: modelId, alias }, index) =>
      alias === undefined
        ? []
        : [{ ref: `${id}/${modelId}`, alias, path: ['models', 'providers', id, 'models', index, 'alias'] }],
    ),
  )
}

/** Ids of the providers and models that the file names, valid or not. */
function listDeclared({ models }: JsonObject): { id: string; models: { id: string }[] }[] {
  if (!isJsonObject(models) || !isJsonObject(models.providers)) return []
  return Object.entries(models.providers).map(([id, provider]) => {
    const listed = isJsonObject(provider) && Array.isArray(provider.models) ? provider.models : []
    return {
      id,
      models: listed
        .filter(isJsonObject)
        .flatMap((model) => (typeof model.id === 'string' ? [{ id: model.id }] : [])),
    }
  })
}

/** Substitutes the gateway's keys, and completes the cluster. A missing key is an error: with a key less the gateway might ask for none. */
function completeSettings(
  { defaults: _, cluster: clusterValues, ...values }: LeaseholdValues,
  env: Environment,
  gateway: ConfigOptions['gateway'],
): { leasehold: LeaseholdConfig; findings: readonly Finding[] } {
  const findings: Finding[] = []
  const fill = (name: 'apiKeys' | 'controlKeys') =>
    values[name].map((key, index) => {
      const { text, missing } = substituteVariables(key, env)
      for (const variable of missing)
        findings.push(toError(['leasehold', name, index], `\${${variable}} is not set`))
      return text
    })
  const leasehold = { ...values, apiKeys: fill('apiKeys'), controlKeys: fill('controlKeys') }
  if (clusterValues === undefined) return { leasehold, findings }
  const listening = { host: gateway?.host ?? values.host, port: gateway?.port ?? values.port }
  const completed = completeCluster(clusterValues, env, listening)
  return {
    leasehold: { ...leasehold, cluster: completed.cluster },
    findings: [...findings, ...completed.findings],
  }
}

function freeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    for (const inner of Object.values(value)) freeze(inner)
  }
  return value
}

import { accessSync, constants, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, isAbsolute, join, resolve } from 'node:path'
import { toDurationMs } from './duration-form.ts'
import { type Engine, type EngineInput, type EngineSleep, findEngine, isModelPath } from './engines.ts'
import { type Finding, toError, toWarning } from './finding.ts'
import type { Environment } from './secrets.ts'
import { isJsonObject, type JsonObject } from './sections.ts'

/** Where the names in a file lead. */
export interface Surroundings {
  /** For PATH and HOME. */
  readonly env: Environment
  /** The folder of the file: where a relative path of a model begins. */
  readonly folder: string
}

/** A provider whose engine is written out, and what is wrong with it. */
export interface EngineProvider {
  readonly provider: JsonObject
  readonly findings: readonly Finding[]
  /** How many arguments of the engine stand before those of the file, for the provider and each replica. */
  readonly leading: ReadonlyMap<number | undefined, number>
}

/**
 * Writes out `localService.engine`: its command, arguments, health URL, limits and compat flags under what the provider
 * states, and a model where it lists none. `undefined`: there is no engine, or one that is not known.
 */
export function expandEngine(
  id: string,
  provider: JsonObject,
  surroundings: Surroundings,
): EngineProvider | undefined {
  const service = provider.localService
  const engine = isJsonObject(service) ? findEngine(service.engine) : undefined
  if (!isJsonObject(service) || engine === undefined) return undefined
  const daemon = service.daemon ?? (engine.isDaemon ? {} : undefined)
  if (isJsonObject(daemon)) return expandDaemon(id, provider, engine, { service, daemon })
  const models = Array.isArray(provider.models) ? provider.models : []
  const [first] = models
  const listedName = isJsonObject(first) ? (toText(first.upstreamId) ?? toText(first.id)) : undefined
  const model = toModelPlace(toText(service.model) ?? '', surroundings)
  const context = toCount(service.context) ?? findLargestContext(models)
  const nameOption = engine
    .toArgs({ model: '', context: undefined, name: MARK })
    .find((one) => one.includes(MARK))
  const name = findStated(engine, nameOption?.[0], service.args) ?? listedName ?? id
  const input = { model, context, name }
  const sleep = findSleep(engine, input, service.sleep)
  const toArgs = (args: unknown) => listPresetArgs(engine, input, args, sleep?.args)

  const command = service.command ?? findProgram(engine, surroundings)
  const port = findStated(engine, '--port', service.args) ?? engine.port ?? `\${PORT}`
  const baseUrl = provider.baseUrl ?? `http://127.0.0.1:${port}/v1`
  const origin = /^[a-z]+:\/\/[^/]*/i.exec(String(baseUrl))?.[0] ?? ''
  const preset = toArgs(service.args)
  const cwd = typeof command === 'string' ? engine.toCwd?.(command) : undefined
  const env = sleep === undefined ? engine.toEnv?.(input) : { ...engine.toEnv?.(input), ...sleep.env }
  const served = engine.toServedName?.(model) ?? name
  const leading = new Map<number | undefined, number>([[undefined, preset.length]])
  const withArgs = (replica: unknown, index: number): unknown => {
    if (!isJsonObject(replica) || !isJsonObject(replica.localService)) return replica
    const { args } = replica.localService
    if (!Array.isArray(args)) return replica
    const own = toArgs(args)
    leading.set(index, own.length)
    return { ...replica, localService: { ...replica.localService, args: [...own, ...args] } }
  }

  return {
    provider: {
      ...provider,
      baseUrl,
      localService: {
        ...engine.service,
        ...(engine.downloadTimeoutMs === undefined || isModelPath(model)
          ? {}
          : { readyTimeoutMs: engine.downloadTimeoutMs }),
        healthUrl: origin + engine.healthPath,
        ...(cwd === undefined ? {} : { cwd }),
        ...service,
        ...(model === '' ? {} : { model }),
        ...(sleep === undefined ? {} : { sleep: sleep.options }),
        command,
        args: Array.isArray(service.args) ? [...preset, ...service.args] : (service.args ?? preset),
        ...(env === undefined
          ? {}
          : { env: isJsonObject(service.env) ? { ...env, ...service.env } : (service.env ?? env) }),
      },
      ...(Array.isArray(provider.replicas) ? { replicas: provider.replicas.map(withArgs) } : {}),
      models: toModels(provider.models, { id, engine, served, context: toCount(service.context) }),
    },
    findings: [
      ...findSleepEnvFaults(id, sleep, service.env),
      ...(service.model === undefined && isModelNeeded(engine, service.args)
        ? [
            toError(
              ['models', 'providers', id, 'localService', 'model'],
              'is required: the file or the name of the model',
            ),
          ]
        : []),
    ],
    leading,
  }
}

/** Writes out a model of a server that runs already. */
function expandDaemon(
  id: string,
  provider: JsonObject,
  engine: Engine,
  { service, daemon }: { readonly service: JsonObject; readonly daemon: JsonObject },
): EngineProvider {
  const models = Array.isArray(provider.models) ? provider.models : []
  const [first] = models
  const listed = isJsonObject(first) ? (toText(first.upstreamId) ?? toText(first.id)) : undefined
  const model = toText(service.model) ?? listed ?? ''
  const context = toCount(service.context) ?? findLargestContext(models)
  const toPreset = (size: number | undefined) => engine.toDaemon?.({ model, context: size, name: model })
  const preset = toPreset(context)
  const isContextSent = JSON.stringify(preset) !== JSON.stringify(toPreset(undefined))
  // How long the model stays loaded, leasehold decides.
  const { supportsKeepAlive: _, ...compat } = engine.compat
  const { port: _port, ...ownName } = engine
  const { stopGraceMs, readyTimeoutMs } = engine.service
  const at = ['models', 'providers', id]
  return {
    provider: {
      ...provider,
      ...(provider.baseUrl === undefined && engine.port !== undefined
        ? { baseUrl: `http://127.0.0.1:${engine.port}/v1` }
        : {}),
      localService: {
        stopGraceMs,
        // Weights come from the disk, and a daemon may load one model after the other.
        readyTimeoutMs: Math.max(readyTimeoutMs ?? 0, LOAD_TIMEOUT_MS),
        ...service,
        daemon: { ...preset?.options, ...daemon },
      },
      // It would load any other name that a request has, or refuse it.
      models: toModels(provider.models, {
        id,
        engine: { ...ownName, compat },
        served: model,
        context: toCount(service.context),
      }),
    },
    findings: [
      ...(preset === undefined && ['load', 'unload', 'loaded'].some((name) => daemon[name] === undefined)
        ? [toError([...at, 'localService', 'daemon'], `${service.engine} has no preset: ${OWN_DAEMON}`)]
        : []),
      ...(model === ''
        ? [toError([...at, 'localService', 'model'], 'is required: the name of the model in its daemon')]
        : []),
      ...(service.model === undefined && listNames(models).size > 1
        ? [
            toError(
              [...at, 'localService', 'model'],
              'is required where the provider lists several models: the service is one of them, and each other model needs a provider of its own',
            ),
          ]
        : []),
      ...(service.context !== undefined && daemon.load === undefined && !isContextSent
        ? [
            toWarning(
              [...at, 'localService', 'context'],
              `is only told to clients: ${service.engine} takes the size of the context from the settings of its daemon`,
            ),
          ]
        : []),
      ...(provider.baseUrl === undefined && engine.port === undefined
        ? [toError([...at, 'baseUrl'], 'is required: where the daemon listens')]
        : []),
    ],
    leading: new Map(),
  }
}

const OWN_DAEMON = 'state load, unload and loaded'
/** The load of a model by a daemon takes as long as the start of a server, in milliseconds. */
const LOAD_TIMEOUT_MS = 300_000

/** Where the program of an engine is: the first on PATH, else in the usual places, else where it would be. */
export function findProgram(
  engine: Pick<Engine, 'programs' | 'places'>,
  surroundings: Pick<Surroundings, 'env'>,
): string {
  return findInstalledProgram(engine, surroundings) ?? toAbsentProgram(engine, surroundings)
}

/** {@link findProgram}; `undefined` where there is none. */
export function findInstalledProgram(
  { programs, places }: Pick<Engine, 'programs' | 'places'>,
  { env }: Pick<Surroundings, 'env'>,
): string | undefined {
  const folders = [
    ...(env.PATH ?? '').split(delimiter).filter((one) => isAbsolute(one)),
    ...places.map((place) => toHome(place, env)),
  ]
  const candidates = programs.flatMap((program) => folders.map((folder) => join(folder, program)))
  return candidates.find(isProgram)
}

/** Where the program of an engine would be, if it were in the first of the usual places. */
export function toAbsentProgram(
  { programs: [program = ''], places: [place = ''] }: Pick<Engine, 'programs' | 'places'>,
  { env }: Pick<Surroundings, 'env'>,
): string {
  return join(toHome(place, env), program)
}

function isProgram(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return statSync(file).isFile()
  } catch {
    return false
  }
}

function toHome(path: string, env: Environment): string {
  return path.replace(/^~(?=\/)/, env.HOME || homedir())
}

/** The place of a model that is a file or a folder; another name stays as it is. */
function toModelPlace(model: string, { env, folder }: Surroundings): string {
  if (!isModelPath(model) || model.startsWith('$')) return model
  return resolve(folder, toHome(model, env))
}

/** The options of the preset, without each option that the file's own arguments state under any of its names. */
function listPresetArgs(
  engine: Engine,
  input: Parameters<Engine['toArgs']>[0],
  own: unknown,
  more: readonly (readonly string[])[] = [],
): string[] {
  const stated = listFlags(own)
  const isStated = ([flag = '']: readonly string[]) =>
    listSynonyms(engine, flag).some((name) => stated.has(name))
  return [...engine.toArgs(input), ...more].flatMap((option) =>
    isStated(option) || option.at(-1) === '' ? [] : option,
  )
}

/** The sleep of the preset under that of the file; `undefined`: the file has none, or the engine has none. */
function findSleep(engine: Engine, input: EngineInput, own: unknown): EngineSleep | undefined {
  if (!isJsonObject(own)) return undefined
  const sleep = engine.toSleep?.(input)
  if (sleep === undefined) return undefined
  const { idleOption, args = [] } = sleep
  const { afterMs, ...others } = own
  const idleMs = toMs(afterMs)
  // A sleep that the file describes itself is told by requests, as it says.
  if (idleOption === undefined || idleMs === undefined || own.request !== undefined)
    return { ...sleep, options: { ...sleep.options, ...own } as EngineSleep['options'] }
  return {
    ...sleep,
    options: { ...sleep.options, ...others } as EngineSleep['options'],
    args: [...args, [idleOption, String(Math.max(1, Math.ceil(idleMs / 1000)))]],
  }
}

/** The milliseconds of a duration as a file states it, before the file is checked. */
export function toMs(value: unknown): number | undefined {
  return typeof value === 'number' ? value : typeof value === 'string' ? toDurationMs(value) : undefined
}

/** A variable without which the server would not sleep, and that the file sets to something else. */
function findSleepEnvFaults(id: string, sleep: EngineSleep | undefined, own: unknown): Finding[] {
  return Object.entries(sleep?.env ?? {}).flatMap(([name, value]) =>
    isJsonObject(own) && own[name] !== undefined && own[name] !== value
      ? [
          toError(
            ['models', 'providers', id, 'localService', 'env', name],
            `must be "${value}": without it the server has no sleep`,
          ),
        ]
      : [],
  )
}

/** Stands where a value would, to find the option that takes it. */
const MARK = '\0'

/** The value that the file's own arguments give an option. */
function findStated(engine: Engine, flag: string | undefined, args: unknown): string | undefined {
  if (flag === undefined || !Array.isArray(args)) return undefined
  const names = listSynonyms(engine, flag)
  const index = args.findIndex((arg) => names.includes(String(arg).replace(/=.*$/s, '')))
  if (index < 0) return undefined
  const [, value = args[index + 1]] = /=(.*)$/s.exec(String(args[index])) ?? []
  return toText(value)
}

/** Names of the options in a list of arguments. */
function listFlags(args: unknown): ReadonlySet<string> {
  if (!Array.isArray(args)) return new Set()
  return new Set(args.map((arg) => String(arg).replace(/=.*$/s, '')))
}

function listSynonyms({ synonyms = [] }: Engine, flag: string): readonly string[] {
  return synonyms.find((names) => names.includes(flag)) ?? [flag]
}

/** Whether nothing says what to load: neither `model` nor an argument that would replace it. */
function isModelNeeded(engine: Engine, args: unknown): boolean {
  if (engine.isModelOptional) return false
  const input = { model: MARK, context: undefined, name: '' }
  const option = engine.toArgs(input).find((one) => one.includes(MARK))
  const stated = listFlags(args)
  const [flag = ''] = option ?? []
  return option !== undefined && !listSynonyms(engine, flag).some((name) => stated.has(name))
}

interface ModelsContext {
  readonly id: string
  readonly engine: Engine
  readonly served: string
  readonly context: number | undefined
}

/** The models with the flags of the engine, and the name that the server knows; without a list, one named like the provider. */
function toModels(given: unknown, { id, engine, served, context }: ModelsContext): unknown {
  if (given !== undefined && !Array.isArray(given)) return given
  const listed: readonly unknown[] = given ?? (served === '' ? [] : [{ id }])
  return listed.map((model) => {
    if (!isJsonObject(model)) return model
    const isSized = model.context !== undefined || model.contextWindow !== undefined
    const upstreamId =
      served === '' || (engine.port !== undefined && given !== undefined) ? undefined : served
    return {
      ...(upstreamId === undefined || upstreamId === model.id ? {} : { upstreamId }),
      ...(isSized || context === undefined ? {} : { context }),
      ...model,
      compat: isJsonObject(model.compat)
        ? { ...engine.compat, ...model.compat }
        : (model.compat ?? engine.compat),
    }
  })
}

/** What a request would call each of some models. */
function listNames(models: readonly unknown[]): ReadonlySet<string> {
  return new Set(
    models.flatMap((model) =>
      isJsonObject(model) ? (toText(model.upstreamId) ?? toText(model.id) ?? []) : [],
    ),
  )
}

function findLargestContext(models: readonly unknown[]): number | undefined {
  const sizes = models.flatMap((model) => (isJsonObject(model) ? (toCount(model.context) ?? []) : []))
  return sizes.length === 0 ? undefined : Math.max(...sizes)
}

function toCount(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isInteger(value) && value > 0 ? value : undefined
}

/** A text that says something. */
export function toText(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}

import type { Environment } from '../../config/secrets.ts'
import type { JsonObject } from '../../json/value.ts'
import type { Json5Value } from '../init/json5-text.ts'
import { hasPort, PORT_MARK, replacePort, toConfigText } from './macros.ts'
import { PID, translateCommand, translateStop } from './swap-command.ts'
import { toBaseUrl, toCount, toDuration, toNumber, toObject, toText } from './swap-values.ts'

export interface TranslateOptions {
  readonly env: Environment
  /** The name of llama-swap's file, and its folder. */
  readonly file: string
  readonly folder: string
  /** Where a program is that is named without a path. */
  findProgram(name: string): string | undefined
}

/** A model of llama-swap's. */
export interface SwapModel {
  readonly id: string
  /** Its id as a provider. */
  readonly provider: string
  /** With macros filled in. */
  readonly values: JsonObject
  readonly given: JsonObject
}

/** What a part of a file is translated with. */
export interface Context extends TranslateOptions {
  readonly listAliases: boolean
  note(path: readonly string[], message: string): void
  plain(value: unknown, path: readonly string[]): unknown
}

/** What a model is translated with. */
export interface ModelContext extends Context {
  /** Ports that several models with different commands would listen on, with the first of them. */
  readonly ports: ReadonlyMap<string, SwapModel>
  /** Commands of several models that are one server. */
  readonly twins: ReadonlySet<string>
  readonly aliases: ReadonlyMap<string, readonly string[]>
  readonly top: JsonObject
}

/** A provider, as it is written. */
export type Provider = Record<string, Json5Value | undefined>

/** Translates a model. `undefined`: it is left out, and why is noted. */
export function translateModel(model: SwapModel, context: ModelContext): Provider | undefined {
  const { id, values } = model
  const path = ['models', id]
  const note = (key: string, message: string) => context.note([...path, key], message)
  const text = (key: string) => toText(values[key])
  const proxy = text('proxy')
    ?.replace(/^(?![a-z]+:\/\/)/i, 'http://')
    .replace(/\/+$/, '')
  const entries = listModels(model, context)
  if (text('cmd') === undefined) {
    if (proxy === undefined) {
      context.note(path, 'has neither cmd nor proxy, so it is left out')
      return undefined
    }
    return { baseUrl: toBaseUrl(String(context.plain(proxy, [...path, 'proxy']))), models: entries }
  }
  const own = findWrittenPort(model, context)
  const isShared = own !== undefined && context.ports.has(own)
  const isFirst = isShared && context.ports.get(own) === model
  const cmd = isShared ? replacePort(text('cmd') ?? '', own) : (text('cmd') ?? '')
  const cmdStop = text('cmdStop')
  const command = translateCommand(cmd, {
    ...context,
    isVerbatim: own !== undefined && context.twins.has(toCommandKey(model)),
    isExternal: cmdStop !== undefined && !cmdStop.includes(PID),
    note: (message) => note('cmd', message),
  })
  if (command === undefined) return undefined
  const { service } = command
  const stop =
    cmdStop === undefined
      ? undefined
      : translateStop(isShared ? replacePort(cmdStop, own) : cmdStop, command, {
          ...context,
          note: (message) => note('cmdStop', message),
        })
  const listens =
    command.port ?? (JSON.stringify(values.env ?? '').includes(PORT_MARK) ? `\${PORT}` : undefined)
  if (isShared) {
    const isOwn = listens === `\${PORT}`
    const fate = isOwn
      ? 'this one gets a port of its own'
      : isFirst
        ? 'it is not in cmd, so the others are left out'
        : 'it is not in cmd, so this one is left out'
    note(proxy === undefined ? 'cmd' : 'proxy', `several models have the port ${own}: ${fate}`)
    if (!isOwn && !isFirst) return undefined
  }

  const target = isShared && listens === `\${PORT}` ? undefined : proxy
  const isAssigned =
    target === undefined ||
    (/^https?:\/\/(localhost|127\.0\.0\.1)$/.test(target.replace(/:[^:/]*$/, '')) && hasPort(target))
  if (isAssigned && listens === undefined && service.engine === undefined) {
    note('cmd', `no port can be told from it, so the model is left out: state it in proxy`)
    return undefined
  }
  const port = isAssigned ? listens : undefined
  const base = port === undefined ? undefined : `http://127.0.0.1:${port}`
  const origin = target === undefined || isAssigned ? base : String(context.plain(target, [...path, 'proxy']))
  const isPreset = service.engine !== undefined
  const isOwnPort = port === `\${PORT}` || (isPreset && origin === base)
  const baseUrl = origin === undefined || isOwnPort ? undefined : toBaseUrl(origin)
  return {
    ...(baseUrl === undefined ? {} : { baseUrl }),
    localService: {
      ...service,
      ...stop,
      ...toHealth(values.checkEndpoint, origin ?? `http://127.0.0.1:\${PORT}`, isPreset, (message) =>
        note('checkEndpoint', message),
      ),
      ...toEnv(values.env, (message) => note('env', message)),
      ...toLimits(values, context, path),
    },
    models: entries,
  }
}

function toHealth(
  given: unknown,
  origin: string,
  isPreset: boolean,
  note: (message: string) => void,
): { readonly healthUrl?: string } {
  const path = toText(given) ?? '/health'
  if (path === 'none') {
    note('a server is always checked: /v1/models is asked')
    return isPreset ? { healthUrl: `${toBaseUrl(origin)}/models` } : {}
  }
  if (isPreset && path === '/health') return {}
  return { healthUrl: `${origin}${path.startsWith('/') ? '' : '/'}${toConfigText(path)}` }
}

function toEnv(given: unknown, note: (message: string) => void): { readonly env?: Record<string, string> } {
  const list = Array.isArray(given) ? given : given === undefined || given === null ? [] : [given]
  const pairs = list.flatMap((item) => {
    const [, name, value] = /^([^=]+)=(.*)$/s.exec(String(item)) ?? []
    if (name === undefined || value === undefined) {
      note(`"${String(item)}" is not of the form NAME=VALUE, so it is left out`)
      return []
    }
    return [[name.trim(), toConfigText(value)] as const]
  })
  return pairs.length === 0 ? {} : { env: Object.fromEntries(pairs) }
}

function toLimits(values: JsonObject, { note, top }: ModelContext, path: readonly string[]): Provider {
  const ttl = toNumber(values.ttl)
  const globalTtl = toNumber(top.globalTTL) ?? 0
  const ready = toNumber(values.healthCheckTimeout)
  const grace = toNumber(values.unloadTimeout)
  const limit = toCount(values.concurrencyLimit, 1, 1_000_000)
  if (limit !== undefined) note([...path, 'concurrencyLimit'], 'further requests wait instead of getting 429')
  if (values.healthCheckTimeout !== undefined)
    note(
      [...path, 'healthCheckTimeout'],
      'llama-swap reads it at the top only; it is taken over for this model',
    )
  return {
    ...(ttl === undefined || ttl < 0 || ttl === globalTtl ? {} : { idleStopMs: toDuration(ttl) }),
    ...(ready === undefined || ready <= 0 ? {} : { readyTimeoutMs: toDuration(ready) }),
    ...(grace === undefined || grace <= 0 ? {} : { stopGraceMs: toDuration(grace) }),
    ...(limit === undefined ? {} : { maxConcurrent: limit }),
  }
}

/** The model, and one more for each id that has parameters of its own. */
function listModels(model: SwapModel, context: ModelContext): Json5Value[] {
  const { id, values } = model
  const path = ['models', id]
  const filters = toObject(values.filters)
  const upstreamId = toText(context.plain(values.useModelName, [...path, 'useModelName']))
  const set = toObject(context.plain(filters.setParams, [...path, 'filters', 'setParams']))
  const byId = toObject(context.plain(filters.setParamsByID, [...path, 'filters', 'setParamsByID']))
  const aliases = context.aliases.get(id) ?? []
  const capabilities = toObject(values.capabilities)
  const size = toCount(capabilities.context, 1, 1_000_000_000)
  const common = {
    ...toDropped(filters.stripParams ?? filters.strip_params, (message) =>
      context.note([...path, 'filters'], message),
    ),
    ...toInput(capabilities.in),
    ...(size === undefined ? {} : { context: size }),
  }
  const toParams = (own: unknown) => {
    const { model: _, ...params } = { ...set, ...toObject(own) }
    return Object.keys(params).length === 0 ? {} : { params: { extra_body: params as Json5Value } }
  }
  const name = toText(values.name)
  const others = Object.keys(byId).filter((key) => key !== id)
  return [
    {
      id,
      ...(upstreamId === undefined ? {} : { upstreamId }),
      ...(aliases.length === 0 ? {} : { alias: aliases.length === 1 ? aliases[0] : aliases }),
      ...(name === undefined ? {} : { name }),
      ...(values.unlisted === true ? { unlisted: true } : {}),
      ...common,
      ...toParams(byId[id]),
    },
    ...others.map((key) => ({
      id: key,
      upstreamId: upstreamId ?? id,
      ...(context.listAliases && values.unlisted !== true ? {} : { unlisted: true }),
      ...common,
      ...toParams(byId[key]),
    })),
  ]
}

/** A request cannot be without these. */
const NEEDED = new Set(['model', 'messages', 'prompt', 'input', 'stream'])

/** `stripParams`, without what no request can be without. */
export function toDropped(
  given: unknown,
  note: (message: string) => void,
): { readonly dropParams?: string[] } {
  const list = Array.isArray(given) ? given.map(String) : (toText(given) ?? '').split(',')
  const names = [...new Set(list.map((name) => name.trim()).filter((name) => name !== ''))]
  for (const name of names.filter((one) => NEEDED.has(one) && one !== 'model'))
    note(`${name} cannot be removed from a request, so it stays`)
  const dropped = names.filter((name) => !NEEDED.has(name))
  return dropped.length === 0 ? {} : { dropParams: dropped }
}

function toInput(given: unknown): { readonly input?: string[] } {
  const kinds = (Array.isArray(given) ? given : []).filter((kind) =>
    ['text', 'image', 'audio', 'video'].includes(kind),
  )
  return kinds.length === 0 || (kinds.length === 1 && kinds[0] === 'text') ? {} : { input: kinds }
}

/** The number of the port that a model states, in `proxy` or else in `cmd`. */
function findWrittenPort({ values }: SwapModel, context: Context): string | undefined {
  const proxy = toText(values.proxy)
  const [, host = '', stated] = /^https?:\/\/([^:/]+)(?::(\d+))?/.exec(proxy ?? '') ?? []
  if (proxy !== undefined) return /^(localhost|127\.|0\.0\.0\.0)/.test(host) ? stated : undefined
  const port = translateCommand(toText(values.cmd) ?? '', { ...context, note: () => {} })?.port
  return port === `\${PORT}` ? undefined : port
}

/** Ports that several models state, and commands that several models have. */
export function findShared(
  models: readonly SwapModel[],
  context: Context,
): Pick<ModelContext, 'ports' | 'twins'> {
  const first = new Map<string, SwapModel>()
  const ports = new Map<string, SwapModel>()
  const twins = new Set<string>()
  for (const model of models) {
    const port = toText(model.values.cmd) === undefined ? undefined : findWrittenPort(model, context)
    if (port === undefined) continue
    const other = first.get(port)
    if (other === undefined) first.set(port, model)
    else if (toCommandKey(other) === toCommandKey(model)) twins.add(toCommandKey(model))
    else ports.set(port, other)
  }
  return { ports, twins }
}

/** Models with the same command and port are served by one process. */
function toCommandKey({ values }: SwapModel): string {
  return JSON.stringify([values.cmd, values.env])
}

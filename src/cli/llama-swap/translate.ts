import { parseConfig } from '../../config/load.ts'
import { ConfigError } from '../../errors.ts'
import { isObject, type JsonObject } from '../../json/value.ts'
import { type Comments, formatJson5, type Json5Value, pathKey } from '../init/json5-text.ts'
import { toFree } from '../init/model-names.ts'
import { addPlaceholders } from '../init/write-config.ts'
import { fillMacros, type Macros, toConfigText, toPlainValue } from './macros.ts'
import { type Rooms, translateRooms } from './swap-groups.ts'
import { findSwapKey } from './swap-keys.ts'
import {
  type Context,
  findShared,
  type Provider,
  type SwapModel,
  type TranslateOptions,
  toDropped,
  translateModel,
} from './swap-model.ts'
import { toBaseUrl, toCount, toDuration, toNumber, toObject, toProviderId, toText } from './swap-values.ts'
import type { YamlFile } from './yaml-file.ts'

/** A line of llama-swap's file that has no equal, or an equal that differs. */
export interface SwapNote {
  readonly line: number
  readonly path: readonly string[]
  readonly message: string
}

/** A configuration that was translated. */
export interface Translation {
  readonly text: string
  readonly notes: readonly SwapNote[]
  /** Names that a request can ask for. */
  readonly models: readonly string[]
}

/** Translates a configuration of llama-swap's. What has no equal is noted, and left out. */
export function translateSwap(yaml: YamlFile, options: TranslateOptions): Translation {
  const { env, file } = options
  const root = toObject(yaml.value)
  const notes: SwapNote[] = []
  const note = (path: readonly string[], message: string) => {
    notes.push({ line: yaml.lineOf(path), path, message })
  }
  const macros = toObject(root.macros)
  const fill = (value: unknown, path: readonly string[], own: Macros = {}, modelId?: string): unknown => {
    const unknown = new Set<string>()
    const onUnknown = (name: string) => {
      if (!unknown.has(name)) note(path, `\${${name}} is no macro`)
      unknown.add(name)
    }
    return fillMacros(value, {
      macros: { ...macros, ...own },
      ...(modelId === undefined ? {} : { modelId }),
      onUnknown,
    })
  }
  const plain = (value: unknown, path: readonly string[]) =>
    toPlainValue(value, env, (name) => note(path, `\${env.${name}} is not set here`))

  const top: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(root))
    if (key !== 'models' && key !== 'macros') {
      const filled = fill(value, [key])
      // Keys stay references.
      top[key] = key === 'apiKeys' || key === 'peers' ? filled : plain(filled, [key])
    }
  const taken = new Set<string>()
  const models = Object.entries(toObject(root.models)).map(([id, given]): SwapModel => {
    const own = toObject(toObject(given).macros)
    const values: Record<string, unknown> = {}
    for (const [key, value] of Object.entries(toObject(given)))
      if (key !== 'macros' && key !== 'metadata') values[key] = fill(value, ['models', id, key], own, id)
    return { id, provider: toFree(toProviderId(id), taken), values, given: toObject(given) }
  })

  const context: Context = { ...options, note, plain, listAliases: top.includeAliasesInList === true }
  const shared = findShared(models, context)
  const aliases = collectAliases(models, top, context)
  const addresses = new Map<string, string>()
  const providers = models.flatMap((model) => {
    const provider = translateModel(model, { ...context, ...shared, aliases, top })
    const onFault = (fault: string) => note(['models', model.id], fault)
    const isUsable =
      provider !== undefined &&
      isValid(model.provider, provider, onFault) &&
      isFree(addresses, provider, onFault)
    return isUsable ? [[model.provider, provider] as const] : []
  })
  const present = models.filter((model) => providers.some(([id]) => id === model.provider))
  const peers = translatePeers(top.peers, taken, context).filter(([id, peer]) =>
    isValid(id, peer, (fault) => note(['peers', id], fault)),
  )
  const run = models.filter(({ provider }) =>
    providers.some(([id, { localService }]) => id === provider && localService !== undefined),
  )
  const rooms = translateRooms(
    top,
    run.map(({ id }) => id),
    note,
  )
  noteKeys(root, note)
  const nameOf = (id: string) => models.find((model) => model.id === id)?.provider ?? id
  const leasehold = toLeasehold(top, rooms, { nameOf, models: run, context, aliases })

  const comments = new Map<string, readonly string[]>()
  notes.sort((a, b) => a.line - b.line)
  const asComment = ({ line, path, message }: SwapNote) => `${file}:${line}: ${path.join('.')}: ${message}`
  comments.set(pathKey(), [
    `Translated from llama-swap's ${file}.`,
    ...(notes.length === 0
      ? []
      : ['What has no equal, or an equal that differs, is told with its line where it would be.']),
    ...notes.filter(({ path }) => path[0] !== 'models').map(asComment),
  ])
  for (const { id, provider, given } of present) {
    const description = typeof given.description === 'string' ? given.description.split('\n') : []
    const own = notes.filter(({ path }) => path[0] === 'models' && path[1] === id).map(asComment)
    if (description.length + own.length > 0)
      comments.set(pathKey('models', 'providers', provider), [...description, ...own])
  }
  const value: Json5Value = {
    leasehold,
    models: {
      providers: Object.fromEntries(
        [...providers, ...peers].map(([id, provider]) => [id, addRoom(provider, rooms, models, id)]),
      ),
    },
  }
  return {
    text: formatJson5(value, comments satisfies Comments),
    notes,
    models: present.map(({ id }) => id),
  }
}

/** Whether a provider can be in a file; one odd value must not keep the rest from being translated. */
function isValid(id: string, provider: Provider, onFault: (fault: string) => void): boolean {
  const text = formatJson5({ models: { providers: { [id]: provider } } })
  try {
    parseConfig(text, { env: addPlaceholders(text, {}) })
    return true
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    const [problem] = error.problems
    onFault(`${problem?.message ?? 'is not valid'}, so it is left out`)
    return false
  }
}

/** Whether no other server has the address of this one: `addresses` has what runs at each. */
function isFree(
  addresses: Map<string, string>,
  { baseUrl, localService }: Provider,
  onFault: (fault: string) => void,
): boolean {
  if (typeof baseUrl !== 'string' || localService === undefined || !URL.canParse(baseUrl)) return true
  const { host } = new URL(baseUrl)
  const address = host.replace(/^(127\.[\d.]+|0\.0\.0\.0|\[::1?\])(?=:|$)/, 'localhost')
  const { engine, model, command, args, env, healthUrl } = toObject(localService)
  const server = JSON.stringify([engine, model, command, args, env, healthUrl])
  const other = addresses.get(address) ?? server
  addresses.set(address, other)
  if (other !== server) onFault(`another model listens on ${host}, so it is left out`)
  return other === server
}

/** Names are compared without regard to case: of two that differ in nothing else the first counts. */
function collectAliases(
  models: readonly SwapModel[],
  top: JsonObject,
  { note }: Context,
): ReadonlyMap<string, readonly string[]> {
  const taken = new Map<string, string>()
  const byModel = new Map<string, string[]>()
  const add = (id: string, name: string, path: readonly string[]) => {
    const own = models.find((model) => model.id === id)
    const isEntry = Object.hasOwn(toObject(toObject(own?.values.filters).setParamsByID), name)
    // An id with parameters of its own is a model of its own.
    if (own === undefined || isEntry || name.toLowerCase() === id.toLowerCase()) return
    const twin = taken.get(name.toLowerCase()) ?? models.find((model) => model.id === name)?.id
    if (twin !== undefined) {
      note(path, `"${name}" is already a name of ${twin}, so it is left out`)
      return
    }
    taken.set(name.toLowerCase(), id)
    byModel.set(id, [...(byModel.get(id) ?? []), name])
  }
  for (const { id, values } of models)
    for (const [index, alias] of (Array.isArray(values.aliases) ? values.aliases : []).entries()) {
      // An early form has an object for each.
      const name = isObject(alias) ? toText(alias.id) : toText(alias)
      if (name !== undefined) add(id, name, ['models', id, 'aliases', String(index)])
    }
  for (const [name, selector] of Object.entries(toObject(top.selectors))) {
    const { targets, strategy } = toObject(selector)
    const [target] = Array.isArray(targets) ? targets.map(String) : []
    const known = models.find(({ id }) => id === target)
    const path = ['selectors', name]
    if (known === undefined) note(path, 'its first target is no model of this file, so it is left out')
    else {
      add(known.id, name, path)
      if (strategy !== 'pin')
        note(path, `the strategy ${strategy} has no equal: it is an alias of ${known.id}`)
    }
  }
  return byModel
}

function translatePeers(
  given: unknown,
  taken: Set<string>,
  context: Context,
): (readonly [string, Provider])[] {
  const { note } = context
  return Object.entries(toObject(given)).flatMap(([name, value]) => {
    const peer = toObject(value)
    const path = ['peers', name]
    const proxy = toText(context.plain(peer.proxy, [...path, 'proxy']))
    if (proxy === undefined) {
      note(path, 'has no proxy, so it is left out')
      return []
    }
    const filters = toObject(context.plain(peer.filters, [...path, 'filters']))
    const common = {
      ...toDropped(filters.stripParams, (message) => note([...path, 'filters'], message)),
      ...(isObject(filters.setParams) ? { params: { extra_body: filters.setParams as Json5Value } } : {}),
    }
    if (peer.timeouts !== undefined) note([...path, 'timeouts'], 'no equal')
    const ids = Array.isArray(peer.models) ? peer.models.map(String) : []
    const apiKey = toText(peer.apiKey)
    return [
      [
        toFree(toProviderId(name), taken),
        {
          baseUrl: toBaseUrl(proxy),
          ...(apiKey === undefined ? {} : { apiKey: toConfigText(apiKey) }),
          models: ids.map((id) => ({ id, ...common })),
        },
      ] as const,
    ]
  })
}

interface Names {
  readonly models: readonly SwapModel[]
  readonly aliases: ReadonlyMap<string, readonly string[]>
  readonly context: Context
  nameOf(id: string): string
}

function toLeasehold(top: JsonObject, rooms: Rooms, names: Names): Json5Value {
  const keys = (Array.isArray(top.apiKeys) ? top.apiKeys : []).flatMap((key) => {
    const text = toText(key)
    return text === undefined ? [] : [toConfigText(text)]
  })
  const ready = toNumber(top.healthCheckTimeout)
  const ttl = toNumber(top.globalTTL)
  const grace = toNumber(top.unloadTimeout)
  const defaults = {
    ...(ready === undefined ? {} : { readyTimeoutMs: toDuration(Math.max(ready, MIN_READY_S)) }),
    ...(ttl === undefined || ttl <= 0 ? {} : { idleStopMs: toDuration(ttl) }),
    ...(grace === undefined || grace <= 0 ? {} : { stopGraceMs: toDuration(grace) }),
  }
  const preload = listPreload(top, names)
  const groups = Object.fromEntries(
    rooms.groups.map(({ name, members }) => [name, members.map(names.nameOf)]),
  )
  const firstPort = findFirstPort(top, names)
  return {
    ...(firstPort === undefined ? {} : { firstPort }),
    ...(top.includeAliasesInList === true ? { listAliases: true } : {}),
    ...(keys.length === 0 ? {} : { apiKeys: keys }),
    ...(Object.keys(defaults).length === 0 ? {} : { defaults }),
    ...(rooms.groups.length === 0 ? {} : { groups }),
    ...(preload.length === 0 ? {} : { preload }),
  }
}

function findFirstPort({ startPort }: JsonObject, { models, context }: Names): number | undefined {
  const port = toCount(startPort, 1, Number.MAX_SAFE_INTEGER)
  // Ports that the file states are skipped.
  if (port === undefined || port + 2 * models.length <= LAST_PORT) return port
  context.note(['startPort'], 'leaves too few ports, so it is left out')
  return undefined
}

const LAST_PORT = 65_535

/** llama-swap waits at least so long. */
const MIN_READY_S = 15

function listPreload({ hooks }: JsonObject, { models, aliases, nameOf, context }: Names): string[] {
  const { preload } = toObject(toObject(hooks).on_startup)
  return (Array.isArray(preload) ? preload : []).flatMap((item, index) => {
    const name = String(item).trim()
    const isCalled = ({ id, values }: SwapModel) =>
      id === name ||
      aliases.get(id)?.includes(name) ||
      Object.hasOwn(toObject(toObject(values.filters).setParamsByID), name)
    const model = models.find(isCalled)
    if (model !== undefined) return [nameOf(model.id)]
    context.note(
      ['hooks', 'on_startup', 'preload', String(index)],
      `"${name}" is no model that is run here, so it is left out`,
    )
    return []
  })
}

function addRoom(provider: Provider, rooms: Rooms, models: readonly SwapModel[], id: string): Provider {
  const model = models.find((one) => one.provider === id)
  if (model === undefined || !isObject(provider.localService)) return provider
  const evictCost = rooms.evictCosts.get(model.id)
  return {
    ...provider,
    localService: {
      ...provider.localService,
      ...(rooms.pinned.has(model.id) ? { pinned: true } : {}),
      ...(evictCost === undefined ? {} : { evictCost }),
    },
  }
}

/** Notes keys without an equal, and keys that llama-swap does not have. */
function noteKeys(root: JsonObject, note: (path: readonly string[], message: string) => void): void {
  const look = (value: unknown, path: readonly string[]) => {
    const meaning = findSwapKey(path)
    if (meaning === undefined) {
      if (isObject(value) && isBranch(path))
        for (const [key, inner] of Object.entries(value)) look(inner, [...path, key])
      else note(path, 'llama-swap has no such key, so it is left out')
      return
    }
    if (isSilent(path, value)) return
    if (meaning.startsWith('no equal') && path.at(-1) !== 'cmdStop') note(path, meaning)
  }
  for (const [key, value] of Object.entries(root)) look(value, [key])
}

/** What has keys below it that are listed one by one. */
function isBranch(path: readonly string[]): boolean {
  const [first, , third] = path
  if (first === 'models') return path.length <= 2 || (path.length === 3 && third === 'filters')
  return ['hooks', 'routing'].includes(first ?? '') && path.length <= 2
}

/** What says only what is so anyway. */
function isSilent(path: readonly string[], value: unknown): boolean {
  const key = path.at(-1)
  if (value === null || value === undefined || value === '') return true
  if (isObject(value) && Object.keys(value).length === 0) return true
  if (key === 'sendLoadingState') return value !== true
  if (key === 'capabilities' && isObject(value))
    return Object.keys(value).every((name) => name === 'in' || name === 'context')
  return false
}

import { expandElsewhere } from './elsewhere.ts'
import { type EngineProvider, expandEngine, type Surroundings } from './engine-service.ts'
import { type Finding, toError } from './finding.ts'
import { assignPorts } from './port-assignment.ts'
import { isJsonObject, type JsonObject } from './sections.ts'

/** Where ports are assigned from unless `leasehold.firstPort` says so. */
const FIRST_PORT = 15_800
const GATEWAY_PORT = 4141

/** Our sections with everything written out that a file may leave to us. */
export interface Expansion {
  readonly own: JsonObject
  readonly findings: readonly Finding[]
  /** Ids of the providers and replicas whose port the file does not state. */
  readonly assigned: ReadonlySet<string>
  /** Where the file writes what stands at a path of `own`. */
  readonly toWritten: (path: readonly PropertyKey[]) => readonly PropertyKey[]
}

/** Writes out what the services of a file leave to us. In a file of OpenClaw's `${PORT}` is a variable like any other. */
export function expandServices(
  own: JsonObject,
  { isOpenClaw, ...surroundings }: Surroundings & { readonly isOpenClaw: boolean },
): Expansion {
  const { models, leasehold } = own
  if (!isJsonObject(models) || !isJsonObject(models.providers))
    return { own, findings: [], assigned: new Set(), toWritten: (path) => path }
  const options = toObject(leasehold)
  // Copies, because validation removes what is wrong from what it is given.
  const written = structuredClone(models.providers)
  const defaults = structuredClone(toObject(options.defaults))
  const expanded = new Map<string, EngineProvider>()
  const elsewhere = new Set<string>()
  const complete = Object.entries(models.providers).map(([id, provider]) => {
    const merged = addDefaults(provider, defaults)
    const located = isJsonObject(merged) ? expandElsewhere(id, merged, surroundings) : undefined
    if (located !== undefined) elsewhere.add(id)
    const outside = located ?? merged
    const result = isJsonObject(outside) ? expandEngine(id, outside, surroundings) : undefined
    if (result !== undefined) expanded.set(id, result)
    return [id, result?.provider ?? outside] as const
  })
  const { providers, findings, assigned } = assignPorts(
    Object.fromEntries(complete),
    { firstPort: toPort(options.firstPort) ?? FIRST_PORT, gatewayPort: toPort(options.port) ?? GATEWAY_PORT },
    // OpenClaw knows neither an engine nor a container or a unit: there the port is ours to give.
    (id) => !isOpenClaw || expanded.has(id) || elsewhere.has(id),
  )
  return {
    own: { ...own, models: { ...models, providers } },
    findings: [
      ...findings,
      ...[...expanded.values()].flatMap((engine) => engine.findings),
      ...findMissing(providers),
    ],
    assigned,
    toWritten: (path) => toWritten(written, defaults, removeLeading(expanded, path)),
  }
}

function toPort(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 65_535
    ? value
    : undefined
}

/** What is required unless something else stands for it, so that the schema cannot require it. */
function findMissing(providers: JsonObject): Finding[] {
  return Object.entries(providers).flatMap(([id, provider]) => {
    if (!isJsonObject(provider)) return []
    const at = ['models', 'providers', id]
    const { localService, replicas } = provider
    // An engine that is not known is what is wrong then.
    const isDaemon = isJsonObject(localService) && localService.daemon !== undefined
    if (
      isJsonObject(localService) &&
      localService.engine !== undefined &&
      localService.command === undefined &&
      !isDaemon
    )
      return []
    const servers = [
      { at, server: provider },
      ...(Array.isArray(replicas) ? replicas : []).map((server, index) => ({
        at: [...at, 'replicas', index],
        server,
      })),
    ]
    const withoutUrl = servers.filter(({ server }) => isJsonObject(server) && server.baseUrl === undefined)
    return [
      ...withoutUrl.map((one) => toError([...one.at, 'baseUrl'], MISSING_URL)),
      ...(isJsonObject(localService) && localService.command === undefined && !isDaemon
        ? [
            toError(
              [...at, 'localService', 'command'],
              'is required (string), unless there is an engine, a container, a unit or a daemon',
            ),
          ]
        : []),
      ...findLackOfStop(localService, [...at, 'localService']),
      ...findTwoPlaces(localService, [...at, 'localService']),
      ...findNotOfDaemon(localService, [...at, 'localService']),
    ]
  })
}

/** Without a stop command such a server could not be ended. */
function findLackOfStop(localService: unknown, at: readonly PropertyKey[]): Finding[] {
  if (!isJsonObject(localService) || localService.stopCommand !== undefined) return []
  return ['external', 'statusCommand']
    .filter((option) => localService[option] !== undefined && localService[option] !== false)
    .map((option) => toError([...at, option], 'needs stopCommand, the command that ends the server'))
}

/** A container and a unit at once: which of them is meant cannot be told. */
function findTwoPlaces(localService: unknown, at: readonly PropertyKey[]): Finding[] {
  if (!isJsonObject(localService)) return []
  const { container, unit } = localService
  return container === undefined || unit === undefined
    ? []
    : [toError([...at, 'unit'], 'cannot be given together with container')]
}

/** A model that is loaded and unloaded has no program of its own, and nothing else tells whether it is ready. */
const NOT_OF_DAEMON: Readonly<Record<string, string>> = {
  ...Object.fromEntries(
    ['command', 'args', 'container', 'unit', 'external', 'stopCommand', 'statusCommand'].map((option) => [
      option,
      'its requests load and unload the model',
    ]),
  ),
  healthUrl: 'daemon.loaded tells whether it is ready',
  sleep: 'a model that is unloaded needs nothing: set idleStopMs',
}

function findNotOfDaemon(localService: unknown, at: readonly PropertyKey[]): Finding[] {
  if (!isJsonObject(localService) || localService.daemon === undefined) return []
  return Object.entries(NOT_OF_DAEMON)
    .filter(([option]) => isStated(localService[option]))
    .map(([option, why]) => toError([...at, option], `cannot be given together with daemon: ${why}`))
}

/** A file in which everything is written out has the default of each option. */
function isStated(value: unknown): boolean {
  return value !== undefined && value !== false && !(Array.isArray(value) && value.length === 0)
}

const MISSING_URL = `is required (string), unless localService uses \${PORT}`

/** The options of `leasehold.defaults` under those of a provider. */
function addDefaults(provider: unknown, defaults: JsonObject): unknown {
  if (!isJsonObject(provider) || !isJsonObject(provider.localService)) return provider
  const { localService } = provider
  const {
    engine,
    model,
    context,
    command,
    args,
    healthUrl,
    daemon,
    external,
    stopCommand,
    statusCommand,
    sleep,
    ...others
  } = defaults
  const isOtherProgram =
    localService.container !== undefined ||
    localService.unit !== undefined ||
    isWrittenDaemon(localService, engine) ||
    ((engine !== undefined || command !== undefined) &&
      ((localService.command !== undefined && localService.command !== command) ||
        (localService.engine !== undefined && localService.engine !== engine)))
  const env =
    isJsonObject(localService.env) && isJsonObject(defaults.env)
      ? { env: { ...defaults.env, ...localService.env } }
      : {}
  return {
    ...provider,
    localService: {
      ...(isOtherProgram ? others : defaults),
      ...localService,
      ...env,
    },
  }
}

/** A daemon that is written by hand, or that no default names the engine of, has nothing to do with the program there. */
function isWrittenDaemon({ engine, daemon }: JsonObject, usualEngine: unknown): boolean {
  const isWritten = isJsonObject(daemon) && daemon.load !== undefined
  return daemon !== undefined && engine === undefined && (isWritten || usualEngine === undefined)
}

/** The place in the file's own arguments of one behind those of an engine; one of the engine is where that is named. */
function removeLeading(
  expanded: ReadonlyMap<string, EngineProvider>,
  path: readonly PropertyKey[],
): readonly PropertyKey[] {
  const [, , id, ...inner] = path
  const leading = expanded.get(String(id))?.leading
  const at = inner.indexOf('args')
  if (path[0] !== 'models' || leading === undefined || inner[at - 1] !== 'localService') return path
  const count =
    leading.get(inner[0] === 'replicas' ? Number(inner[1]) : undefined) ?? leading.get(undefined) ?? 0
  const index = inner[at + 1]
  if (typeof index !== 'number') return path
  const before = path.slice(0, path.length - inner.length + at)
  return index < count ? [...before, 'engine'] : [...before, 'args', index - count]
}

/**
 * A replica that takes over arguments or variables has its own copy of them, with its port, and a service its own copy
 * of the defaults.
 */
function toWritten(
  providers: JsonObject,
  defaults: JsonObject,
  path: readonly PropertyKey[],
): readonly PropertyKey[] {
  const [models, kind, id = '', ...inner] = path
  if (models !== 'models' || kind !== 'providers') return path
  const provider = toObject(providers[String(id)])
  const [list, index, ...ofReplica] = inner
  if (list === 'replicas') {
    const replica = toObject(Array.isArray(provider.replicas) ? provider.replicas[Number(index)] : undefined)
    const [service, key, ...rest] = ofReplica
    if (service !== 'localService' || key === undefined || hasOwn(replica.localService, key)) return path
    const above = toWritten(providers, defaults, [models, kind, id, service, key, ...rest])
    return above[0] === 'leasehold' || hasOwn(provider.localService, key) ? above : path
  }
  const [service, key, name] = inner
  if (service !== 'localService' || key === undefined) return path
  const own = toObject(provider.localService)
  const isOwn = key === 'env' && name !== undefined ? hasOwn(own.env, name) : hasOwn(own, key)
  return !isOwn && hasOwn(defaults, key) ? ['leasehold', 'defaults', ...inner.slice(1)] : path
}

function hasOwn(value: unknown, key: PropertyKey): boolean {
  return Object.hasOwn(toObject(value), key)
}

function toObject(value: unknown): JsonObject {
  return isJsonObject(value) ? value : {}
}

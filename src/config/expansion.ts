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
  /** Where the file writes what stands at a path of `own`. */
  readonly toWritten: (path: readonly PropertyKey[]) => readonly PropertyKey[]
}

/** Writes out what the services of a file leave to us. In a file of OpenClaw's `${PORT}` is a variable like any other. */
export function expandServices(own: JsonObject, { isOpenClaw }: { readonly isOpenClaw: boolean }): Expansion {
  const { models, leasehold } = own
  if (!isJsonObject(models) || !isJsonObject(models.providers))
    return { own, findings: [], toWritten: (path) => path }
  const options = toObject(leasehold)
  // Copies, because validation removes what is wrong from what it is given.
  const written = structuredClone(models.providers)
  const defaults = structuredClone(toObject(options.defaults))
  const merged = mapValues(models.providers, (provider) => addDefaults(provider, defaults))
  const { providers, findings } = isOpenClaw
    ? { providers: merged, findings: [] }
    : assignPorts(merged, {
        firstPort: toPort(options.firstPort) ?? FIRST_PORT,
        gatewayPort: toPort(options.port) ?? GATEWAY_PORT,
      })
  return {
    own: { ...own, models: { ...models, providers } },
    findings: [...findings, ...findMissing(providers)],
    toWritten: (path) => toWritten(written, defaults, path),
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
      ...(isJsonObject(localService) && localService.command === undefined
        ? [toError([...at, 'localService', 'command'], 'is required (string)')]
        : []),
    ]
  })
}

const MISSING_URL = `is required (string), unless localService uses \${PORT}`

/** The options of `leasehold.defaults` under those of a provider. */
function addDefaults(provider: unknown, defaults: JsonObject): unknown {
  if (!isJsonObject(provider) || !isJsonObject(provider.localService)) return provider
  const { localService } = provider
  const { command, args, healthUrl, ...others } = defaults
  const isOtherProgram = localService.command !== undefined && localService.command !== command
  const env =
    isJsonObject(localService.env) && isJsonObject(defaults.env)
      ? { env: { ...defaults.env, ...localService.env } }
      : {}
  return {
    ...provider,
    localService: {
      ...(command !== undefined && isOtherProgram ? others : defaults),
      ...localService,
      ...env,
    },
  }
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

function mapValues(record: JsonObject, convert: (value: unknown) => unknown): JsonObject {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, convert(value)]))
}

function hasOwn(value: unknown, key: PropertyKey): boolean {
  return Object.hasOwn(toObject(value), key)
}

function toObject(value: unknown): JsonObject {
  return isJsonObject(value) ? value : {}
}

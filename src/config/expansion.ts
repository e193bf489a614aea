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
  const written = models.providers
  const options = toObject(leasehold)
  const { providers, findings } = isOpenClaw
    ? { providers: written, findings: [] }
    : assignPorts(written, {
        firstPort: toPort(options.firstPort) ?? FIRST_PORT,
        gatewayPort: toPort(options.port) ?? GATEWAY_PORT,
      })
  return {
    own: { ...own, models: { ...models, providers } },
    findings: [...findings, ...findMissing(providers)],
    toWritten: (path) => toWritten(written, path),
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

/** A replica that takes over arguments or variables has its own copy of them, with its port. */
function toWritten(providers: JsonObject, path: readonly PropertyKey[]): readonly PropertyKey[] {
  const [models, kind, id, list, index, service, key, ...rest] = path
  if (models !== 'models' || list !== 'replicas' || service !== 'localService' || key === undefined)
    return path
  const provider = toObject(providers[String(id)])
  const replica = toObject(Array.isArray(provider.replicas) ? provider.replicas[Number(index)] : undefined)
  const isTakenOver = !hasOwn(replica.localService, key) && hasOwn(provider.localService, key)
  return isTakenOver ? [models, String(kind), String(id), service, key, ...rest] : path
}

function hasOwn(value: unknown, key: PropertyKey): boolean {
  return Object.hasOwn(toObject(value), key)
}

function toObject(value: unknown): JsonObject {
  return isJsonObject(value) ? value : {}
}

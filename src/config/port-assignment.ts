import { type Finding, toError } from './finding.ts'
import { toReplicaId } from './model-ref.ts'
import { isJsonObject, type JsonObject } from './sections.ts'

const LAST_PORT = 65_535

/**
 * Replaces `${PORT}` in `baseUrl` and in `healthUrl`, `args`, `env` and the commands of every service. It is the port of `baseUrl` where
 * that states one. Otherwise ports are assigned in the order of the file, so that two supervisors with the same file
 * agree; a port that the file writes anywhere is skipped. `$${PORT}` stays. `assigned`: the ids of the providers and
 * replicas that got such a port.
 */
export function assignPorts(
  providers: JsonObject,
  { firstPort, gatewayPort }: { readonly firstPort: number; readonly gatewayPort: number },
  isWanted: (id: string) => boolean = () => true,
): { providers: JsonObject; findings: readonly Finding[]; assigned: ReadonlySet<string> } {
  const findings: Finding[] = []
  const assigned = new Set<string>()
  const written = new Set([gatewayPort, ...Object.values(providers).flatMap(listWrittenPorts)])
  let next = firstPort
  const assign = (id: string) => {
    assigned.add(id)
    while (written.has(next)) next += 1
    if (next > LAST_PORT && findings.length === 0)
      findings.push(toError(['leasehold', 'firstPort'], `leaves too few ports below ${LAST_PORT + 1}`))
    return Math.min(next++, LAST_PORT)
  }

  const fill = (id: string, server: JsonObject, service: JsonObject): JsonObject => {
    const { args, env, healthUrl, stopCommand, statusCommand } = service
    const options = { args, env, healthUrl, stopCommand, statusCommand }
    if (!hasPlaceholder([server.baseUrl, options])) return server
    const { baseUrl = `http://127.0.0.1:${PLACEHOLDER}/v1` } = server
    const port = toWrittenPort(baseUrl) ?? assign(id)
    const filled = Object.entries(options).filter(([, value]) => hasPlaceholder(value))
    return {
      ...server,
      baseUrl: replace(baseUrl, port),
      localService: {
        ...Object(server.localService),
        ...Object.fromEntries(filled.map(([key, value]) => [key, replace(value, port)])),
      },
    }
  }

  const fillProvider = (id: string, provider: unknown): unknown => {
    if (!isJsonObject(provider) || !isJsonObject(provider.localService)) return provider
    const { localService: service, replicas } = provider
    const filled = fill(id, provider, service)
    if (!Array.isArray(replicas)) return filled
    // A replica has a port of its own in the arguments that it takes over; its health URL follows its base URL.
    const { healthUrl: _, ...inherited } = service
    const fillReplica = (replica: unknown, index: number) =>
      isJsonObject(replica) && isJsonObject(replica.localService)
        ? fill(toReplicaId(id, index), replica, { ...inherited, ...replica.localService })
        : replica
    return { ...filled, replicas: replicas.map(fillReplica) }
  }
  return {
    providers: Object.fromEntries(
      Object.entries(providers).map(([id, one]) => [id, isWanted(id) ? fillProvider(id, one) : one]),
    ),
    findings,
    assigned,
  }
}

const PLACEHOLDER = `\${PORT}`

/** Anywhere in the text, unless it is escaped. */
const PLACEHOLDERS = /(?<!\$)\$\{PORT\}/g

/** Whether `${PORT}` stands anywhere in a value. */
export function hasPlaceholder(value: unknown): boolean {
  return listTexts(value).some((text) => text.search(PLACEHOLDERS) >= 0)
}

function replace(value: unknown, port: number): unknown {
  if (typeof value === 'string') return value.replace(PLACEHOLDERS, String(port))
  if (Array.isArray(value)) return value.map((item) => replace(item, port))
  if (!isJsonObject(value)) return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, replace(item, port)]))
}

function toWrittenPort(url: unknown): number | undefined {
  if (typeof url !== 'string' || hasPlaceholder(url) || !URL.canParse(url)) return undefined
  const { port, protocol } = new URL(url)
  return port === '' ? (protocol === 'https:' ? 443 : 80) : Number(port)
}

/** Every number of a provider that may be a port: too many are skipped rather than one given twice. */
function listWrittenPorts(provider: unknown): number[] {
  if (!isJsonObject(provider)) return []
  const { baseUrl, localService, replicas } = provider
  const { args, env, healthUrl } = isJsonObject(localService) ? localService : {}
  const numbers = listTexts([baseUrl, args, env, healthUrl]).flatMap((text) =>
    [...text.matchAll(/(?<![\w.])\d{1,5}(?![\w.])/g)].map(([digits]) => Number(digits)),
  )
  return [...numbers, ...(Array.isArray(replicas) ? replicas.flatMap(listWrittenPorts) : [])]
}

function listTexts(value: unknown): string[] {
  if (typeof value === 'string') return [value]
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(listTexts) : []
}

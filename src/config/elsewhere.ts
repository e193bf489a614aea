import { GENERATION } from '../text/generation-mark.ts'
import { findProgram, type Surroundings, toMs, toText } from './engine-service.ts'
import { isJsonObject, type JsonObject } from './sections.ts'

/** Where the programs of container engines and of systemd are, after the folders of PATH. */
const PLACES = ['/usr/bin', '/usr/local/bin', '/opt/homebrew/bin', '/bin', '/run/current-system/sw/bin']
const PORT = `\${PORT}`
/** The port of most images of model servers. */
const INNER_PORT = 8080
/** The image may have to be fetched first, in milliseconds. */
const READY_TIMEOUT_MS = 900_000
const STOP_GRACE_MS = 15_000
/** States in which a container exists and is not over. Podman refuses a state that it does not know. */
const LIVE_STATES = {
  docker: ['created', 'running', 'paused', 'restarting'],
  podman: ['created', 'running', 'paused'],
}
/** States of a unit that has processes, or will have. */
const LIVE_UNIT_STATES = 'active,activating,deactivating,reloading'

/**
 * Writes out `localService.container` and `localService.unit`: the command, its arguments, and the commands that end the
 * server and ask about it. What the provider states beside them wins. `undefined`: there is neither.
 */
export function expandElsewhere(
  id: string,
  provider: JsonObject,
  surroundings: Surroundings,
): JsonObject | undefined {
  const service = provider.localService
  if (!isJsonObject(service)) return undefined
  const { container, unit } = service
  const options = isJsonObject(container)
    ? expandContainer(id, service, container, surroundings)
    : typeof unit === 'string' || isJsonObject(unit)
      ? expandUnit(unit, surroundings)
      : undefined
  if (options === undefined) return undefined
  const { args, env, ...others } = service
  return {
    ...provider,
    baseUrl: provider.baseUrl ?? `http://127.0.0.1:${PORT}/v1`,
    localService: {
      ...options,
      ...others,
      env: isJsonObject(env) ? { ...options.env, ...env } : (env ?? options.env),
      args: Array.isArray(args) ? [...options.args, ...args] : (args ?? options.args),
    },
  }
}

function expandContainer(id: string, service: JsonObject, container: JsonObject, surroundings: Surroundings) {
  const engine = container.engine === 'podman' ? 'podman' : 'docker'
  const command = toText(service.command) ?? findProgram({ programs: [engine], places: PLACES }, surroundings)
  // With the id of the run no other container can have the name.
  const name = toText(container.name) ?? `leasehold-${id.replace(/[^\w.-]/g, '-')}-${GENERATION}`
  const graceSeconds = Math.ceil((toMs(service.stopGraceMs) ?? STOP_GRACE_MS) / 1000)
  const network = toText(container.network)
  const gpus = toText(container.gpus)
  const variables = isJsonObject(container.env) ? container.env : {}
  return {
    command,
    args: [
      ...['run', '--rm', '--init', '--name', name],
      // They identify a server in the network of this host.
      ...['-e', 'LEASEHOLD_OWNER', '-e', 'LEASEHOLD_GENERATION'],
      ...(network === undefined ? [] : ['--network', network]),
      ...(network === 'host' ? [] : ['-p', `127.0.0.1:${PORT}:${container.port ?? INNER_PORT}`]),
      ...(gpus === undefined ? [] : toGpuArgs(engine, gpus)),
      ...toTexts(container.volumes).flatMap((volume) => ['-v', volume]),
      ...Object.entries(variables).flatMap(([variable, value]) => [
        '-e',
        isOfClient(variable) ? `${variable}=${value}` : variable,
      ]),
      ...toTexts(container.options),
      toText(container.image) ?? '',
      ...toTexts(container.args),
    ],
    // Their values may be secrets, and every user of this host may read arguments.
    env: Object.fromEntries(Object.entries(variables).filter(([variable]) => !isOfClient(variable))),
    external: true,
    stopCommand: [
      [command, 'stop', '-t', String(graceSeconds), name],
      // A client that was ended early leaves a container that was created and never ran.
      [command, 'rm', '-f', name],
    ],
    statusCommand: [
      ...[command, 'ps', '-q', '--no-trunc', '--filter', `name=^/?${name}$`],
      ...LIVE_STATES[engine].flatMap((state) => ['--filter', `status=${state}`]),
    ],
    readyTimeoutMs: READY_TIMEOUT_MS,
  }
}

/** The client itself is led by these, so they are not put into its environment. */
function isOfClient(variable: string): boolean {
  return /^(PATH|HOME|USER|LOGNAME|SHELL|LANG|TZ|TMPDIR|(DOCKER|CONTAINERS?|XDG|LD|LC|DBUS)_.*)$/.test(
    variable,
  )
}

function toGpuArgs(engine: 'docker' | 'podman', gpus: string): string[] {
  return engine === 'docker' ? ['--gpus', gpus] : ['--device', `nvidia.com/gpu=${gpus}`]
}

function expandUnit(unit: string | JsonObject, surroundings: Surroundings) {
  const { name, isSystem } =
    typeof unit === 'string'
      ? { name: unit, isSystem: false }
      : { name: toText(unit.name) ?? '', isSystem: unit.system === true }
  const command = findProgram({ programs: ['systemctl'], places: PLACES }, surroundings)
  const scope = isSystem ? [] : ['--user']
  return {
    command,
    args: [...scope, 'start', name],
    env: {},
    external: true,
    stopCommand: [[command, ...scope, 'stop', name]],
    statusCommand: [
      ...[command, ...scope, 'list-units', '-q', '--no-legend', '--plain'],
      ...[`--state=${LIVE_UNIT_STATES}`, name],
    ],
  }
}

function toTexts(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((text) => typeof text === 'string') : []
}

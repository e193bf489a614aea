import { isJsonObject } from './sections.ts'

/** What keys of other tools, or keys in the wrong place, are called here. */
const WORDS: Readonly<Record<string, string>> = {
  alias: 'aliases of a model are set in models[].alias, as a name or a list of names',
  aliases: 'aliases of a model are set in models[].alias, as a name or a list of names',
  args: 'arguments are set in localService.args',
  checkEndpoint: 'the health check is set in localService.healthUrl, as a whole URL',
  cmd: 'set the program in localService.command and its arguments in localService.args',
  cmdStop:
    'set localService.stopCommand, as [program, ...arguments]; without it a service gets SIGTERM, then SIGKILL after localService.stopGraceMs',
  command: 'the program is set in localService.command',
  concurrencyLimit: 'set localService.maxConcurrent',
  cwd: 'the working directory is set in localService.cwd',
  env: 'variables of the process are set in localService.env, as { NAME: "value" }',
  healthCheckTimeout: 'set localService.readyTimeoutMs, in milliseconds or as "120s"',
  healthUrl: 'the health check is set in localService.healthUrl',
  host: 'the address of a server is set in baseUrl',
  idleStopMs: 'set localService.idleStopMs',
  keep_alive: 'set localService.idleStopMs, in milliseconds or as "10m"',
  keepAlive: 'set localService.idleStopMs, in milliseconds or as "10m"',
  port: 'the address of a server is set in baseUrl, with its port; that of the gateway in leasehold.port',
  proxy: 'the URL of the server is set in baseUrl',
  readyTimeoutMs: 'set localService.readyTimeoutMs',
  ttl: 'the time until an idle service stops is set in localService.idleStopMs, in milliseconds or as "10m"',
  url: 'the URL of the server is set in baseUrl',
  useModelName: 'the name that the server wants is set in models[].upstreamId, or is the id of the model',
}

/** What to say of a key that the schema does not know: where it belongs, if it is known elsewhere. */
export function describeForeignKey(
  key: string,
  path: readonly PropertyKey[],
  value: unknown,
): string | undefined {
  if (path.join('.') === 'models' && isJsonObject(value))
    return `a server is an entry of models.providers${'cmd' in value ? ', and its cmd is localService.command with args' : ''}`
  if (path.at(-1) === 'localService' && Object.hasOwn(WORDS, key))
    return WORDS[key]?.includes(`localService.${key}`) ? undefined : WORDS[key]
  return path.length > 0 && path[0] !== 'leasehold' && Object.hasOwn(WORDS, key) ? WORDS[key] : undefined
}

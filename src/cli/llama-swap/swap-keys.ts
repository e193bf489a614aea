/**
 * Every key of llama-swap's configuration, and what becomes of it. `*` stands for an id. A key that is not listed is
 * none of llama-swap's; what is below a listed key belongs to it.
 */
export const swapKeys: Readonly<Record<string, string>> = {
  'models.*.cmd':
    'llama-server: `localService.engine` with `model` and `args`. Any other program: `command`, found in `PATH` when the file is translated, and `args`',
  'models.*.proxy': '`baseUrl`, with `/v1` added; absent where it is the port that leasehold assigns',
  'models.*.env':
    '`localService.env`. A server does not get the whole environment: `inheritEnv` names further variables',
  'models.*.checkEndpoint': '`localService.healthUrl`. Instead of `none`: `/v1/models` is asked',
  'models.*.ttl': '`localService.idleStopMs`',
  'models.*.healthCheckTimeout': '`localService.readyTimeoutMs`',
  'models.*.unloadTimeout': '`localService.stopGraceMs`',
  'models.*.cmdStop': `\`localService.stopCommand\`, with \`external\` where it ends a container. Left out where it only signals \`\${PID}\``,
  'models.*.aliases': '`models[].alias`',
  'models.*.useModelName': '`models[].upstreamId`',
  'models.*.name': '`models[].name`',
  'models.*.description': 'a comment',
  'models.*.unlisted': '`models[].unlisted`',
  'models.*.filters.stripParams': '`models[].dropParams`',
  'models.*.filters.strip_params': '`models[].dropParams`',
  'models.*.filters.setParams': '`models[].params.extra_body`',
  'models.*.filters.setParamsByID': 'a further entry of `models` for each id, with its own `params`',
  'models.*.concurrencyLimit': '`localService.maxConcurrent`; further requests queue',
  'models.*.capabilities.in': '`models[].input`',
  'models.*.capabilities.context': '`models[].context`',
  'models.*.capabilities': 'no equal, but for `in` and `context`',
  'models.*.sendLoadingState': 'see `sendLoadingState`',
  'models.*.macros': 'written out',
  'models.*.metadata': 'no equal',
  'models.*.timeouts': 'no equal; `timeoutSeconds` limits a whole request, `stallTimeoutMs` a pause',
  'models.*.compat': 'no equal',
  'models.*.sleepMode':
    'no equal by itself: state `localService.sleep`. A preset knows the requests of vLLM; another server needs a `check`, too',
  'models.*.sleepEndpoints': 'see `sleepMode`',
  'models.*.wakeEndpoints': 'see `sleepMode`',
  macros: `written out; \`\${env.NAME}\` becomes \`\${NAME}\``,
  healthCheckTimeout: '`leasehold.defaults.readyTimeoutMs`',
  globalTTL: '`leasehold.defaults.idleStopMs`',
  unloadTimeout: '`leasehold.defaults.stopGraceMs`',
  startPort: `\`leasehold.firstPort\`; \`\${PORT}\` stays`,
  includeAliasesInList: '`leasehold.listAliases`',
  apiKeys: '`leasehold.apiKeys`',
  'hooks.on_startup.preload': '`leasehold.preload`',
  'hooks.on_startup.profile': 'no equal',
  groups: '`leasehold.groups`: models that never run together; `persistent` with `swap: false`: `pinned`',
  matrix: '`leasehold.groups`, from the pairs that no set has; `evict_costs`: `evictCost`',
  'routing.router': 'as `groups` and `matrix`',
  'routing.scheduler': 'no equal; a request may have the header `x-leasehold-priority`',
  peers: 'a provider without `localService`',
  selectors: 'an alias of the first target',
  profiles: 'no equal',
  sendLoadingState:
    'no equal in the reasoning; streams get comments after `leasehold.coldStartCommentsMs`, by default',
  logLevel: 'no equal in the file; `leasehold serve --log-level`',
  logRequests: 'no equal in the file; `leasehold serve --log-level`',
  logToStdout: 'no equal in the file; `leasehold serve --log-level` and `leasehold logs`',
  logTimeFormat: 'no equal',
  metricsMaxInMemory: 'no equal; `GET /metrics`, `leasehold serve --record`',
  captureBuffer: 'no equal; `leasehold serve --record`',
  store: 'no equal; `leasehold serve --record`',
  performance: 'no equal',
  ui: 'no equal',
  upstream: 'no equal: a `GET` below `/upstream` starts nothing unless it asks for it',
}

/** What becomes of a key, by its path; `undefined`: llama-swap has no such key. */
export function findSwapKey(path: readonly string[]): string | undefined {
  const [first = '', , ...rest] = path
  const parts = first === 'models' ? [first, '*', ...rest] : path
  for (let length = parts.length; length > 0; length -= 1) {
    const key = parts.slice(0, length).join('.')
    if (Object.hasOwn(swapKeys, key)) return swapKeys[key]
  }
  return undefined
}

import { createScrubber, MASK } from '../text/scrubber.ts'
import type { Loaded } from './load.ts'
import type { ConfigValues } from './schema.ts'
import { isPlainVariable, isSecretArg, listSecretValues } from './secret-values.ts'

type Providers = ConfigValues['models']['providers']
type Service = NonNullable<Providers[string]['localService']>

/**
 * A configuration as a file that says the same with everything written out: engines, ports, defaults. Keys, headers,
 * variables and arguments that may hold a secret are replaced by `***`; `${VAR}` stays.
 */
export function toPrintable({ config, values }: Loaded): object {
  const { models, agents, leasehold } = values
  const { defaults: _, cluster, ...settings } = leasehold
  const printable = {
    models: { ...models, providers: mapValues(models.providers, toProvider) },
    agents: { defaults: agents.defaults },
    leasehold: {
      ...settings,
      apiKeys: settings.apiKeys.map(hide),
      controlKeys: settings.controlKeys.map(hide),
      ...(cluster === undefined
        ? {}
        : {
            cluster: {
              ...cluster,
              member: config.leasehold.cluster?.member,
              address: config.leasehold.cluster?.address,
              secret: hide(cluster.secret),
            },
          }),
    },
  }
  // A health URL, for one, may hold a key in its query.
  return createScrubber(listSecretValues(config, {})).value(printable)
}

function toProvider({ apiKey, headers, localService, replicas, models, ...rest }: Providers[string]): object {
  return {
    ...rest,
    ...(apiKey === undefined ? {} : { apiKey: hide(apiKey) }),
    headers: mapValues(headers, hide),
    ...(localService === undefined ? {} : { localService: toService(localService) }),
    replicas: replicas.map((replica) => ({
      ...replica,
      ...(replica.apiKey === undefined ? {} : { apiKey: hide(replica.apiKey) }),
      ...(replica.headers === undefined ? {} : { headers: mapValues(replica.headers, hide) }),
      ...(replica.localService === undefined ? {} : { localService: toService(replica.localService) }),
    })),
    models: models.map((model) => ({ ...model, headers: mapValues(model.headers, hide) })),
  }
}

/** Without an engine, a container and a unit, whose part of it is written out: it would be added again. */
function toService({
  engine: _,
  container: _container,
  unit: _unit,
  model: _model,
  context: _context,
  args,
  env,
  sleep,
  daemon,
  ...rest
}: Partial<Service>): object {
  return {
    ...rest,
    ...(sleep === undefined ? {} : { sleep: toSleep(sleep) }),
    ...(daemon === undefined ? {} : { daemon: toDaemon(daemon) }),
    ...(args === undefined
      ? {}
      : { args: args.map((arg, index) => (isSecretArg(args, index) ? hide(arg) : arg)) }),
    ...(env === undefined
      ? {}
      : { env: mapValues(env, (value, name) => (isPlainVariable(name, value) ? value : hide(value))) }),
  }
}

function toSleep({ request, wake, check, ...rest }: NonNullable<Service['sleep']>): object {
  return {
    ...rest,
    request: request.map(hideHeaders),
    wake: wake.map(hideHeaders),
    check: hideHeaders(check),
  }
}

function toDaemon({ load, unload, loaded }: NonNullable<Service['daemon']>): object {
  return { load: load.map(hideHeaders), unload: unload.map(hideHeaders), loaded: hideHeaders(loaded) }
}

function hideHeaders<Ask extends { readonly headers: Readonly<Record<string, string>> }>(ask: Ask): Ask {
  return { ...ask, headers: mapValues(ask.headers, hide) }
}

/** A reference to the environment is no secret, and what it stands for is not here. */
function hide(text: string): string {
  return /^((Bearer|Basic) )?\$\{[A-Za-z_]\w*\}$/.test(text) ? text : MASK
}

function mapValues<Value, Result>(
  record: Readonly<Record<string, Value>>,
  convert: (value: Value, name: string) => Result,
): Record<string, Result> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, convert(value, name)]))
}

import type { Config } from './config.ts'

const HIDDEN = '***'

/**
 * The configuration as plain data to show to people: API keys, header values, environment values and arguments that
 * came from the environment are replaced by `***`.
 */
export function toPrintable(config: Config): object {
  return {
    ...config,
    providers: config.providers.map((provider) => ({
      ...provider,
      ...(provider.apiKey === undefined ? {} : { apiKey: HIDDEN }),
      headers: hideValues(provider.headers),
      ...(provider.localService === undefined
        ? {}
        : {
            localService: {
              ...provider.localService,
              args: provider.localService.args.map((arg, index) =>
                provider.localService?.secretArgs.includes(index) ? HIDDEN : arg,
              ),
              env: hideValues(provider.localService.env),
            },
          }),
      models: provider.models.map((model) => ({ ...model, headers: hideValues(model.headers) })),
    })),
    leasehold: {
      ...config.leasehold,
      apiKeys: config.leasehold.apiKeys.map(() => HIDDEN),
      controlKeys: config.leasehold.controlKeys.map(() => HIDDEN),
    },
  }
}

function hideValues(record: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.keys(record).map((name) => [name, HIDDEN]))
}

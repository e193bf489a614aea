import { createScrubber, MASK } from '../text/scrubber.ts'
import type { Config } from './config.ts'
import { isSecretArg, listSecretValues } from './secret-values.ts'

/** What stands in the place of a value that is not shown. */
const HIDDEN = MASK

/**
 * The configuration as plain data to show to people: API keys, header values, environment values and arguments that
 * came from the environment are replaced by `***`.
 */
export function toPrintable(config: Config): object {
  const printable = {
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
                provider.localService?.secretArgs.includes(index) ||
                isSecretArg(provider.localService?.args ?? [], index)
                  ? HIDDEN
                  : arg,
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
  // A health URL, for one, may hold a key in its query.
  return createScrubber(listSecretValues(config, {})).value(printable)
}

function hideValues(record: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.keys(record).map((name) => [name, HIDDEN]))
}

import type { Config, ProviderConfig } from '../config/config.ts'
import { toServiceKey } from '../service/services.ts'
import type { Headers } from '../transport/headers.ts'
import { hasPassed } from '../transport/hops.ts'

/**
 * Whether a server would only pass on a request that has passed a leasehold already: it is one that the request comes
 * from, or a replica that is a leasehold, of a provider that is none. Two gateways that list each other as replicas
 * would hand such a request to and fro, each because the other looks less busy.
 */
export type LeadsOn = (headers: Headers, provider: ProviderConfig) => boolean

/** `instanceOf`: the instance of the leasehold behind a service, where it is known to be one. */
export function createLeadsOn(
  config: () => Config,
  instanceOf: (key: string) => string | undefined,
): LeadsOn {
  return (headers, provider) => {
    if (provider.localService !== undefined) return false
    const instance = instanceOf(toServiceKey(provider))
    if (instance === undefined) return false
    if (hasPassed(headers, instance)) return true
    const original = config().providers.find(({ id }) => id === provider.replicaOf?.provider)
    return original !== undefined && instanceOf(toServiceKey(original)) === undefined
  }
}

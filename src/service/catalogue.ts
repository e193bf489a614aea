import type { Config, ProviderConfig } from '../config/config.ts'
import { resolveModel } from '../config/model-ref.ts'
import { BadRequestError, ModelNotFoundError, ProviderUnavailableError } from '../errors.ts'
import { type Service, toServiceKey, toServices } from './services.ts'

/** The services of the configuration in force, and removed ones that still stop. */
export interface Catalogue {
  /** The configuration in force. */
  readonly config: Config
  /** The services of the configuration in force, by key. */
  readonly services: ReadonlyMap<string, Service>
  /** Puts another configuration's services in place. A removed service stays described until it is forgotten. */
  replace(config: Config): void
  /** @throws {@link RangeError} there is no service of this key */
  serviceOf(key: string): Service
  /** The provider ids of a service; the key itself when the service is forgotten. */
  nameOf(key: string): string
  /** Drops a service that was removed; `false` when it is configured, and so stays. */
  forget(key: string): boolean
  /**
   * The key of a provider id, a service name, a key, or any reference to a model, in this order.
   * @throws {@link BadRequestError} 404 with what there is; {@link ModelNotFoundError} for a model of several providers;
   * {@link ProviderUnavailableError}
   */
  keyOf(id: string): string
}

export function createCatalogue(config: Config): Catalogue {
  let current = config
  let services = toServices(config)
  const known = new Map<string, Service>(services)

  const listNames = () => {
    const names = [...services.values()].map(({ name }) => name)
    return names.length === 0 ? 'No service is configured.' : `There are: ${names.join(', ')}.`
  }
  const findProviderOf = (ref: string): ProviderConfig => {
    try {
      return resolveModel(current, ref).provider
    } catch (error) {
      if (!(error instanceof ModelNotFoundError)) throw error
      if (error.code === 'LEASEHOLD_MODEL_AMBIGUOUS') throw error
      throw new BadRequestError(`There is no service "${ref}", and no model of that name. ${listNames()}`, {
        status: 404,
      })
    }
  }
  return {
    get config() {
      return current
    },
    get services() {
      return services
    },
    replace: (next) => {
      current = next
      services = toServices(next)
      for (const [key, service] of services) known.set(key, service)
    },
    serviceOf: (key) => {
      const service = known.get(key)
      if (service === undefined) throw new RangeError(`There is no service ${key}.`)
      return service
    },
    nameOf: (key) => known.get(key)?.name ?? key,
    forget: (key) => !services.has(key) && known.delete(key),
    keyOf: (id) => {
      const wanted = id.toLowerCase()
      const provider = current.providers.find((one) => one.id.toLowerCase() === wanted)
      const named = () => known.get(id) ?? [...known.values()].find(({ name }) => name === id)
      const namedKey = provider === undefined ? named()?.key : undefined
      if (namedKey !== undefined) return namedKey
      const meant = provider ?? findProviderOf(id)
      const key = toServiceKey(meant)
      if (known.has(key)) return key
      throw meant.unavailable === undefined
        ? new BadRequestError(`There is no service "${id}". ${listNames()}`, { status: 404 })
        : new ProviderUnavailableError(meant.id, meant.unavailable)
    },
  }
}

import type { Config } from '../config/config.ts'
import { ConfigError, ServiceError } from '../errors.ts'
import type { EventHub } from '../events/event-hub.ts'
import type { ConfigChange } from '../events/events.ts'
import { toConfigChange } from './config-change.ts'
import { listServiceModels } from './services.ts'
import type { ConfigStatus } from './snapshot.ts'

/** The one way to replace the configuration in force. */
export interface Configuration {
  /** The file in force, and why the last replacement was refused, if it was. */
  status(): ConfigStatus
  /** What {@link Supervisor} promises of `replaceConfig`. */
  replace(given: Config | Promise<Config>): Promise<ConfigChange>
}

export interface ConfigurationOptions {
  /** The configuration in force. */
  readonly current: () => Config
  readonly publish: EventHub['publish']
  readonly isClosing: () => boolean
  /** Puts another configuration into force, before that is published. */
  readonly apply: (config: Config) => void
}

/** A configuration that cannot be loaded changes nothing but `refusal` of {@link ConfigStatus}. */
export function createConfiguration({
  current,
  publish,
  isClosing,
  apply,
}: ConfigurationOptions): Configuration {
  let refusal: ConfigStatus['refusal'] = null
  let loadedAt = new Date().toISOString()
  /** Calls so far, and the last of them that took effect: of two that load at once the earlier may be ready later. */
  let calls = 0
  let lastCall = 0

  const refuse = (error: unknown) => {
    const isOurs = error instanceof ConfigError
    const problems = isOurs ? error.problems : []
    const message = error instanceof Error ? error.message : String(error)
    refusal = { message, problems, time: new Date().toISOString() }
    publish({ type: 'config.refused', file: isOurs ? error.file : current().file, message, problems })
  }

  return {
    status: () => ({
      file: current().file,
      loadedAt,
      capturesBodies: current().leasehold.captureBodies,
      refusal,
      unavailable: current().providers.flatMap((provider) => {
        const { id, unavailable: reason } = provider
        if (reason === undefined) return []
        return [{ provider: id, reason, models: listServiceModels([provider], current().aliases) }]
      }),
    }),
    replace: async (given) => {
      calls += 1
      const call = calls
      const isOvertaken = () => call < lastCall
      const next = await Promise.resolve(given).catch((error: unknown) => {
        if (!isOvertaken() && !isClosing()) {
          lastCall = call
          refuse(error)
        }
        throw error
      })
      if (isClosing())
        throw new ServiceError('leasehold', { code: 'LEASEHOLD_SHUTTING_DOWN', message: 'it is closed' })
      if (isOvertaken()) return toConfigChange(current(), current())
      const change = toConfigChange(current(), next)
      lastCall = call
      refusal = null
      apply(next)
      loadedAt = new Date().toISOString()
      publish({ type: 'config.replaced', file: next.file, ...change })
      return change
    },
  }
}

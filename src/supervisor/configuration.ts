import type { Config } from '../config/config.ts'
import { ConfigError, ServiceError } from '../errors.ts'
import type { EventHub } from '../events/event-hub.ts'
import type { ConfigChange } from '../events/events.ts'
import { toConfigChange } from '../service/config-change.ts'
import type { ConfigStanding } from '../service/snapshot.ts'

/** The configuration in force, and the one way to replace it. */
export interface Configuration {
  readonly current: Config
  /** What is in force and what was refused, for people. */
  standing(): ConfigStanding
  /** What {@link Supervisor} promises of `replaceConfig`. */
  replace(given: Config | Promise<Config>): Promise<ConfigChange>
}

export interface ConfigurationOptions {
  readonly config: Config
  readonly publish: EventHub['publish']
  readonly isClosing: () => boolean
  /** Called when another configuration is current, before it is told. */
  readonly apply: (config: Config) => void
}

/** Keeps the configuration. One that cannot be loaded changes nothing but what is said of it. */
export function createConfiguration({
  config,
  publish,
  isClosing,
  apply,
}: ConfigurationOptions): Configuration {
  let current = config
  let refusal: ConfigStanding['refusal'] = null
  /** Calls so far, and the last of them that took effect: of two that load at once the earlier may be ready later. */
  let calls = 0
  let lastCall = 0

  const refuse = (error: unknown) => {
    const isOurs = error instanceof ConfigError
    const problems = isOurs ? error.problems : []
    const message = error instanceof Error ? error.message : String(error)
    refusal = { message, problems, time: new Date().toISOString() }
    publish({ type: 'config.refused', file: isOurs ? error.file : current.file, message, problems })
  }

  return {
    get current() {
      return current
    },
    standing: () => ({
      file: current.file,
      refusal,
      unavailable: current.providers.flatMap(({ id, unavailable: reason }) =>
        reason === undefined ? [] : [{ provider: id, reason }],
      ),
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
      if (isOvertaken()) return toConfigChange(current, current)
      const change = toConfigChange(current, next)
      lastCall = call
      refusal = null
      current = next
      apply(next)
      publish({ type: 'config.replaced', file: next.file, ...change })
      return change
    },
  }
}

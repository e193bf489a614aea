import type { Config } from '../config/config.ts'
import { listReplicas, type ModelTarget, resolveCandidates } from '../config/model-ref.ts'

/** A model that a request can be sent to, with the servers that offer it. */
export interface Candidate {
  readonly target: ModelTarget
  /** The target itself and its replicas, in the order of the file. */
  readonly replicas: readonly ModelTarget[]
}

/** Names that are remembered of one configuration: a provider that lists no models takes any name. */
const MAX_NAMES = 1_024

/**
 * Finds the candidates of a model name, once for each name of each configuration: a request of many has a name that
 * was asked for before.
 * @throws as {@link resolveCandidates} does
 */
export function rememberCandidates(): (
  config: Config,
  model: string | undefined,
  failover: boolean,
) => readonly Candidate[] {
  const known = new WeakMap<Config, Map<string, readonly Candidate[]>>()
  return (config, model, failover) => {
    let byName = known.get(config)
    if (byName === undefined) {
      byName = new Map()
      known.set(config, byName)
    }
    // An empty name means the default model, as none does.
    const name = failover ? `!${model ?? ''}` : `=${model ?? ''}`
    let candidates = byName.get(name)
    if (candidates === undefined) {
      candidates = resolveCandidates(config, model, { failover }).map((target) => ({
        target,
        replicas: listReplicas(config, target),
      }))
      if (byName.size < MAX_NAMES) byName.set(name, candidates)
    }
    return candidates
  }
}

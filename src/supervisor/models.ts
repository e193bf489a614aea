import type { Config } from '../config/config.ts'
import { isNoReplica, type ModelTarget, resolveModel } from '../config/model-ref.ts'
import { toServiceKey } from './services.ts'

/** One configured model as `GET /v1/models` lists it: OpenAI's fields, then ours. */
export interface ModelListing {
  readonly id: string
  readonly object: 'model'
  readonly created: number
  readonly owned_by: string
  readonly name: string
  readonly aliases: readonly string[]
  readonly context_window: number
  readonly max_tokens: number
  readonly default: boolean
  /** State of its service: `down.cold`; `unavailable` with the reason beside it. */
  readonly state: string
  readonly unavailable?: string
}

/** Every configured model; nothing is started or asked for it. */
export function toModelList(config: Config, stateOf: (key: string) => string | undefined): ModelListing[] {
  return config.providers
    .filter(isNoReplica)
    .flatMap((provider) =>
      provider.models.map(({ id }) =>
        toListing(config, resolveModel(config, `${provider.id}/${id}`), stateOf),
      ),
    )
}

/** One model by any reference that a request could use. @throws {@link ModelNotFoundError} */
export function findModelListing(
  config: Config,
  ref: string,
  stateOf: (key: string) => string | undefined,
): ModelListing {
  return toListing(config, resolveModel(config, ref), stateOf)
}

function toListing(
  config: Config,
  { provider, model, modelId, ref }: ModelTarget,
  stateOf: (key: string) => string | undefined,
): ModelListing {
  return {
    id: ref,
    object: 'model',
    created: 0,
    owned_by: provider.id,
    name: model?.name ?? modelId,
    aliases: config.aliases.filter((alias) => alias.ref === ref).map(({ alias }) => alias),
    context_window: model?.contextWindow ?? 0,
    max_tokens: model?.maxTokens ?? 0,
    default: config.defaultModel?.primary === ref,
    state:
      provider.unavailable === undefined ? (stateOf(toServiceKey(provider)) ?? 'down.cold') : 'unavailable',
    ...(provider.unavailable === undefined ? {} : { unavailable: provider.unavailable }),
  }
}

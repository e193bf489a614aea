import { hasTag, type ProviderState, type ProviderTag } from '../../machines/provider/tags.ts'
import type { Config, ModelAlias, ProviderConfig } from '../config/config.ts'
import { isNoReplica, joinOffers, type ModelTarget, resolveModel } from '../config/model-ref.ts'
import { listCapabilities, type ModelAbilities } from './model-abilities.ts'
import { toServiceKey } from './services.ts'

/** One configured model as `GET /v1/models` lists it: OpenAI's fields, then ours. */
export interface ModelListing {
  readonly id: string
  readonly object: 'model'
  readonly created: number
  readonly owned_by: string
  readonly name: string
  /** What its server speaks: `openai-completions`, `openai-responses` or `anthropic-messages`. */
  readonly api: string
  readonly aliases: readonly string[]
  /** The model that this entry is another name of. Absent: it is no alias. */
  readonly alias_of?: string
  /**
   * Size of the context in tokens: the configured one, and never more than the running server states. Under each of the
   * names that clients look for. Absent: neither says.
   */
  readonly context_length?: number
  readonly context_window?: number
  readonly max_model_len?: number
  readonly meta?: { readonly n_ctx: number }
  /**
   * What it takes and gives, as its running server or its file says, in the words of OpenRouter and llama-server. Absent:
   * neither says, and nothing but text is configured.
   */
  readonly architecture?: {
    readonly input_modalities: readonly string[]
    readonly output_modalities: readonly string[]
  }
  /** `completion`, `tools`, `vision`, `audio`, `thinking`; or `embedding` or `rerank` alone. Absent: it is not known. */
  readonly capabilities?: readonly string[]
  /** Longest answer in tokens, as configured. Absent: it is not. */
  readonly max_tokens?: number
  readonly default: boolean
  /**
   * State of its service: `down.cold`; `unavailable` with the reason beside it. In a cluster the best one of its members:
   * serving before starting before down.
   */
  readonly state: ProviderState | 'unavailable'
  readonly unavailable?: string
  /** The members of the cluster that have it, this one first. Absent: no cluster is joined. */
  readonly members?: readonly string[]
}

/** What the running services say about themselves. */
export interface RunningFacts {
  /** State of a service; absent: there is no such service now. */
  readonly stateOf: (key: string) => ProviderState | undefined
  /** The context size that the running server states for a model, in tokens. */
  readonly contextOf: (key: string, providerId: string, modelId: string) => number | undefined
  /** What its server, else its file, says that a model can do. */
  readonly abilitiesOf: (key: string, providerId: string, modelId: string) => ModelAbilities
  /** The state of a provider of another member, in the words of ours. Absent: no cluster is joined. */
  readonly memberStateOf?: (member: string, provider: string) => ProviderState
}

/**
 * Every configured model that is not `unlisted`; no server is started or asked. With
 * `leasehold.listAliases` each alias follows its model as an entry of its own.
 */
export function toModelList(config: Config, facts: RunningFacts): ModelListing[] {
  const aliases = groupAliases(config.aliases)
  const own = config.providers.filter(isNoReplica).flatMap((provider) =>
    provider.models.flatMap((model) => {
      if (model.unlisted) return []
      const ref = `${provider.id}/${model.id}`
      const names = aliases.get(ref) ?? []
      const listing = toListing(config, { provider, model, modelId: model.id, ref }, names, facts)
      const others = config.leasehold.listAliases ? names : []
      return [
        listing,
        ...others.map((id) => ({ ...listing, id, aliases: [], alias_of: ref, default: false })),
      ]
    }),
  )
  return config.members === undefined ? own : [...own, ...listOffered(config, config.members, facts)]
}

/** The aliases of each reference. */
function groupAliases(aliases: readonly ModelAlias[]): ReadonlyMap<string, readonly string[]> {
  const grouped = new Map<string, string[]>()
  for (const { alias, ref } of aliases) {
    const names = grouped.get(ref)
    if (names === undefined) grouped.set(ref, [alias])
    else names.push(alias)
  }
  return grouped
}

/** The models that only other members have, each once. */
function listOffered(
  config: Config,
  { providers, aliases }: NonNullable<Config['members']>,
  facts: RunningFacts,
): ModelListing[] {
  const own = new Set(
    config.providers.flatMap(({ id, models }) => models.map((model) => `${id}/${model.id}`.toLowerCase())),
  )
  const namesOf = groupAliases(aliases)
  return joinOffers(providers).flatMap(({ id, models }) =>
    models.flatMap((model) => {
      const ref = `${id}/${model.id}`
      const provider = findOwners(config, id, model.id)[0]
      if (own.has(ref.toLowerCase()) || provider === undefined) return []
      const names = new Set(namesOf.get(ref))
      return [toListing(config, { provider, model, modelId: model.id, ref }, [...names], facts)]
    }),
  )
}

/** The providers of other members that have a model under this name. */
function findOwners({ members }: Config, id: string, modelId: string): readonly ProviderConfig[] {
  const named = members === undefined ? [] : (indexOffers(members).get(id.toLowerCase()) ?? [])
  return named.flatMap(({ provider, ids }) => (ids.size === 0 || ids.has(modelId) ? [provider] : []))
}

type Members = NonNullable<Config['members']>
type Offers = ReadonlyMap<string, readonly { provider: ProviderConfig; ids: ReadonlySet<string> }[]>

/** Made once for what the members offer: a list asks for the owners of each model. */
const offersOf = new WeakMap<Members, Offers>()

/** The providers of other members by their lower-case name there, and the ids of their models. */
function indexOffers(members: Members): Offers {
  const known = offersOf.get(members)
  if (known !== undefined) return known
  const offers = new Map<string, { provider: ProviderConfig; ids: Set<string> }[]>()
  for (const provider of members.providers) {
    const name = (provider.memberOf?.provider ?? '').toLowerCase()
    const named = offers.get(name) ?? []
    named.push({ provider, ids: new Set(provider.models.map((model) => model.id)) })
    offers.set(name, named)
  }
  offersOf.set(members, offers)
  return offers
}

/** One model by any reference that a request could use. @throws {@link ModelNotFoundError} */
export function findModelListing(config: Config, ref: string, facts: RunningFacts): ModelListing {
  const target = resolveModel(config, ref)
  const aliases = config.aliases.filter((alias) => alias.ref === target.ref).map(({ alias }) => alias)
  return toListing(config, target, aliases, facts)
}

type ListedModel = Pick<ModelTarget, 'provider' | 'model' | 'modelId' | 'ref' | 'isPinned'>

function toListing(
  config: Config,
  { provider, model, modelId, ref, isPinned }: ListedModel,
  aliases: readonly string[],
  { stateOf, contextOf, abilitiesOf, memberStateOf }: RunningFacts,
): ModelListing {
  const { memberOf } = provider
  const name = memberOf?.provider ?? provider.id
  const owners = config.members === undefined ? [] : findOwners(config, name, modelId)
  const others = owners.flatMap((owner) => owner.memberOf?.member ?? [])
  const key = toServiceKey(provider)
  const stateAt = (host: ProviderConfig) =>
    (host.memberOf === undefined
      ? stateOf(toServiceKey(host))
      : memberStateOf?.(host.memberOf.member, host.memberOf.provider)) ?? 'down.cold'
  const sizes = [model?.contextWindow, contextOf(key, provider.id, modelId)].filter(
    (size) => size !== undefined,
  )
  const abilities = withConfigured(abilitiesOf(key, provider.id, modelId), model)
  const capabilities = listCapabilities(abilities)
  const context = sizes.length === 0 ? undefined : Math.min(...sizes)
  return {
    id: `${name}/${modelId}`,
    object: 'model',
    created: 0,
    owned_by: name,
    name: model?.name ?? modelId,
    api: provider.api,
    aliases,
    ...(context === undefined
      ? {}
      : {
          context_length: context,
          context_window: context,
          max_model_len: context,
          meta: { n_ctx: context },
        }),
    ...(abilities.input === undefined
      ? {}
      : { architecture: { input_modalities: abilities.input, output_modalities: toOutput(abilities) } }),
    ...(capabilities === undefined ? {} : { capabilities }),
    ...(model?.maxTokens === undefined ? {} : { max_tokens: model.maxTokens }),
    default: config.defaultModel?.primary === ref,
    state:
      provider.unavailable === undefined
        ? toBestState((isPinned ? [provider] : [provider, ...owners]).map(stateAt))
        : 'unavailable',
    ...(provider.unavailable === undefined ? {} : { unavailable: provider.unavailable }),
    ...(config.members === undefined
      ? {}
      : { members: memberOf === undefined ? [config.members.self, ...others] : others }),
  }
}

/** From the best to the worst. One that has none of them cannot serve soon. */
const BEST: readonly ProviderTag[] = ['serving', 'sleeping', 'starting', 'probing', 'cold']

/** Of several equally good ones the first. */
function toBestState(states: readonly ProviderState[]): ProviderState {
  const tag = BEST.find((one) => states.some((state) => hasTag(state, one)))
  return states.find((state) => tag === undefined || hasTag(state, tag)) ?? 'down.cold'
}

/** What the configuration says wins: text alone is its default, and says nothing. */
function withConfigured(said: ModelAbilities, model: ModelTarget['model']): ModelAbilities {
  const input = model?.input.some((kind) => kind !== 'text') ? model.input : said.input
  return {
    ...said,
    ...(input === undefined ? {} : { input }),
    ...(model?.reasoning === true ? { thinking: true } : {}),
    ...(model?.compat.supportsTools === undefined ? {} : { tools: model.compat.supportsTools }),
  }
}

function toOutput({ kind }: ModelAbilities): readonly string[] {
  return [kind === 'embedding' ? 'embeddings' : kind === 'rerank' ? 'rerank' : 'text']
}

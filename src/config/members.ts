import type { Card, CardModel } from '../../machines/cluster/messages.ts'
import { toPlainText } from '../text/plain-text.ts'
import type { Config, ModelAlias, ModelConfig, ProviderConfig } from './config.ts'
import { modelSchema, type ProviderValues } from './schema.ts'

/** What is read of the card of a member. */
export type Offer = Pick<Card, 'member' | 'address' | 'services'>

/**
 * A configuration in which the models of other members can be asked for, too. `isUsed`: whether a provider of a member is
 * wanted here. A member without an address offers nothing.
 */
export function withMembers(
  config: Config,
  self: string,
  offers: readonly Offer[],
  isUsed: (providerId: string) => boolean = () => true,
): Config {
  const used = offers.flatMap(({ member, address, services }) =>
    address === null
      ? []
      : Object.entries(services)
          .filter(([id]) => isName(id) && isUsed(id))
          .map(([id, { models }]) => ({ member, address, id, models: models.filter(isNamed) })),
  )
  const providers = used.map(({ member, address, id, models }) =>
    toMemberProvider(member, address, id, models),
  )
  const aliases = used.flatMap(({ id, models }) =>
    models.flatMap((model): ModelAlias[] =>
      (model.aliases ?? []).filter(isName).map((alias) => ({ alias, ref: `${id}/${model.id}` })),
    ),
  )
  return Object.freeze({ ...config, members: { self, providers, aliases } })
}

/** Its owner applies the rewrites, so it has none of its own. */
function toMemberProvider(
  member: string,
  address: string,
  provider: string,
  models: readonly CardModel[],
): ProviderConfig {
  return {
    id: `${member}:${provider}`,
    memberOf: { member, provider },
    baseUrl: `${address}/v1`,
    api: toApi(models[0]?.api),
    headers: {},
    authHeader: false,
    stallTimeoutMs: 0,
    models: models.map((model) => toMemberModel(provider, model)),
  }
}

function toMemberModel(provider: string, { id, input, context }: CardModel): ModelConfig {
  const kinds = KINDS.filter((kind) => input?.includes(kind))
  const { alias: _, context: __, ...model } = modelSchema.parse({ id })
  return {
    ...model,
    name: id,
    upstreamId: `${provider}/${id}`,
    input: kinds.length === 0 ? model.input : kinds,
    ...(context === undefined || context === 0 ? {} : { contextWindow: context }),
  }
}

const KINDS = ['text', 'image', 'audio', 'video'] as const
const APIS = ['openai-completions', 'openai-responses', 'anthropic-messages'] as const

function toApi(api: string | undefined): ProviderValues['api'] {
  return APIS.find((known) => known === api) ?? 'openai-completions'
}

/** Longest name that is taken from a card, in characters: it is shown in events, logs and headers. */
const MAX_NAME = 512

function isName(name: string): boolean {
  return name !== '' && name.length <= MAX_NAME && toPlainText(name) === name
}

function isNamed({ id }: CardModel): boolean {
  return isName(id)
}

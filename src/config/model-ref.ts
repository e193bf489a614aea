import { ModelNotFoundError } from '../errors.ts'
import type { Config, ModelAlias, ModelConfig, ModelParams, ProviderConfig } from './config.ts'
import { isNearMiss, rankByDistance } from './nearest.ts'

const MAX_SUGGESTIONS = 5
const MAX_SHOWN_REF = 200

/** A configured model that a request can be sent to. Its provider may still be `unavailable`. */
export interface ModelTarget {
  readonly provider: ProviderConfig
  /** The configured spelling, or the client's where the provider takes any model. */
  readonly modelId: string
  /** The name to send upstream. */
  readonly upstreamId: string
  /** Absent: the provider lists no models. */
  readonly model?: ModelConfig
  /** `provider/modelId`. */
  readonly ref: string
  /** Defaults for the body: those of the model, then those of `agents.defaults.models`, which win. */
  readonly params: ModelParams
  /** Whether the client named it, or it stands in because the client named none. */
  readonly source: 'explicit' | 'default'
  /** The client named the member of the cluster, too: no other one stands in for it. */
  readonly isPinned?: true
}

/**
 * Finds the model that a reference means. `provider/model` splits at the first slash, provider ids without regard
 * to case, model ids exactly before without regard to case. Without a known provider: an alias, then a model id that
 * exactly one provider has. An absent or empty reference, or `default`, means the default model. A model that is not
 * configured here is looked for among those of the other members of the cluster; `member:provider/model` names one.
 * @throws {@link ModelNotFoundError} `LEASEHOLD_MODEL_UNKNOWN` with the nearest references,
 * `LEASEHOLD_MODEL_AMBIGUOUS` with all that fit; five at most.
 */
export function resolveModel(config: Config, ref: string | undefined): ModelTarget {
  const { defaultModel } = config
  if (defaultModel !== undefined && isDefault(ref)) return toTarget(config, defaultModel.primary, 'default')
  return toTarget(config, ref || 'default', 'explicit')
}

/**
 * The models to try for a request, in order, each once: the one it means, then the configured fallbacks. Fallbacks
 * follow only a default model; `failover: true` lets them follow a named one too. Fallbacks that no longer resolve
 * are left out: loading has warned about them.
 * @throws {@link ModelNotFoundError} as {@link resolveModel} does, for the first one.
 */
export function resolveCandidates(
  config: Config,
  ref: string | undefined,
  { failover = false }: { readonly failover?: boolean } = {},
): ModelTarget[] {
  const first = resolveModel(config, ref)
  const candidates = new Map([[first.ref, first]])
  if (first.source === 'default' || failover) {
    for (const fallback of config.defaultModel?.fallbacks ?? []) {
      const match = findModel(config, fallback)
      if (match.kind !== 'found') continue
      const target = toFoundTarget(config, match, 'default')
      if (!candidates.has(target.ref)) candidates.set(target.ref, target)
    }
  }
  return [...candidates.values()]
}

/**
 * A target and every replica of its provider, which serve the same model: in the order of the file, then the other
 * members of the cluster that have a provider and a model of these names.
 */
export function listReplicas(config: Config, target: ModelTarget): readonly ModelTarget[] {
  const { provider, modelId, source } = target
  const replicas = config.providers.filter(({ replicaOf }) => replicaOf?.provider === provider.id)
  return [
    target,
    ...replicas.map(({ id }) => toTarget(config, `${id}/${modelId}`, source)),
    ...listOnMembers(config, target),
  ]
}

function listOnMembers(config: Config, { provider, modelId, source, isPinned }: ModelTarget): ModelTarget[] {
  const { members } = config
  if (members === undefined || isPinned === true || provider.replicaOf !== undefined) return []
  const id = provider.memberOf?.provider ?? provider.id
  return members.providers.flatMap((other) => {
    if (other.id === provider.id || !isSameName(other.memberOf?.provider ?? '', id)) return []
    return findAtMember(config, other, modelId, source) ?? []
  })
}

/** A model at one member; `undefined`: its provider there lists other models only. */
function findAtMember(
  config: Config,
  provider: ProviderConfig,
  modelId: string,
  source: ModelTarget['source'],
): ModelTarget | undefined {
  const model = provider.models.find(({ id }) => id === modelId)
  if (model === undefined && provider.models.length > 0) return undefined
  const match = { kind: 'found', provider, modelId, ...(model === undefined ? {} : { model }) } as const
  return toFoundTarget(config, match, source)
}

/** A model of another member, or of this one by its name; `undefined`: no cluster is joined, or no member has it. */
function findOnMembers(config: Config, ref: string, source: ModelTarget['source']): ModelTarget | undefined {
  const { members } = config
  if (members === undefined) return undefined
  const { self, providers } = members
  if (ref.toLowerCase().startsWith(`${self}:`)) {
    const match = findModel(config, ref.slice(self.length + 1))
    return match.kind === 'found' ? { ...toFoundTarget(config, match, source), isPinned: true } : undefined
  }
  const colon = ref.indexOf(':')
  const named = providers.filter(({ memberOf }) => isSameName(memberOf?.member ?? '', ref.slice(0, colon)))
  if (colon > 0 && named.length > 0) {
    const target = findOffered(config, named, ref.slice(colon + 1), source)
    // The member must know that it was named: else it would leave the start to another one.
    return (
      target && {
        ...target,
        upstreamId: `${target.provider.memberOf?.member}:${target.upstreamId}`,
        isPinned: true,
      }
    )
  }
  return findOffered(config, providers, ref, source)
}

/** Looks a reference up among what members offer, whichever member it is: by the rules of {@link findModel}. */
function findOffered(
  config: Config,
  providers: readonly ProviderConfig[],
  ref: string,
  source: ModelTarget['source'],
): ModelTarget | undefined {
  const match = findModel({ providers: joinOffers(providers), aliases: config.members?.aliases ?? [] }, ref)
  if (match.kind === 'ambiguous') throw new ModelNotFoundError(toShownRef(ref), match.candidates, true)
  if (match.kind === 'unknown') return undefined
  const { provider, modelId } = match
  for (const one of providers) {
    if (one.memberOf?.provider !== provider.id) continue
    const target = findAtMember(config, one, modelId, source)
    if (target !== undefined) return target
  }
  return undefined
}

/** One provider for each id that members offer, with the models of all of them. */
export function joinOffers(
  providers: readonly ProviderConfig[],
): readonly { readonly id: string; readonly models: readonly ModelConfig[] }[] {
  const joined = new Map<string, Map<string, ModelConfig>>()
  for (const { memberOf, id, models } of providers) {
    const name = memberOf?.provider ?? id
    const known = joined.get(name) ?? new Map<string, ModelConfig>()
    for (const model of models) if (!known.has(model.id)) known.set(model.id, model)
    joined.set(name, known)
  }
  return [...joined].map(([id, models]) => ({ id, models: [...models.values()] }))
}

/** Whether a provider stands in the file by itself. */
export function isNoReplica({ replicaOf }: Pick<Listing, 'replicaOf'>): boolean {
  return replicaOf === undefined
}

/** What a lookup needs to know of a provider. */
interface Listing {
  readonly id: string
  /** A replica is found by its own id only: its models are those of its provider. */
  readonly replicaOf?: unknown
  readonly models: readonly { readonly id: string }[]
}

/** What a reference is looked up in. */
export interface Catalogue<Provider extends Listing> {
  readonly providers: readonly Provider[]
  readonly aliases: readonly ModelAlias[]
}

/** A model that was found; `modelId` in its configured spelling, `model` absent where the provider lists none. */
export interface FoundModel<Provider extends Listing> {
  readonly kind: 'found'
  readonly provider: Provider
  readonly modelId: string
  readonly model?: Provider['models'][number]
}

/** The outcome of a lookup. `candidates` are full references: all that fit, or the nearest. */
export type ModelMatch<Provider extends Listing> =
  | FoundModel<Provider>
  | { readonly kind: 'ambiguous'; readonly candidates: readonly string[] }
  | ({ readonly kind: 'unknown' } & Suggestions)

/** Names for a reference that fits none. `isNear`: they look like it; else they only exist. */
export interface Suggestions {
  readonly candidates: readonly string[]
  readonly isNear: boolean
}

/** Looks a reference up, without a default and without throwing. The rules are those of {@link resolveModel}. */
export function findModel<Provider extends Listing>(
  catalogue: Catalogue<Provider>,
  ref: string,
): ModelMatch<Provider> {
  const parts = splitRef(ref)
  const provider = parts && catalogue.providers.find(({ id }) => isSameName(id, parts.providerId))
  if (parts !== undefined && provider !== undefined) {
    if (provider.models.length === 0) return { kind: 'found', provider, modelId: parts.modelId }
    return toMatch(findListed([provider], parts.modelId), () =>
      toNearestRefs(
        parts.modelId,
        provider.models.map(({ id }) => ({ name: id, ref: `${provider.id}/${id}` })),
      ),
    )
  }
  const alias = catalogue.aliases.find((candidate) => isSameName(candidate.alias, ref))
  // An alias holds a full reference, so this goes one level deep.
  if (alias !== undefined) return findModel({ ...catalogue, aliases: [] }, alias.ref)
  return toMatch(findListed(catalogue.providers.filter(isNoReplica), ref), () =>
    toNearestRefs(ref, listNames(catalogue, parts?.modelId ?? ref)),
  )
}

/** The two sides of `provider/model`, split at the first slash; `undefined` when either is missing. */
export function splitRef(ref: string): { readonly providerId: string; readonly modelId: string } | undefined {
  const slash = ref.indexOf('/')
  if (slash < 1 || slash === ref.length - 1) return undefined
  return { providerId: ref.slice(0, slash), modelId: ref.slice(slash + 1) }
}

/** The id of a replica: that of its provider with a number, where the provider itself is the first. */
export function toReplicaId(providerId: string, index: number): string {
  return `${providerId}#${index + 2}`
}

/** Whether two names are the same without regard to case. */
export function isSameName(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase()
}

function isDefault(ref: string | undefined): boolean {
  return ref === undefined || ref === '' || ref === 'default'
}

function toTarget(config: Config, ref: string, source: ModelTarget['source']): ModelTarget {
  const match = findModel(config, ref)
  if (match.kind === 'found') return toFoundTarget(config, match, source)
  const elsewhere = match.kind === 'unknown' ? findOnMembers(config, ref, source) : undefined
  if (elsewhere !== undefined) return elsewhere
  const isNear = match.kind === 'unknown' && match.isNear
  throw new ModelNotFoundError(toShownRef(ref), match.candidates, match.kind === 'ambiguous', isNear)
}

function toShownRef(ref: string): string {
  return ref.length > MAX_SHOWN_REF ? `${ref.slice(0, MAX_SHOWN_REF)}…` : ref
}

function toFoundTarget(
  { modelParams }: Config,
  { provider, modelId, model }: FoundModel<ProviderConfig>,
  source: ModelTarget['source'],
): ModelTarget {
  const ref = `${provider.id}/${modelId}`
  const params = {
    ...model?.params,
    ...modelParams[`${provider.replicaOf?.provider ?? provider.id}/${modelId}`],
  }
  // The owner of a member's model knows it by its full reference.
  const anyId = provider.memberOf === undefined ? modelId : `${provider.memberOf.provider}/${modelId}`
  const upstreamId = model?.upstreamId ?? anyId
  return { provider, modelId, upstreamId, ...(model === undefined ? {} : { model }), ref, params, source }
}

/** Every listed model of that id: the exact spelling if any has it, else any spelling. */
function findListed<Provider extends Listing>(
  providers: readonly Provider[],
  modelId: string,
): FoundModel<Provider>[] {
  const select = (isMatch: (id: string) => boolean) =>
    providers.flatMap((provider) =>
      provider.models
        .filter(({ id }) => isMatch(id))
        .map((model): FoundModel<Provider> => ({ kind: 'found', provider, modelId: model.id, model })),
    )
  const exact = select((id) => id === modelId)
  return exact.length > 0 ? exact : select((id) => isSameName(id, modelId))
}

function toMatch<Provider extends Listing>(
  found: readonly FoundModel<Provider>[],
  findNearest: () => Suggestions,
): ModelMatch<Provider> {
  const [first] = found
  if (first === undefined) return { kind: 'unknown', ...findNearest() }
  const refs = new Set(found.map(({ provider, modelId }) => `${provider.id}/${modelId}`))
  if (refs.size === 1) return first
  return { kind: 'ambiguous', candidates: [...refs].slice(0, MAX_SUGGESTIONS) }
}

interface Name {
  readonly name: string
  readonly ref: string
}

/** Every name a model goes by. A provider that takes any model goes by its own id before the model asked for. */
function listNames({ providers, aliases }: Catalogue<Listing>, modelId: string): Name[] {
  const names = providers.filter(isNoReplica).flatMap(({ id, models }) => {
    const ids = models.length === 0 ? [modelId.slice(0, MAX_SHOWN_REF)] : models.map((model) => model.id)
    const full = ids.map((name) => ({ name: `${id}/${name}`, ref: `${id}/${name}` }))
    return models.length === 0 ? full : [...full, ...ids.map((name) => ({ name, ref: `${id}/${name}` }))]
  })
  return [...names, ...aliases.map(({ alias, ref }) => ({ name: alias, ref }))]
}

/** References of the names most like `word`: the near misses, or where there is none the best of the rest. */
function toNearestRefs(word: string, names: readonly Name[]): Suggestions {
  const ranked = rankByDistance(word, names, ({ name }) => name)
  const near = ranked.filter(({ edits }) => isNearMiss(word, edits))
  const isNear = near.length > 0
  const refs = (isNear ? near : ranked).map(({ candidate }) => candidate.ref)
  return { candidates: [...new Set(refs)].slice(0, MAX_SUGGESTIONS), isNear }
}

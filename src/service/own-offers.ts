import type { CardFit, CardModel, CardService, CardServiceState } from '../../machines/cluster/messages.ts'
import { hasTag } from '../../machines/provider/tags.ts'
import type { ReplicaLoad } from '../../machines/replicas.ts'
import { type SchedulerState, schedule } from '../../machines/scheduler.ts'
import type { Config, ProviderConfig } from '../config/config.ts'
import { isNoReplica } from '../config/model-ref.ts'
import { isLoopbackUrl } from '../net/loopback.ts'
import { toServiceKey } from './services.ts'

/** What the offers of this member are told from. */
export interface OfferFacts {
  /** Without what other members offer. */
  readonly config: Config
  /** Whether other members may use a provider. */
  readonly isShared: (providerId: string, isOfThisHost: boolean) => boolean
  /** Whether a URL is the gateway of another member. */
  readonly isOfMember: (url: string) => boolean
  readonly loadOf: (provider: ProviderConfig) => ReplicaLoad
  /** How long a start of a service takes, in milliseconds. */
  readonly startMsOf: (key: string) => number | null
  readonly contextOf: (key: string, providerId: string, modelId: string) => number | undefined
  /** What the scheduler decides from. */
  readonly scheduling: SchedulerState
}

/**
 * What this member offers to the others: each shared provider with its models and its load, the replicas included. A
 * replica that is another member is left out: it offers the models itself, and two that list each other would each say
 * that the model is up, because the gateway of the other one answers.
 */
export function listOwnOffers(facts: OfferFacts): Readonly<Record<string, CardService>> {
  const { config, isShared, isOfMember } = facts
  const offers = config.providers.flatMap((provider) => {
    if (!isNoReplica(provider) || provider.unavailable !== undefined) return []
    if (!isOffered(provider, isShared)) return []
    const servers = [
      provider,
      ...config.providers.filter(({ replicaOf }) => replicaOf?.provider === provider.id),
    ].filter(({ localService, baseUrl }) => localService !== undefined || !isOfMember(baseUrl))
    if (servers.length === 0) return []
    return [[provider.id, toOffer(facts, provider, servers)] as const]
  })
  return Object.fromEntries(offers)
}

/** Whether other members may use a provider: a replica, where they may use its provider. */
export function isOffered(provider: ProviderConfig, isShared: OfferFacts['isShared']): boolean {
  return isShared(provider.replicaOf?.provider ?? provider.id, isOfThisHost(provider))
}

/**
 * The provider that the members claim the start of a service under; `undefined`: they may not use it, or it is a further
 * server (`replicas`), which adds room on this machine alone.
 */
export function findClaimed(
  providers: readonly ProviderConfig[],
  isShared: OfferFacts['isShared'],
): string | undefined {
  const claimed = providers.filter((provider) => isNoReplica(provider) && isOffered(provider, isShared))
  return claimed.map(({ id }) => id.toLowerCase()).sort()[0]
}

/** Whether the server of a provider is on this host. Others have a key of this member, or are known to them as well. */
function isOfThisHost({ localService, baseUrl }: ProviderConfig): boolean {
  return localService !== undefined || isLoopbackUrl(baseUrl)
}

/** From the best to the worst: a provider is what the best of its servers is. */
const STATES: readonly CardServiceState[] = ['ready', 'starting', 'asking', 'cold', 'failed']
const FITS: readonly CardFit[] = ['fits', 'evicts', 'waits', 'never']

function toOffer(
  facts: OfferFacts,
  provider: ProviderConfig,
  servers: readonly ProviderConfig[],
): CardService {
  const all = servers.map((server) => toServer(facts, server))
  const sum = (of: (server: ServerOffer) => number) => all.reduce((total, server) => total + of(server), 0)
  const starts = all.flatMap(({ startMs }) => startMs ?? [])
  const state = STATES.find((one) => all.some((server) => server.state === one)) ?? 'cold'
  return {
    models: listModels(facts, provider),
    state,
    ...(state === 'cold' && all.some(({ isAsleep }) => isAsleep) ? { isAsleep: true } : {}),
    leases: sum(({ leases }) => leases),
    waiting: sum(({ waiting }) => waiting),
    room: sum(({ room }) => room),
    startMs: starts.length === 0 ? null : Math.min(...starts),
    fit: FITS.find((fit) => all.some((server) => server.fit === fit)) ?? 'fits',
  }
}

interface ServerOffer extends Pick<CardService, 'state' | 'leases' | 'waiting' | 'startMs' | 'fit'> {
  readonly room: number
  readonly isAsleep: boolean
}

/** What a start of a server on this host needs: room, and time. */
export function toStartCost(
  { startMsOf, scheduling }: Pick<OfferFacts, 'startMsOf' | 'scheduling'>,
  server: ProviderConfig,
): Pick<CardService, 'startMs' | 'fit'> {
  const key = toServiceKey(server)
  const startMs = startMsOf(key)
  return {
    startMs: startMs === null ? null : Math.round(startMs),
    fit: server.localService === undefined ? 'fits' : toFit(scheduling, key),
  }
}

function toServer(facts: OfferFacts, server: ProviderConfig): ServerOffer {
  const { state, leases, queue, maxConcurrent } = facts.loadOf(server)
  return {
    state: toCardState(state),
    isAsleep: state !== null && (hasTag(state, 'asleep') || hasTag(state, 'falling-asleep')),
    leases,
    waiting: queue,
    room: maxConcurrent,
    ...toStartCost(facts, server),
  }
}

/** A start is told when it is sure: before its claim is won, two members would wait for each other. */
export function toCardState(state: string | null): CardServiceState {
  if (state === null || hasTag(state, 'backoff') || hasTag(state, 'tripped')) return 'failed'
  if (hasTag(state, 'up')) return 'ready'
  if (hasTag(state, 'loading') || hasTag(state, 'waking')) return 'starting'
  return hasTag(state, 'starting') ? 'asking' : 'cold'
}

/** What the scheduler would decide if the service were wanted now. */
function toFit(scheduling: SchedulerState, key: string): CardFit {
  if (scheduling.shares[key] === undefined) return 'fits'
  // One that sleeps gives what it holds for what it needs awake.
  const run = scheduling.residents.find(
    (one) => one.key === key && (one.phase === 'asleep' || one.phase === 'falling-asleep'),
  )
  const wanted = {
    key,
    generation: run?.generation ?? '',
    ...(run === undefined ? {} : { isWake: true }),
    waiting: 1,
    priority: 0,
    isPreload: false,
    isForeseen: false,
    age: 0,
    isReturning: false,
    isOverdue: false,
    decision: null,
  }
  const decision = schedule({ ...scheduling, queuedStarts: [wanted] })
  if (decision === null) return 'fits'
  const { choice } = decision
  if (choice.type === 'start') return 'fits'
  if (choice.type === 'evict') return 'evicts'
  return choice.type === 'wait' ? 'waits' : 'never'
}

function listModels({ config, contextOf }: OfferFacts, provider: ProviderConfig): CardModel[] {
  return provider.models
    .filter(({ unlisted }) => !unlisted)
    .map(({ id, input, contextWindow }) => {
      const ref = `${provider.id}/${id}`
      const aliases = config.aliases.flatMap((alias) => (alias.ref === ref ? [alias.alias] : []))
      const said = contextOf(toServiceKey(provider), provider.id, id)
      const sizes = [contextWindow, said].filter((size) => size !== undefined)
      return {
        id,
        api: provider.api,
        input: [...input],
        ...(aliases.length === 0 ? {} : { aliases }),
        ...(sizes.length === 0 ? {} : { context: Math.min(...sizes) }),
      }
    })
}

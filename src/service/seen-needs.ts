import type { Sharing } from '../../machines/messages.ts'
import type { Amounts, Share } from '../../machines/scheduler.ts'
import type { Config, LeaseholdConfig } from '../config/config.ts'
import { isSameName, splitRef } from '../config/model-ref.ts'
import { type Service, toClaimAddress } from './services.ts'

/** What was seen of a service in its earlier runs. */
export interface Seen {
  /** The peak of its use, by budget; a budget that was not measured is absent. */
  readonly needs: Amounts
  /** The same of a run that slept; `null`: none did. */
  readonly asleepNeeds?: Amounts | null
  /** The median of its start times, in milliseconds. */
  readonly startMs: number | null
}

/** Budgets whose need is learned where none is declared. */
const LEARNED = ['ramMiB', 'vramMiB'] as const

/** The limit that stands for an exclusive group: it has one place. No budget can have this name. */
function toGroupLimit(group: string): string {
  return `group:${group}`
}

/** The limits of a configuration, and what each service takes of them. A server that others run takes nothing. */
export function toSharing(
  config: Config,
  services: ReadonlyMap<string, Service>,
  seenOf: (key: string) => Seen,
): Sharing {
  const { budgets, groups, preload, returnToDefaultMs } = config.leasehold
  const managed = [...services.values()].filter(({ localService }) => localService !== undefined)
  const keysOf = (ids: readonly string[]) => [
    ...new Set(ids.flatMap((id) => managed.find((one) => hasProvider(one, id))?.key ?? [])),
  ]
  return {
    limits: { ...budgets, ...toRecord(Object.keys(groups), toGroupLimit, () => 1) },
    shares: Object.fromEntries(
      managed.map((one) => [one.key, toShare(one, config.leasehold, seenOf(one.key))]),
    ),
    preload: keysOf(preload),
    defaultKey: toDefaultKey(config, managed),
    returnToDefaultMs,
  }
}

/** What one service needs: as configured, else as measured; where neither is known, the whole budget. */
export function toShare(service: Service, { budgets, groups }: LeaseholdConfig, seen: Seen): Share {
  const { localService, name } = service
  if (localService === undefined) throw new RangeError('A service that others run has no share.')
  const mine = Object.keys(groups).filter((group) => groups[group]?.some((id) => hasProvider(service, id)))
  // What was seen of a model of a daemon is the process that sent its requests.
  const measured = localService.daemon === undefined ? seen.needs : {}
  const learned = Object.entries(measured).filter(([budget]) => budgets[budget] !== undefined)
  const unmeasured = LEARNED.filter(
    (budget) => budgets[budget] !== undefined && measured[budget] === undefined,
  )
  const { needs, sleep } = localService
  const asleepNeeds = sleep === undefined ? undefined : (sleep.needs ?? seen.asleepNeeds ?? undefined)
  return {
    service: name,
    address: toClaimAddress(service),
    needs: {
      ...(needs ?? toLarger(Object.fromEntries(learned), sleep?.needs)),
      ...toRecord(mine, toGroupLimit, () => 1),
    },
    unmeasured: needs === undefined ? unmeasured : [],
    ...(asleepNeeds === undefined ? {} : { asleepNeeds }),
    ...(sleep === undefined || sleep.request.length === 0 ? {} : { canSleep: true }),
    isPinned: localService.pinned,
    stopsIdle: service.policy.idleStopMs > 0,
    evictCost: localService.evictCost ?? seen.startMs ?? 0,
    minResidencyMs: localService.minResidencyMs,
    maxStarveMs: localService.maxStarveMs,
  }
}

/** Awake it is counted with no less than asleep. */
function toLarger(learned: Amounts, asleep: Amounts = {}): Amounts {
  return Object.fromEntries(
    Object.entries(learned).map(([budget, amount]) => [budget, Math.max(amount, asleep[budget] ?? 0)]),
  )
}

function hasProvider({ providers }: Service, id: string): boolean {
  return providers.some((provider) => isSameName(provider.id, id))
}

function toDefaultKey({ defaultModel }: Config, managed: readonly Service[]): string | null {
  const providerId = defaultModel && splitRef(defaultModel.primary)?.providerId
  return (providerId !== undefined && managed.find((one) => hasProvider(one, providerId))?.key) || null
}

function toRecord<Value>(
  names: readonly string[],
  toKey: (name: string) => string,
  toValue: (name: string) => Value,
): Record<string, Value> {
  return Object.fromEntries(names.map((name) => [toKey(name), toValue(name)]))
}

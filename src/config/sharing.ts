import { GENERATION } from '../text/generation-mark.ts'
import type { LeaseholdConfig, LocalServiceConfig, ProviderConfig } from './config.ts'
import { type Finding, toError, toWarning } from './finding.ts'
import { isSameName } from './model-ref.ts'
import { findNearest, isNearMiss } from './nearest.ts'
import { toProviderPath } from './provider.ts'

/** A provider whose server we run. */
export type Managed = ProviderConfig & { readonly localService: LocalServiceConfig }

/**
 * Checks of what the services share: needs against budgets, groups and preloads against what there is. `broken` lists the
 * providers of the file that cannot be used: a name of one of them is no mistake.
 */
export function findSharingProblems(
  providers: readonly ProviderConfig[],
  { budgets, groups, preload, returnToDefaultMs }: LeaseholdConfig,
  hasDefaultModel: boolean,
  broken: readonly { readonly id: string }[] = [],
): Finding[] {
  const managed = providers.filter((one): one is Managed => one.localService !== undefined)
  const named = (ids: readonly string[], at: readonly PropertyKey[]) =>
    ids.flatMap((id, index) =>
      broken.some((one) => isSameName(one.id, id)) ? [] : findNameProblems(id, providers, [...at, index]),
    )
  const isAimless = returnToDefaultMs > 0 && !hasDefaultModel
  return [
    ...managed.filter(isStatingNeeds).flatMap((provider) => findNeedProblems(provider, budgets)),
    ...findPinProblems(managed, budgets, groups),
    ...findSameServers(managed),
    ...Object.entries(groups).flatMap(([name, ids]) => named(ids, ['leasehold', 'groups', name])),
    ...named(preload, ['leasehold', 'preload']),
    ...(isAimless
      ? [toError(['leasehold', 'returnToDefaultMs'], 'there is no default model: set agents.defaults.model')]
      : []),
  ]
}

/** Whether it has needs of its own: those of a provider are said to be wrong once, not again of each replica. */
function isStatingNeeds({ replicaOf, localService }: Managed, _: number, all: readonly Managed[]): boolean {
  const original = all.find(({ id }) => id === replicaOf?.provider)
  return original?.localService.needs !== localService.needs
}

function findNeedProblems(provider: Managed, budgets: LeaseholdConfig['budgets']): Finding[] {
  return Object.entries(provider.localService.needs ?? {}).flatMap(([budget, amount]) => {
    const at = [...toProviderPath(provider), 'localService', 'needs', budget]
    const capacity = budgets[budget]
    if (capacity !== undefined)
      return amount <= capacity
        ? []
        : [toError(at, `${amount} is more than the whole budget, leasehold.budgets.${budget}: ${capacity}`)]
    return [toBudgetError(budget, budgets, at)]
  })
}

/** A budget that is not in the file. */
export function toBudgetError(
  budget: string,
  budgets: LeaseholdConfig['budgets'],
  at: readonly PropertyKey[],
): Finding {
  const names = Object.keys(budgets)
  const hint = names.length === 0 ? '; leasehold.budgets has none' : toHint(budget, names)
  return toError(at, `there is no budget "${budget}"${hint}`)
}

/** Pinned services are never evicted: what they leave no room for can only start while they are down. */
function findPinProblems(
  managed: readonly Managed[],
  budgets: LeaseholdConfig['budgets'],
  groups: LeaseholdConfig['groups'],
): Finding[] {
  const isFirst = ({ localService: { key } }: Managed, index: number) =>
    managed.findIndex((other) => other.localService.key === key) === index
  const services = managed.filter(isFirst)
  const pinned = services.filter(({ localService }) => localService.pinned)
  const inBudgets = services.flatMap((one) =>
    Object.entries(one.localService.needs ?? {}).flatMap(([budget, amount]) => {
      const others = pinned.filter((other) => other !== one)
      const taken = others.reduce((sum, { localService }) => sum + (localService.needs?.[budget] ?? 0), 0)
      const left = (budgets[budget] ?? 0) - taken
      if (taken === 0 || amount <= left) return []
      return [toPinWarning(one.id, others, `leave ${left} of ${budget}, and it needs ${amount}`)]
    }),
  )
  const inGroups = Object.entries(groups).flatMap(([name, ids]) => {
    const isMember = ({ id }: Managed) => ids.some((other) => isSameName(other, id))
    const others = pinned.filter(isMember)
    return services
      .filter((one) => isMember(one) && others.some((other) => other !== one))
      .map(({ id }) =>
        toPinWarning(
          id,
          others.filter((other) => other.id !== id),
          `share the group ${name} with it`,
        ),
      )
  })
  return [...inBudgets, ...inGroups]
}

/**
 * Services whose commands mean the same server elsewhere, a container or a unit: the stop of one would end the server of
 * the other. With the id of the run in its name each has its own.
 */
function findSameServers(managed: readonly Managed[]): Finding[] {
  return managed.flatMap((one, index) => {
    const commands = listOwnCommands(one)
    const other = managed
      .slice(0, index)
      .find(
        (before) =>
          before.localService.key !== one.localService.key &&
          listOwnCommands(before).some((command) => commands.includes(command)),
      )
    if (other === undefined) return []
    const message = `means the same server as "${other.id}", so that the stop of one would end the other: give each its own container.name, unit or command`
    return [toWarning([...toProviderPath(one), 'localService'], message)]
  })
}

function listOwnCommands({ localService: { stopCommand = [], statusCommand } }: Managed): string[] {
  const commands = statusCommand === undefined ? stopCommand : [...stopCommand, statusCommand]
  return commands.map((command) => JSON.stringify(command)).filter((text) => !text.includes(GENERATION))
}

function toPinWarning(id: string, others: readonly Managed[], why: string): Finding {
  const names = others.map((other) => `"${other.id}"`).join(', ')
  return toWarning(
    ['models', 'providers', id, 'localService'],
    `can only start while ${names} is down: pinned services ${why}`,
  )
}

function findNameProblems(
  id: string,
  providers: readonly ProviderConfig[],
  at: readonly PropertyKey[],
): Finding[] {
  const found = providers.find((one) => isSameName(one.id, id))
  if (found === undefined) {
    const hint = toHint(
      id,
      providers.map((one) => one.id),
    )
    return [toError(at, `there is no provider "${id}"${hint}`)]
  }
  return found.localService === undefined
    ? [toError(at, `"${id}" has no localService: leasehold does not run it, so it takes no room here`)]
    : []
}

/** A name that is not near would mislead the reader. */
function toHint(name: string, known: readonly string[]): string {
  const nearest = findNearest(name, known)
  return nearest !== undefined && isNearMiss(name, nearest.edits)
    ? `; the nearest is "${nearest.candidate}"`
    : ''
}

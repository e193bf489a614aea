import type { LeaseholdConfig, ProviderConfig } from './config.ts'
import { type Finding, toError, toWarning } from './finding.ts'
import { toProviderPath } from './provider.ts'
import { type Managed, toBudgetError } from './sharing.ts'

/** Checks of `localService.sleep` that need the rest of the file. */
export function findSleepProblems(
  providers: readonly ProviderConfig[],
  { budgets }: Pick<LeaseholdConfig, 'budgets'>,
): Finding[] {
  return providers
    .filter((one): one is Managed => one.localService?.sleep !== undefined && one.replicaOf === undefined)
    .flatMap((provider) => {
      const at = [...toProviderPath(provider), 'localService', 'sleep']
      return [
        ...findNeedProblems(provider, budgets, [...at, 'needs']),
        ...findIdleProblems(provider, at),
        ...findUnknownNeeds(provider, at),
      ]
    })
}

function findNeedProblems(
  { localService: { sleep, needs } }: Managed,
  budgets: LeaseholdConfig['budgets'],
  at: readonly PropertyKey[],
): Finding[] {
  return Object.entries(sleep?.needs ?? {}).flatMap(([budget, amount]) => {
    if (budgets[budget] === undefined) return [toBudgetError(budget, budgets, [...at, budget])]
    const awake = needs === undefined ? budgets[budget] : (needs[budget] ?? 0)
    if (amount <= awake) return []
    const limit = needs === undefined ? `the whole budget, ${awake}` : `needs.${budget}, ${awake}`
    return [
      toError(
        [...at, budget],
        `${amount} is more than ${limit}: state there the most that it uses, awake or asleep`,
      ),
    ]
  })
}

/** A stop that comes before the sleep makes the sleep useless. */
function findIdleProblems(
  { localService: { sleep, idleStopMs } }: Managed,
  at: readonly PropertyKey[],
): Finding[] {
  const afterMs = sleep?.afterMs ?? 0
  return afterMs > 0 && idleStopMs > 0 && afterMs >= idleStopMs
    ? [
        toWarning(
          [...at, 'afterMs'],
          `it never sleeps for being idle: it is stopped after idleStopMs, ${idleStopMs}`,
        ),
      ]
    : []
}

/** The scheduler tells a server to sleep for the room that this frees, and the first sleep is not measured yet. */
function findUnknownNeeds({ localService: { sleep } }: Managed, at: readonly PropertyKey[]): Finding[] {
  return sleep !== undefined && sleep.request.length > 0 && sleep.afterMs === 0 && sleep.needs === undefined
    ? [
        toWarning(
          [...at],
          'it never sleeps: afterMs is 0, and needs does not say what it uses asleep, so nothing tells what its sleep frees: set one of them',
        ),
      ]
    : []
}

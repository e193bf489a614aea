import { isDeepStrictEqual } from 'node:util'
import { type SchedulerState, toNeeds } from '../../machines/scheduler.ts'
import type { RecordedServer } from '../process/owner-record.ts'
import type { LeftServer } from '../process/reaping.ts'
import { type Service, toClaimAddress } from '../service/services.ts'
import { fillGeneration } from '../text/generation-mark.ts'

/** Servers of dead supervisors that may still be there, with their memory. */
export interface LeftServers {
  /**
   * The one that forbids the start of a service: one of the same service, or one beside which it has no room. One whose
   * record does not say what it holds is beside no service that draws on a limit.
   */
  findInTheWay(left: readonly LeftServer[], service: Service): LeftServer | undefined
  /** The service at an address has given back its claim: it needs its room no more. */
  forget(address: string): void
}

/**
 * The service as it is configured now whose server a record names. Any change of its configuration gives it another key,
 * so it is also known by its status command, or without one by its stop commands.
 */
export function findServiceOf(
  { key, generation, stop, status }: Omit<RecordedServer, 'id' | 'needs'>,
  services: ReadonlyMap<string, Service>,
): Service | undefined {
  const fill = (command: readonly string[]) => command.map((text) => fillGeneration(text, generation))
  const isSame = ({ localService }: Service) => {
    const { stopCommand, statusCommand } = localService ?? {}
    return status === undefined
      ? statusCommand === undefined && isDeepStrictEqual(stopCommand?.map(fill), stop)
      : statusCommand !== undefined && isDeepStrictEqual(fill(statusCommand), status)
  }
  return services.get(key) ?? [...services.values()].find(isSame)
}

type Books = Pick<SchedulerState, 'limits' | 'shares' | 'residents'>

export function createLeftServers(books: () => Books): LeftServers {
  /**
   * Services that were let through while there was one, with the addresses of their claims. Some have no place in the
   * books yet: they all count until they give back their claims.
   */
  const admitted = new Map<string, string>()

  return {
    findInTheWay(left, service) {
      const { key, policy } = service
      if (left.length === 0) admitted.clear()
      const own = left.find((one) => one.key === key)
      if (own !== undefined || left.length === 0 || !policy.drawsOnLimits) return own
      const untold = left.find(({ needs }) => needs === undefined)
      if (untold !== undefined) return untold
      const state = books()
      const beside = new Set([...admitted.keys(), key])
      const held = (limit: string) => {
        const others = state.residents.filter((one) => !beside.has(one.key))
        const amounts = [
          ...others.map(({ holds }) => holds[limit]),
          ...[...beside].map((one) => toNeeds(state, one)[limit]),
          ...left.map(({ needs }) => needs?.[limit]),
        ]
        return amounts.reduce<number>((sum, amount = 0) => sum + amount, 0)
      }
      for (const limit of Object.keys(toNeeds(state, key))) {
        const holder = left.find(({ needs }) => (needs?.[limit] ?? 0) > 0)
        if (holder !== undefined && held(limit) > (state.limits[limit] ?? 0)) return holder
      }
      admitted.set(key, toClaimAddress(service))
      return undefined
    },
    forget(address) {
      for (const [key, one] of admitted) if (one === address) admitted.delete(key)
    },
  }
}

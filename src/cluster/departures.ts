import type { Departure } from '../request/neighbourhood.ts'

/** The requests of this gateway that are on their way to other members, by number. */
export interface Departures {
  /** The number of the next request to any member. */
  next(): number
  /** Counts a request until it is over. */
  add(number: number, member: string, providerId: string, headers: Departure['headers']): Departure
  /** How many of them the last card of the member does not include: those numbered above `counted`. */
  uncounted(member: string, providerId: string, counted: number): number
}

export function createDepartures(): Departures {
  let last = 0
  const flying = new Map<string, Set<number>>()
  return {
    next: () => {
      last += 1
      return last
    },
    add: (number, member, providerId, headers) => {
      const key = toKey(member, providerId)
      const numbers = flying.get(key) ?? new Set()
      flying.set(key, numbers.add(number))
      return {
        headers,
        ended: () => {
          numbers.delete(number)
          if (numbers.size === 0 && flying.get(key) === numbers) flying.delete(key)
        },
      }
    },
    uncounted: (member, providerId, counted) => {
      let sum = 0
      for (const number of flying.get(toKey(member, providerId)) ?? []) if (number > counted) sum += 1
      return sum
    },
  }
}

/** Ids of providers are compared without regard to case. */
function toKey(member: string, providerId: string): string {
  return `${member}:${providerId.toLowerCase()}`
}

import { OverloadedError } from '../errors.ts'

/** The bytes that one request holds of the shared limit. */
export interface Reservation {
  /** @throws {@link OverloadedError} when the limit would be exceeded. The only request is always accepted. */
  grow(bytes: number): void
  /** Gives everything back. Idempotent. */
  release(): void
}

/** Shares memory between the bodies of requests that wait: many small ones, or a few large ones, but not both. */
export function createBodyBudget(maxBytes: () => number): { open(): Reservation } {
  let total = 0
  return {
    open: () => {
      let held = 0
      return {
        grow: (bytes) => {
          if (total > held && total + bytes > maxBytes())
            throw new OverloadedError(
              `Requests that wait hold ${total} bytes, and leasehold.maxQueuedBytes is ${maxBytes()}. Try again when some are done.`,
            )
          held += bytes
          total += bytes
        },
        release: () => {
          total -= held
          held = 0
        },
      }
    },
  }
}

/** The right to run the one process of a service key, held until it is released. */
export interface Claim {
  readonly key: string
  /** Lets the longest waiting claimant have it. A second call does nothing. */
  release(): void
}

/** Hands out claims. An implementation may reach beyond this process; the words stay the same. */
export interface Claims {
  /**
   * Settles when the claim is ours; claimants of one key are served in the order they came.
   * @throws the signal's reason when it is aborted first; the claim then goes to the next in line.
   */
  claim(key: string, signal?: AbortSignal): Promise<Claim>
}

/** Claims that hold among the users of this one object, and nobody else. */
export function createLocalClaims(): Claims {
  /** Per claimed key, who waits for it. */
  const waiting = new Map<string, (() => void)[]>()

  const grant = (key: string): Claim => {
    let isHeld = true
    return {
      key,
      release() {
        if (!isHeld) return
        isHeld = false
        const next = waiting.get(key)?.shift()
        if (next === undefined) waiting.delete(key)
        else next()
      },
    }
  }

  return {
    async claim(key, signal) {
      signal?.throwIfAborted()
      const queue = waiting.get(key)
      if (queue === undefined) {
        waiting.set(key, [])
        return grant(key)
      }
      return new Promise((resolve, reject) => {
        const take = () => {
          signal?.removeEventListener('abort', leave)
          resolve(grant(key))
        }
        const leave = () => {
          queue.splice(queue.indexOf(take), 1)
          reject(signal?.reason)
        }
        queue.push(take)
        signal?.addEventListener('abort', leave, { once: true })
      })
    },
  }
}

/**
 * Runs each function in a turn of the event loop of its own, in the order in which they came. What has arrived on sockets
 * and timers that are due get their turn in between.
 */
export function createTurns(): (work: () => void) => void {
  const waiting: (() => void)[] = []
  const takeNext = () => {
    const work = waiting.shift()
    // Before the work, so that work which throws does not stop the rest.
    if (waiting.length > 0) setImmediate(takeNext)
    work?.()
  }
  return (work) => {
    if (waiting.push(work) === 1) setImmediate(takeNext)
  }
}

/** Bounds the work of one turn of the event loop. */
export interface TurnBudget {
  /** `true`: the work is done at once. `false`: give it to `later`. */
  take(): boolean
  /** Runs work in a later turn, in the order in which it came. */
  later(work: () => void): void
}

/** Creates a budget of `max` pieces of work per turn. What came first is done first. */
export function createTurnBudget(max: number): TurnBudget {
  const waiting: (() => void)[] = []
  let taken = 0
  let isTurnAwaited = false
  const awaitTurn = () => {
    if (isTurnAwaited) return
    isTurnAwaited = true
    setImmediate(beginTurn)
  }
  const beginTurn = () => {
    isTurnAwaited = false
    taken = 0
    if (waiting.length === 0) return
    // Before the work, so that work which throws does not stop the rest.
    awaitTurn()
    while (taken < max && waiting.length > 0) {
      taken += 1
      waiting.shift()?.()
    }
  }
  return {
    take: () => {
      if (taken >= max || waiting.length > 0) return false
      taken += 1
      awaitTurn()
      return true
    },
    later: (work) => {
      waiting.push(work)
      awaitTurn()
    },
  }
}

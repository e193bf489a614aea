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

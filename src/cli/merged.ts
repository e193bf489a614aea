/**
 * Merges calls of a task: calls during a run cause one more run after it. The last run begins
 * after the last call. `work` must not reject.
 */
export function createMerged(work: () => Promise<void>): () => void {
  let isRunning = false
  let isAskedAgain = false
  const run = async () => {
    isRunning = true
    do {
      isAskedAgain = false
      await work()
    } while (isAskedAgain)
    isRunning = false
  }
  return () => {
    if (isRunning) isAskedAgain = true
    else void run()
  }
}

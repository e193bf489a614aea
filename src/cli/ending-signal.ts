const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/** Calls `onSignal` when a signal is about to end this process, which then ends as it would have without it. */
export function onEndingSignal(onSignal: () => void): Disposable {
  const dispose = () => {
    for (const signal of SIGNALS) process.off(signal, end)
  }
  const end = (signal: NodeJS.Signals) => {
    dispose()
    onSignal()
    process.kill(process.pid, signal)
  }
  for (const signal of SIGNALS) process.on(signal, end)
  return { [Symbol.dispose]: dispose }
}

/** What a program does besides when a signal asks it to end. */
export interface SignalOptions {
  /** Runs while the supervisor closes: a gateway lets its answers out. */
  readonly alongside?: (() => Promise<void>) | undefined
  /** Exit code after an orderly close. @default 128 + the signal's number */
  readonly exitCode?: number | undefined
  /** Told of each signal before it is acted upon: `1` drains, `2` cuts requests off, `3` ends the process at once. */
  readonly onSignal?: ((count: number) => void) | undefined
  /** What SIGHUP does instead of ending the program: reads its configuration again, as daemons do. @default it ends it */
  readonly onHangup?: (() => void) | undefined
}

export interface SignalHandling extends SignalOptions {
  readonly close: (options: { readonly force: boolean }) => Promise<void>
  readonly killAllSync: () => void
}

/** 128 + the signal's number: what a shell reports for a process that a signal ended. */
const EXIT_CODES = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const

/**
 * Closes on SIGINT, SIGTERM and SIGHUP, and ends the process when that is done; the second signal forces it, the
 * third ends at once. Whatever ends the process, `killAllSync` runs last: no child survives an orderly exit.
 */
export function handleProcessSignals({
  close,
  killAllSync,
  alongside,
  exitCode,
  onHangup,
  onSignal: tell,
}: SignalHandling): Disposable {
  let count = 0
  const onSignal = (signal: NodeJS.Signals) => {
    if (signal === 'SIGHUP' && onHangup !== undefined && count === 0) return onHangup()
    count += 1
    tell?.(count)
    const signalCode = EXIT_CODES[signal as keyof typeof EXIT_CODES]
    if (count > 2) process.exit(signalCode)
    const ended = [close({ force: count > 1 }), alongside?.()]
    void Promise.allSettled(ended).then(() => process.exit(exitCode ?? signalCode))
  }
  const names = Object.keys(EXIT_CODES) as (keyof typeof EXIT_CODES)[]
  for (const name of names) process.on(name, onSignal)
  process.on('exit', killAllSync)
  return {
    [Symbol.dispose]: () => {
      for (const name of names) process.off(name, onSignal)
      process.off('exit', killAllSync)
    },
  }
}

import type { OutsideEnd, Presence } from '../../machines/messages.ts'
import { type Clock, delay, settledWithin } from '../clock.ts'
import { type Command, type CommandResult, runCommand } from './command.ts'
import type { ExitStatus } from './spawn.ts'

/** How a server that is not below `command` is asked about and ended: a container, a unit, a daemon's model. */
export interface OutsideCommands {
  /** Run in this order; each gets the rest of the time. */
  readonly stop: readonly Command[]
  /** Exit 0 with output: the server is there. Exit 0 without: it is gone. Anything else: that cannot be told. */
  readonly status?: Command
  /** Whether the server runs outside the tree of `command`, which may then exit while the server goes on. */
  readonly isExternal: boolean
  /** The longest that the stop commands may take together, in milliseconds. */
  readonly timeoutMs: number
}

export interface OutsideOptions {
  readonly commands: OutsideCommands
  readonly env: Readonly<Record<string, string>>
  readonly cwd?: string | undefined
  readonly clock: Clock
  /** Told once of what the status command prints of this run's server: it tells it from a namesake. */
  readonly onFound?: (id: string) => void
}

/** The server of one run outside of its tree. */
export interface Outside {
  /** Asks the status command once. Without one: `unknown`. */
  ask(): Promise<Presence>
  /** Asks until the server is there, so that its id is known, or until `until` settles or `end` is called. */
  find(until: Promise<unknown>): Promise<void>
  /** Whether the server goes on after its client has ended like this. */
  outlives(client: ExitStatus): Promise<boolean>
  /** Settles when the server is gone, seen twice, or when `end` was called and has ended. Without a status command: then. */
  gone(): Promise<void>
  /** Runs the stop commands, once whatever is asked later. */
  end(): Promise<void>
  /** `end`, and how it came out: it waits a moment for the server to go. `isListening`: whether its port is taken. */
  settle(isListening: () => Promise<boolean>): Promise<OutsideEnd>
  /** Runs the stop commands again and again, later each time, until the server is gone. */
  retry(isListening: () => Promise<boolean>, signal: AbortSignal): Promise<void>
  /** Whether the server may still be there after its end. */
  isLeft(): boolean
}

/** The longest that a status command may take, in milliseconds. */
const STATUS_TIMEOUT_MS = 5_000
/** Between two looks at a server whose client has exited, in milliseconds. */
const WATCH_MS = 5_000
/** A server counts as gone when two looks with this pause say so, in milliseconds. */
const CONFIRM_MS = 1_000
/** How long a server may still be there when its stop commands have ended, and the pause between two looks. */
const GONE_MS = 2_000
/** How long after the end of its client a server may come that was never seen, in milliseconds. */
const LATE_MS = 1_500
const LOOK_MS = 100
/** No timer: only `end` settles it. */
const NEVER_MS = Number.POSITIVE_INFINITY
/** The pause before the stop commands are run again doubles from the first to the last, in milliseconds. */
const RETRY_MS = 5_000
const MAX_RETRY_MS = 60_000

export function createOutside({ commands, env, cwd, clock, onFound = () => {} }: OutsideOptions): Outside {
  let ending: Promise<CommandResult> | undefined
  let isFound = false
  let isLeft = false
  let announceEnd = () => {}
  const asked = new Promise<void>((resolve) => {
    announceEnd = resolve
  })
  const options = { env, cwd, clock }
  let wake = () => {}
  void asked.then(() => wake())
  /** Until `end` is called, at the longest. A server is watched for days: no pause may add a listener to a promise. */
  const rest = (ms: number) =>
    new Promise<void>((resolve) => {
      const timer = clock.setTimeout(resolve, ending === undefined ? ms : 0)
      wake = () => {
        clock.clearTimeout(timer)
        resolve()
      }
    })

  const look = async (): Promise<{ presence: Presence; detail?: string | undefined }> => {
    if (commands.status === undefined) return { presence: 'unknown' }
    const { exitCode, output, detail } = await runCommand(commands.status, {
      ...options,
      timeoutMs: STATUS_TIMEOUT_MS,
    })
    if (exitCode !== 0) return { presence: 'unknown', detail }
    if (output !== '' && !isFound) {
      isFound = true
      onFound(output)
    }
    return { presence: output === '' ? 'gone' : 'there' }
  }
  const ask = async () => (await look()).presence
  /** All of them; the first one's result is told, because the others clean up behind it. */
  const runStop = async (): Promise<CommandResult> => {
    const deadlineMs = clock.now() + commands.timeoutMs
    const results: CommandResult[] = []
    for (const command of commands.stop) {
      const timeoutMs = deadlineMs - clock.now()
      if (timeoutMs > 0) results.push(await runCommand(command, { ...options, timeoutMs }))
    }
    return results[0] ?? { exitCode: null, output: '' }
  }
  /** A client that was ended early has ordered a server that may come yet. Settles when it is there, or will not come. */
  const untilLate = async () => {
    const deadlineMs = clock.now() + LATE_MS
    while (!isFound && clock.now() < deadlineMs) {
      await delay(clock, LOOK_MS)
      await look()
    }
  }
  const runOnce = () => {
    announceEnd()
    ending ??= runStop()
    return ending
  }
  const judge = async (
    { exitCode, detail }: CommandResult,
    isListening: () => Promise<boolean>,
  ): Promise<OutsideEnd> => {
    const deadlineMs = clock.now() + GONE_MS
    for (;;) {
      const seen = commands.status === undefined ? undefined : await look()
      const status = seen?.presence ?? ((await isListening()) ? 'there' : 'gone')
      if (status === 'gone' || clock.now() >= deadlineMs) {
        isLeft = status !== 'gone'
        const why = seen?.detail ?? detail
        return { exitCode, status, ...(status === 'gone' || why === undefined ? {} : { detail: why }) }
      }
      await delay(clock, LOOK_MS)
    }
  }

  return {
    ask,
    async find(until) {
      let isOver = false
      const over = Promise.race([until, asked])
      void over.then(() => {
        isOver = true
      })
      for (let pauseMs = CONFIRM_MS; commands.status !== undefined && !isFound && !isOver; pauseMs *= 2) {
        await settledWithin(clock, over, Math.min(pauseMs, WATCH_MS))
        if (!isOver) await look()
      }
    },
    async outlives({ exitCode, signal }) {
      if (!commands.isExternal || ending !== undefined) return false
      const presence = await ask()
      // A command that only gives an order ends before its server is there.
      if (commands.status === undefined || (exitCode === 0 && !isFound)) return exitCode === 0
      // A client that could not do its work ends with a code of its own, one that was killed with a signal.
      return presence === 'unknown' ? exitCode === 0 || signal !== null : presence === 'there'
    },
    async gone() {
      let pauseMs = CONFIRM_MS
      for (let goneLooks = 0; goneLooks < 2; ) {
        await rest(commands.status === undefined ? NEVER_MS : pauseMs)
        if (ending !== undefined) return void (await ending)
        const presence = await ask()
        goneLooks = presence === 'gone' && isFound ? goneLooks + 1 : 0
        pauseMs = presence === 'gone' ? CONFIRM_MS : WATCH_MS
      }
    },
    end: async () => void (await runOnce()),
    async settle(isListening) {
      const first = await runOnce()
      if (commands.status !== undefined && !isFound) await untilLate()
      const end = await judge(first, isListening)
      // What the client had ordered may have come after the stop commands.
      return end.status === 'gone' ? end : judge(await runStop(), isListening)
    },
    async retry(isListening, signal) {
      const aborted = new Promise<void>((resolve) => {
        signal.addEventListener('abort', () => resolve(), { once: true })
      })
      for (let pauseMs = RETRY_MS; !signal.aborted; pauseMs = Math.min(pauseMs * 2, MAX_RETRY_MS)) {
        await settledWithin(clock, aborted, pauseMs)
        if (signal.aborted) return
        const { status } = await judge(await runStop(), isListening)
        if (status === 'gone') return
      }
    },
    isLeft: () => isLeft,
  }
}

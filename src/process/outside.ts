import type { OutsideEnd, Presence } from '../../machines/messages.ts'
import { LATE_LOOKS, LATE_MS } from '../../machines/run.ts'
import type { Amounts } from '../../machines/scheduler.ts'
import { type Clock, delay } from '../clock.ts'
import { type Command, type CommandResult, runCommand } from './command.ts'

/** How a server that is not below `command` is asked about and ended: a container, a unit, a daemon's model. */
export interface OutsideCommands {
  /** Run in this order; each gets the rest of the time. */
  readonly stop: readonly Command[]
  /** Exit 0 with output: the server is there. Exit 0 without: it is gone. Anything else: that cannot be told. */
  readonly status?: Command
  /** Whether the server runs outside the tree of `command`, which may then exit while the server goes on. */
  readonly isExternal: boolean
  /** Whether it is a model of a daemon, which may unload it by itself. @default false */
  readonly isModel?: boolean
  /**
   * How long a daemon may go on with the load of a model whose client was ended, in milliseconds.
   * @default `0`: it ends with its client
   */
  readonly loadOutlastsMs?: number
  /** Tells the same as `status`, without a process for each look. @default `status` is run */
  readonly look?: () => Promise<Presence>
  /** The parts of shared limits that the server holds: for the supervisor that finds it after our death. */
  readonly needs?: Amounts
  /** The longest that the stop commands may take together, in milliseconds. */
  readonly timeoutMs: number
}

export interface OutsideOptions {
  readonly commands: OutsideCommands
  readonly env: Readonly<Record<string, string>>
  readonly cwd?: string | undefined
  readonly clock: Clock
  /** Told what the status command prints of this run's server, with each look: it tells it from a namesake. */
  readonly onFound?: (id: string) => void
}

/** The commands of the server of one run outside of its tree. When each is run, `machines/run.ts` says. */
export interface Outside {
  /** Asks the status command once. Without one: `unknown`. */
  ask(): Promise<Presence>
  /** Runs the stop commands, once whatever is asked later. `isAgain`: once more, because the server came after them. */
  end(isAgain?: boolean): Promise<void>
  /**
   * `end`, and how it came out: it waits a moment for the server to go, and tries twice. `isFound`: whether the server
   * was ever seen. `isListening`: whether its port is taken. `isLoadOpen`: its daemon may go on with the load, so a model
   * that is not there proves nothing.
   */
  settle(isListening: () => Promise<boolean>, isFound: boolean, isLoadOpen?: boolean): Promise<OutsideEnd>
  /** Runs the stop commands once more. */
  retry(isListening: () => Promise<boolean>): Promise<OutsideEnd>
}

/** The longest that a status command may take, in milliseconds. */
const STATUS_TIMEOUT_MS = 5_000
/** Why nothing is known of a model that is not there. */
const LOAD_OPEN = 'its daemon has not answered the load of the model, and may go on with it'
/** How long a server may still be there when its stop commands have ended, and the pause between two looks. */
const GONE_MS = 2_000
const LOOK_MS = 100

export function createOutside({ commands, env, cwd, clock, onFound = () => {} }: OutsideOptions): Outside {
  let ending: Promise<CommandResult> | undefined
  const options = { env, cwd, clock }

  const look = async (): Promise<{ presence: Presence; detail?: string | undefined }> => {
    if (commands.look !== undefined) return { presence: await commands.look() }
    if (commands.status === undefined) return { presence: 'unknown' }
    const { exitCode, output, detail } = await runCommand(commands.status, {
      ...options,
      timeoutMs: STATUS_TIMEOUT_MS,
    })
    if (exitCode !== 0) return { presence: 'unknown', detail }
    if (output === '') return { presence: 'gone' }
    onFound(output)
    return { presence: 'there' }
  }
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
  const runOnce = (isAgain = false) => {
    if (ending === undefined || isAgain) ending = runStop()
    return ending
  }
  /** A client that was ended early has ordered a server that may come yet. Settles when it is there, or will not come. */
  const untilLate = async () => {
    const hungAtMs = clock.now() + LATE_LOOKS * LATE_MS
    for (let looks = 0; looks < LATE_LOOKS; looks += 1) {
      await delay(clock, LATE_MS)
      const { presence } = await look()
      // An engine that hangs is not waited for look by look: its server counts as left, and is ended by a later try.
      if (presence === 'there' || (presence === 'unknown' && clock.now() >= hungAtMs)) return
    }
  }
  const judge = async (
    { exitCode, detail }: CommandResult,
    isListening: () => Promise<boolean>,
    earlier: OutsideEnd['exitCodes'] = [],
  ): Promise<OutsideEnd> => {
    const exitCodes = [...earlier, exitCode]
    const deadlineMs = clock.now() + GONE_MS
    for (;;) {
      const seen = commands.status === undefined ? undefined : await look()
      const status = seen?.presence ?? ((await isListening()) ? 'there' : 'gone')
      if (status === 'gone' || clock.now() >= deadlineMs) {
        const why = seen?.detail ?? detail
        return { exitCodes, status, ...(status === 'gone' || why === undefined ? {} : { detail: why }) }
      }
      await delay(clock, LOOK_MS)
    }
  }

  return {
    ask: async () => (await look()).presence,
    end: async (isAgain) => void (await runOnce(isAgain)),
    async settle(isListening, isFound, isLoadOpen = false) {
      const first = await runOnce()
      if (commands.status !== undefined && !isFound) await untilLate()
      const end = await judge(first, isListening)
      if (end.status === 'gone' && isLoadOpen) return { ...end, status: 'unknown', detail: LOAD_OPEN }
      // What the client had ordered may have come after the stop commands.
      return end.status === 'gone' ? end : judge(await runStop(), isListening, end.exitCodes)
    },
    retry: async (isListening) => judge(await runStop(), isListening),
  }
}

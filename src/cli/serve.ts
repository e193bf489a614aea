import { closeSync, openSync } from 'node:fs'
import { type Logger, pino } from 'pino'
import { EMPTY } from 'rxjs'
import { systemClock } from '../clock.ts'
import type { Config } from '../config/config.ts'
import { listSecretValues } from '../config/secret-values.ts'
import { createFileWatch } from '../config/watch.ts'
import { describeState } from '../explanation/naming.ts'
import { toCount } from '../explanation/phrases.ts'
import { createGateway, type GatewayAddress } from '../gateway/server.ts'
import { createRecorder, type Recorder } from '../observe/recorder.ts'
import type { ModelListing } from '../service/model-list.ts'
import type { ServiceSnapshot } from '../service/snapshot.ts'
import type { Supervisor } from '../supervisor/interface.ts'
import { createSupervisor } from '../supervisor/supervisor.ts'
import { toDurationText } from '../text/duration.ts'
import { createScrubber } from '../text/scrubber.ts'
import { findConfigurationFile, loadConfiguration, tellDemo } from './configuration.ts'
import { DEMO_NAME } from './demo-config.ts'
import { exitCodes, formatProblem, UsageError } from './exit-codes.ts'
import { tuneHeap } from './heap.ts'
import { createLifecycle } from './lifecycle.ts'
import { formatLogLine, type LogFormat } from './log-lines.ts'
import { createMerged } from './merged.ts'
import { createProgress, type Progress } from './progress.ts'
import { escapeJson, escapeText, formatTable, type Terminal } from './terminal.ts'
import { formatTimeOfDay } from './words.ts'

export interface ServeOptions {
  readonly config?: string
  readonly host?: string
  readonly port?: number
  readonly json?: boolean
  /** Whether the configuration is reloaded when one of its files changes. @default false */
  readonly watch?: boolean
  /** The file that records every event. Absent: none. */
  readonly record?: string
  /** Level of the log on stderr. Absent: no log. */
  readonly logLevel?: string
  /** @default 'pretty' on a terminal, else 'json' */
  readonly logFormat?: LogFormat
}

/** Values that must not appear in any log line. */
const SECRETS = ['authorization', 'apiKey', 'apiKeys', 'env', 'headers', 'token'].flatMap((name) => [
  name,
  `*.${name}`,
  `*.*.${name}`,
])

/** `leasehold serve`: the gateway, until a signal ends it. Settles when everything is stopped. */
export async function serve(options: ServeOptions, version: string, given: Terminal): Promise<number> {
  const terminal = given.unblocked?.() ?? given
  const file = findConfigurationFile(options.config, terminal.env) ?? DEMO_NAME
  if (options.watch && file === DEMO_NAME)
    throw new UsageError(
      `There is no file to watch: the configuration is ${DEMO_NAME}. Name one with --config.`,
    )
  const watch = options.watch ? createFileWatch(file, systemClock) : undefined
  const load = async () => {
    const read = new Set([file])
    const config = await loadConfiguration(file, terminal.env, options, (one) => {
      read.add(one)
      watch?.add(one)
    })
    // Not after a failure: the repair may be in one of the old files.
    watch?.keepOnly(read)
    return config
  }
  tellDemo(options.config, terminal)
  const config = await load()
  for (const problem of config.problems) terminal.note(formatProblem(config.file, problem))
  // Orphans of the servers become children of process 1, which does not collect them here.
  if (process.pid === 1)
    terminal.note(
      'leasehold is process 1, which has to collect ended processes of others and does not: zombies may pile up. Run it under an init, for one with "docker run --init".',
    )
  const logger = createLogger(options, listSecretValues(config, terminal.env), terminal)
  const reload = createMerged(async () => {
    try {
      await supervisor.replaceConfig(load())
      for (const problem of supervisor.config.problems) terminal.note(formatProblem(file, problem))
    } catch {
      // Reported by events: the configuration was refused, or the supervisor is closed.
    }
  })
  const handleSignals = {
    alongside: async () => {
      await gateway.close()
      await recorder?.written
    },
    // systemd treats any code but 0 as a failure, and a stop on request is a success.
    exitCode: exitCodes.ok,
    onSignal: (count: number) => {
      if (options.json) return
      const text = describeSignal(count, supervisor.snapshot().services, terminal.isOutInteractive)
      progress.aside(() => terminal.line(`${formatTimeOfDay(new Date())}  leasehold  ${escapeText(text)}`))
    },
    ...(hasControllingTerminal() ? {} : { onHangup: reload }),
  }
  tuneHeap()
  const supervisor = createSupervisor({ config, handleSignals, logger, name: 'serve' })
  const progress = createProgress(supervisor.events$, terminal)
  const recorder =
    options.record === undefined ? undefined : record(supervisor, options.record, version, terminal)
  const gateway = createGateway({ supervisor, host: options.host, port: options.port, version, logger })
  try {
    const address = await gateway.listen()
    if (options.json) terminal.json({ type: 'gateway.listening', ...address, config: config.file })
    else printWelcome(terminal, { config, address, models: supervisor.models() })
  } catch (error) {
    progress.close()
    await supervisor.close({ force: true })
    throw error
  }
  const watching = (watch?.changes$ ?? EMPTY).subscribe(reload)
  await follow(supervisor.events$, progress, options, terminal)
  watching.unsubscribe()
  await recorder?.written
  await gateway.close()
  return exitCodes.ok
}

/** @throws {@link UsageError} if the file cannot be created */
function record(supervisor: Supervisor, file: string, version: string, terminal: Terminal): Recorder {
  try {
    return createRecorder(supervisor, { file, version, onEnd: ({ message }) => terminal.note(message) })
  } catch (cause) {
    throw new UsageError(
      `The recording ${file} cannot be made: ${cause instanceof Error ? cause.message : cause}`,
      {
        cause,
      },
    )
  }
}

/** Prints lifecycle events until the supervisor is closed. */
function follow(
  events$: SupervisorEvents,
  progress: Progress,
  { json }: ServeOptions,
  terminal: Terminal,
): Promise<void> {
  const lifecycle = createLifecycle(terminal)
  return new Promise((resolve) => {
    events$.subscribe({
      next: (event) => {
        if (json) return terminal.json(event)
        const line = lifecycle.toLine(event)
        if (line !== undefined) progress.aside(() => terminal.line(line))
      },
      complete: () => {
        progress.close()
        resolve()
      },
    })
  })
}

/**
 * Whether there is a controlling terminal: then SIGHUP means that it was closed, and ends the program. Without one,
 * as under a service manager, SIGHUP asks for a reload of the configuration.
 */
function hasControllingTerminal(): boolean {
  if (process.platform === 'win32') return true
  try {
    closeSync(openSync('/dev/tty', 'r'))
    return true
  } catch {
    return false
  }
}

type SupervisorEvents = ReturnType<typeof createSupervisor>['events$']

/** Masks secrets by name and by value. Events of a later configuration come without its secrets. */
function createLogger(
  { logLevel, logFormat }: ServeOptions,
  secrets: readonly string[],
  terminal: Terminal,
): Logger | undefined {
  const format = logFormat ?? (terminal.isErrInteractive ? 'pretty' : 'json')
  // A format implies a log.
  const level = logLevel ?? (logFormat === undefined ? undefined : 'info')
  if (level === undefined) return undefined
  const { value } = createScrubber(secrets)
  const options = {
    level,
    redact: { paths: SECRETS, censor: '***' },
    hooks: { streamWrite: (line: string) => escapeJson(value(line)) },
  }
  if (format === 'json') return pino(options, { write: terminal.err })
  return pino(options, { write: (line: string) => terminal.err(`${formatLogLine(line, terminal)}\n`) })
}

interface Welcome {
  readonly config: Config
  readonly address: GatewayAddress
  readonly models: readonly ModelListing[]
}

function printWelcome(terminal: Terminal, { config, address, models }: Welcome): void {
  const hasKey = config.leasehold.apiKeys.length > 0
  const from = config.file === DEMO_NAME ? `${DEMO_NAME} (see leasehold serve --help)` : config.file
  terminal.line(`${terminal.paint('bold', 'leasehold')} listens on ${terminal.paint('cyan', address.url)}`)
  const rowsOfWelcome = [
    ['page', `${address.url}/`],
    ['clients', `base URL ${address.url}/v1, ${hasKey ? 'with one of your API keys' : 'with any API key'}`],
    ['configuration', from],
    ['to stop', terminal.isOutInteractive ? 'Ctrl-C' : `kill ${process.pid}`],
  ]
  for (const row of formatTable(rowsOfWelcome)) terminal.line(`  ${row}`)
  terminal.line()
  terminal.line('models:')
  const rows = models.map((model) => [
    escapeText(model.id),
    escapeText(model.aliases.join(', ')),
    model.default ? 'default' : '',
    escapeText(
      model.unavailable === undefined ? describeState(model.state) : `unavailable: ${model.unavailable}`,
    ),
  ])
  for (const row of formatTable(rows)) terminal.line(`  ${row}`)
  if (rows.length === 0)
    terminal.line('  none listed: a provider without a list takes any model, as PROVIDER/MODEL')
  terminal.line()
  const usable = models.filter((one) => one.unavailable === undefined)
  const model = usable.find((one) => one.default) ?? usable[0]
  if (model === undefined) return
  terminal.line(`try it${hasKey ? ', with your API key in LEASEHOLD_API_KEY' : ''}:`)
  terminal.line(`  ${formatCurl({ url: address.url, model: model.id, hasKey, isStream: false })}`)
  terminal.line(`  ${formatCurl({ url: address.url, model: model.id, hasKey, isStream: true })}`)
  terminal.line()
}

/** The effect of the first, second or third signal that ends `serve`, and of the next one. */
export function describeSignal(
  count: number,
  services: readonly Pick<ServiceSnapshot, 'service' | 'leases' | 'policy'>[],
  isInteractive: boolean,
): string {
  const signal = isInteractive ? 'Ctrl-C' : 'signal'
  const used = services.filter(({ leases }) => leases > 0)
  const leases = used.reduce((sum, service) => sum + service.leases, 0)
  if (count > 2) return 'ends at once'
  if (count === 2)
    return `${leases === 0 ? 'stops' : `cuts off ${toCount(leases, 'request')}`}; a third ${signal} ends it at once`
  if (leases === 0) return 'stops'
  const names = used.map(({ service }) => service).join(', ')
  const drainMs = Math.max(...used.map(({ policy }) => policy.drainTimeoutMs))
  return `stops; waits at most ${toDurationText(drainMs)} for ${toCount(leases, 'request')} (${names}); a second ${signal} cuts off what is left`
}

interface CurlOptions {
  readonly url: string
  readonly model: string
  readonly hasKey: boolean
  readonly isStream: boolean
}

/** A line for a POSIX shell that sends a request to the model. */
export function formatCurl({ url, model, hasKey, isStream }: CurlOptions): string {
  const body = JSON.stringify({
    model,
    messages: [{ role: 'user', content: 'What is 6 * 7?' }],
    ...(isStream ? { stream: true } : {}),
  })
  const key = hasKey ? ` -H "authorization: Bearer $LEASEHOLD_API_KEY"` : ''
  return `curl ${isStream ? '-N' : '-s'} ${url}/v1/chat/completions -H 'content-type: application/json'${key} -d ${quoteForShell(body)}`
}

function quoteForShell(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`
}

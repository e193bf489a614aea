import { setTimeout as wait } from 'node:timers/promises'
import { describeNextBriefly } from '../explanation/next.ts'
import { toWatchdogText } from '../explanation/words.ts'
import type { Guest } from '../peers/guests.ts'
import type { ServiceSnapshot, SupervisorSnapshot } from '../service/snapshot.ts'
import { toDurationText } from '../text/duration.ts'
import { loadConfiguration } from './configuration.ts'
import { exitCodes } from './failures.ts'
import { connectToGateway, readAnswer } from './gateway-client.ts'
import { toFailureLine, toRefusalText } from './lifecycle.ts'
import { type Terminal, toSafeText, toTable } from './print.ts'
import { openScreen, type Screen } from './screen.ts'
import { toOwnerText, toStateText } from './words.ts'

export interface StatusOptions {
  readonly config?: string
  readonly gateway?: string
  readonly watch?: boolean
  readonly json?: boolean
}

/** Time between two looks with `--watch`, in milliseconds: fine enough for a countdown in seconds. */
const WATCH_EVERY_MS = 500

/** `leasehold status`: every service of the running gateway as it stands; with `--watch` until a signal ends it. */
export async function showStatus(options: StatusOptions, terminal: Terminal): Promise<number> {
  const config = await loadConfiguration(options.config, terminal.env)
  const gateway = await connectToGateway(config, terminal.env, options.gateway)
  const { watch, json } = options
  const hasWindow = watch && !json && terminal.isOutInteractive && terminal.env.TERM !== 'dumb'
  let screen: Screen | undefined
  try {
    do {
      const path = '/api/services'
      const snapshot = (await gateway.ask({ path })) as SupervisorSnapshot
      if (hasWindow) {
        screen ??= openScreen(terminal)
        screen.draw(readAnswer(path, () => toFittingLines(snapshot, terminal)))
      } else if (json) terminal.json(snapshot)
      else terminal.out(`${readAnswer(path, () => toStatusLines(snapshot, terminal)).join('\n')}\n`)
      if (watch) await wait(WATCH_EVERY_MS)
    } while (watch)
  } finally {
    screen?.close()
    gateway.close()
  }
  return exitCodes.ok
}

/** As much as the window holds: where there is no room for reasons, one line for each service; and how many are left. */
export function toFittingLines(snapshot: SupervisorSnapshot, terminal: Terminal): string[] {
  const { rows } = terminal.size()
  const full = toStatusLines(snapshot, terminal)
  if (full.length <= rows) return full
  const brief = toStatusLines(snapshot, terminal, { isBrief: true })
  if (brief.length <= rows) return brief
  const left = brief.length - rows + 1
  return [...brief.slice(0, rows - 1), terminal.paint('dim', `… and ${left} more: make the window larger`)]
}

/** The services as a table, each with its reason and its last failure below it; `isBrief`: without those. */
export function toStatusLines(
  { services, config, watchdog }: SupervisorSnapshot,
  terminal: Terminal,
  { isBrief = false }: { readonly isBrief?: boolean } = {},
): string[] {
  // A gateway of an earlier version does not tell them.
  const unavailable = (config.unavailable ?? []).map(({ provider, reason }) =>
    terminal.paint('yellow', toSafeText(`${provider}: unavailable: ${reason}`).replaceAll('\n', ' ')),
  )
  const rows =
    services.length === 0 && unavailable.length > 0 ? [] : toTableLines(services, terminal, isBrief)
  // A gateway of an earlier version does not tell it.
  const problem = watchdog?.problem ?? null
  const unwatched = problem === null ? [] : [terminal.paint('red', toSafeText(toWatchdogText(problem)))]
  const table = [...rows, ...unavailable, ...unwatched]
  if (config.refusal === null) return table
  const text = `${config.file}: refused at ${config.refusal.time}: ${toRefusalText(config.refusal)}`
  return [...table, terminal.paint('red', toSafeText(text)), 'The configuration before it is still in force.']
}

function toTableLines(services: readonly ServiceSnapshot[], terminal: Terminal, isBrief: boolean): string[] {
  if (services.length === 0) return ['No service is configured.']
  const head = ['SERVICE', 'STATE', 'FOR', 'RUN BY', 'PID', 'LEASES', 'QUEUE', 'NEXT']
  const [first = '', ...lines] = toTable([head, ...services.map(toRow)])
  if (isBrief) return [terminal.paint('bold', first), ...lines]
  return [
    terminal.paint('bold', first),
    ...lines.flatMap((line, index) => {
      const { failure = null, why = null, whyText = '' } = services[index] ?? {}
      return [
        line,
        ...(why === null
          ? []
          : [terminal.paint('dim', `  because ${toSafeText(whyText).replaceAll('\n', ' ')}`)]),
        // A failure that is the reason is told already.
        ...(failure === null || why?.kind === 'failed'
          ? []
          : [terminal.paint('yellow', `  last failure: ${toFailureLine(failure)}`)]),
      ]
    }),
  ]
}

/** One service as the cells of the table. */
function toRow(service: ServiceSnapshot): string[] {
  return [
    toSafeText(service.service),
    toStateText(service.state),
    toDurationText(service.inStateMs),
    toOwnerText(service),
    service.pid === null ? '' : String(service.pid),
    [service.leases, ...service.guests.filter(({ leases }) => leases > 0).map(toLentText)].join(', '),
    String(service.queue.length),
    describeNextBriefly(service),
  ]
}

/** The part of the leases that another supervisor holds: `1 of infer (process 7)`. */
function toLentText({ leases, name, pid }: Guest): string {
  return `${leases} of ${toSafeText(name)} (process ${pid})`
}

import { setTimeout as wait } from 'node:timers/promises'
import { toDurationText } from '../duration.ts'
import { toNextText } from '../explanation/next.ts'
import type { Guest } from '../supervisor/guests.ts'
import type { ServiceSnapshot, SupervisorSnapshot } from '../supervisor/snapshot.ts'
import { loadConfiguration } from './configuration.ts'
import { exitCodes } from './failures.ts'
import { connectToGateway, type GatewayClient } from './gateway-client.ts'
import { toFailureLine, toRefusalText } from './lifecycle.ts'
import { type Terminal, toSafeText, toTable } from './print.ts'
import { toOwnerText, toStateText } from './words.ts'

export interface StatusOptions {
  readonly config?: string
  readonly gateway?: string
  readonly watch?: boolean
  readonly json?: boolean
}

/** Time between two looks with `--watch`, in milliseconds: fine enough for a countdown in seconds. */
const WATCH_EVERY_MS = 500
/** Each line is written over the one of the look before, and what is left of that is cleared: nothing flickers. */
const TO_TOP = '\x1b[H'
const CLEAR_REST_OF_LINE = '\x1b[K\n'
const CLEAR_BELOW = '\x1b[J'

/** `leasehold status`: every service of the running gateway as it stands; with `--watch` until a signal ends it. */
export async function showStatus(options: StatusOptions, terminal: Terminal): Promise<number> {
  const config = await loadConfiguration(options.config, terminal.env)
  const gateway = await connectToGateway(config, terminal.env, options.gateway)
  try {
    await show(gateway, options, terminal)
    while (options.watch) {
      await wait(WATCH_EVERY_MS)
      await show(gateway, options, terminal)
    }
  } finally {
    await gateway.close()
  }
  return exitCodes.ok
}

async function show(
  gateway: GatewayClient,
  { json, watch }: StatusOptions,
  terminal: Terminal,
): Promise<void> {
  const snapshot = (await gateway.ask({ path: '/api/services' })) as SupervisorSnapshot
  if (json) return terminal.json(snapshot)
  const lines = toStatusLines(snapshot, terminal)
  if (!watch || !terminal.isOutInteractive) return terminal.out(`${lines.join('\n')}\n`)
  terminal.out(`${TO_TOP}${lines.map((line) => line + CLEAR_REST_OF_LINE).join('')}${CLEAR_BELOW}`)
}

/** The services as a table, each with its last failure below it. */
export function toStatusLines({ services, config }: SupervisorSnapshot, terminal: Terminal): string[] {
  if (config.refusal === null) return toTableLines(services, terminal)
  const text = `${config.file}: refused at ${config.refusal.time}: ${toRefusalText(config.refusal)}`
  return [
    ...toTableLines(services, terminal),
    terminal.paint('red', toSafeText(text)),
    'The configuration before it is still in force.',
  ]
}

function toTableLines(services: readonly ServiceSnapshot[], terminal: Terminal): string[] {
  if (services.length === 0) return ['No service is configured.']
  const head = ['SERVICE', 'STATE', 'FOR', 'RUN BY', 'PID', 'LEASES', 'QUEUE', 'NEXT']
  const [first = '', ...lines] = toTable([head, ...services.map(toRow)])
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
    toNextText(service),
  ]
}

/** The part of the leases that another supervisor holds: `1 of infer (process 7)`. */
function toLentText({ leases, name, pid }: Guest): string {
  return `${leases} of ${toSafeText(name)} (process ${pid})`
}

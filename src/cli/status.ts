import { setTimeout as wait } from 'node:timers/promises'
import { describeFailure } from '../explanation/event-text.ts'
import { describeState } from '../explanation/naming.ts'
import { describeEndBriefly, describeNextBriefly } from '../explanation/next.ts'
import { describeRefusal, describeWatchdog } from '../explanation/phrases.ts'
import type { Guest } from '../peers/guests.ts'
import type { ServiceSnapshot, SupervisorSnapshot } from '../service/snapshot.ts'
import { toDurationText } from '../text/duration.ts'
import { loadConfiguration } from './configuration.ts'
import { exitCodes } from './exit-codes.ts'
import { connectToGateway, readAnswer } from './gateway-client.ts'
import { formatSize } from './init/draft.ts'
import { listClusterServiceLines, listMemberLines, type Members } from './members-command.ts'
import { openScreen, type Screen } from './screen.ts'
import { escapeText, formatTable, type Terminal } from './terminal.ts'
import { describeOwner } from './words.ts'

export interface StatusOptions {
  readonly config?: string
  readonly gateway?: string
  readonly watch?: boolean
  /** The services of every member of the cluster. */
  readonly all?: boolean
  readonly json?: boolean
}

/** Time between two looks with `--watch`, in milliseconds: fine enough for a countdown in seconds. */
const WATCH_EVERY_MS = 500

/** `leasehold status`: every service of the running gateway; with `--watch` until a signal ends it. */
export async function showStatus(options: StatusOptions, terminal: Terminal): Promise<number> {
  const config = await loadConfiguration(options.config, terminal.env)
  const gateway = await connectToGateway(config, terminal.env, options.gateway)
  const { watch, json, all } = options
  const hasWindow = watch && !all && !json && terminal.isOutInteractive && terminal.env.TERM !== 'dumb'
  const path = all ? '/api/members' : '/api/services'
  let screen: Screen | undefined
  try {
    do {
      const answer = await gateway.ask({ path })
      if (hasWindow) {
        screen ??= openScreen(terminal)
        screen.draw(readAnswer(path, () => listFittingLines(answer as SupervisorSnapshot, terminal)))
      } else if (json) terminal.json(answer)
      else {
        const lines = readAnswer(path, () =>
          all
            ? listEveryMember(answer as Members, terminal)
            : listStatusLines(answer as SupervisorSnapshot, terminal),
        )
        terminal.out(`${lines.join('\n')}\n`)
      }
      if (watch) await wait(WATCH_EVERY_MS)
    } while (watch)
  } finally {
    screen?.close()
    gateway.close()
  }
  return exitCodes.ok
}

function listEveryMember(members: Members, terminal: Terminal): string[] {
  return members.members.length === 0
    ? listMemberLines(members, terminal)
    : listClusterServiceLines(members, terminal)
}

/** The lines that fit into the window: without room for reasons, one line per service; and how many are left out. */
export function listFittingLines(snapshot: SupervisorSnapshot, terminal: Terminal): string[] {
  const { rows } = terminal.size()
  const full = listStatusLines(snapshot, terminal)
  if (full.length <= rows) return full
  const brief = listStatusLines(snapshot, terminal, { isBrief: true })
  if (brief.length <= rows) return brief
  const left = brief.length - rows + 1
  return [...brief.slice(0, rows - 1), terminal.paint('dim', `… and ${left} more: make the window larger`)]
}

/** The services as a table, each with its reason and its last failure below it; not with `isBrief`. */
export function listStatusLines(
  { services, config, watchdog }: SupervisorSnapshot,
  terminal: Terminal,
  { isBrief = false }: { readonly isBrief?: boolean } = {},
): string[] {
  // A gateway of an earlier version does not send them.
  const unavailable = (config.unavailable ?? []).map(({ provider, reason }) =>
    terminal.paint('yellow', escapeText(`${provider}: unavailable: ${reason}`).replaceAll('\n', ' ')),
  )
  const rows =
    services.length === 0 && unavailable.length > 0 ? [] : listTableLines(services, terminal, isBrief)
  // A gateway of an earlier version does not send it.
  const problem = watchdog?.problem ?? null
  const unwatched = problem === null ? [] : [terminal.paint('red', escapeText(describeWatchdog(problem)))]
  const table = [...rows, ...unavailable, ...unwatched]
  if (config.refusal === null) return table
  const text = `${config.file}: refused at ${config.refusal.time}: ${describeRefusal(config.refusal)}`
  return [...table, terminal.paint('red', escapeText(text)), 'The configuration before it is still in force.']
}

function listTableLines(
  services: readonly ServiceSnapshot[],
  terminal: Terminal,
  isBrief: boolean,
): string[] {
  if (services.length === 0) return ['No service is configured.']
  const head = ['SERVICE', 'STATE', 'FOR', 'RUN BY', 'PID', 'MEMORY', 'LEASES', 'QUEUE', 'NEXT', 'MODELS']
  const [first = '', ...lines] = formatTable([head, ...services.map(buildRow)])
  if (isBrief) return [terminal.paint('bold', first), ...lines]
  return [
    terminal.paint('bold', first),
    ...lines.flatMap((line, index) => {
      const { failure = null, why = null, whyText = '' } = services[index] ?? {}
      return [
        line,
        ...(why === null
          ? []
          : [terminal.paint('dim', `  because ${escapeText(whyText).replaceAll('\n', ' ')}`)]),
        // The reason already contains this failure.
        ...(failure === null || why?.kind === 'failed'
          ? []
          : [terminal.paint('yellow', `  last failure: ${describeFailure(failure)}`)]),
      ]
    }),
  ]
}

/** One service as the cells of the table. */
function buildRow(service: ServiceSnapshot): string[] {
  return [
    escapeText(service.service),
    describeState(service.state),
    toDurationText(service.inStateMs),
    describeOwner(service),
    service.pid === null ? '' : String(service.pid),
    describeMemory(service),
    [service.leases, ...service.guests.filter(({ leases }) => leases > 0).map(describeLent)].join(', '),
    String(service.queue.length),
    describeNextBriefly(service) || describeEndBriefly(service),
    describeModels(service),
  ]
}

/** The memory of its processes, and of GPUs where that is known. */
function describeMemory({ memory }: ServiceSnapshot): string {
  // A gateway of an earlier version does not send it.
  if (memory === null || memory === undefined) return ''
  const gpu = memory.gpuBytes === null ? '' : ` + ${formatSize(memory.gpuBytes)} GPU`
  return `${formatSize(memory.bytes)}${gpu}`
}

/** Longest list of models in a row, in characters. */
const MAX_MODELS = 48

/** The names of its models, each with its aliases. */
function describeModels({ models = [], providers }: ServiceSnapshot): string {
  const names = models.map(({ id, aliases }) => {
    const provider = providers.find((one) => id.startsWith(`${one}/`))
    const name = provider === undefined ? id : id.slice(provider.length + 1)
    return aliases.length === 0 ? name : `${name} (${aliases.join(', ')})`
  })
  const text = escapeText(names.join(', '))
  return text.length <= MAX_MODELS ? text : `${text.slice(0, MAX_MODELS - 1)}…`
}

/** The part of the leases that another supervisor holds: `1 of infer (process 7)`. */
function describeLent({ leases, name, pid }: Guest): string {
  return `${leases} of ${escapeText(name)} (process ${pid})`
}

import type { MemberListing } from '../cluster/joined-cluster.ts'
import { toDurationText } from '../text/duration.ts'
import { loadConfiguration } from './configuration.ts'
import { exitCodes } from './exit-codes.ts'
import { connectToGateway, readAnswer } from './gateway-client.ts'
import { escapeText, formatTable, type Style, type Terminal } from './terminal.ts'

export interface MembersOptions {
  readonly config?: string
  readonly gateway?: string
  readonly json?: boolean
}

/** The answer of `GET /api/members`. */
export interface Members {
  readonly self: string | null
  readonly isDraining: boolean
  readonly members: readonly MemberListing[]
}

/** `leasehold members`: the machines of the cluster, this one first. */
export async function showMembers(options: MembersOptions, terminal: Terminal): Promise<number> {
  return askMembers({ path: '/api/members' }, options, terminal)
}

/** `leasehold drain`: this machine takes no new requests; with `--undo` it does again. */
export async function drainMember(
  options: MembersOptions & { readonly undo?: boolean },
  terminal: Terminal,
): Promise<number> {
  const body = JSON.stringify(options.undo ? { undo: true } : {})
  return askMembers({ path: '/api/drain', body }, options, terminal)
}

async function askMembers(
  request: { readonly path: string; readonly body?: string },
  options: MembersOptions,
  terminal: Terminal,
): Promise<number> {
  const config = await loadConfiguration(options.config, terminal.env)
  const gateway = await connectToGateway(config, terminal.env, options.gateway)
  try {
    const answer = (await gateway.ask(request)) as Members
    if (options.json) terminal.json(answer)
    else
      for (const line of readAnswer(request.path, () => listMemberLines(answer, terminal)))
        terminal.line(line)
    return exitCodes.ok
  } finally {
    gateway.close()
  }
}

/** The members as a table; what is wrong with one follows its line. */
export function listMemberLines({ self, members }: Members, terminal: Terminal): string[] {
  if (self === null) return ['This machine is in no cluster: leasehold.cluster is not configured.']
  if (members.length === 0) return [`The member ${escapeText(self)} has not joined its cluster.`]
  const head = ['MEMBER', 'STATE', 'HEARD', 'ADDRESS', 'VERSION', 'SERVICES', 'LEASES', 'QUEUE']
  const [first = '', ...lines] = formatTable([head, ...members.map(buildRow)])
  return [
    terminal.paint('bold', first),
    ...lines.flatMap((line, index) => {
      const { state, problem } = members[index] ?? { state: 'lost', problem: null }
      const shown = terminal.paint(STYLES[state] ?? 'yellow', line)
      return problem === null ? [shown] : [shown, terminal.paint('yellow', `  ${escapeText(problem)}`)]
    }),
  ]
}

/** A state of a card, not of the chart of a service. */
const UP = 'ready'
const STYLES: Readonly<Record<string, Style>> = { open: 'green', lost: 'red', refused: 'red' }

function buildRow({ member, isSelf, state, heardMs, address, version, services }: MemberListing): string[] {
  const all = Object.entries(services)
  const up = all.filter(([, service]) => service.state === UP).map(([id]) => id)
  const asleep = all.filter(([, service]) => service.isAsleep).map(([id]) => id)
  return [
    `${escapeText(member)}${isSelf ? ' (this one)' : ''}`,
    state,
    heardMs === null ? '' : `${toDurationText(heardMs)} ago`,
    escapeText(address ?? 'none'),
    escapeText(version),
    `${all.length}${toNames('up', up)}${toNames('asleep', asleep)}`,
    String(all.reduce((sum, [, { leases }]) => sum + leases, 0)),
    String(all.reduce((sum, [, { waiting }]) => sum + waiting, 0)),
  ]
}

function toNames(what: string, ids: readonly string[]): string {
  return ids.length === 0 ? '' : `, ${what}: ${escapeText(ids.join(', '))}`
}

/** The services of every member that is there, as a table. */
export function listClusterServiceLines({ members }: Members, terminal: Terminal): string[] {
  const head = ['MEMBER', 'SERVICE', 'STATE', 'LEASES', 'QUEUE', 'START', 'FIT', 'MODELS']
  const rows = members
    .filter(({ state }) => state !== 'lost')
    .flatMap(({ member, services }) =>
      Object.entries(services).map(([id, service]) => [
        escapeText(member),
        escapeText(id),
        service.isAsleep ? 'asleep' : service.state,
        `${service.leases}${service.room === null ? '' : ` of ${service.room}`}`,
        String(service.waiting),
        service.startMs === null ? '' : toDurationText(service.startMs),
        service.fit,
        escapeText(service.models.map((model) => model.id).join(', ')),
      ]),
    )
  const [first = '', ...lines] = formatTable([head, ...rows])
  return [terminal.paint('bold', first), ...lines]
}

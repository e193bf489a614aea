import { describeCode } from '../explanation/naming.ts'
import type { RequestSnapshot } from '../request/open-requests.ts'
import type { EndedRequest } from '../request/request-log.ts'
import { toDurationText } from '../text/duration.ts'
import { loadConfiguration } from './configuration.ts'
import { exitCodes } from './exit-codes.ts'
import { connectToGateway, readAnswer } from './gateway-client.ts'
import { escapeText, formatTable, type Terminal } from './terminal.ts'
import { formatTimeOfDay } from './words.ts'

export interface RequestsOptions {
  readonly config?: string
  readonly gateway?: string
  /** How many of the requests that ended are shown. */
  readonly last: number
  readonly json?: boolean
}

/** The answer of `GET /api/requests?ended=N`. */
export interface RequestLists {
  readonly requests: readonly RequestSnapshot[]
  readonly ended: readonly EndedRequest[]
}

/** `leasehold requests`: the requests under way and the last ones that ended, with where their time went. */
export async function showRequests(options: RequestsOptions, terminal: Terminal): Promise<number> {
  const config = await loadConfiguration(options.config, terminal.env)
  const gateway = await connectToGateway(config, terminal.env, options.gateway)
  try {
    const path = `/api/requests?ended=${options.last}`
    const lists = (await gateway.ask({ path })) as RequestLists
    if (options.json) terminal.json(lists)
    else for (const line of readAnswer(path, () => listRequestLines(lists, terminal))) terminal.line(line)
    return exitCodes.ok
  } finally {
    gateway.close()
  }
}

/** The requests as a table: the oldest first, those under way last. */
export function listRequestLines({ requests, ended }: RequestLists, terminal: Terminal): string[] {
  if (requests.length + ended.length === 0) return ['No request has come yet.']
  const head = ['ENDED', 'MODEL', 'CLIENT', 'WAIT', 'LOAD', 'FIRST BYTE', 'STREAM', 'TOKENS', 'OUTCOME']
  const rows = [...ended.toReversed().map(buildEndedRow), ...requests.map(buildOpenRow)]
  const [first = '', ...lines] = formatTable([head, ...rows])
  return [terminal.paint('bold', first), ...lines]
}

function buildEndedRow({ time, ref, client, timings, usage, outcome, code }: EndedRequest): string[] {
  return [
    formatTimeOfDay(new Date(time)),
    formatCell(ref ?? ''),
    formatCell(client ?? ''),
    ...formatTimings(timings),
    usage?.completionTokens == null ? '' : String(usage.completionTokens),
    code === null ? outcome : formatCell(describeCode(code)),
  ]
}

function buildOpenRow({ ref, client, timings, state }: RequestSnapshot): string[] {
  return ['', formatCell(ref ?? ''), formatCell(client ?? ''), ...formatTimings(timings), '', state]
}

/** Empty where it took no time. */
function formatTimings({ waitMs, loadMs, firstByteMs, streamMs }: EndedRequest['timings']): string[] {
  return [waitMs, loadMs, firstByteMs, streamMs].map((ms) => (ms < 50 ? '' : toDurationText(ms)))
}

function formatCell(text: string): string {
  return escapeText(text).replaceAll('\n', ' ')
}

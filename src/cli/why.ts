import type { SupervisorEvent } from '../events/events.ts'
import type { Advice, AdvisedVerb } from '../explanation/advice.ts'
import { describeState } from '../explanation/naming.ts'
import { toCount } from '../explanation/phrases.ts'
import { toReasonText } from '../explanation/reason-text.ts'
import type { EndedRequest } from '../request/request-log.ts'
import type { ServiceSnapshot } from '../service/snapshot.ts'
import { toDurationText } from '../text/duration.ts'
import { loadConfiguration } from './configuration.ts'
import { readEventData } from './event-stream.ts'
import { exitCodes } from './exit-codes.ts'
import { connectToGateway, type GatewayClient, parseAnswerError, readAnswer } from './gateway-client.ts'
import { escapeText, type Terminal } from './terminal.ts'
import { describeOwner, formatTimeOfDay } from './words.ts'

export interface WhyOptions {
  readonly config?: string
  readonly gateway?: string
  readonly json?: boolean
}

type StateChange = Extract<SupervisorEvent, { type: 'service.state' }>

/** The facts about a service: its state, an explanation, and its recent history. */
export interface WhyFacts {
  readonly service: ServiceSnapshot
  /** The last changes of its state, oldest first. */
  readonly history: readonly StateChange[]
  /** The last of its requests that another member of the cluster answered. */
  readonly elsewhere?: EndedRequest
}

/** Changes of state that are shown. */
const MAX_CHANGES = 6
/** Requests that are looked through for one that another member answered. */
const MAX_REQUESTS = 100

/**
 * `leasehold why ID`: the reason for a service's state, what it waits for, what comes next, and what the user can
 * do.
 */
export async function explainService(id: string, options: WhyOptions, terminal: Terminal): Promise<number> {
  const config = await loadConfiguration(options.config, terminal.env)
  const gateway = await connectToGateway(config, terminal.env, options.gateway)
  try {
    const path = `/api/services/${encodeURIComponent(id)}`
    const service = (await gateway.ask({ path })) as ServiceSnapshot
    const changes = await readChanges(gateway)
    const history = readAnswer(path, () => changes.filter(({ key }) => key === service.key))
    const elsewhere = await findElsewhere(gateway, service)
    const facts: WhyFacts = {
      service,
      history: history.slice(-MAX_CHANGES),
      ...(elsewhere === undefined ? {} : { elsewhere }),
    }
    if (options.json) terminal.json(facts)
    else for (const line of readAnswer(path, () => listWhyLines(facts, terminal))) terminal.line(line)
    return exitCodes.ok
  } finally {
    gateway.close()
  }
}

/** Of a service here, what went to a provider of its name; of another member, what went there. */
async function findElsewhere(
  gateway: GatewayClient,
  { key, providers }: ServiceSnapshot,
): Promise<EndedRequest | undefined> {
  const path = `/api/requests?ended=${MAX_REQUESTS}`
  const { ended } = (await gateway.ask({ path })) as { readonly ended: readonly EndedRequest[] }
  const isOf = ({ service, ref }: EndedRequest) =>
    service === key || providers.some((id) => ref?.slice(ref.indexOf(':') + 1).startsWith(`${id}/`))
  return readAnswer(path, () => ended.find((one) => one.choice !== undefined && isOf(one)))
}

async function readChanges(gateway: GatewayClient): Promise<StateChange[]> {
  const response = await gateway.send({ path: '/api/events?last=4096&follow=0&types=service.state' })
  if (response.status !== 200 || response.body === null)
    throw parseAnswerError(response.status, await response.text())
  const changes: StateChange[] = []
  for await (const data of readEventData(response.body))
    changes.push(readAnswer('/api/events', () => JSON.parse(data)))
  return changes
}

/** The whole answer, line by line. */
export function listWhyLines({ service, history, elsewhere }: WhyFacts, terminal: Terminal): string[] {
  const { explanation, queue, leases } = service
  const rows: [string, string][] = [
    ['because', formatOneLine(explanation.sentence)],
    // A gateway of an earlier version does not send it.
    ['cause', formatOneLine(explanation.cause ?? '')],
    ['next', formatOneLine(explanation.next ?? '')],
    ...explanation.advice.map((advice): [string, string] => ['you can', formatAdvice(advice, terminal)]),
    ['state', `${service.state}, for ${toDurationText(service.inStateMs)}`],
    ['run by', describeOwner(service)],
    ['in use by', leases === 0 ? '' : toCount(leases, 'request')],
    ['waiting', queue.length === 0 ? '' : describeQueue(queue)],
    ['elsewhere', elsewhere === undefined ? '' : describeElsewhere(elsewhere)],
  ]
  const told = history.map(({ time, to, why }) => ({
    time,
    text: `${describeState(to)}: ${formatOneLine(toReasonText(why))}`,
  }))
  return [
    terminal.paint('bold', escapeText(`${service.service}: ${explanation.title}`)),
    ...rows.filter(([, text]) => text !== '').map(([head, text]) => `  ${head.padEnd(11)}${text}`),
    ...(history.length === 0 ? [] : ['', 'how it came to that:']),
    // Two steps of one state may read the same: they are shown once, with the time of the first.
    ...told
      .filter(({ text }, index) => text !== told[index - 1]?.text)
      .map(({ time, text }) => terminal.paint('dim', `  ${formatTimeOfDay(new Date(time))}  ${text}`)),
  ]
}

/** An action for the user, with its command. */
function formatAdvice({ text, command, copy }: Advice, terminal: Terminal): string {
  const lines = [...(command === null ? [] : [formatCommand(command)]), ...(copy === undefined ? [] : [copy])]
  if (lines.length === 0) return formatOneLine(text)
  const told = lines.map((line) => terminal.paint('bold', formatOneLine(line))).join(', ')
  return `${formatOneLine(text).replace(/\.$/, ':')} ${told}`
}

function formatCommand({ verb, service }: NonNullable<Advice['command']>): string {
  const [before, after] = commands[verb]
  return `${before} ${service}${after}`
}

/** The command line of a verb, before and after the name of its service. */
const commands: Readonly<Record<AdvisedVerb, readonly [string, string]>> = {
  start: ['leasehold start', ''],
  stop: ['leasehold stop', ''],
  cut: ['leasehold stop', ' --force'],
  logs: ['leasehold logs', ' -f'],
}

function describeQueue(queue: ServiceSnapshot['queue']): string {
  const [first] = queue
  const waited = first === undefined ? '' : `; the first for ${toDurationText(first.waitedMs)}`
  return `${toCount(queue.length, 'request')}${waited}`
}

/** Which member answered, and why that one. */
function describeElsewhere({ time, ref, choice, outcome }: EndedRequest): string {
  const verb = outcome === 'done' ? 'was answered' : `${outcome}`
  return formatOneLine(`${formatTimeOfDay(new Date(time))} a request for ${ref} ${verb} ${choice}`)
}

function formatOneLine(text: string): string {
  return escapeText(text).replaceAll('\n', ' ')
}

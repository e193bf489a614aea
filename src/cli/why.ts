import { toDurationText } from '../duration.ts'
import type { SupervisorEvent } from '../events.ts'
import type { OutputLine } from '../process/output.ts'
import { toReasonText } from '../reason-text.ts'
import type { ServiceSnapshot } from '../supervisor/snapshot.ts'
import { loadConfiguration } from './configuration.ts'
import { readEventData } from './event-stream.ts'
import { exitCodes } from './failures.ts'
import { connectToGateway, type GatewayClient, toAnswerError } from './gateway-client.ts'
import { type Terminal, toSafeText } from './print.ts'
import { toNextText, toOwnerText, toStateText } from './words.ts'

export interface WhyOptions {
  readonly config?: string
  readonly gateway?: string
  readonly json?: boolean
}

type StateChange = Extract<SupervisorEvent, { type: 'service.state' }>

/** What is known of a service: as it stands, how it came to that, and what it printed last. */
export interface WhyFacts {
  readonly service: ServiceSnapshot
  /** The last changes of its state, oldest first. */
  readonly history: readonly StateChange[]
  readonly output: readonly string[]
}

/** Changes of state, and lines of output, that are told. */
const MAX_CHANGES = 6
const MAX_LINES = 3

/** `leasehold why ID`: why a service is as it is, what it waits for, what comes next, and what a person can do. */
export async function explainService(id: string, options: WhyOptions, terminal: Terminal): Promise<number> {
  const config = await loadConfiguration(options.config, terminal.env)
  const gateway = await connectToGateway(config, terminal.env, options.gateway)
  try {
    const path = encodeURIComponent(id)
    const service = (await gateway.ask({ path: `/api/services/${path}` })) as ServiceSnapshot
    const { lines } = (await gateway.ask({ path: `/api/logs/${encodeURIComponent(service.service)}` })) as {
      readonly lines: readonly OutputLine[]
    }
    const facts: WhyFacts = {
      service,
      history: (await readChanges(gateway)).filter(({ key }) => key === service.key).slice(-MAX_CHANGES),
      output: lines.slice(-MAX_LINES).map(({ text }) => text),
    }
    if (options.json) terminal.json({ ...facts, advice: toAdvice(service) })
    else for (const line of toWhyLines(facts, terminal)) terminal.line(line)
    return exitCodes.ok
  } finally {
    await gateway.close()
  }
}

async function readChanges(gateway: GatewayClient): Promise<StateChange[]> {
  const response = await gateway.send({ path: '/api/events?last=4096&follow=0&types=service.state' })
  if (response.status !== 200 || response.body === null)
    throw toAnswerError(response.status, await response.text())
  const changes: StateChange[] = []
  for await (const data of readEventData(response.body)) changes.push(JSON.parse(data))
  return changes
}

/** The whole answer, line by line. */
export function toWhyLines({ service, history, output }: WhyFacts, terminal: Terminal): string[] {
  const { verdict, queue, startTimes, leases, ownership } = service
  const rows: [string, string][] = [
    ['because', service.whyText],
    ['run by', toOwnerText(service)],
    ['last check', verdict === null ? '' : `${verdict.kind} (${verdict.detail})`],
    ['in use by', leases === 0 ? '' : toCount(leases, 'request')],
    ['waiting', queue.length === 0 ? '' : toWaitText(queue)],
    ['next', toNextText(service)],
    ['usually', startTimes === null ? '' : `ready after about ${toDurationText(startTimes.medianMs)}`],
    ['printed', ownership === 'owned' || service.failure !== null ? (output.at(-1) ?? '') : ''],
    ...toAdvice(service).map((text): [string, string] => ['you can', text]),
  ]
  const name = toSafeText(service.service)
  return [
    terminal.paint(
      'bold',
      `${name}: ${toStateText(service.state)}, for ${toDurationText(service.inStateMs)}`,
    ),
    ...rows.filter(([, text]) => text !== '').map(([head, text]) => `  ${head.padEnd(11)}${toOneLine(text)}`),
    ...(history.length === 0 ? [] : ['', 'how it came to that:']),
    ...history.map(({ time, to, why }) =>
      terminal.paint('dim', `  ${toClock(time)}  ${toStateText(to)}: ${toOneLine(toReasonText(why))}`),
    ),
  ]
}

/** What a person can do about a service that is not as it should be; nothing where it is. */
export function toAdvice({ service, state, inStateMs, startTimes, ownership }: ServiceSnapshot): string[] {
  const id = toSafeText(service)
  if (state === 'down.tripped')
    return [`mend the cause (leasehold logs ${id}), then try at once: leasehold start ${id}`]
  if (state === 'down.backoff') return [`see what it printed: leasehold logs ${id}`]
  const usualMs = startTimes?.medianMs ?? 0
  if (state === 'starting.warming' && inStateMs > Math.max(10_000, 3 * usualMs))
    return [
      `watch what it prints: leasehold logs ${id} -f`,
      ...(ownership === 'owned' ? [`give it up: leasehold stop ${id}`] : []),
    ]
  if (state === 'starting.claiming' && inStateMs > 1_000)
    return ['stop what it waits for: leasehold status, then leasehold stop ID']
  if (state === 'leased.draining') return [`cut what still uses it: leasehold stop ${id} --force`]
  return []
}

function toWaitText(queue: ServiceSnapshot['queue']): string {
  const [first] = queue
  const waited = first === undefined ? '' : `; the first for ${toDurationText(first.waitedMs)}`
  return `${toCount(queue.length, 'request')}${waited}`
}

function toCount(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`
}

function toOneLine(text: string): string {
  return toSafeText(text).replaceAll('\n', ' ')
}

function toClock(time: string): string {
  return new Date(time).toTimeString().slice(0, 8)
}

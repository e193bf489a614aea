import { eventMeanings, type SupervisorEvent } from '../events/events.ts'
import { loadConfiguration } from './configuration.ts'
import { describeEvent, toldTypes } from './event-sentences.ts'
import { readEventData } from './event-stream.ts'
import { exitCodes } from './exit-codes.ts'
import { connectToGateway, parseAnswerError, readAnswer } from './gateway-client.ts'
import { escapeText, type Terminal } from './terminal.ts'

export interface EventsOptions {
  readonly config?: string
  readonly gateway?: string
  /** Continues with new events until the gateway ends. */
  readonly follow?: boolean
  /** How many of the last events are shown first. */
  readonly last: number
  /** Comma-separated types, or prefixes that end in a dot. */
  readonly types?: string
  /** Prints types and facts instead of sentences. */
  readonly raw?: boolean
  readonly json?: boolean
}

/** `leasehold events`: the last events; with `--follow` also new ones as they happen. */
export async function showEvents(options: EventsOptions, terminal: Terminal): Promise<number> {
  const config = await loadConfiguration(options.config, terminal.env)
  const gateway = await connectToGateway(config, terminal.env, options.gateway)
  const isTold = !options.raw && !options.json
  const types = options.types ?? (isTold ? toldTypes.join(',') : undefined)
  const query = new URLSearchParams({
    last: String(options.last),
    ...(options.follow ? {} : { follow: '0' }),
    ...(types === undefined ? {} : { types }),
  })
  try {
    const response = await gateway.send({ path: `/api/events?${query}` })
    if (response.status !== 200 || response.body === null)
      throw parseAnswerError(response.status, await response.text())
    for await (const data of readEventData(response.body)) {
      readAnswer('/api/events', () => {
        const event = JSON.parse(data)
        if (options.json) terminal.json(event)
        else terminal.line(options.raw ? formatEvent(event) : (attemptToTell(event) ?? formatEvent(event)))
      })
    }
    return exitCodes.ok
  } finally {
    gateway.close()
  }
}

/** The sentence of an event. Absent for a type of a later version. */
function attemptToTell(event: SupervisorEvent): string | undefined {
  return event.type in eventMeanings ? describeEvent(event) : undefined
}

/** An event as a line: time, type, service, facts. */
export function formatEvent({ time, type, seq: _, atMs: __, ...rest }: SupervisorEvent): string {
  const { service, key: ___, requestId, ...facts } = rest as Record<string, unknown>
  const texts = Object.entries(facts).map(
    ([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  )
  const line = [time.slice(11, 23), type, service ?? requestId ?? '', ...texts].filter((text) => text !== '')
  return escapeText(line.join('  ')).replaceAll('\n', ' ')
}

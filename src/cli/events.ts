import { eventMeanings, type SupervisorEvent } from '../events/events.ts'
import { loadConfiguration } from './configuration.ts'
import { toEventSentence, toldTypes } from './event-sentences.ts'
import { readEventData } from './event-stream.ts'
import { exitCodes } from './failures.ts'
import { connectToGateway, readAnswer, toAnswerError } from './gateway-client.ts'
import { type Terminal, toSafeText } from './print.ts'

export interface EventsOptions {
  readonly config?: string
  readonly gateway?: string
  /** Goes on with what happens until the gateway ends. */
  readonly follow?: boolean
  /** How many of the last events are shown first. */
  readonly last: number
  /** Types, or beginnings of types that end in a dot, with commas between. */
  readonly types?: string
  /** Prints types and facts instead of sentences. */
  readonly raw?: boolean
  readonly json?: boolean
}

/** `leasehold events`: the last things that happened; with `--follow` also those to come, as they come. */
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
      throw toAnswerError(response.status, await response.text())
    for await (const data of readEventData(response.body)) {
      readAnswer('/api/events', () => {
        const event = JSON.parse(data)
        if (options.json) terminal.json(event)
        else terminal.line(options.raw ? toEventLine(event) : (attemptToTell(event) ?? toEventLine(event)))
      })
    }
    return exitCodes.ok
  } finally {
    gateway.close()
  }
}

/** The sentence of an event. Absent: its type is one of a later version. */
function attemptToTell(event: SupervisorEvent): string | undefined {
  return event.type in eventMeanings ? toEventSentence(event) : undefined
}

/** An event as a line: when, what, about whom, and its facts. */
export function toEventLine({ time, type, seq: _, atMs: __, ...rest }: SupervisorEvent): string {
  const { service, key: ___, requestId, ...facts } = rest as Record<string, unknown>
  const texts = Object.entries(facts).map(
    ([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  )
  const line = [time.slice(11, 23), type, service ?? requestId ?? '', ...texts].filter((text) => text !== '')
  return toSafeText(line.join('  ')).replaceAll('\n', ' ')
}

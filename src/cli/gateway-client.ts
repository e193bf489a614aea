import { Observable } from 'rxjs'
import type { Config } from '../config/config.ts'
import type { Environment } from '../config/secrets.ts'
import type { SupervisorEvent } from '../events/events.ts'
import { findOtherUser, toAddress } from '../process/tcp-ports.ts'
import { readEventData } from './event-stream.ts'
import { AnswerError, NoGatewayError, UsageError } from './exit-codes.ts'
import { type Answer, exchange, type GatewayRequest, readText } from './gateway-exchange.ts'
import { escapeText } from './terminal.ts'

/** Time limit for a gateway on this host to identify itself, in milliseconds. */
const HEALTH_TIMEOUT_MS = 2_000
const MAX_HEALTH_BODY_BYTES = 4_096

/** A running gateway, as the command line uses it. */
export interface GatewayClient {
  readonly url: string
  /** Sends a request; any status is an answer. No hidden timeout: a cold start may take as long as it wants. */
  send(request: GatewayRequest): Promise<Answer>
  /**
   * Sends a request and reads its JSON. @throws {@link AnswerError} with the gateway's message for any status but
   * 200 and 202
   */
  ask(request: GatewayRequest): Promise<unknown>
  /**
   * Passes every event from the moment this settles to one listener. Completes when the gateway ends.
   * @throws {@link AnswerError} if the gateway refuses
   */
  openEvents(): Promise<Observable<SupervisorEvent>>
  /** Aborts open requests. */
  close(): void
}

/** The URL of a configuration's gateway. Absent if the port is chosen by the system. */
function findGatewayUrl({ leasehold: { host, port } }: Config): string | undefined {
  if (port === 0) return undefined
  const name = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host
  return `http://${name.includes(':') ? `[${name}]` : name}:${port}`
}

/**
 * Connects to the gateway at `url`, or else where the configuration says. Its key is `$LEASEHOLD_API_KEY`, or else
 * the first configured key for everything.
 * @throws {@link NoGatewayError} if no gateway answers there
 */
export async function connectToGateway(
  config: Config,
  env: Environment,
  url: string | undefined = findGatewayUrl(config),
): Promise<GatewayClient> {
  if (url === undefined)
    throw new UsageError('The configuration has port 0. Say where the gateway listens: --gateway URL')
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol))
    throw new UsageError(`"${url}" is not an http URL. Expected one like http://127.0.0.1:4141`)
  const { origin } = new URL(url)
  // Before any request: any user of this host can listen on a port that no gateway uses.
  const uid = findOtherUser(toAddress(origin))
  if (uid !== undefined) throw new NoGatewayError(origin, { uid })
  await checkGateway(origin)
  const { apiKeys, controlKeys } = config.leasehold
  return createGatewayClient(origin, env.LEASEHOLD_API_KEY || (controlKeys[0] ?? apiKeys[0]))
}

/** The same, or `undefined` if there is no gateway. */
export async function findGateway(config: Config, env: Environment): Promise<GatewayClient | undefined> {
  if (findGatewayUrl(config) === undefined) return undefined
  try {
    return await connectToGateway(config, env)
  } catch (error) {
    if (error instanceof NoGatewayError) return undefined
    throw error
  }
}

async function checkGateway(origin: string): Promise<void> {
  let body = ''
  try {
    const signal = AbortSignal.timeout(HEALTH_TIMEOUT_MS)
    const answer = await exchange(origin, { path: '/health', signal })
    if (answer.body !== null) body = await readText(answer.body, MAX_HEALTH_BODY_BYTES)
  } catch (cause) {
    throw new NoGatewayError(origin, { cause })
  }
  if (parseObject(body)?.name !== 'leasehold') throw new NoGatewayError(origin)
}

function createGatewayClient(url: string, apiKey: string | undefined): GatewayClient {
  const headers = {
    'content-type': 'application/json',
    ...(apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }),
  }
  const leaving = new AbortController()
  const send = ({ headers: further, signal, ...request }: GatewayRequest): Promise<Answer> =>
    exchange(url, {
      ...request,
      headers: { ...further, ...headers },
      signal: signal === undefined ? leaving.signal : AbortSignal.any([signal, leaving.signal]),
    })

  return {
    url,
    send,
    ask: async (request) => {
      const response = await send(request)
      const text = await response.text()
      if (response.status !== 200 && response.status !== 202) throw parseAnswerError(response.status, text)
      return readAnswer(request.path, () => JSON.parse(text))
    },
    openEvents: async () => {
      const leaving = new AbortController()
      const response = await send({ path: '/api/events', signal: leaving.signal })
      const { body, status } = response
      if (status !== 200 || body === null) throw parseAnswerError(status, await response.text())
      return new Observable((subscriber) => {
        const read = async () => {
          for await (const data of readEventData(body)) {
            const event: unknown = JSON.parse(data)
            if (isEvent(event)) subscriber.next(event)
          }
        }
        const complete = () => subscriber.complete()
        read().then(complete, complete)
        return () => leaving.abort()
      })
    },
    close: () => leaving.abort(new Error('given up')),
  }
}

/**
 * Reads the answer of a gateway, which may have another version or be another program. @throws {@link AnswerError} if
 * the answer has not the shape that `read` expects
 */
export function readAnswer<Result>(path: string, read: () => Result): Result {
  try {
    return read()
  } catch (cause) {
    if (!(cause instanceof TypeError || cause instanceof SyntaxError || cause instanceof RangeError))
      throw cause
    throw new AnswerError(
      `The gateway's answer to ${path.replace(/\?.*/, '')} has an unknown form. Is it another version of leasehold, or another program?`,
      { status: 200, cause },
    )
  }
}

/** Whether this can be shown as an event. An unknown type belongs to a later version. */
function isEvent(value: unknown): value is SupervisorEvent {
  const { type, to, key }: Record<string, unknown> = Object(value)
  return (
    typeof type === 'string' &&
    (type !== 'service.state' || (typeof to === 'string' && typeof key === 'string'))
  )
}

/** The message of an unexpected answer: OpenAI's error, or its first words. */
export function parseAnswerError(status: number, text: string): AnswerError {
  const json = parseObject(text)
  const error = typeof json?.error === 'object' && json.error !== null ? json.error : json
  const said = (key: string) => {
    const value: unknown = error === undefined ? undefined : Reflect.get(error, key)
    return typeof value === 'string' && value !== '' ? escapeText(value) : undefined
  }
  const plain = typeof json?.error === 'string' ? escapeText(json.error) : undefined
  const message = said('message') ?? plain ?? (escapeText(text.slice(0, 300)).trim() || 'no explanation')
  return new AnswerError(message, { status, code: said('code'), type: said('type') })
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? { ...value } : undefined
  } catch {
    return undefined
  }
}

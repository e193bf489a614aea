import type { Msg, NatsConnection, NodeConnectionOptions, Status } from '@nats-io/transport-node'
import type { Clock } from '../clock.ts'
import type { ClusterConfig } from '../config/cluster.ts'
import { readCredentials } from './credentials.ts'
import type { Libraries } from './libraries.ts'
import { explainNatsFault } from './nats-faults.ts'
import { type Subjects, toInboxPrefix, toSubjects } from './subjects.ts'

/** What the connection to NATS says. */
export type NatsFact =
  | { readonly type: 'nats.connected'; readonly server: string }
  | { readonly type: 'nats.disconnected' }
  /** The credentials are refused, or cannot be read. It is tried again. */
  | { readonly type: 'nats.refused'; readonly message: string }
  /** No server is reached. It is tried again. */
  | { readonly type: 'nats.unreachable'; readonly message: string }

/** What arrives over the connection. */
export interface NatsReceiver {
  fact(fact: NatsFact): void
  /** `value`: what a member said of itself, not yet read. */
  card(member: string, value: unknown): void
  /** `proof`: what came with it, not yet checked. */
  bye(member: string, boot: string, proof: unknown): void
  /** Every member is asked for its card. */
  whoAsked(): void
  /** This run is asked whether it is there; the answer is JSON. */
  asked(question: string): string
}

/** Whether a run of a member answers over NATS. `unknown`: there was no connection, or no answer in time. */
export type Proof =
  | { readonly outcome: 'alive'; readonly value: unknown }
  | { readonly outcome: 'no-responders' | 'unknown' }

/** The connection of a member to NATS. It is opened again for ever, until it is closed. */
export interface NatsLink {
  /** The connection; `undefined` while there is none. */
  readonly connection: NatsConnection | undefined
  readonly subjects: Subjects
  publishCard(text: string): void
  publishBye(proof: string): void
  askWho(): void
  /** Asks one run of a member for a sign of life, and for what it says about the subject of the question. */
  prove(member: string, boot: string, timeoutMs: number, question?: string): Promise<Proof>
  /** Sends what was published, and closes. */
  close(): Promise<void>
}

export interface NatsLinkOptions {
  readonly config: ClusterConfig
  readonly boot: string
  readonly clock: Clock
  readonly libraries: Libraries
  readonly receiver: NatsReceiver
}

/** Time between two attempts to reach a server, in milliseconds. */
const RETRY_MS = 200
/** Time between two attempts after the credentials were refused, in milliseconds. */
const REFUSED_RETRY_MS = 1000
/** Longest time for one attempt to connect, in milliseconds. */
const CONNECT_MS = 1000

/**
 * The library's own defaults notice a silent server after four minutes. It would also connect again by itself, with the
 * credentials and certificates of the first time, and without a word about why it cannot: `openNatsLink` does that.
 */
export function toConnectOptions({ servers, member }: ClusterConfig): NodeConnectionOptions {
  return {
    servers: [...servers],
    name: `leasehold ${member}`,
    inboxPrefix: toInboxPrefix(member),
    pingInterval: 1000,
    maxPingOut: 2,
    reconnect: false,
    timeout: CONNECT_MS,
    // The nearest server is the first of the list. Addresses that the servers tell each other may be of no use here.
    noRandomize: true,
    ignoreClusterUpdates: true,
  }
}

export function openNatsLink({ config, boot, clock, libraries, receiver }: NatsLinkOptions): NatsLink {
  const subjects = toSubjects(config.prefix)
  const closing = new AbortController()
  let connection: NatsConnection | undefined
  /** After a disconnect the library drops what is published, without an error. */
  let isConnected = false
  const setConnected = (nc: NatsConnection) => {
    isConnected = true
    receiver.fact({ type: 'nats.connected', server: nc.getServer() })
  }
  const setDisconnected = () => {
    if (!isConnected) return
    isConnected = false
    receiver.fact({ type: 'nats.disconnected' })
  }
  const tellFault = (error: unknown) => {
    const { isRefusal, message } = explainNatsFault(error, config)
    receiver.fact({ type: isRefusal ? 'nats.refused' : 'nats.unreachable', message })
    return isRefusal
  }
  const hear = (status: Status) => {
    if (status.type === 'disconnect') setDisconnected()
    else if (status.type === 'error' && explainNatsFault(status.error, config).isRefusal)
      tellFault(status.error)
  }
  const pause = (ms: number) =>
    new Promise<void>((resolve) => {
      const end = () => {
        clock.clearTimeout(timer)
        // It is called each time that no server is reached: for ever, where none is.
        closing.signal.removeEventListener('abort', end)
        resolve()
      }
      const timer = clock.setTimeout(end, ms)
      closing.signal.addEventListener('abort', end)
    })
  const subscribe = (nc: NatsConnection) => {
    const on = (subject: string, take: (msg: Msg) => void) => {
      nc.subscribe(subject, {
        callback: (error, msg) => {
          if (error === null) return take(msg)
          tellFault(error)
          // The server has dropped the subscription. When it is permitted later, nothing tells.
          void pause(REFUSED_RETRY_MS).then(() => {
            // While this member closes, the library refuses a subscription.
            if (nc === connection && isConnected && !nc.isDraining()) on(subject, take)
          })
        },
      })
    }
    on(subjects.card('*'), (msg) => receiver.card(toLastToken(msg.subject), toJson(msg)))
    on(subjects.bye('*'), (msg) => {
      const said = toJson(msg)
      if (isBye(said)) receiver.bye(toLastToken(msg.subject), said.boot, said.proof)
    })
    on(subjects.who, () => receiver.whoAsked())
    on(subjects.run(config.member, boot), (msg) => msg.respond(receiver.asked(msg.string())))
  }
  /** One connection, from the first attempt until it is closed. */
  const serve = async () => {
    const nc = await libraries.transport.connect({
      ...toConnectOptions(config),
      ...(await readCredentials(config, libraries)),
    })
    if (closing.signal.aborted) return nc.close()
    connection = nc
    subscribe(nc)
    const statuses = nc.status()
    setConnected(nc)
    for await (const status of statuses) hear(status)
    connection = undefined
    setDisconnected()
  }
  const run = async () => {
    while (!closing.signal.aborted) {
      const begunMs = clock.now()
      let waitMs = RETRY_MS
      try {
        await serve()
        // One of several servers is gone, and the next one is there. A server that ends each connection at once is not pressed.
        if (clock.now() - begunMs > RETRY_MS) waitMs = 0
      } catch (error) {
        if (closing.signal.aborted) return
        if (tellFault(error)) waitMs = REFUSED_RETRY_MS
      }
      if (!closing.signal.aborted && waitMs > 0) await pause(waitMs)
    }
  }
  const ended = run()

  const publish = (subject: string, text?: string) => {
    if (!isConnected || connection?.isClosed() !== false) return
    try {
      connection.publish(subject, text)
    } catch (error) {
      // It is longer than the server takes.
      tellFault(error)
    }
  }
  return {
    get connection() {
      return isConnected ? connection : undefined
    },
    subjects,
    publishCard: (text) => publish(subjects.card(config.member), text),
    publishBye: (proof) => publish(subjects.bye(config.member), JSON.stringify({ boot, proof })),
    askWho: () => publish(subjects.who),
    prove: async (member, run, timeout, question = '') => {
      // Without a connection the library would wait for one.
      if (!isConnected || connection === undefined) return { outcome: 'unknown' }
      try {
        const answer = await connection.request(subjects.run(member, run), question, { timeout })
        return { outcome: 'alive', value: toJson(answer) }
      } catch (error) {
        return { outcome: isNoResponders(error, libraries) ? 'no-responders' : 'unknown' }
      }
    },
    close: async () => {
      closing.abort()
      const nc = connection
      // A connection that is cut off cannot drain.
      if (nc !== undefined) await (isConnected ? nc.drain().catch(() => nc.close()) : nc.close())
      await ended
    },
  }
}

function isNoResponders(error: unknown, { transport }: Libraries): boolean {
  const cause = error instanceof Error ? error.cause : undefined
  const { NoRespondersError } = transport.errors
  return error instanceof NoRespondersError || cause instanceof NoRespondersError
}

function isBye(value: unknown): value is { readonly boot: string; readonly proof?: unknown } {
  return typeof value === 'object' && value !== null && 'boot' in value && typeof value.boot === 'string'
}

function toLastToken(subject: string): string {
  return subject.slice(subject.lastIndexOf('.') + 1)
}

/** `undefined`: it is no JSON. */
function toJson(msg: Msg): unknown {
  try {
    return msg.json()
  } catch {
    return undefined
  }
}

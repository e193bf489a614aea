import { setImmediate as nextTurn } from 'node:timers/promises'
import type { ConnectionOptions } from 'node:tls'
import { buildConnector, type Dispatcher, Pool } from 'undici'
import { type Clock, delay } from '../clock.ts'
import type { AnswerHandler } from './answer-handler.ts'
import { pinLookup } from './pin.ts'

/** One request as it leaves for a provider. */
export interface UpstreamRequest {
  readonly method: string
  /** Path and query below the base URL: `/chat/completions`. */
  readonly path: string
  /** Whether the path begins at the root of the server, beside the `/v1` of the base URL. @default false */
  readonly isAtRoot?: boolean
  readonly headers: Readonly<Record<string, string | string[]>>
  readonly body: readonly Buffer[]
  readonly bodyBytes: number
  /** Whether the answer streams: llama.cpp notices that a plain request was aborted only a second later. */
  readonly isStream: boolean
}

/** The handle of one request under way. */
export interface UpstreamCall {
  resume(): void
  abort(reason: Error): void
}

/** The connections to one generation of a service. They end with it: no socket outlives its server. */
export interface Upstream {
  /** An {@link UnsentError} says that no server has seen the request. */
  send(request: UpstreamRequest, handler: AnswerHandler): UpstreamCall
  /** Destroys every connection, and waits until the server has had time to notice. */
  close(): Promise<void>
}

/** How long llama.cpp needs to notice that its client left, streaming or not, in milliseconds. */
const NOTICE_MS = { stream: 100, plain: 1_200 } as const

/** A body up to this size is sent in one write, with the head; a larger one piece by piece. */
const MAX_SINGLE_BYTES = 65_536

const CONNECT_TIMEOUT_MS = 10_000

/** Every timeout is stated: nothing hidden cuts a first token that takes twenty minutes. */
const POOL_OPTIONS: Pool.Options = {
  connections: null,
  pipelining: 1,
  headersTimeout: 0,
  bodyTimeout: 0,
  keepAliveTimeout: 4_000,
  keepAliveMaxTimeout: 60_000,
  maxHeaderSize: 65_536,
}

export interface UpstreamOptions {
  /** Address to connect to, instead of resolving the host of the URL. @default resolved */
  readonly address?: string | undefined
  /** What a TLS connection needs beside what the URL says. @default nothing */
  readonly tls?: ConnectionOptions | undefined
  /**
   * Checks the current listener: the reason not to use it, or `undefined`. Called once after a connection was lost,
   * before the next one carries a request: the server may have died, and another program may have taken its port.
   */
  readonly refuse?: () => string | undefined
}

/** Opens a pool to a base URL. */
export function createUpstream(
  baseUrl: string,
  clock: Clock,
  { address, tls, refuse }: UpstreamOptions = {},
): Upstream {
  const { origin, pathname } = new URL(baseUrl)
  const basePath = pathname.replace(/\/$/, '')
  const connector = buildConnector({
    ...tls,
    timeout: CONNECT_TIMEOUT_MS,
    ...(address === undefined ? {} : { lookup: pinLookup(address) }),
  })
  /** Whether a connection was lost since the last check of the listener. */
  let hasLost = refuse !== undefined
  const connect: typeof connector = (where, connected) =>
    connector(where, (...result) => {
      const [, socket] = result
      if (!socket || !hasLost) return connected(...result)
      // After the connection is made: the current listener is the one that accepted it.
      const reason = refuse?.()
      hasLost = reason !== undefined
      if (reason === undefined) return connected(...result)
      socket.destroy()
      connected(Object.assign(new Error(reason), { code: 'ECONNREFUSED' }), null)
    })
  const options = { ...POOL_OPTIONS, connect }
  const pool = new Pool(origin, options)
  /** For retries: each of its connections serves one request, so none was ever idle. */
  const fresh = new Pool(origin, options)
  let noticedAtMs = 0
  let connected = 0
  const open = new Set<OpenCall>()
  const noteLoss = () => {
    hasLost = refuse !== undefined
  }
  pool.on('connect', () => {
    connected += 1
  })
  pool.on('disconnect', () => {
    connected -= 1
    noteLoss()
  })
  fresh.on('disconnect', noteLoss)
  const noteCut = ({ isStream }: OpenCall) => {
    noticedAtMs = Math.max(noticedAtMs, clock.now() + (isStream ? NOTICE_MS.stream : NOTICE_MS.plain))
  }

  const send = (given: UpstreamRequest, handler: AnswerHandler): UpstreamCall => {
    const opened: OpenCall = { isStream: given.isStream }
    /** Kept until the answer begins, for a retry. */
    let request: UpstreamRequest | undefined = given
    let controller: Dispatcher.DispatchController | undefined
    let abortReason: Error | undefined
    const gathered = gather((chunk) => {
      try {
        if (!handler.onData(chunk)) controller?.pause()
      } catch (error) {
        // As undici does where a handler throws.
        controller?.abort(error as Error)
      }
    })
    const dispatch = (isSecondTry: boolean) => {
      if (request === undefined) return
      const isReused = !isSecondTry && connected > open.size
      let hasAnswer = false
      open.add(opened)
      const dispatcher = isSecondTry ? fresh : pool
      dispatcher.dispatch(buildDispatchOptions(basePath, request, isSecondTry), {
        onRequestStart: (started) => {
          controller = started
          if (abortReason !== undefined) started.abort(abortReason)
        },
        onResponseStart: (_, status, headers) => {
          hasAnswer = true
          if (status >= 200) request = undefined
          if (status >= 200) handler.onHead(status, headers)
          else handler.onEarly?.(headers)
        },
        onResponseData: (_, chunk) => {
          // Resumed before more has come, undici delivers an empty chunk. A stream that is full by number of chunks
          // would be full again, be read, resume, get the next one, and so on: the event loop would stand still.
          if (chunk.length > 0) gathered.add(chunk)
        },
        onResponseEnd: () => {
          open.delete(opened)
          gathered.deliver()
          handler.onEnd()
        },
        onResponseError: (_, error) => {
          open.delete(opened)
          gathered.deliver()
          // The server closed an idle connection just as it was chosen: it never saw the request.
          if (isReused && !hasAnswer && abortReason === undefined && isClosedSocket(error)) dispatch(true)
          else if (!isSecondTry && abortReason === undefined && isConnectionRefused(error))
            handler.onError(new UnsentError(error))
          else handler.onError(abortReason ?? error)
        },
      })
    }
    dispatch(false)
    return {
      resume: () => controller?.resume(),
      abort: (reason) => {
        if (!open.has(opened)) return
        abortReason = reason
        noteCut(opened)
        controller?.abort(reason)
      },
    }
  }

  return {
    send,
    close: async () => {
      for (const one of open) noteCut(one)
      await Promise.all([pool.destroy(), fresh.destroy()])
      const waitMs = noticedAtMs - clock.now()
      if (waitMs > 0) await delay(clock, waitMs)
    },
  }
}

/** The chunks that came in one read of a socket. */
interface Gathered {
  add(chunk: Buffer): void
  deliver(): void
}

/** From this size on what is gathered goes on at once, so that a reader that is full pauses its server soon, in bytes. */
const MAX_GATHERED_BYTES = 4_096

/**
 * Delivers small chunks that came in one read of a socket as one: under load many events of a stream do, and each piece
 * that is looked at, framed and written costs as much as all of them.
 */
function gather(deliver: (chunk: Buffer) => void): Gathered {
  let chunks: Buffer[] = []
  let bytes = 0
  const deliverAll = () => {
    const [first] = chunks
    if (first === undefined) return
    const whole = chunks.length === 1 ? first : Buffer.concat(chunks, bytes)
    chunks = []
    bytes = 0
    deliver(whole)
  }
  return {
    add: (chunk) => {
      bytes += chunk.length
      if (chunks.push(chunk) === 1 && bytes < MAX_GATHERED_BYTES) process.nextTick(deliverAll)
      else if (bytes >= MAX_GATHERED_BYTES) deliverAll()
    },
    deliver: deliverAll,
  }
}

/** A call that has not ended. */
interface OpenCall {
  readonly isStream: boolean
}

/** No connection was made, so no server has seen the request. */
export class UnsentError extends Error {
  declare readonly cause: Error

  constructor(cause: Error) {
    super(cause.message, { cause })
  }
}

/** No connection was made: it was refused, or reset before the server accepted it. */
export function isConnectionRefused(error: unknown): boolean {
  if (!(error instanceof Error && 'code' in error)) return false
  const isReset = error.code === 'ECONNRESET' && 'syscall' in error && error.syscall === 'connect'
  return isReset || error.code === 'ECONNREFUSED'
}

function isClosedSocket(error: Error): boolean {
  return 'code' in error && ['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE'].includes(String(error.code))
}

function buildDispatchOptions(
  basePath: string,
  { method, path, isAtRoot, headers, body, bodyBytes }: UpstreamRequest,
  reset: boolean,
): Dispatcher.DispatchOptions {
  const single =
    bodyBytes > MAX_SINGLE_BYTES
      ? null
      : body.length <= 1
        ? (body[0] ?? null)
        : Buffer.concat(body, bodyBytes)
  return {
    method: method as Dispatcher.HttpMethod,
    path: (isAtRoot === true ? basePath.replace(/\/v\d\w*$/, '') : basePath) + path,
    reset,
    // ds4 and mlx_lm answer 411 to a chunked body, so the length is always stated.
    headers: bodyBytes === 0 ? headers : { ...headers, 'content-length': String(bodyBytes) },
    // undici takes any iterable of buffers as a body; its types name only streams.
    body: single ?? (bodyBytes === 0 ? null : (handOver([...body]) as unknown as Buffer)),
  }
}

/** This much of a body is handed to the socket in one turn of the event loop, in bytes. */
const MAX_BYTES_PER_TURN = 262_144

/** Yields the body in parts, one in a turn, and releases each one: undici keeps its body until the answer has ended. */
async function* handOver(pieces: (Buffer | undefined)[]): AsyncIterable<Buffer> {
  for (const part of toParts(pieces)) {
    yield part
    await nextTurn()
  }
}

/** Joins small pieces and cuts large ones. */
function* toParts(pieces: (Buffer | undefined)[]): Iterable<Buffer> {
  let gathered: Buffer[] = []
  let bytes = 0
  for (let [index, rest = NOTHING] of pieces.entries()) {
    pieces[index] = undefined
    while (bytes + rest.length >= MAX_BYTES_PER_TURN) {
      const taken = MAX_BYTES_PER_TURN - bytes
      gathered.push(rest.subarray(0, taken))
      rest = rest.subarray(taken)
      yield join(gathered)
      gathered = []
      bytes = 0
    }
    if (rest.length > 0) gathered.push(rest)
    bytes += rest.length
  }
  if (bytes > 0) yield join(gathered)
}

const NOTHING = Buffer.alloc(0)

function join(pieces: readonly Buffer[]): Buffer {
  const [only] = pieces
  return only !== undefined && pieces.length === 1 ? only : Buffer.concat(pieces)
}

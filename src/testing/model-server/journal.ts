import { createHash } from 'node:crypto'
import { mkdirSync, openSync, writeSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { join } from 'node:path'

/** The first line about a request: it was read whole, and is executed from here on. */
export interface JournalBegin {
  readonly at: 'begin'
  readonly nonce: string
  /** Number of the request in this journal: one nonce that is executed twice has two. */
  readonly execution: number
  readonly path: string
  /** Wall clock, in milliseconds with fractions, so that the lines of several processes can be put in order. */
  readonly beganAt: number
  /** How many requests came over the same connection before. */
  readonly earlierOnConnection: number
  /** Whether the client asked for the connection to be closed after this request. */
  readonly isLastOnConnection: boolean
}

/** The last line about a request. A process that is killed does not get to write it. */
export interface JournalEnd {
  readonly at: 'end'
  readonly nonce: string
  readonly execution: number
  readonly outcome: 'answered' | 'aborted' | 'cut'
  /** Wall clock, as `beganAt`. */
  readonly endedAt: number
  /** Bytes of the body that were handed to the connection, and their digest. */
  readonly bytes: number
  readonly sha256: string
  /** The digest without the usage chunk of a stream: what a client that did not ask for it may see. */
  readonly sha256WithoutUsage: string
}

/** What a server executed, on disk: it outlives the process, however that ends. */
export interface Journal {
  /** Notes that a request is executed. Gives the function that notes its end, to be called once. */
  begin(
    request: IncomingMessage,
    response: ServerResponse,
    nonce: string,
  ): (outcome: JournalEnd['outcome']) => void
}

/**
 * Opens a journal: a new file of this process in `directory`, one JSON line per {@link JournalBegin} and
 * {@link JournalEnd}, written before anything else happens. Two hundred bytes a line and no limit: it is for runs that
 * end.
 */
export function openJournal(directory: string): Journal {
  mkdirSync(directory, { recursive: true })
  const file = openSync(join(directory, `${process.pid}-${Date.now()}.ndjson`), 'a')
  const served = new WeakMap<Socket, number>()
  let executions = 0
  const write = (line: JournalBegin | JournalEnd) => writeSync(file, `${JSON.stringify(line)}\n`)

  return {
    begin: (request, response, nonce) => {
      const earlierOnConnection = served.get(request.socket) ?? 0
      served.set(request.socket, earlierOnConnection + 1)
      const execution = ++executions
      const isLastOnConnection = request.headers.connection === 'close'
      const path = request.url ?? '/'
      const beganAt = wallClock()
      write({ at: 'begin', nonce, execution, path, beganAt, earlierOnConnection, isLastOnConnection })
      const sent = follow(response)
      return (outcome) => write({ at: 'end', nonce, execution, outcome, endedAt: wallClock(), ...sent() })
    },
  }
}

function wallClock(): number {
  return performance.timeOrigin + performance.now()
}

/** Counts and digests the body of a response from here on. */
function follow(response: ServerResponse): () => Pick<JournalEnd, 'bytes' | 'sha256' | 'sha256WithoutUsage'> {
  const hash = createHash('sha256')
  const withoutUsage = hashWithoutUsage()
  let bytes = 0
  const note = (chunk: unknown) => {
    if (typeof chunk !== 'string' && !(chunk instanceof Uint8Array)) return
    hash.update(chunk)
    withoutUsage.update(chunk)
    bytes += Buffer.byteLength(chunk)
  }
  const { write, end } = response
  Object.assign(response, {
    write: (...args: Parameters<typeof write>) => {
      note(args[0])
      return write.apply(response, args)
    },
    end: (...args: Parameters<typeof end>) => {
      note(args[0])
      return end.apply(response, args)
    },
  })
  return () => ({
    bytes,
    sha256: hash.digest('hex'),
    sha256WithoutUsage: withoutUsage.digest(),
  })
}

/**
 * The digest of a stream as a client sees it that did not ask for usage. Each event is a write of its own. As in
 * llama.cpp, the timings of the usage chunk stand in the chunk that ends the answer where there is no usage chunk.
 */
function hashWithoutUsage() {
  const hash = createHash('sha256')
  let last: string | undefined
  const flush = () => {
    if (last !== undefined) hash.update(last)
    last = undefined
  }
  return {
    update: (chunk: string | Uint8Array) => {
      if (isUsageEvent(chunk)) last = withTimings(last, String(chunk))
      flush()
      if (typeof chunk === 'string' && chunk.includes('"finish_reason":"')) last = chunk
      else if (!isUsageEvent(chunk)) hash.update(chunk)
    },
    digest: () => {
      flush()
      return hash.digest('hex')
    },
  }
}

function withTimings(event: string | undefined, usageEvent: string): string | undefined {
  const { timings } = JSON.parse(usageEvent.slice('data: '.length)) as { readonly timings?: object }
  if (event === undefined || timings === undefined) return event
  const end = event.lastIndexOf('}')
  return `${event.slice(0, end)},"timings":${JSON.stringify(timings)}${event.slice(end)}`
}

function isUsageEvent(chunk: string | Uint8Array): boolean {
  return typeof chunk === 'string' && chunk.startsWith('data: {') && chunk.includes('"choices":[]')
}

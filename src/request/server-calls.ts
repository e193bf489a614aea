import { type Actor, createActor } from 'xstate'
import type { Outcome, requestMachine } from '../../machines/request.ts'
import { AbortedError, LeaseholdError } from '../errors.ts'
import type { RequestEventBody } from '../events/events.ts'
import { type RequestTimings, toTimings } from '../events/timings.ts'
import type { Inspections } from '../observe/inspection.ts'
import type { Headers } from '../transport/headers.ts'
import { describeRoute, type ExchangeParts } from './exchange.ts'
import type { OpenRequest, RequestBook } from './open-requests.ts'

/** A request for the server behind a service that is neither resolved by its body nor rewritten. */
export interface ServerCallStart {
  /** Path of the client. */
  readonly route: string
  /** Headers of the client. */
  readonly headers: Headers
  /** The model whose service was found, `provider/model`. */
  readonly ref: string
  readonly serviceKey: string
  /** Ends the work on it, because it was cancelled. */
  readonly onCancel: (reason: AbortedError) => void
}

/** What is told of such a request while it goes on. Once it has ended, every further call does nothing. */
export interface ServerCall {
  readonly id: string
  /** It holds its lease. */
  granted(): void
  /** The head of the answer has come. */
  responded(status: number): void
  /** A piece of the answer has come. */
  received(bytes: number): void
  /** The answer, or the conversation, is complete. */
  ended(): void
  /** It failed with this error. */
  failed(error: unknown): void
  /** Its client left. */
  cancelled(): void
}

export interface ServerCallsOptions
  extends Pick<ExchangeParts, 'clock' | 'publish' | 'clientOf' | 'loadMsOf' | 'keep'> {
  readonly machine: typeof requestMachine
  readonly compile: (machine: typeof requestMachine) => typeof requestMachine
  readonly book: RequestBook<ServerCallRecord>
  readonly inspection: Inspections['optionsOf']
  readonly createId: () => string
}

/** Puts requests for a server itself into the book of open requests and into the events, with the chart of any request. */
export function createServerCalls({
  machine,
  compile,
  book,
  inspection,
  createId,
  ...parts
}: ServerCallsOptions): (start: ServerCallStart) => ServerCall {
  const { clock } = parts
  const provided = compile(
    machine.provide({
      actions: {
        finish: ({ context }, { outcome }: { readonly outcome: Outcome }) =>
          book.open.get(context.id)?.finish(outcome),
      },
    }),
  )
  return (start) => {
    const id = createId()
    const actor = createActor(provided, { ...inspection(), id, clock, input: { id } })
    const call = new ServerCallRecord(id, actor, start, { ...parts, forget: () => book.remove(id) })
    book.add(call)
    actor.start()
    call.begin()
    return call
  }
}

type RecordParts = Pick<ServerCallsOptions, 'clock' | 'publish' | 'clientOf' | 'loadMsOf' | 'keep'> & {
  readonly forget: () => void
}

/** One such request in the book. */
export class ServerCallRecord implements OpenRequest, ServerCall {
  readonly id: string
  readonly actor: Actor<typeof requestMachine>
  readonly startedAtMs: number
  readonly serviceKey: string
  readonly client: string | null
  readonly #start: ServerCallStart
  readonly #route: string
  readonly #parts: RecordParts
  #failure: LeaseholdError | undefined
  #status: number | null = null
  #loadMs: number | undefined
  /** `0`: not yet. */
  #grantedAtMs = 0
  #firstByteAtMs = 0
  #bytes = 0
  #chunks = 0

  constructor(id: string, actor: Actor<typeof requestMachine>, start: ServerCallStart, parts: RecordParts) {
    this.id = id
    this.actor = actor
    this.startedAtMs = parts.clock.now()
    this.serviceKey = start.serviceKey
    this.client = parts.clientOf(start.headers)
    this.#start = start
    this.#route = describeRoute(start.route)
    this.#parts = parts
  }

  begin(): void {
    const { ref } = this.#start
    this.#publish({ type: 'request.started', route: this.#route, ref, client: this.client })
    this.actor.send({ type: 'request.resolved', candidates: [ref] })
  }

  granted(): void {
    this.#grantedAtMs = this.#parts.clock.now()
    this.#loadMs = this.#measureLoad()
    this.actor.send({ type: 'lease.granted', timeLimitMs: null })
  }

  responded(status: number): void {
    if (!this.#isOpen) return
    this.#status = status
    const waitedMs = Math.round(this.#parts.clock.now() - this.startedAtMs)
    this.#publish({ type: 'request.responded', ref: this.#start.ref, status, waitedMs })
    this.actor.send({ type: 'response.started', status })
  }

  received(bytes: number): void {
    this.#firstByteAtMs ||= this.#parts.clock.now()
    this.#bytes += bytes
    this.#chunks += 1
  }

  ended(): void {
    if (this.#isOpen) this.actor.send({ type: 'response.ended' })
  }

  failed(error: unknown): void {
    if (!this.#isOpen) return
    this.#failure = error instanceof LeaseholdError ? error : undefined
    const code = this.#failure?.code ?? 'LEASEHOLD_INTERNAL'
    this.actor.send({ type: 'request.failed', code, retryable: false })
  }

  cancelled(): void {
    if (this.#isOpen) this.actor.send({ type: 'request.cancelled' })
  }

  abort(reason?: unknown): void {
    if (!this.#isOpen) return
    const failure = reason instanceof AbortedError ? reason : new AbortedError(reason)
    this.cancelled()
    this.#start.onCancel(failure)
  }

  finish(outcome: Outcome): void {
    const { clock, keep, forget } = this.#parts
    forget()
    const failure = this.#failure?.code ?? 'LEASEHOLD_INTERNAL'
    const code = outcome === 'done' ? null : outcome === 'cancelled' ? 'LEASEHOLD_ABORTED' : failure
    const endedAtMs = clock.now()
    const timings = this.timingsAt(endedAtMs)
    this.#publish({ type: 'request.ended', outcome, code, usage: null, timings })
    keep({
      id: this.id,
      ref: this.#start.ref,
      service: this.serviceKey,
      route: this.#route,
      client: this.client,
      startedAtMs: this.startedAtMs,
      endedAtMs,
      outcome,
      code,
      status: this.#status,
      timings,
      usage: null,
      bytes: this.#bytes,
      rewrites: [],
      attempts: [],
    })
  }

  timingsAt(nowMs: number): RequestTimings {
    const moments = {
      startedAtMs: this.startedAtMs,
      grantedAtMs: this.#grantedAtMs,
      firstByteAtMs: this.#firstByteAtMs,
      loadMs: this.#loadMs ?? this.#measureLoad(),
    }
    return toTimings(moments, nowMs)
  }

  get progress(): { readonly bytes: number; readonly chunks: number } {
    return { bytes: this.#bytes, chunks: this.#chunks }
  }

  #measureLoad(): number {
    return this.#parts.loadMsOf(this.serviceKey, this.startedAtMs)
  }

  #publish(event: RequestEventBody): void {
    this.#parts.publish(this.id, event)
  }

  get #isOpen(): boolean {
    return this.actor.getSnapshot().status === 'active'
  }
}

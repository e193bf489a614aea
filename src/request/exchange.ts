import { createActor } from 'xstate'
import { MAX_REFUSALS, type requestMachine } from '../../machines/request.ts'
import type { Clock } from '../clock.ts'
import { adviseDropped } from '../compat/dropped.ts'
import type { Config, ProviderConfig } from '../config/config.ts'
import { listReplicas, type ModelTarget, resolveCandidates } from '../config/model-ref.ts'
import {
  AbortedError,
  BadRequestError,
  LeaseholdError,
  ProviderUnavailableError,
  UpstreamError,
  UpstreamStallError,
  UpstreamTimeoutError,
} from '../errors.ts'
import type { RequestEventBody } from '../events/events.ts'
import type { Usage } from '../events/usage.ts'
import type { LeaseBook, LeaseListener } from '../lease/desk.ts'
import type { Inspections } from '../observe/inspection.ts'
import { toServiceKey } from '../service/services.ts'
import { toShortText } from '../text/plain-text.ts'
import type { Headers } from '../transport/headers.ts'
import { checkHops } from '../transport/hops.ts'
import { isConnectionRefused, type Upstream, type UpstreamCall } from '../transport/upstream.ts'
import { toOwnHeaders, type Wait } from './answer-headers.ts'
import type { AnswerSecrets } from './answer-mask.ts'
import { adviseOtherApi, partByApi } from './fallback-api.ts'
import { createIncoming, type Incoming } from './incoming.ts'
import type { RequestBook } from './open-requests.ts'
import { peekRequest, toUpstreamRequest } from './outgoing.ts'

/** A model request as any door of leasehold hands it in. */
export interface ModelRequest {
  readonly method: string
  /** Path and query of the client: `/v1/chat/completions`. */
  readonly path: string
  /** Whether the path begins at the root of the server, as llama.cpp's own routes do. @default false */
  readonly isAtRoot?: boolean
  readonly headers: Headers
  readonly body: Buffer
  /** Higher goes first in a queue. @default 0 */
  readonly priority?: number
  /** Whether fallbacks may stand in for a model that the client named itself. @default false */
  readonly failover?: boolean
}

/** What comes back. `onHead` first, `onEnd` or `onError` last; one of the two comes exactly once. */
export interface ModelResponseHandler {
  onHead(status: number, headers: Readonly<Record<string, string | string[]>>): void
  /** Answers `false` to be left alone until `resume`. */
  onData(chunk: Buffer): boolean
  onEnd(): void
  /** Before `onHead`: the answer is this error. After it: the answer broke off, and must not look whole. */
  onError(error: LeaseholdError, requestId: string): void
}

/** A model request under way. */
export interface ModelCall {
  readonly id: string
  /** Whether the client asked for a stream. */
  readonly isStream: boolean
  /** The service that the request waits for or talks to; absent before a model is found. */
  readonly serviceKey: string | undefined
  resume(): void
  /** The client left: frees its lease, or its place in the queue. */
  abort(reason?: unknown): void
}

export interface ExchangeOptions {
  readonly clock: Clock
  /** The life of a request, compiled or not. */
  readonly machine: typeof requestMachine
  /** Where every request stands until it has ended. */
  readonly requests: Pick<RequestBook, 'add' | 'remove'>
  /** How the machine of a request is inspected. */
  readonly inspection: Inspections['optionsOf']
  readonly config: () => Config
  readonly leases: LeaseBook
  /** Servers of one model in the order in which they are tried. */
  readonly rank: (replicas: readonly ModelTarget[]) => readonly ModelTarget[]
  readonly upstreamOf: (target: ModelTarget, generation: string) => Upstream
  readonly toId: () => string
  /** A request found nobody listening: what a health check would have found. */
  readonly noteRefused: (key: string, generation: string) => void
  readonly publish: (requestId: string, event: RequestEventBody) => void
  /** Takes out of a text what nobody may read. */
  readonly scrub: (text: string) => string
  /** What an answer of this provider must not show; `undefined`: nothing. */
  readonly secretsOf: (provider: ProviderConfig) => AnswerSecrets | undefined
}

/**
 * A socket breaks a few milliseconds before or after the exit of its process is seen, and more on a busy host. The exit
 * has the better story (code, signal, last output), so a broken answer waits this long for it, in milliseconds.
 */
const CRASH_NOTICE_MS = 200
/** What is kept of a body that is not needed any more. */
const NO_BODY = Buffer.alloc(0)
/** No byte has come yet. */
const NEVER = Number.NEGATIVE_INFINITY
/** How long a server has to listen again before the next candidate is asked, in milliseconds. */
const LISTEN_AGAIN_MS = 3_000
/** Pause before a server that says it is loading is asked again, in milliseconds. */
const LOADING_RETRY_MS = 250
/** How long a server that nobody of ours started may say that it is loading, in milliseconds. */
const REMOTE_LOADING_MS = 120_000

/** Longest path that an event tells, in characters: events are kept. */
const MAX_ROUTE = 256
/** Models are the clients' choice where a provider lists none, so what is remembered of them has a limit. */
const MAX_TOLD = 1_000

/** Prepares the way of model requests: resolve, lease, rewrite, send, stream, release. */
export function createExchange({
  clock,
  machine,
  requests,
  inspection,
  config,
  leases,
  rank,
  upstreamOf,
  toId,
  noteRefused,
  publish,
  scrub,
  secretsOf,
}: ExchangeOptions) {
  const told = new Set<string>()
  const isNews = (key: string) => !told.has(key) && told.size < MAX_TOLD && told.add(key).size > 0

  return function exchange(given: ModelRequest, handler: ModelResponseHandler): ModelCall {
    const id = toId()
    /** Loses its body when the answer begins: no other attempt can need it then. */
    let request = given
    const actor = createActor(machine, { id, clock, input: { id }, ...inspection() }).start()
    const startedAtMs = clock.now()
    const timers = new Set<unknown>()
    let targets: readonly ModelTarget[] = []
    let isStream = false
    let generation = ''
    let call: UpstreamCall | undefined
    let answer: Incoming | undefined
    /** Attempts that are over: what they still report, of their abort for one, changes nothing. */
    let attemptsOver = 0
    let failure: LeaseholdError | undefined
    let usage: Usage | null = null
    let wait: Wait | undefined
    /** When the first and the last byte of this attempt's answer came, and whether its reader has asked for a pause. */
    let firstByteMs = NEVER
    let lastByteMs = NEVER
    let isPaused = false

    const isOver = () => actor.getSnapshot().status !== 'active'
    const indexOf = () => actor.getSnapshot().context.index
    const target = () => {
      const current = targets[indexOf()]
      if (current === undefined) throw new RangeError('A request that was resolved has a candidate.')
      return current
    }
    const after = (ms: number, fn: () => void) => timers.add(clock.setTimeout(fn, ms))
    const stopTimers = () => {
      for (const timer of timers) clock.clearTimeout(timer)
      timers.clear()
    }
    /** Lets go of everything that this attempt holds: its timers, its connection, its lease. */
    const letGo = (reason?: Error) => {
      stopTimers()
      attemptsOver += 1
      if (reason !== undefined) call?.abort(reason)
      call = undefined
      leases.end(id)
    }

    /** Does what the machine's state asks for. */
    const perform = () => {
      const { value } = actor.getSnapshot()
      if (value === 'resolving') return attempt(resolve)
      if (value === 'leasing') return lease()
      if (value === 'sending') return attempt(send)
      if (value !== 'done' && value !== 'failed' && value !== 'cancelled') return
      requests.remove(id)
      const code = value === 'done' ? null : (failure?.code ?? null)
      publish(id, { type: 'request.ended', outcome: value, code, usage })
      if (value === 'done') handler.onEnd()
      else handler.onError(failure ?? new AbortedError(), id)
    }
    const fail = (error: LeaseholdError, retryable: boolean) => {
      if (isOver()) return
      // It may quote what a server said.
      error.message = scrub(error.message)
      failure = error
      // A stream that stalls or loses its service still holds an event back, which the client gets before the error.
      answer?.cut()
      letGo(error)
      const ref = targets[indexOf()]?.ref
      // After the lease is given back, so that nothing keeps the service from acting on it.
      if (isConnectionRefused(error.cause)) noteRefused(toServiceKey(target().provider), generation)
      actor.send({ type: 'request.failed', code: error.code, retryable })
      if (ref !== undefined && actor.getSnapshot().value !== 'resolving')
        publish(id, { type: 'request.attempted', ref, code: error.code })
      perform()
    }
    const attempt = (step: () => void) => {
      try {
        step()
      } catch (error) {
        fail(
          error instanceof LeaseholdError
            ? error
            : new UpstreamError('leasehold', String(error), { cause: error }),
          false,
        )
      }
    }

    const resolve = () => {
      if (request.method !== 'POST')
        throw new BadRequestError(`${request.method} is not served here.`, { status: 405 })
      checkHops(request.headers, id)
      const { model, stream } = peekRequest(request)
      isStream = stream
      const isFirst = targets.length === 0
      targets = []
      const candidates = resolveCandidates(config(), model, { failover: request.failover ?? false })
      const { spoken, others } = partByApi(request.path, candidates)
      targets = spoken.flatMap((one) => rank(listReplicas(config(), one)))
      const route = toRoute(request.path)
      if (isFirst) publish(id, { type: 'request.started', route, ref: targets[0]?.ref ?? '' })
      for (const other of others) {
        const { id: advice, text, block = null } = adviseOtherApi(other, route)
        if (isNews(`${advice} ${other.ref} ${route}`))
          publish(id, { type: 'request.advised', ref: other.ref, advice, text, block })
      }
      actor.send({ type: 'request.resolved', candidates: targets.map(({ ref }) => ref) })
      perform()
    }

    const lease = () => {
      const { provider } = target()
      if (provider.unavailable !== undefined)
        return fail(new ProviderUnavailableError(provider.id, provider.unavailable), true)
      const askedAtMs = clock.now()
      wait = undefined
      const { refusals } = actor.getSnapshot().context
      const last = failure
      if (refusals > 0 && last !== undefined && indexOf() + 1 < targets.length)
        after(LISTEN_AGAIN_MS, () => fail(last, true))
      const listener: LeaseListener = {
        queued: (place) => {
          wait = { ...place, waitedMs: 0 }
        },
        granted: (grant) => {
          stopTimers()
          generation = grant.generation
          if (wait !== undefined) wait = { ...wait, waitedMs: Math.round(clock.now() - askedAtMs) }
          actor.send({ type: 'lease.granted' })
          perform()
        },
        refused: (error) => fail(error, true),
        revoked: (error) => fail(error, true),
      }
      leases.request(toServiceKey(provider), id, listener, request.priority)
    }

    const send = () => {
      const { provider } = target()
      const { timeoutMs } = provider
      if (timeoutMs !== undefined)
        after(timeoutMs, () => fail(new UpstreamTimeoutError(provider.id, timeoutMs), true))
      transmit(clock.now() + (provider.localService?.readyTimeoutMs ?? REMOTE_LOADING_MS))
    }

    /** Breaks the answer off when nothing of it comes for too long. While the client does not read, nothing can. */
    const watchStall = () => {
      const { id: providerId, stallTimeoutMs } = target().provider
      if (stallTimeoutMs === 0) return
      const look = (afterMs: number) =>
        after(afterMs, () => {
          const leftMs = isPaused ? stallTimeoutMs : lastByteMs + stallTimeoutMs - clock.now()
          if (leftMs > 0) look(leftMs)
          else fail(new UpstreamStallError(providerId, stallTimeoutMs), true)
        })
      look(stallTimeoutMs)
    }

    const transmit = (loadingUntilMs: number) => {
      const current = target()
      const attemptsBefore = attemptsOver
      lastByteMs = NEVER
      isPaused = false
      const isStale = () => isOver() || attemptsOver !== attemptsBefore
      const secrets = secretsOf(current.provider)
      const outgoing = toUpstreamRequest(request, current, {
        id,
        isStream,
        isSearched: secrets !== undefined,
      })
      // The callbacks below live as long as the stream, so they must not hold `outgoing`, which holds the body.
      const { dropped } = outgoing
      const incoming: Incoming = createIncoming(
        {
          target: current,
          hidesUsage: outgoing.hidesUsage,
          acceptsPage: String(request.headers.accept ?? '').includes('text/html'),
          path: request.path,
          hasNext: () => indexOf() + 1 < targets.length,
          canWait: () => clock.now() < loadingUntilMs,
          scrub,
          secrets,
        },
        {
          onBegin: (status, headers) => {
            if (isStale()) return
            publish(id, {
              type: 'request.responded',
              ref: current.ref,
              status,
              waitedMs: Math.round(clock.now() - startedAtMs),
            })
            actor.send({ type: 'response.started', status })
            request = { ...request, body: NO_BODY }
            handler.onHead(status, {
              ...headers,
              ...toOwnHeaders(id, current.ref, indexOf(), wait, dropped),
            })
          },
          onBytes: (chunk) => {
            if (isStale()) return true
            if (lastByteMs === NEVER) {
              firstByteMs = clock.now()
              watchStall()
            }
            lastByteMs = clock.now()
            isPaused = !handler.onData(chunk)
            return !isPaused
          },
          onEnd: () => {
            if (isStale()) return
            usage = incoming.usage(clock.now() - firstByteMs)
            letGo()
            actor.send({ type: 'response.ended' })
            perform()
          },
          onBroken: (error, hasMore) => {
            if (isStale()) return
            // What still comes is cut off with the attempt.
            if (!hasMore) call = undefined
            after(CRASH_NOTICE_MS, () => fail(error, true))
          },
          onUnheard: (error) => {
            if (isStale()) return
            actor.send({ type: 'connection.refused' })
            stopTimers()
            const { refusals } = actor.getSnapshot().context
            // The service knows now, so the next lease of it comes with its next good check. Where that is asked for at
            // another address than this one, it may come too early.
            if (refusals === 0) fail(error, true)
            else after(CRASH_NOTICE_MS * 2 ** Math.min(refusals, MAX_REFUSALS - 1), () => fail(error, true))
          },
          onRefused: (error) => fail(error, true),
          onStillLoading: () => after(LOADING_RETRY_MS, () => attempt(() => transmit(loadingUntilMs))),
          onAdvice: ({ id: advice, text, block = null }) =>
            publish(id, { type: 'request.advised', ref: current.ref, advice, text, block }),
        },
      )
      for (const member of dropped) {
        if (current.model?.dropParams.includes(member)) continue
        const { id: advice, text, block = null } = adviseDropped(member, current.ref)
        if (isNews(`${advice} ${current.ref}`))
          publish(id, { type: 'request.advised', ref: current.ref, advice, text, block })
      }
      answer = incoming
      call = upstreamOf(current, generation).send(outgoing, incoming)
    }

    const modelCall: ModelCall = {
      id,
      get isStream() {
        return isStream
      },
      get serviceKey() {
        return targets.length === 0 ? undefined : toServiceKey(target().provider)
      },
      resume: () => {
        isPaused = false
        if (lastByteMs !== NEVER) lastByteMs = clock.now()
        call?.resume()
      },
      abort: (reason) => {
        if (isOver()) return
        failure = reason instanceof AbortedError ? reason : new AbortedError(reason)
        letGo(failure)
        actor.send({ type: 'request.cancelled' })
        perform()
      },
    }
    requests.add(Object.assign(modelCall, { actor, startedAtMs }))
    attempt(resolve)
    return modelCall
  }
}

/** The path alone: a query may hold a key. */
function toRoute(path: string): string {
  return toShortText(path.replace(/[?#].*$/s, ''), MAX_ROUTE)
}

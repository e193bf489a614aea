import { createActor } from 'xstate'
import { requestMachine } from '../../machines/request.ts'
import type { Clock } from '../clock.ts'
import { peekBody, type Route, rewriteBody } from '../compat/rewrite.ts'
import type { Config } from '../config/config.ts'
import { type ModelTarget, resolveCandidates } from '../config/model-ref.ts'
import {
  AbortedError,
  BadRequestError,
  LeaseholdError,
  ProviderUnavailableError,
  UpstreamError,
  UpstreamStatusError,
  UpstreamTimeoutError,
} from '../errors.ts'
import type { RequestEventBody } from '../events.ts'
import { createStreamEnding } from '../transport/completeness.ts'
import { type Headers, toClientHeaders, toUpstreamHeaders } from '../transport/headers.ts'
import type { Upstream, UpstreamCall } from '../transport/upstream.ts'
import type { LeaseBook } from './leases.ts'
import { toKeyHeaders, toServiceKey } from './services.ts'

/** A model request as any door of leasehold hands it in. */
export interface ModelRequest {
  readonly method: string
  /** Path and query of the client: `/v1/chat/completions`. */
  readonly path: string
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
  onError(error: LeaseholdError): void
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
  readonly config: () => Config
  readonly leases: LeaseBook
  readonly upstreamOf: (target: ModelTarget, generation: string) => Upstream
  readonly toId: () => string
  readonly publish: (requestId: string, event: RequestEventBody) => void
}

/** Statuses that another candidate may better. */
const isRetryableStatus = (status: number) => status === 408 || status === 429 || status >= 500

/**
 * A socket breaks a few milliseconds before or after the exit of its process is seen. The exit has the better
 * story (code, signal, last output), so a broken answer waits this long for it, in milliseconds.
 */
const CRASH_NOTICE_MS = 50

/** Prepares the way of model requests: resolve, lease, rewrite, send, stream, release. */
export function createExchange(options: ExchangeOptions) {
  const { clock, config, leases, upstreamOf, toId, publish } = options

  return function exchange(request: ModelRequest, handler: ModelResponseHandler): ModelCall {
    const id = toId()
    const actor = createActor(requestMachine, { clock, input: { id } }).start()
    const route = toRoute(request.path)
    const startedAtMs = clock.now()
    let isStream = false
    let targets: readonly ModelTarget[] = []
    let call: UpstreamCall | undefined
    let generation = ''
    let failure: LeaseholdError = new AbortedError()
    const timers = new Set<unknown>()

    const target = () => {
      const current = targets[actor.getSnapshot().context.index]
      if (current === undefined) throw new RangeError('A request that was resolved has a candidate.')
      return current
    }
    const isState = (...states: string[]) => states.includes(String(actor.getSnapshot().value))
    const after = (ms: number, fn: () => void) => timers.add(clock.setTimeout(fn, ms))
    const clear = () => {
      for (const timer of timers) clock.clearTimeout(timer)
      timers.clear()
    }
    const letGo = (reason: Error) => {
      clear()
      call?.abort(reason)
      call = undefined
      leases.end(id)
    }

    const fail = (error: LeaseholdError, retryable: boolean) => {
      if (!isState('resolving', 'leasing', 'sending', 'streaming')) return
      failure = error
      letGo(error)
      if (targets.length > 0) publish(id, { type: 'request.attempted', ref: target().ref, code: error.code })
      actor.send({ type: 'request.failed', code: error.code, retryable })
      perform()
    }

    const lease = () => {
      const { provider } = target()
      if (provider.unavailable !== undefined)
        return fail(new ProviderUnavailableError(provider.id, provider.unavailable), true)
      leases.request(
        toServiceKey(provider),
        id,
        {
          granted: (grant) => {
            generation = grant.generation
            actor.send({ type: 'lease.granted' })
            perform()
          },
          refused: (error) => fail(error, true),
          revoked: (error) => fail(error, true),
        },
        request.priority,
      )
    }

    const send = () => {
      const { provider, model, modelId, params, ref } = target()
      const { pieces, byteLength } = rewriteBody(request.body, {
        route,
        model: modelId,
        compat: model?.compat ?? {},
        reasoning: model?.reasoning ?? false,
        params,
      })
      const ending = createStreamEnding()
      let isEventStream = false
      if (provider.timeoutMs !== undefined) {
        const { timeoutMs } = provider
        after(timeoutMs, () => fail(new UpstreamTimeoutError(provider.id, timeoutMs), true))
      }
      call = upstreamOf(target(), generation).send(
        {
          method: request.method,
          path: toUpstreamPath(provider.baseUrl, request.path),
          headers: { ...toUpstreamHeaders(request.headers), ...toKeyHeaders(provider), ...model?.headers },
          body: pieces,
          bodyBytes: byteLength,
          isStream,
        },
        {
          onHead: (status, headers) => {
            const { index, candidates } = actor.getSnapshot().context
            if (isRetryableStatus(status) && index + 1 < candidates.length)
              return fail(new UpstreamStatusError(provider.id, status), true)
            isEventStream =
              status === 200 &&
              String(headers['content-type']).startsWith('text/event-stream') &&
              headers['content-encoding'] === undefined
            const waitedMs = Math.round(clock.now() - startedAtMs)
            publish(id, { type: 'request.responded', ref, status, waitedMs })
            actor.send({ type: 'response.started', status })
            handler.onHead(status, { ...toClientHeaders(headers), ...toOwnHeaders(id, ref, index) })
          },
          onData: (chunk) => {
            if (!isState('streaming')) return true
            if (isEventStream) ending.add(chunk)
            return handler.onData(chunk)
          },
          onEnd: () => {
            if (!isState('streaming')) return
            if (isEventStream && !ending.isComplete())
              return breakOff(
                new UpstreamError(provider.id, 'the stream ended without its proper ending', {
                  isTruncated: true,
                }),
              )
            letGo(failure)
            actor.send({ type: 'response.ended' })
            perform()
          },
          onError: (error) => {
            if (!isState('sending', 'streaming')) return
            breakOff(
              new UpstreamError(provider.id, toBreakText(error), {
                isTruncated: isState('streaming'),
                cause: error,
              }),
            )
          },
        },
      )
    }

    /** The connection broke: give the process's own story a moment to arrive, then tell what we know. */
    const breakOff = (error: UpstreamError) => {
      call = undefined
      after(CRASH_NOTICE_MS, () => fail(error, true))
    }

    /** Does what the machine's state asks for. */
    const perform = () => {
      const { value, context } = actor.getSnapshot()
      if (value === 'leasing') return lease()
      if (value === 'sending') return attempt(send)
      const outcome = value === 'done' || value === 'failed' || value === 'cancelled' ? value : undefined
      if (outcome === undefined) return
      const code = outcome === 'done' ? null : (context.attempts.at(-1)?.code ?? failure.code)
      publish(id, { type: 'request.ended', outcome, code })
      if (outcome === 'done') handler.onEnd()
      else handler.onError(failure)
    }

    const attempt = (step: () => void) => {
      try {
        step()
      } catch (error) {
        fail(
          error instanceof LeaseholdError
            ? error
            : new UpstreamError(targets[0]?.provider.id ?? 'leasehold', String(error), { cause: error }),
          false,
        )
      }
    }

    const resolve = () => {
      if (request.method !== 'POST')
        throw new BadRequestError(`${request.method} is not served here.`, { status: 405 })
      const { model, stream } = peekBody(request.body)
      isStream = stream
      targets = resolveCandidates(config(), model, { failover: request.failover ?? false })
      publish(id, { type: 'request.started', route: request.path, ref: targets[0]?.ref ?? '' })
      actor.send({ type: 'request.resolved', candidates: targets.map(({ ref }) => ref) })
      perform()
    }
    attempt(resolve)

    return {
      id,
      get isStream() {
        return isStream
      },
      get serviceKey() {
        return targets.length === 0 ? undefined : toServiceKey(target().provider)
      },
      resume: () => call?.resume(),
      abort: (reason) => {
        if (!isState('resolving', 'leasing', 'sending', 'streaming')) return
        failure = new AbortedError(reason)
        letGo(failure)
        actor.send({ type: 'request.cancelled' })
        perform()
      },
    }
  }
}

/** The rewrites a path calls for. */
function toRoute(path: string): Route {
  const name = path.replace(/[?#].*$/, '').replace(/^.*\/v1\//, '')
  if (name === 'chat/completions') return 'chat'
  return name === 'completions' || name === 'embeddings' || name === 'responses' || name === 'messages'
    ? name
    : 'other'
}

/** The client's path below `/v1` goes below the provider's base URL. */
function toUpstreamPath(baseUrl: string, path: string): string {
  return new URL(baseUrl).pathname.replace(/\/$/, '') + path.replace(/^\/v1/, '')
}

function toOwnHeaders(id: string, ref: string, hops: number): Record<string, string> {
  return {
    'x-leasehold-request-id': id,
    'x-leasehold-model': ref,
    ...(hops === 0 ? {} : { 'x-leasehold-failover': String(hops) }),
  }
}

function toBreakText(error: Error): string {
  const code = 'code' in error ? ` (${error.code})` : ''
  return `the connection to the server broke: ${error.message}${code}`
}

import { randomUUID } from 'node:crypto'
import type { StartCause } from '../../machines/messages.ts'
import { MAX_RESTARTS } from '../../machines/request.ts'
import { limitKeepAlive } from '../compat/keep-alive.ts'
import type { Config } from '../config/config.ts'
import { listReplicas, type ModelTarget, resolveModel } from '../config/model-ref.ts'
import { AbortedError, ProviderUnavailableError, ServiceError } from '../errors.ts'
import { toKeyHeaders, toServiceKey } from '../service/services.ts'
import { runOutside } from './caller-context.ts'
import type { LeaseBook, LeaseListener } from './desk.ts'

/** A holder's claim that a service stay up. Give it back with `release`, or by leaving an `await using` block. */
export interface Lease {
  readonly id: string
  /** Where to send requests, `http://127.0.0.1:8080/v1`. */
  readonly baseUrl: string
  /** The name the server knows the model by. */
  readonly model: string
  /** What the provider wants with every request: its key, its extra headers. */
  readonly headers: Readonly<Record<string, string>>
  /** `true`: we spawned the server. `false`: it was there, and is never signalled. */
  readonly owned: boolean
  readonly generation: string
  /** Aborted, with the cause as its reason, when the service ends under the lease. */
  readonly signal: AbortSignal
  /** Gives the lease back. Every further call does nothing. */
  release(): void
  [Symbol.asyncDispose](): Promise<void>
}

export interface AcquireOptions {
  /** Cancels the wait. Other waiters are not affected, and a start that this call caused goes on. */
  readonly signal?: AbortSignal | undefined
  /** Higher goes first in the queue. @default 0 */
  readonly priority?: number | undefined
  /**
   * Replaces the service's `idleStopMs` until this run ends, or until a later lease asks for another time. In
   * milliseconds; `0`: the service stops as soon as it is idle. `Infinity`, or below zero: it stays until it is stopped.
   * A server that leasehold does not start is left alone.
   * @default what was in force before
   */
  readonly keepAliveMs?: number | undefined
}

/**
 * Waits until the service of a model is up and holds it; a replica that cannot serve is followed by the next. Where a replaced configuration takes the service away
 * meanwhile, the model is looked up again and its new service is waited for, as a request does it.
 * @throws {@link ServiceError} with the cause when it cannot be; {@link ModelNotFoundError};
 * {@link ProviderUnavailableError}; {@link AbortedError} when the signal comes first.
 */
export async function acquireLease(
  config: () => Config,
  leases: LeaseBook,
  rank: (replicas: readonly ModelTarget[]) => readonly ModelTarget[],
  ref: string | undefined,
  options?: AcquireOptions,
  restartsLeft: number = MAX_RESTARTS,
): Promise<Lease> {
  let failure: unknown
  for (const { provider, upstreamId } of rank(listReplicas(config(), resolveModel(config(), ref)))) {
    try {
      if (provider.unavailable !== undefined)
        throw new ProviderUnavailableError(provider.id, provider.unavailable)
      const held = await holdLease(leases, toServiceKey(provider), {
        ...options,
        keepAliveMs: provider.localService === undefined ? undefined : options?.keepAliveMs,
      })
      return { ...held, baseUrl: provider.baseUrl, model: upstreamId, headers: toKeyHeaders(provider) }
    } catch (error) {
      if (error instanceof AbortedError) throw error
      failure = error
      if (isRemoval(error)) break
    }
  }
  if (!isRemoval(failure) || restartsLeft === 0) throw failure
  return acquireLease(config, leases, rank, ref, options, restartsLeft - 1)
}

function isRemoval(error: unknown): boolean {
  return error instanceof ServiceError && error.code === 'LEASEHOLD_REMOVED'
}

/** Waits for a lease of a service, whatever its models. @throws as {@link acquireLease} does */
export function holdLease(
  leases: LeaseBook,
  key: string,
  { signal, priority, cause, keepAliveMs }: AcquireOptions & { readonly cause?: StartCause } = {},
): Promise<Omit<Lease, 'baseUrl' | 'model' | 'headers'>> {
  const id = randomUUID()
  const revocation = new AbortController()
  const release = () => runOutside(leases.end, id)
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(new AbortedError(signal.reason))
    const leave = () => {
      release()
      reject(new AbortedError(signal?.reason))
    }
    const settle = () => signal?.removeEventListener('abort', leave)
    signal?.addEventListener('abort', leave, { once: true })
    const listener: LeaseListener = {
      granted: ({ generation, owned }) => {
        settle()
        resolve({
          id,
          owned,
          generation,
          signal: revocation.signal,
          release,
          [Symbol.asyncDispose]: async () => release(),
        })
      },
      refused: (error) => {
        settle()
        reject(error)
      },
      revoked: (error) => revocation.abort(error),
    }
    const keepMs = keepAliveMs === undefined ? undefined : limitKeepAlive(keepAliveMs)
    leases.request(key, id, listener, priority, cause, keepMs)
  })
}

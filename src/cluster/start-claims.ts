import type { KV, KvEntry } from '@nats-io/kv'
import { readStartClaim, type StartClaim } from '../../machines/cluster/messages.ts'
import type { Clock } from '../clock.ts'
import type { ClusterConfig } from '../config/cluster.ts'
import type { Libraries } from './libraries.ts'
import type { NatsLink } from './nats-link.ts'

/** How an attempt to have a claim ended. `revision` is that of the claim as it stands. */
export type ClaimAttempt =
  | { readonly outcome: 'won'; readonly revision: number }
  | { readonly outcome: 'held'; readonly holder: StartClaim; readonly revision: number }
  | { readonly outcome: 'unavailable'; readonly message: string }

/** A claim as it stands. */
export type ClaimState =
  | { readonly outcome: 'free' }
  | { readonly outcome: 'held'; readonly holder: StartClaim; readonly revision: number }
  | { readonly outcome: 'unavailable'; readonly message: string }

/**
 * The claims on cold starts, one for each provider, in a bucket that every member writes. Each call settles within
 * `claimTimeoutMs` and never rejects. A claim that is won after that is given back. A member takes the claim of one
 * provider once at a time: what it finds of its own then is of an attempt that it took for failed.
 */
export interface StartClaims {
  take(provider: string): Promise<ClaimAttempt>
  /** Takes the claim of a holder that is gone. Of several that try, one wins. */
  replace(provider: string, revision: number): Promise<ClaimAttempt>
  look(provider: string): Promise<ClaimState>
  /** Writes it again before it expires. `held`: it is another member's now. `free`: it has expired. */
  renew(provider: string, revision: number): Promise<ClaimAttempt | { readonly outcome: 'free' }>
  /** Nothing happens if it is another member's by now. */
  release(provider: string, revision: number): Promise<void>
  /** After each connection: opens the bucket, which the servers may have lost. */
  reset(): void
}

export interface StartClaimsOptions {
  readonly config: Pick<ClusterConfig, 'claimReplicas' | 'claimTimeoutMs' | 'claimTtlMs'>
  readonly self: StartClaim
  readonly link: Pick<NatsLink, 'connection' | 'subjects'>
  readonly clock: Clock
  readonly libraries: Libraries
  /** What is claimed for a provider. @default its id */
  readonly nameOf?: (provider: string) => string
}

/** How long the servers keep the sign that a claim expired, in milliseconds. */
const MARKER_MS = 2000
/** JetStream's numbers for "another has written in between". */
const WRONG_LAST_SEQUENCE: ReadonlySet<unknown> = new Set([10_071, 10_164])

export function createStartClaims({
  config,
  self,
  link,
  clock,
  libraries,
  nameOf = (provider) => provider,
}: StartClaimsOptions): StartClaims {
  const { claimTimeoutMs: timeout, claimTtlMs: ttl, claimReplicas: replicas } = config
  let opening: Promise<KV> | undefined
  let attempts = 0
  const toKey = (provider: string) => toClaimKey(nameOf(provider))
  /** By key: attempts whose end is not known. What they may have won is given back as soon as the servers answer. */
  const uncertain = new Map<string, Set<number>>()

  const open = (): Promise<KV> => {
    const { connection } = link
    if (connection === undefined) return Promise.reject(new Error('NATS is not connected'))
    if (opening === undefined) {
      // To create it again where it exists does nothing. In memory it would be gone with the next restart.
      const attempt = new libraries.kv.Kvm(connection).create(link.subjects.starts, {
        history: 1,
        ttl,
        markerTTL: MARKER_MS,
        storage: 'file',
        replicas,
      })
      opening = attempt
      attempt.catch(() => {
        if (opening === attempt) opening = undefined
      })
    }
    return opening
  }
  /** The end of the work, or `unavailable` as soon as the time is up. The work itself goes on. */
  const within = <Result>(work: (kv: KV) => Promise<Result>): Promise<Result | Unavailable> =>
    new Promise((resolve) => {
      const timer = clock.setTimeout(
        () => resolve(toUnavailable(`NATS did not answer in ${timeout} ms`)),
        timeout,
      )
      open()
        .then(work)
        .then(resolve, (error: unknown) =>
          resolve(toUnavailable(error instanceof Error ? error.message : String(error))),
        )
        .finally(() => clock.clearTimeout(timer))
    })
  const look = async (kv: KV, key: string): Promise<SeenClaim> => {
    const entry = await kv.get(key)
    if (entry === null) return { outcome: 'free', lastRevision: 0 }
    const seen = entry.operation === 'PUT' ? toHolder(entry) : undefined
    if (seen === undefined) return { outcome: 'free', lastRevision: entry.revision }
    return { outcome: 'held', ...seen, revision: entry.revision }
  }
  const write = async (
    kv: KV,
    key: string,
    revision: number,
    attempt: number,
  ): Promise<ClaimAttempt | undefined> => {
    try {
      const value = JSON.stringify({ ...self, attempt })
      return { outcome: 'won', revision: await kv.put(key, value, { previousSeq: revision }) }
    } catch (error) {
      if (!isWrongSequence(error)) throw error
      return undefined
    }
  }
  const isOurs = ({ member, boot }: StartClaim) => member === self.member && boot === self.boot
  /** Writes over a revision; where another member was faster, tells which. */
  const win = async (
    kv: KV,
    key: string,
    revision: number,
    attempt: number,
    tries = 3,
  ): Promise<ClaimAttempt> => {
    const won = await write(kv, key, revision, attempt)
    if (won !== undefined) return won
    const seen = await look(kv, key)
    // A claim of this run that no start belongs to: an earlier attempt was taken for failed, and was not.
    if (seen.outcome === 'held' && !isOurs(seen.holder))
      return { outcome: 'held', holder: seen.holder, revision: seen.revision }
    if (tries === 0) return toUnavailable('the claim changes too fast')
    const last = seen.outcome === 'held' ? seen.revision : seen.lastRevision
    return win(kv, key, last, attempt, tries - 1)
  }
  const giveBack = async (key: string, attempt: number): Promise<void> => {
    const result = await within(async (kv) => {
      const seen = await look(kv, key)
      if (seen.outcome === 'held' && isOurs(seen.holder) && seen.attempt === attempt)
        await kv.purge(key, { previousSeq: seen.revision })
    })
    if (result !== undefined) return
    uncertain.get(key)?.delete(attempt)
    if (uncertain.get(key)?.size === 0) uncertain.delete(key)
  }
  const attemptFrom = async (provider: string, revision: number): Promise<ClaimAttempt> => {
    const key = toKey(provider)
    attempts += 1
    const attempt = attempts
    let ended: Promise<unknown> | undefined
    const result = await within((kv) => {
      const winning: Promise<ClaimAttempt> = win(kv, key, revision, attempt)
      ended = winning
      return winning
    })
    if (result.outcome !== 'unavailable' || ended === undefined) return result
    uncertain.set(key, (uncertain.get(key) ?? new Set()).add(attempt))
    const settle = () => giveBack(key, attempt)
    void ended.then(settle, settle)
    return result
  }

  return {
    take: (provider) => attemptFrom(provider, 0),
    replace: attemptFrom,
    look: (provider) => within(async (kv) => toState(await look(kv, toKey(provider)))),
    renew: (provider, revision) => {
      const key = toKey(provider)
      return within(async (kv) => {
        const won = await write(kv, key, revision, 0)
        if (won !== undefined) return won
        return toState(await look(kv, key))
      })
    },
    release: async (provider, revision) => {
      await within((kv) => kv.purge(toKey(provider), { previousSeq: revision }))
    },
    reset: () => {
      opening = undefined
      // Early: the first cold start need not wait for the bucket.
      open().catch(() => {})
      for (const [key, all] of uncertain) for (const attempt of all) void giveBack(key, attempt)
    },
  }
}

/** A claim as the bucket has it. */
type SeenClaim =
  | {
      readonly outcome: 'held'
      readonly holder: StartClaim
      readonly attempt: number
      readonly revision: number
    }
  | { readonly outcome: 'free'; readonly lastRevision: number }

function toState(seen: SeenClaim): Exclude<ClaimState, Unavailable> {
  return seen.outcome === 'free'
    ? { outcome: 'free' }
    : { outcome: 'held', holder: seen.holder, revision: seen.revision }
}

type Unavailable = Extract<ClaimAttempt, { readonly outcome: 'unavailable' }>

function toUnavailable(message: string): Unavailable {
  return { outcome: 'unavailable', message }
}

/** Names are compared without regard to case. A key of a bucket holds letters, digits and a few signs. */
function toClaimKey(name: string): string {
  return Array.from(Buffer.from(name.toLowerCase()), (byte) => {
    const sign = String.fromCharCode(byte)
    return /[a-z0-9_-]/.test(sign) ? sign : `=${byte.toString(16).padStart(2, '0')}`
  }).join('')
}

function toHolder(entry: KvEntry): { readonly holder: StartClaim; readonly attempt: number } | undefined {
  try {
    const value: unknown = entry.json()
    const holder = readStartClaim(value)
    return holder && { holder, attempt: Number(Object(value).attempt) }
  } catch {
    return undefined
  }
}

function isWrongSequence(error: unknown): boolean {
  return error instanceof Error && 'code' in error && WRONG_LAST_SEQUENCE.has(error.code)
}

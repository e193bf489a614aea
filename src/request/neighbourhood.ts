import type { Observable } from 'rxjs'
import type { ProviderState } from '../../machines/provider/tags.ts'
import type { MemberRun, ProvenHop } from '../transport/member-proof.ts'

/** What a member of the cluster says of one of its services, and what this gateway knows beyond that. All JSON. */
export interface Standing {
  /** As on its card; `draining`: the member takes no new leases. */
  readonly state: 'cold' | 'asking' | 'starting' | 'ready' | 'failed' | 'draining'
  /** It is cold, and its server sleeps there. @default false */
  readonly isAsleep?: boolean
  readonly leases: number
  readonly waiting: number
  /** Maximum number of leases at once; `null`: no limit. */
  readonly room: number | null
  /** How long a start takes, in milliseconds; `null`: not known yet. */
  readonly startMs: number | null
  /** What a start would need: nothing, the end of another service, a wait; or it can never start there. */
  readonly fit: 'fits' | 'evicts' | 'waits' | 'never'
  /** HTTP answers, NATS does not: it keeps its streams and ranks last. */
  readonly isMuted: boolean
  /** It was lost and is back: nothing is started there yet. */
  readonly isSettling: boolean
  /** Requests of this gateway that are on their way there and not yet in `leases` or `waiting`. */
  readonly uncounted: number
}

/** A request on its way to a member. */
export interface Departure {
  /** They prove who sent it, and number it. */
  readonly headers: Readonly<Record<string, string>>
  /** The request is over: it is counted no more. Idempotent. */
  ended(): void
}

/** The other members of the cluster, as the request path sees them. Absent where no cluster is configured. */
export interface Neighbourhood {
  /** The name of this member. */
  readonly self: string
  /** Which member is first among equals: one whose server is up, or this one. */
  readonly prefer: 'warm' | 'local'
  /** When a request that waits at a member looks for another one, in milliseconds; `0`: never. */
  readonly moveAfterMs: number
  /** Whether this member takes no new leases: its requests go to others, and those of others are refused. */
  isDraining(): boolean
  /** `undefined`: the member is lost, or does not offer this provider. */
  standingOf(member: string, providerId: string): Standing | undefined
  /**
   * Called for each request that is sent to a member, with the path below its address: `/v1/chat/completions`.
   * `undefined`: the member is lost.
   */
  depart(member: string, providerId: string, method: string, path: string): Departure | undefined
  /**
   * Who sent an arriving request; `undefined`: it comes from no member, and its hop headers mean nothing.
   * @throws {@link HopError} `LEASEHOLD_HOP_REFUSED` when the proof is wrong, was used before, or is for another run of
   * this member
   */
  admit(method: string, path: string, headers: ArrivingHeaders): ProvenHop | undefined
  /** A connection to a member failed: looks whether it is still there. */
  suspect(member: string): void
  /** A run of a member that is gone: the requests that wait for it go elsewhere, and its requests here are ended. */
  readonly lost$: Observable<MemberRun>
}

/** Headers as Node has read them: lower-case names. */
export type ArrivingHeaders = Readonly<Record<string, string | readonly string[] | undefined>>

/** How a service of another member stands, in the words for our own. */
export function toServiceState(standing: Standing | undefined): ProviderState {
  if (standing === undefined || standing.state === 'failed') return 'down.backoff'
  if (standing.state === 'starting') return 'starting.warming'
  if (standing.state === 'cold' && standing.isAsleep === true) return 'ready.asleep'
  if (standing.state === 'cold' || standing.state === 'asking') return 'down.cold'
  if (standing.state === 'draining') return 'leased.draining'
  return standing.leases > 0 ? 'leased.open' : 'ready'
}

import type { Observable } from 'rxjs'
import type { JoinedCluster } from '../cluster/joined-cluster.ts'
import type { ProviderConfig } from '../config/config.ts'
import type { LeaseholdError } from '../errors.ts'
import type { ChooseEvents } from '../events/event-hub.ts'
import type { SupervisorEvent } from '../events/events.ts'
import type { Hardware } from '../observe/hardware.ts'
import type { OwnLogLine } from '../observe/own-log.ts'
import type { AnswerSecrets } from '../request/answer-mask.ts'
import type { CapturedBodies } from '../request/body-capture.ts'
import type { ModelCall, ModelRequest } from '../request/exchange.ts'
import type { Aborting } from '../request/fetch.ts'
import type { Membership } from '../request/membership.ts'
import type { ServerCall, ServerCallStart } from '../request/server-calls.ts'
import type { AnswerHandler } from '../transport/answer-handler.ts'

/** What the gateway needs of a supervisor and a host does not. It may change with any version. */
export interface SupervisorInternals {
  /** Sends a model request on its way, without streams or promises in between. */
  dispatch(request: ModelRequest, client: AnswerHandler<LeaseholdError>): ModelCall
  /** Reads what the files of models say, so that the next list of models tells it. */
  lookAtFiles(): Promise<void>
  /** The same as an answer of `fetch`, whose body is read at the caller's pace. */
  ask(request: ModelRequest, aborting: Aborting): Promise<Response>
  /** Tells the open requests and the events of a request for a server itself, which the gateway passes on. */
  openServerCall(start: ServerCallStart): ServerCall
  /** What an answer of this provider's server must not show; `undefined`: nothing. */
  secretsOf(provider: ProviderConfig): AnswerSecrets | undefined
  /** The bodies of a request; `undefined`: they are not kept. */
  bodiesOf(id: string): CapturedBodies | undefined
  /** Its part in a cluster. */
  readonly membership: Membership
  /** The cluster that it is a member of; `undefined`: none, or it is not loaded yet. */
  cluster(): JoinedCluster | undefined
  /** By which the supervisor is known to others: the first part of its requests' ids. */
  readonly instance: string
  /** Looks at the hardware: see `GET /api/hardware`. @param afterMs only samples after this moment @default all */
  lookAtHardware(afterMs?: number): Promise<Hardware>
  /** leasehold's own log: its last lines, and each line as it comes. */
  readonly ownLog: OwnLog
  /** The number of each event as it happens: for a reader that reads the events of a while in one go. */
  readonly seq$: Observable<number>
  /** As the public method; `choose` picks among them, and costs less than to drop them afterwards. */
  pastEvents(afterSeq?: number, limit?: number, choose?: ChooseEvents): readonly SupervisorEvent[]
}

/** leasehold's own log. */
export interface OwnLog {
  /** The last lines, oldest first. */
  lines(): readonly OwnLogLine[]
  /** Each line as it comes; completes when the supervisor is closed. */
  readonly lines$: Observable<OwnLogLine>
  /** What the clock of the lines says now, in milliseconds. */
  readonly nowMs: number
}

/** A key, and not a map of supervisors: a host's `{ ...supervisor }` keeps it. */
const INTERNALS = Symbol('leasehold.internals')

/** Puts the internals where {@link internalsOf} finds them. */
export function attachInternals<Face extends object>(face: Face, internals: SupervisorInternals): Face {
  return Object.assign(face, { [INTERNALS]: internals })
}

/** The internals of a supervisor. @throws TypeError for an object that is not made from one */
export function internalsOf(supervisor: object): SupervisorInternals {
  const internals = (supervisor as { readonly [INTERNALS]?: SupervisorInternals })[INTERNALS]
  if (internals !== undefined) return internals
  throw new TypeError('expected a supervisor that createSupervisor of this copy of leasehold made')
}

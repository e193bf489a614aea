import type { Logger } from 'pino'
import type { Observable } from 'rxjs'
import type { Subscription } from 'xstate'
import type { Clock } from '../clock.ts'
import type { Config } from '../config/config.ts'
import type { ConfigInput } from '../config/load.ts'
import type { ConfigChange, SupervisorEvent } from '../events/events.ts'
import type { AcquireOptions, Lease } from '../lease/lease.ts'
import type { Inspector } from '../observe/inspection.ts'
import type { Timeline } from '../observe/timeline.ts'
import type { SignalOptions } from '../process/host-signals.ts'
import type { ServiceOutput } from '../process/output.ts'
import type { RequestSnapshot } from '../request/open-requests.ts'
import type { EndedRequest } from '../request/request-log.ts'
import type { ModelListing } from '../service/model-list.ts'
import type { ServiceSnapshot, SupervisorSnapshot } from '../service/snapshot.ts'

export interface SupervisorOptions {
  /** What `loadConfig` gives, or an object with what a configuration file holds: it is checked in the same way. */
  readonly config: Config | ConfigInput
  /** A pino logger; the supervisor's events are written to children of it. @default silent */
  readonly logger?: Logger | undefined
  /**
   * An xstate inspector: sees every machine of the supervisor, from the first. A function, an observer, or what
   * `createBrowserInspector` and `createWebSocketInspector` of `@statelyai/inspect` return.
   * @default none
   */
  readonly inspect?: Inspector | undefined
  /**
   * Whether SIGINT, SIGTERM and SIGHUP close the supervisor and end the process; a second one does not drain, a third
   * ends it at once.
   * @default false
   */
  readonly handleSignals?: boolean | SignalOptions | undefined
  /** The host's environment; children get an allow-listed part of it. @default process.env */
  readonly environment?: Readonly<Record<string, string | undefined>> | undefined
  /**
   * A directory of this user's supervisors. Supervisors that share it share their servers. It is created when absent;
   * without it no process is spawned.
   * @default `$LEASEHOLD_STATE_DIR`, `$XDG_STATE_HOME/leasehold` or `~/.local/state/leasehold`
   */
  readonly stateDir?: string | undefined
  /** What this supervisor calls itself to others of this user: shown where they borrow from each other. @default 'library' */
  readonly name?: string | undefined
  /** @default the system's */
  readonly clock?: Clock | undefined
}

export interface StopOptions {
  /** Cuts open leases instead of draining them. @default false */
  readonly force?: boolean | undefined
}

/** The supervision core. Closing it stops every service that it owns; both ways to close are idempotent. */
export interface Supervisor {
  /** A drop-in `fetch`: any OpenAI client that uses it becomes on-demand. */
  readonly fetch: typeof globalThis.fetch
  /** Every fact as it happens. Completes when the supervisor is closed. */
  readonly events$: Observable<SupervisorEvent>
  /**
   * The last 4096 events that are numbered above `afterSeq`, oldest first: for a reader that comes late, or again.
   * @default 0, all that are kept
   */
  pastEvents(afterSeq?: number, limit?: number): readonly SupervisorEvent[]
  /** The configuration in force. */
  readonly config: Config
  /**
   * Waits until the service of a model is up and holds it.
   * @throws {@link ServiceError} when it cannot be, with the cause; {@link ModelNotFoundError};
   * {@link ProviderUnavailableError}; {@link AbortedError} when the signal comes first.
   */
  acquire(ref?: string, options?: AcquireOptions): Promise<Lease>
  /** Every configured model and the state of its service. Starts nothing. */
  models(): readonly ModelListing[]
  /** One model by any reference. @throws {@link ModelNotFoundError} */
  model(ref: string): ModelListing
  /** Every service as it stands. */
  snapshot(): SupervisorSnapshot
  /**
   * One service as it stands. `id`: a provider's, its name, its key, or any reference to a model that it serves.
   * @throws {@link BadRequestError} there is none
   */
  service(id: string): ServiceSnapshot
  /** Model requests that have not ended, the oldest first. @param limit at most so many @default all */
  requests(limit?: number): readonly RequestSnapshot[]
  /**
   * The last model requests that ended, the newest first; 500 are kept.
   * @param limit at most so many @default all
   */
  endedRequests(limit?: number): readonly EndedRequest[]
  /** States, decisions and held room of the last 15 minutes. */
  timeline(): Timeline
  /** Ends a request as if its client had left; the client is told. `false`: there is none by that id. */
  cancel(requestId: string): boolean
  /**
   * Attaches an xstate inspector: it gets every living machine, then everything that happens, until it unsubscribes.
   * Without an inspector, inspection costs nothing.
   */
  inspect(inspector: Inspector): Subscription
  /** What the last process of a service printed, and prints. `id` as for `service`. Absent: it never ran. */
  output(id: string): ServiceOutput | undefined
  /**
   * Brings a service up without a request; `id` as for `service`; an open breaker is closed for it. The start goes on when the signal aborts.
   * @throws {@link ServiceError} when it does not become ready; `LEASEHOLD_NO_ROOM` at once, with who holds it, when
   * others use the room that it needs
   */
  start(id: string, options?: AcquireOptions): Promise<ServiceSnapshot>
  /**
   * Stops a service that is ours and lets go of one that is not. Settles with the receipt of the run that it stopped. A
   * request that came meanwhile may have begun the next run by then: the state tells. `holder` is the supervisor that
   * goes on running what was let go.
   */
  stop(id: string, options?: StopOptions): Promise<ServiceSnapshot>
  /**
   * Puts another configuration into force, `replaceConfig(loadConfig(file))` for one. Services that are the same in
   * both are not touched, one that is gone or runs another program drains and ends while its successor waits for the
   * receipt, and its waiters wait for the successor; keys, aliases, compat flags and limits count from the
   * next request on. A gateway that listens stays where it is. Of two that are still loading the later call counts.
   * @throws {@link ConfigError} when `next` is refused: the configuration in force stays, and `config.refused` tells
   * @throws {@link ServiceError} `LEASEHOLD_SHUTTING_DOWN` when the supervisor is closed
   */
  replaceConfig(next: Config | ConfigInput | Promise<Config | ConfigInput>): Promise<ConfigChange>
  /** Drains and stops everything; `force` does not drain. Settles when nothing of it is left. */
  close(options?: StopOptions): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

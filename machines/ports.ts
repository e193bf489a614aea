import { fromCallback, fromEventObservable, fromPromise } from 'xstate'
import type {
  ClaimOutcome,
  HealthCommand,
  LeaseEvent,
  PeerCommand,
  ProbeOutcome,
  ProcessCommand,
  ProviderEvent,
  SleepOutcome,
} from './messages.ts'

/** The input of every effect of a service. */
export interface ServiceInput {
  /** The service's key: providers with the same key share one service. */
  readonly key: string
}

const notProvided = (port: string): never => {
  throw new Error(
    `The effect "${port}" is not provided. Give it with machine.provide({ actors: { ${port} } }).`,
  )
}

/**
 * Claims the service on this host and makes one health check; never rejects. A claim that is ours stays ours when
 * nothing answers, because then we start; otherwise it is given back.
 */
export const probe = fromPromise<ProbeOutcome, ServiceInput>(() => notProvided('probe'))

/**
 * Claims the service on this host; settles when the claim is ours or is known to be held by another supervisor. Our
 * claim is held until the machine says `claim.release`, and then until the receipt of the current run.
 */
export const claim = fromPromise<ClaimOutcome, ServiceInput>(() => notProvided('claim'))

/** Tells the server to sleep, and settles when its check says that it sleeps. The chart limits the time. */
export const sleep = fromPromise<SleepOutcome, ServiceInput>(() => notProvided('sleep'))

/** Tells the server to wake, and settles when it is awake and healthy. The chart limits the time. */
export const wake = fromPromise<SleepOutcome, ServiceInput>(() => notProvided('wake'))

/** `requests$`: lease requests, cancellations and releases, in order. No lease is asked for in another way. */
export const requests = fromEventObservable<LeaseEvent, ServiceInput>(() => notProvided('requests'))

/** Runs at most one process of the service at a time, and reports every fact about it as a `process.*` event. */
export const process = fromCallback<ProcessCommand, ServiceInput, ProviderEvent>(() => notProvided('process'))

/** Watches readiness when told to, and reports `health.verdict` events. */
export const health = fromCallback<HealthCommand, ServiceInput, ProviderEvent>(() => notProvided('health'))

/** Talks to the supervisor that holds the claim, and reports its answers as `peer.*` events. */
export const peer = fromCallback<PeerCommand, ServiceInput, ProviderEvent>(() => notProvided('peer'))

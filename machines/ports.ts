import { fromCallback, fromPromise } from 'xstate'
import type { ClaimOutcome, HealthCommand, ProcessCommand, ProviderEvent, Verdict } from './messages.ts'

/** What every effect of a service is told at birth. */
export interface ServiceInput {
  /** The service's key: providers with the same key share one service. */
  readonly key: string
}

const notProvided = (port: string): never => {
  throw new Error(
    `The effect "${port}" is not provided. Give it with machine.provide({ actors: { ${port} } }).`,
  )
}

/** One health check now; answers with its verdict and never rejects. */
export const probe = fromPromise<Verdict, ServiceInput>(() => notProvided('probe'))

/**
 * Claims the service on this host; settles when the claim is ours, or is known to be another's.
 * An own claim is held until the receipt of the generation that follows it.
 */
export const claim = fromPromise<ClaimOutcome, ServiceInput>(() => notProvided('claim'))

/** Runs at most one process of the service at a time, and reports every fact about it as a `process.*` event. */
export const process = fromCallback<ProcessCommand, ServiceInput, ProviderEvent>(() => notProvided('process'))

/** Watches readiness when told to, and reports `health.verdict` events. */
export const health = fromCallback<HealthCommand, ServiceInput, ProviderEvent>(() => notProvided('health'))

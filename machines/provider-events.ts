import type { ClaimOutcome, Failure, ProviderEvent, StartCause, Verdict } from './messages.ts'

export function idOf(event: ProviderEvent): string {
  return 'id' in event ? event.id : ''
}

/** What a lease is asked for by, where that is not a request. */
export function causeOf(event: ProviderEvent): { readonly cause?: StartCause } {
  return event.type === 'lease.requested' && event.cause !== undefined ? { cause: event.cause } : {}
}

/** The verdict an event carries: a health report, or the result of the one probe of `probing`. */
export function verdictOf(event: ProviderEvent): Verdict | undefined {
  if (event.type === 'health.verdict') return event.verdict
  return 'output' in event && 'kind' in (event.output as object) ? (event.output as Verdict) : undefined
}

/** Whether it reports that a request was refused the connection. */
export function isConnectionRefused(event: ProviderEvent): boolean {
  return event.type === 'health.verdict' && event.isOfRequest === true && event.verdict.kind === 'refused'
}

/** How a claim ended, of the claim itself or of the probe that made it. */
export function outcomeOf(event: ProviderEvent): ClaimOutcome | undefined {
  return 'output' in event && 'outcome' in (event.output as object)
    ? (event.output as ClaimOutcome)
    : undefined
}

export function failureOf(event: ProviderEvent): Failure | undefined {
  return event.type === 'process.failed' ? event.failure : undefined
}
